"""Objects below a prefix of an S3 bucket: listed page by page, deleted with an answer for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import attrs

from cgjobs import Discard, Retry

PAGE = 1_000
"""Most keys that S3 lists or deletes in one request."""
_GONE = {"NoSuchKey", "NoSuchVersion"}
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict"}
_HOPELESS = {
    "NoSuchBucket": "make the bucket, or correct its name",
    "InvalidAccessKeyId": "correct the keys",
    "SignatureDoesNotMatch": "correct the keys",
    "InvalidToken": "correct the keys",
    "AccessDenied": "allow s3:ListBucket, s3:ListBucketVersions, s3:DeleteObject and s3:DeleteObjectVersion",
    "AllAccessDisabled": "ask the provider",
    "PermanentRedirect": "correct region or endpoint_url",
    "AuthorizationHeaderMalformed": "correct the region",
    "InvalidBucketName": "correct the bucket's name",
}


class Entry(NamedTuple):  # a tuple, since a hundred thousand of them may wait in memory
    """An object, one version of it, or a delete marker.

    Args:
        modified: When it was written, aware.
        path: Its key below the prefix.
        size: In bytes; 0 for a marker.
        etag: What identifies its contents; empty for a marker.
        version: Which version; empty for whichever is current.
        marker: Whether it is a delete marker.
        latest: Whether it is what the key stands for now.
    """

    modified: datetime
    path: str
    size: int
    etag: str
    version: str = ""
    marker: bool = False
    latest: bool = True


@attrs.frozen
class Answer:
    """What became of one entry.

    Args:
        entry: Which.
        code: What S3 calls the reason why it stays; empty when it is gone.
        marked: Whether it was only hidden: the bucket keeps versions, and no space is freed.
    """

    entry: Entry
    code: str = ""
    marked: bool = False

    @property
    def changed(self) -> bool:
        """Whether it stays because it is another object by now."""
        return self.code in _CHANGED


class Bucket:
    """What is below a prefix; safe to use from several threads.

    Args:
        client: Of boto3.
        name: The bucket.
        prefix: What each key begins with, such as ``uploads/``.
        store: The store's name, for messages.
    """

    def __init__(self, client: Any, name: str, prefix: str, store: str) -> None:
        self._client, self._name, self._prefix, self._store = client, name, prefix, store

    def objects(self) -> Iterator[Entry]:
        """The current objects by key, each once, in constant memory.

        Deleting meanwhile is fine: each page begins after the last key of the one before.

        Raises:
            Retry: S3 does not answer, or its pages do not advance.
            Discard: It refuses.
        """
        last = ""
        while True:
            with self._told():
                page = self._client.list_objects_v2(
                    Bucket=self._name, Prefix=self._prefix, StartAfter=last, MaxKeys=PAGE
                )
            before = last
            for found in page.get("Contents", ()):
                if found["Key"].encode() > last.encode():  # some servers list a key twice while others go
                    last = found["Key"]
                    if path := last[len(self._prefix) :]:
                        yield Entry(found["LastModified"], path, found["Size"], found.get("ETag", ""))
            if not page.get("IsTruncated"):
                return
            if last == before:
                raise Retry(f"store {self._store!r} lists the same keys again after {last!r}")

    def keys(self) -> Iterator[list[Entry]]:
        """All versions and delete markers, key by key, each key's newest first.

        Raises:
            Retry, Discard: As `objects`.
        """
        for _, entries in groupby(self._versions(), key=lambda entry: entry.path):
            yield sorted(entries, key=lambda entry: (entry.latest, entry.modified), reverse=True)

    def delete(self, entries: Sequence[Entry]) -> list[Answer]:
        """Delete up to 1,000 entries; what is gone already counts as deleted.

        Raises:
            Retry: S3 does not answer.
            Discard: It refuses.
        """
        if not entries:
            return []
        with self._told():
            reply = self._client.delete_objects(
                Bucket=self._name, Delete={"Objects": [self._identifier(entry) for entry in entries]}
            )
        refused = {
            (e.get("Key"), e.get("VersionId", "")): e.get("Code", "Unknown") for e in reply.get("Errors", ())
        }
        marked = {
            d["Key"] for d in reply.get("Deleted", ()) if d.get("DeleteMarker") and not d.get("VersionId")
        }
        answers = []
        for entry in entries:
            key = self._prefix + entry.path
            code = refused.get((key, entry.version), refused.get((key, ""), "") if entry.version else "")
            hidden = not entry.version and key in marked
            answers.append(Answer(entry, "" if code in _GONE else code, hidden))
        return answers

    def _versions(self) -> Iterator[Entry]:
        key_marker = version_marker = ""
        while True:
            with self._told():
                page = self._client.list_object_versions(
                    Bucket=self._name,
                    Prefix=self._prefix,
                    MaxKeys=PAGE,
                    **({"KeyMarker": key_marker} if key_marker else {}),
                    **({"VersionIdMarker": version_marker} if version_marker else {}),
                )
            found = [(item, False) for item in page.get("Versions", ())]
            found += [(item, True) for item in page.get("DeleteMarkers", ())]
            for item, marker in sorted(found, key=lambda pair: pair[0]["Key"].encode()):
                if path := item["Key"][len(self._prefix) :]:
                    yield Entry(
                        item["LastModified"],
                        path,
                        item.get("Size", 0),
                        "" if marker else item.get("ETag", ""),
                        item["VersionId"],
                        marker,
                        item["IsLatest"],
                    )
            if not page.get("IsTruncated"):
                return
            following = (page.get("NextKeyMarker", ""), page.get("NextVersionIdMarker", ""))
            if following[0].encode() < key_marker.encode() or following == (key_marker, version_marker):
                raise Retry(f"store {self._store!r} lists the same versions again after {key_marker!r}")
            key_marker, version_marker = following

    def _identifier(self, entry: Entry) -> dict[str, str]:
        identifier = {"Key": self._prefix + entry.path}
        if entry.version:
            return identifier | {"VersionId": entry.version}
        # Servers that know conditional deletes spare an object that was written again since it was listed.
        return identifier | ({"ETag": entry.etag} if entry.etag else {})

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        where = f"store {self._store!r}, s3://{self._name}/{self._prefix}"
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _HOPELESS:
                raise Discard(f"{where}: {code}; {_HOPELESS[code]}") from error
            raise Retry(f"{where}: {code or error}") from error
        except NoCredentialsError as error:
            raise Discard(f"{where}: no credentials; set access_key_id and secret_access_key") from error
        except BotoCoreError as error:
            raise Retry(f"{where}: {error}") from error


def batched(entries: Iterable[Entry], size: int = PAGE) -> Iterator[list[Entry]]:
    """Lists of at most ``size``."""
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch
