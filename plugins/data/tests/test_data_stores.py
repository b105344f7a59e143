"""Named stores: a directory and a bucket do the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cgjobs import Discard, Retry
from cgjobs_data import Settings, Store, StoreSettings, open_store
from cgjobs_data.testing import S3Server


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind."""
    if request.param == "directory":
        return open_store(Settings(directory=tmp_path), "reports")
    server: S3Server = request.getfixturevalue("s3")
    return open_store(Settings(stores={"reports": server.store(prefix="reports/")}), "reports")


def test_what_was_put_is_got(store: Store, tmp_path: Path) -> None:
    stored = store.put("2026/usage.html", b"<h1>", "text/html")

    assert store.get("2026/usage.html") == b"<h1>"
    assert (stored.path, stored.bytes) == ("2026/usage.html", 4)
    assert stored.sha256 == hashlib.sha256(b"<h1>").hexdigest()
    assert stored.url.endswith("/reports/2026/usage.html")


def test_a_second_file_of_a_path_replaces_the_first(store: Store) -> None:
    store.put("a", b"first")
    store.put("a", b"second")

    with store.open("a") as file:
        assert file.read() == b"second"


def test_a_large_file_comes_from_the_disk(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(b"0123456789" * 1_000_000)

    stored = store.put("large.bin", source)

    assert stored.bytes == 10_000_000
    with store.open("large.bin") as file:
        assert hashlib.sha256(file.read()).hexdigest() == stored.sha256


def test_a_missing_file_is_not_found_and_may_be_deleted(store: Store) -> None:
    store.delete("nowhere")
    for look in (store.get, store.open):
        with pytest.raises(FileNotFoundError):
            look("nowhere")
    store.put("here", b"x")
    store.delete("here")
    with pytest.raises(FileNotFoundError):
        store.get("here")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b", "a\0b"])
def test_a_path_cannot_leave_the_store(store: Store, path: str) -> None:
    for use in (store.get, store.delete, lambda path: store.put(path, b"x")):
        with pytest.raises(ValueError, match="no path within a store"):
            use(path)


def test_a_failed_put_leaves_the_file_of_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(Settings(directory=tmp_path), "reports")
    store.put("a", b"first")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cgjobs_data.store.os.fsync", full)
    with pytest.raises(Retry, match="No space"):
        store.put("a", b"second")

    assert store.get("a") == b"first"
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["a"]


def test_an_unknown_store_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(Discard, match=r"no store is named 'x'.*reports, uploads"):
        open_store(Settings(directory=tmp_path), "x")
    only = Settings(stores={"archive": StoreSettings(directory=tmp_path)})
    with pytest.raises(Discard, match="there are: archive"):
        open_store(only, "reports")


def test_a_bucket_that_is_not_there_and_a_server_that_is_away_are_told(s3: S3Server) -> None:
    gone = open_store(Settings(stores={"x": s3.store(bucket="no-such-bucket")}), "x")
    away = StoreSettings(
        bucket="b",
        endpoint_url="http://127.0.0.1:1",
        access_key_id="a",
        secret_access_key="b",
    )
    with pytest.raises(Discard, match="NoSuchBucket"):
        gone.put("a", b"x")
    with pytest.raises(Retry, match=r"127\.0\.0\.1:1"):
        open_store(Settings(stores={"x": away}), "x").get("a")


def test_people_fetch_files_where_it_is_configured(tmp_path: Path, s3: S3Server) -> None:
    import attrs

    url = "https://files.example.com/reports/"
    for settings in (StoreSettings(directory=tmp_path, url=url), attrs.evolve(s3.store(), url=url)):
        store = open_store(Settings(stores={"r": settings}), "r")
        assert store.url("a/b.html") == "https://files.example.com/reports/a/b.html"


def test_only_a_bucket_has_a_client(tmp_path: Path, s3: S3Server) -> None:
    with pytest.raises(Discard, match="is a directory"):
        open_store(Settings(directory=tmp_path), "reports").s3()
    store = open_store(Settings(stores={"r": s3.store()}), "r")
    assert store.s3().list_objects_v2(Bucket=store.settings.bucket)["KeyCount"] == 0
