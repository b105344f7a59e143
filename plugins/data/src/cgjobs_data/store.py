"""Named places for files: a directory, or a bucket of an S3-compatible store."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

import attrs

from cgjobs import Discard, Retry
from cgjobs_data.settings import Settings, StoreSettings

_BLOCK = 1 << 20
_HOPELESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR}
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "InvalidBucketName"}
_DENIED |= {"AllAccessDisabled", "AccountProblem", "PermanentRedirect", "AuthorizationHeaderMalformed"}


@attrs.frozen
class Stored:
    """A file that was stored.

    Args:
        path: Within the store.
        url: Where people fetch it.
        bytes: Its size.
        sha256: Of its content, in hexadecimal.
    """

    path: str
    url: str
    bytes: int
    sha256: str


class Store(Protocol):
    """A place for files. Its methods raise `Discard` and `Retry` for what the place refuses.

    Paths are relative, with ``/``; no ``..``, no empty part. Safe to use from several threads.
    """

    name: str
    settings: StoreSettings

    def put(self, path: str, content: bytes | Path, content_type: str = "application/octet-stream") -> Stored:
        """Write a file: whole or not at all; one of that path is replaced."""

    def get(self, path: str) -> bytes:
        """A file's content; raises FileNotFoundError when there is none."""

    def open(self, path: str) -> BinaryIO:
        """A file to read from, for one that may be large; close it. Raises FileNotFoundError."""

    def delete(self, path: str) -> None:
        """Delete a file; nothing when there is none."""

    def url(self, path: str) -> str:
        """Where people fetch the file of this path."""

    def s3(self) -> Any:
        """The boto3 client of an S3 store; raises Discard for a directory."""


def open_store(settings: Settings, name: str) -> Store:
    """The store of this name: ``ctx.use(open_store, settings, "reports")``.

    Raises:
        Discard: No store has this name, or boto3 is missing.
    """
    found = settings.store(name)
    if found is None:
        known = ", ".join(settings.stores) or "reports, uploads"
        raise Discard(f"no store is named {name!r} in [plugins.data.stores]; there are: {known}")
    if found.directory is not None:
        return DirectoryStore(name, found, found.directory.absolute())
    return BucketStore(name, found)


class DirectoryStore:
    """A store in a directory of this machine."""

    def __init__(self, name: str, settings: StoreSettings, directory: Path) -> None:
        self.name, self.settings, self.directory = name, settings, directory

    def put(self, path: str, content: bytes | Path, content_type: str = "application/octet-stream") -> Stored:
        """Write beside the place, sync, rename."""
        target = self._at(path)
        with _told(self.name, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as file, _source(content) as source:
                    size, digest = _copy(source, file)
                    file.flush()
                    os.fsync(file.fileno())
                    os.fchmod(file.fileno(), 0o644)
                os.replace(temporary, target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _sync(target.parent)
        return Stored(path, self.url(path), size, digest)

    def get(self, path: str) -> bytes:
        """Read the file."""
        target = self._at(path)
        with _told(self.name, target):
            return target.read_bytes()

    def open(self, path: str) -> BinaryIO:
        """Open the file."""
        target = self._at(path)
        with _told(self.name, target):
            return target.open("rb")

    def delete(self, path: str) -> None:
        """Unlink the file."""
        target = self._at(path)
        with _told(self.name, target):
            target.unlink(missing_ok=True)

    def url(self, path: str) -> str:
        """``file://`` or what is configured."""
        return f"{self.settings.url.rstrip('/')}/{path}" if self.settings.url else self._at(path).as_uri()

    def s3(self) -> Any:
        """There is none."""
        raise Discard(f"store {self.name!r} is a directory, no bucket")

    def _at(self, path: str) -> Path:
        return self.directory / checked(path)


class BucketStore:
    """A store in a bucket of an S3-compatible service."""

    def __init__(self, name: str, settings: StoreSettings) -> None:
        self.name, self.settings = name, settings
        self._lock = threading.Lock()
        self._client: Any = None
        self.s3()

    def put(self, path: str, content: bytes | Path, content_type: str = "application/octet-stream") -> Stored:
        """One PUT, or a multipart upload for a large file: visible when complete."""
        with _source(content) as source:
            size, digest = _copy(source, None)
            source.seek(0)
            with self._told(path):
                if size <= 8 * _BLOCK:
                    self.s3().put_object(
                        Bucket=self.settings.bucket,
                        Key=self._key(path),
                        Body=source.read(),
                        ContentType=content_type,
                    )
                else:
                    self.s3().upload_fileobj(
                        source,
                        self.settings.bucket,
                        self._key(path),
                        ExtraArgs={"ContentType": content_type},
                    )
        return Stored(path, self.url(path), size, digest)

    def get(self, path: str) -> bytes:
        """Read the object."""
        with self._told(path):
            found = self.s3().get_object(Bucket=self.settings.bucket, Key=self._key(path))
            content: bytes = found["Body"].read()
            return content

    def open(self, path: str) -> BinaryIO:
        """The object, read into a temporary file, so that it can be sought in."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            with self._told(path):
                self.s3().download_fileobj(self.settings.bucket, self._key(path), file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def delete(self, path: str) -> None:
        """Delete the object; in a bucket with versions that leaves a marker."""
        with self._told(path):
            self.s3().delete_object(Bucket=self.settings.bucket, Key=self._key(path))

    def url(self, path: str) -> str:
        """``s3://`` or what is configured."""
        if self.settings.url:
            return f"{self.settings.url.rstrip('/')}/{checked(path)}"
        return f"s3://{self.settings.bucket}/{self._key(path)}"

    def s3(self) -> Any:
        """The client, made at the first call; boto3's clients are safe from threads, making one is not."""
        with self._lock:
            if self._client is None:
                self._client = _client(self.settings)
            return self._client

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _key(self, path: str) -> str:
        return f"{self.settings.prefix}{checked(path)}"

    @contextlib.contextmanager
    def _told(self, path: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        where = f"store {self.name!r}, s3://{self.settings.bucket}/{self._key(path)}"
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code == "NoSuchKey" or (status == 404 and code != "NoSuchBucket"):
                raise FileNotFoundError(errno.ENOENT, "no such object", where) from error
            if code in _DENIED or status in (401, 403):
                raise Discard(f"{where}: {code}: correct bucket and keys in [plugins.data.stores]") from error
            raise Retry(f"{where}: {code or status}") from error
        except NoCredentialsError as error:
            raise Discard(f"{where}: no credentials; set access_key_id and secret_access_key") from error
        except (BotoCoreError, Boto3Error) as error:
            raise Retry(f"{where}: {error}") from error


def checked(path: str) -> str:
    """A path within a store.

    Raises:
        ValueError: It is absolute, climbs, or is no plain path.
    """
    parts = path.split("/")
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is no path within a store: relative, no empty part, no '.' and '..'")
    return str(PurePosixPath(path))


def _client(settings: StoreSettings) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError:
        raise Discard("boto3 is not installed; pip install 'chatgenius-jobs-data[s3]'") from None
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url or None,
        region_name=settings.region or ("us-east-1" if settings.endpoint_url else None),
        aws_access_key_id=settings.access_key_id or None,
        aws_secret_access_key=settings.secret_access_key or None,
        config=Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 3},
            user_agent_extra="cgjobs",
            # Other makers' stores do not know the checksums that newer releases of boto3 add unasked.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextlib.contextmanager
def _source(content: bytes | Path) -> Iterator[BinaryIO]:
    if isinstance(content, bytes):
        yield io.BytesIO(content)
    else:
        with content.open("rb") as file:
            yield file


def _copy(source: BinaryIO, target: BinaryIO | None) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while block := source.read(_BLOCK):
        size += len(block)
        digest.update(block)
        if target is not None:
            target.write(block)
    return size, digest.hexdigest()


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)  # the rename itself survives a power cut
    finally:
        os.close(handle)


@contextlib.contextmanager
def _told(name: str, target: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        words = f"store {name!r}, '{target}': {error.strerror}"
        if error.errno in _HOPELESS:
            raise Discard(f"{words}; correct [plugins.data.stores.{name}] or its rights") from error
        raise Retry(words) from error
