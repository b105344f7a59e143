"""`cleanup.files` in a bucket, on two servers that speak S3."""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs import Discard, JobCancelled, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Files, FilesResult, Policy, Settings, StoreRoot, bucket, bucket_sweep
from cgjobs_cleanup.handlers import files, logs
from cgjobs_cleanup.payloads import Logs
from cgjobs_data import Settings as DataSettings
from cgjobs_data import StoreSettings, open_store
from cgjobs_data.testing import S3Server

LATER = datetime.now(UTC) + timedelta(days=60)
"""When the jobs are enqueued: all that the tests put is old by then."""
MONTH = timedelta(days=30)


@pytest.fixture
def store(s3: S3Server) -> StoreSettings:
    return s3.store(prefix="up/")


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A second server, written by others in another language; skipped where there is no rclone."""
    found = shutil.which("rclone")
    if found is None:
        pytest.skip("there is no rclone on the PATH; .ci/run fetches it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = tmp_path_factory.mktemp("rclone")
    command = [
        found,
        "serve",
        "s3",
        str(root),
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        "testing,testing",
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                break
    yield S3Server(f"http://127.0.0.1:{port}")
    process.kill()
    process.wait()


@pytest.fixture(params=["moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue("s3" if request.param == "moto" else "rclone")
    return found


@functools.cache
def client_of(server: S3Server) -> Any:
    """One client for a server: making one takes longer than most tests here."""
    return server.client()


@functools.cache
def opened(settings: StoreSettings) -> Any:
    return open_store(DataSettings(stores={"s3": settings}), "s3")


def context(store: StoreSettings, *, enqueued: datetime = LATER, **options: Any) -> RecordingContext:
    settings = options.pop("settings", Settings(roots={"uploads": StoreRoot("s3")}))
    uses: dict[Any, Any] = {} if store.directory else {open_store: opened(store)}
    ctx = RecordingContext(settings=[settings, DataSettings(stores={"s3": store})], uses=uses, **options)
    ctx.job = attrs.evolve(ctx.job, created_at=enqueued)
    return ctx


def clean(store: StoreSettings, ctx: RecordingContext | None = None, **fields: Any) -> FilesResult:
    payload: dict[str, Any] = {"root": "uploads", "age": MONTH, "max_fraction": 1.0} | fields
    with ctx or context(store) as ctx:
        return files(Files(**payload), ctx)


def put(server: S3Server, store: StoreSettings, *paths: str, body: bytes = b"0123456789") -> None:
    client = client_of(server)
    for path in paths:
        client.put_object(Bucket=store.bucket, Key=store.prefix + path, Body=body)


def left(server: S3Server, store: StoreSettings) -> set[str]:
    client = client_of(server)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket)
    found = {item["Key"] for page in pages for item in page.get("Contents", ())}
    return found


def versions(server: S3Server, store: StoreSettings) -> tuple[int, int]:
    """How many versions and delete markers there are."""
    client = client_of(server)
    page = client.list_object_versions(Bucket=store.bucket)
    return len(page.get("Versions", ())), len(page.get("DeleteMarkers", ()))


def keep_versions(server: S3Server, store: StoreSettings) -> None:
    client = client_of(server)
    client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Enabled"})


def test_old_objects_below_the_prefix_go_and_nothing_else(server: S3Server) -> None:
    store = server.store(prefix="up/")
    put(server, store, "a.png", "b/c.png", "b/d.txt", ".hidden", ".git/e.png")
    put(server, attrs.evolve(store, prefix="other/"), "a.png")

    result = clean(store, pattern=("*.png",))

    assert left(server, store) == {"up/b/d.txt", "up/.hidden", "up/.git/e.png", "other/a.png"}
    assert (result.scanned, result.matched, result.deleted, result.bytes_freed) == (5, 2, 2, 20)
    assert (result.skipped.unselected, result.delete_markers) == (3, 0)
    assert result.samples == ("a.png", "b/c.png")


def test_young_objects_stay(s3: S3Server, store: StoreSettings) -> None:
    put(s3, store, "a")

    result = clean(store, context(store, enqueued=datetime.now(UTC)))

    assert (result.deleted, result.skipped.young) == (0, 1)
    assert left(s3, store) == {"up/a"}


def test_more_objects_than_a_page_and_than_memory_holds_all_go(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "PAGE", 20)
    monkeypatch.setattr(bucket_sweep, "PAGE", 20)
    monkeypatch.setattr(bucket_sweep, "HELD", 30)
    store = server.store(prefix="up/")
    put(server, store, *(f"{number:03}.png" for number in range(50)), "keep.txt")

    result = clean(store, pattern=("*.png",))

    assert left(server, store) == {"up/keep.txt"}
    assert (result.scanned, result.matched, result.deleted) == (51, 50, 50)


def test_a_dry_run_counts_the_same_and_deletes_nothing(s3: S3Server, store: StoreSettings) -> None:
    put(s3, store, "a", "b")

    plan = clean(store, dry_run=True)
    assert left(s3, store) == {"up/a", "up/b"}
    result = clean(store)

    assert (plan.matched, plan.deleted, plan.bytes_freed, plan.samples) == (
        result.matched,
        result.deleted,
        result.bytes_freed,
        result.samples,
    )


def test_where_versions_are_kept_hiding_an_object_frees_nothing_and_says_so(
    s3: S3Server, store: StoreSettings
) -> None:
    keep_versions(s3, store)
    put(s3, store, "a", "a", "b")

    result = clean(store)

    assert (result.deleted, result.bytes_freed, result.delete_markers) == (2, 0, 2)
    assert left(s3, store) == set()
    assert versions(s3, store) == (3, 2)


def test_all_versions_of_an_old_object_go_with_their_markers(s3: S3Server, store: StoreSettings) -> None:
    keep_versions(s3, store)
    put(s3, store, "a", "a", "b", "keep.txt")
    client = client_of(s3)
    client.delete_object(Bucket=store.bucket, Key="up/b")

    result = clean(store, versions="all", pattern=("?",))

    assert (result.matched, result.deleted, result.bytes_freed) == (2, 2, 30)
    assert versions(s3, store) == (1, 0)


class FakeBucket(bucket.Bucket):
    """A bucket with exact times, which a server gives to a second."""

    def __init__(self, *keys: list[bucket.Entry]) -> None:
        self._keys, self.deleted = keys, list[bucket.Entry]()

    def keys(self) -> Iterator[list[bucket.Entry]]:
        yield from self._keys

    def objects(self) -> Iterator[bucket.Entry]:
        yield from (entries[0] for entries in self._keys)

    def delete(self, entries: Any) -> list[bucket.Answer]:
        self.deleted.extend(entries)
        return [bucket.Answer(entry) for entry in entries]


def sweep(there: FakeBucket, **fields: Any) -> FilesResult:
    payload = Files(**{"root": "uploads", "age": MONTH, "max_fraction": 1.0} | fields)
    return bucket_sweep.BucketSweep(
        there, payload, RecordingContext(), cutoff=LATER - MONTH, clock=lambda: 0.0
    ).run()


def test_of_a_young_object_only_the_old_versions_go() -> None:
    young = bucket.Entry(LATER, "a", 10, "", "v2")
    old = bucket.Entry(LATER - MONTH * 2, "a", 10, "", "v1", latest=False)
    there = FakeBucket([young, old])

    sweep(there, versions="all")

    assert there.deleted == [old]


def test_the_oldest_go_first_up_to_max_items() -> None:
    days = {"c": 50, "a": 40, "b": 60, "d": 5}
    there = FakeBucket(*([bucket.Entry(LATER - timedelta(days=n), key, 1, "")] for key, n in days.items()))

    result = sweep(there, order="oldest_first", max_items=2)

    assert [entry.path for entry in there.deleted] == ["b", "c"]
    assert (result.deleted, result.stopped_by) == (2, "max_items")


def test_more_than_can_be_sorted_is_refused_and_deleted_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_sweep, "HELD", 1)
    there = FakeBucket(*([bucket.Entry(LATER - MONTH * 2, key, 1, "")] for key in "abc"))

    with pytest.raises(Discard, match="choose order any"):
        sweep(there, order="oldest_first")
    assert sweep(there).deleted == 3


def test_a_locked_version_stays_counted_and_nothing_older_comes_to_light(s3: S3Server) -> None:
    store = s3.store(bucket=s3.bucket(ObjectLockEnabledForBucket=True))
    put(s3, store, *(f"{number:02}" for number in range(15)), "held", "held")
    client = client_of(s3)
    page = client.list_object_versions(Bucket=store.bucket, Prefix="held")
    oldest = next(version["VersionId"] for version in page["Versions"] if not version["IsLatest"])
    client.put_object_legal_hold(
        Bucket=store.bucket, Key="held", VersionId=oldest, LegalHold={"Status": "ON"}
    )
    client.delete_object(Bucket=store.bucket, Key="held")

    result = clean(store, versions="all")

    assert (result.matched, result.deleted, result.errors_total) == (16, 15, 1)
    assert [(error.path, error.code) for error in result.errors] == [("held", "AccessDenied")]
    assert left(s3, store) == set()
    assert versions(s3, store) == (1, 1)


def test_when_more_than_a_tenth_is_locked_the_job_is_tried_again(s3: S3Server) -> None:
    store = s3.store(bucket=s3.bucket(ObjectLockEnabledForBucket=True))
    put(s3, store, "held")
    client = client_of(s3)
    client.put_object_legal_hold(Bucket=store.bucket, Key="held", LegalHold={"Status": "ON"})

    with pytest.raises(Retry, match="AccessDenied for 'held'"):
        clean(store, versions="all")


def test_an_object_written_again_since_the_listing_is_not_an_error() -> None:
    entry = bucket.Entry(LATER, "a", 1, '"e"')

    class Client:
        def delete_objects(self, **request: Any) -> Any:
            assert request["Delete"]["Objects"] == [{"Key": "up/a", "ETag": '"e"'}]
            return {"Errors": [{"Key": "up/a", "Code": "PreconditionFailed"}]}

    (answer,) = bucket.Bucket(Client(), "bucket", "up/", "s3").delete([entry])

    assert answer.changed


def test_keys_listed_twice_count_once_and_a_listing_that_stands_still_is_a_retry() -> None:
    class Client:
        pages = [["a", "b"], ["a", "b", "c"], ["c"]]

        def list_objects_v2(self, **request: Any) -> Any:
            found = [{"Key": key, "LastModified": LATER, "Size": 1} for key in self.pages.pop(0)]
            return {"Contents": found, "IsTruncated": True}

    objects = bucket.Bucket(Client(), "bucket", "", "s3").objects()

    assert [next(objects).path for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(Retry, match="lists the same keys again after 'c'"):
        next(objects)


def test_more_than_the_fraction_is_refused(s3: S3Server, store: StoreSettings) -> None:
    put(s3, store, "a", "b", "c.txt")

    with pytest.raises(Discard, match=r"2 of 3 objects of root 'uploads' \(67%\)"):
        clean(store, pattern=("?",), max_fraction=0.5)
    assert clean(store, pattern=("?",), max_fraction=0.5, confirm_fraction=True).deleted == 2


def test_a_long_run_goes_on_later_and_a_cancelled_one_ends(
    s3: S3Server, store: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_sweep, "PAGE", 2)
    put(s3, store, *"abcdef")
    seconds = iter(range(100))
    monkeypatch.setattr("cgjobs_cleanup.handlers.monotonic", lambda: next(seconds))

    with pytest.raises(Snooze, match="4 of 6 objects deleted, going on"):
        clean(store, max_duration=timedelta(seconds=2))
    with pytest.raises(JobCancelled):
        clean(store, context(store, cancel_after=1))
    assert clean(store).deleted == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bucket": "no-such-bucket"}, "NoSuchBucket; make the bucket"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "Could not connect"),
    ],
)
def test_a_bucket_that_cannot_be_had_is_told(
    s3: S3Server, store: StoreSettings, change: dict[str, Any], message: str
) -> None:
    with pytest.raises((Discard, Retry), match=message):
        clean(attrs.evolve(store, **change))


def test_a_root_in_a_store_that_is_a_directory_is_a_tree(tmp_path: Path) -> None:
    (tmp_path / "files" / "tmp").mkdir(parents=True)
    old = tmp_path / "files" / "tmp" / "old"
    old.write_bytes(b"x")
    settings = Settings(roots={"uploads": StoreRoot("s3", prefix="tmp/")})

    assert (
        clean(
            StoreSettings(directory=tmp_path / "files"),
            context(StoreSettings(directory=tmp_path / "files"), settings=settings),
        ).deleted
        == 1
    )
    assert not old.exists()


def test_a_root_in_no_known_store_is_refused_with_the_names(store: StoreSettings) -> None:
    ctx = context(store, settings=Settings(roots={"uploads": StoreRoot("s4")}))

    with pytest.raises(Discard, match=r"in store 's4', which \[plugins.data.stores\] lacks; there are: s3"):
        clean(store, ctx)


def test_the_floor_of_a_root_holds_in_a_bucket_too(store: StoreSettings) -> None:
    root = {"uploads": StoreRoot("s3")}
    ctx = context(store, settings=Settings(roots=root, policies={"uploads": Policy(MONTH * 2)}))

    with pytest.raises(Discard, match="below the 60 days"):
        clean(store, ctx)


def test_logs_in_a_bucket_are_a_job_for_files(store: StoreSettings) -> None:
    with pytest.raises(Discard, match="is a bucket"):
        logs(Logs("uploads", MONTH), context(store))


@pytest.mark.parametrize("prefix", ["/", "tmp", "../", "a//", "./"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="write it like 'tmp/'"):
        StoreRoot("s3", prefix=prefix)
