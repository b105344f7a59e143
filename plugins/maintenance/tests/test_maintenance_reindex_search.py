"""`maintenance.reindex` on a search server that keeps the contract; see `search_contract`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs import Discard, JobCancelled, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_data import Database
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Reindex, ReindexResult, Settings
from cgjobs_maintenance.handlers import reindex
from cgjobs_maintenance.search_rebuild import SearchRebuild
from cgjobs_maintenance.search_server import SearchServer
from cgjobs_maintenance.settings import SearchTarget
from plugins.maintenance.tests.search_contract import Index, Search, search_server

FIRST = datetime(2026, 11, 24, 1, tzinfo=UTC)


class Jobs:
    """A client that keeps what is enqueued."""

    def __init__(self) -> None:
        self.enqueued: list[tuple[Any, dict[str, Any]]] = []

    def enqueue(self, payload: Any, **options: Any) -> None:
        self.enqueued.append((payload, options))


@pytest.fixture
def server() -> Iterator[Search]:
    with search_server() as state:
        yield state


@pytest.fixture
def chat(demo_database: DataSettings) -> DataSettings:
    return demo_database


def context(
    server: Search, data: DataSettings, *, at: datetime = FIRST, jobs: Jobs | None = None, **options: Any
) -> RecordingContext:
    target = options.pop("target", None) or SearchTarget(server.url)
    ctx = RecordingContext(
        settings=[Settings(search={"messages": target}), data], client=jobs or Jobs(), **options
    )
    ctx.job = attrs.evolve(ctx.job, created_at=at)
    return ctx


def run(server: Search, data: DataSettings, payload: Reindex | None = None, **options: Any) -> ReindexResult:
    with context(server, data, **options) as ctx:
        return reindex(payload or Reindex("messages"), ctx)  # type: ignore[no-any-return]


def rows(data: DataSettings, where: str = "deleted_at IS NULL", table: str = "messages") -> int:
    with sqlite3.connect(data.demo_file) as db:
        found: int = db.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]
    db.close()
    return found


def test_an_index_is_built_from_the_rows_and_the_alias_made(server: Search, chat: DataSettings) -> None:
    with context(server, chat) as ctx:
        result: ReindexResult = reindex(Reindex("messages"), ctx)

    assert (result.docs_indexed, result.count_source, result.count_index) == (rows(chat),) * 3
    assert (result.swapped, result.old_index) == (True, None)
    assert server.aliases == {"messages": {"messages_v20261124010000"}}
    document = next(iter(server.found("messages").values()))
    assert {"id", "body", "channel", "author", "created_at"} <= set(document)
    assert datetime.fromisoformat(document["created_at"]).tzinfo is not None
    assert ctx.reports[-1].done == ctx.reports[-1].total == rows(chat)
    assert rows(chat, "deleted_at IS NOT NULL") >= 0


def test_deleted_rows_are_left_out(server: Search, chat: DataSettings) -> None:
    with sqlite3.connect(chat.demo_file) as db:
        (gone,) = db.execute("SELECT min(id) FROM messages").fetchone()
        db.execute("UPDATE messages SET deleted_at = created_at WHERE id = ?", (gone,))
    db.close()

    result = run(server, chat)

    assert result.count_source == rows(chat)
    assert str(gone) not in server.found("messages")


def test_the_alias_is_swapped_at_one_moment_and_the_old_index_stays_for_a_while(
    server: Search, chat: DataSettings
) -> None:
    first = run(server, chat)
    jobs = Jobs()

    second = run(
        server,
        chat,
        Reindex("messages", keep_old=timedelta(hours=3)),
        at=FIRST + timedelta(days=7),
        jobs=jobs,
    )

    old, new = first.indexes[0].name, second.indexes[0].name
    assert server.aliases == {"messages": {new}}
    assert second.old_index == old
    assert server.swaps[-1] == [
        {"remove": {"index": old, "alias": "messages"}},
        {"add": {"index": new, "alias": "messages"}},
    ]
    assert old in server.indexes
    ((payload, options),) = jobs.enqueued
    assert payload == Reindex("messages", drop_index=old)
    assert options == {"delay": timedelta(hours=3), "unique": f"drop:{old}"}

    dropped = run(server, chat, payload)

    assert dropped.indexes[0].outcome == "dropped"
    assert list(server.indexes) == [new]
    assert run(server, chat, payload).indexes[0].outcome == "dropped"  # again, and nothing happens


def test_an_old_index_that_the_alias_was_set_back_to_stays(server: Search, chat: DataSettings) -> None:
    old = run(server, chat).indexes[0].name
    run(server, chat, at=FIRST + timedelta(days=7))
    server.aliases["messages"] = {old}

    result = run(server, chat, Reindex("messages", drop_index=old))

    assert result.indexes[0].outcome == "in_use"
    assert old in server.indexes


def test_a_new_index_has_the_shape_of_the_old_one(server: Search, chat: DataSettings) -> None:
    mappings = {"properties": {"body": {"type": "text", "analyzer": "folded"}}}
    analysis = {"analyzer": {"folded": {"tokenizer": "standard", "filter": ["asciifolding"]}}}
    server.indexes["old"] = Index({"mappings": mappings, "settings": {"index": {"analysis": analysis}}})
    server.aliases["messages"] = {"old"}

    new = run(server, chat).indexes[0].name

    shape = server.indexes[new].shape
    assert shape["mappings"] == mappings
    assert shape["settings"]["index"] == {"analysis": analysis, "number_of_shards": "1"}


def test_a_mapping_may_be_given_as_a_file(server: Search, chat: DataSettings, tmp_path: Path) -> None:
    shape = {"mappings": {"properties": {"body": {"type": "text"}}}}
    (tmp_path / "messages.json").write_text(json.dumps(shape))
    target = SearchTarget(server.url, mapping=tmp_path / "messages.json")

    new = run(server, chat, target=target).indexes[0].name

    assert server.indexes[new].shape == shape


def test_documents_that_the_mapping_refuses_end_the_job_and_nothing_is_swapped(
    server: Search, chat: DataSettings
) -> None:
    server.indexes["old"] = Index({"mappings": {"properties": {"body": {"type": "integer"}}}})
    server.aliases["messages"] = {"old"}

    with pytest.raises(Discard, match=r"documents were refused: .*failed to parse field \[body\].*mapping"):
        run(server, chat)

    assert server.aliases == {"messages": {"old"}}
    assert list(server.indexes) == ["old"]


def test_no_payload_deletes_an_index_that_the_job_did_not_make(server: Search, chat: DataSettings) -> None:
    server.indexes["old"] = Index({})
    server.indexes["payroll"] = Index({})
    server.aliases["messages"] = {"old"}
    jobs = Jobs()

    with context(server, chat, jobs=jobs) as ctx:
        result: ReindexResult = reindex(Reindex("messages"), ctx)
    for name in ("payroll", "messages_v1", "messages_v*", "*"):
        with pytest.raises(Discard, match="is none that this job makes for 'messages'"):
            run(server, chat, Reindex("messages", drop_index=name))

    assert (result.old_index, jobs.enqueued) == ("old", [])
    assert "search_index_left" in [line.event for line in ctx.lines]
    assert {"old", "payroll"} <= set(server.indexes)


def test_an_attempt_after_the_swap_takes_search_away_from_nobody(server: Search, chat: DataSettings) -> None:
    first = run(server, chat)
    server.calls.clear()

    again = run(server, chat)  # the same job, whose checkpoint was lost

    assert again.indexes[0].name == first.indexes[0].name
    assert not [call for call in server.calls if call.startswith(("DELETE", "PUT"))]
    assert again.count_index == rows(chat)


def test_the_old_index_is_known_to_a_job_of_its_own_before_the_swap(
    server: Search, chat: DataSettings
) -> None:
    old = run(server, chat).indexes[0].name
    server.down["_aliases"] = 503
    jobs = Jobs()

    with pytest.raises(Retry):
        run(server, chat, at=FIRST + timedelta(days=7), jobs=jobs)

    assert [payload.drop_index for payload, _ in jobs.enqueued] == [old]
    server.down.clear()
    assert run(server, chat, jobs.enqueued[0][0]).indexes[0].outcome == "in_use"


def test_counts_that_differ_too_much_end_the_job_and_nothing_is_swapped(
    server: Search, chat: DataSettings
) -> None:
    server.indexes["old"] = Index({})
    server.aliases["messages"] = {"old"}
    server.loses = "7"

    with pytest.raises(Discard, match=r"more than max_count_drift 0\.10%; nothing was swapped"):
        run(server, chat)
    assert (server.aliases, list(server.indexes)) == ({"messages": {"old"}}, ["old"])

    result = run(server, chat, Reindex("messages", max_count_drift=0.5))

    assert result.swapped
    assert result.count_index is not None
    assert result.count_source is not None
    assert 0 < result.count_index < result.count_source


def test_a_busy_server_means_trying_again_and_the_next_attempt_goes_on(
    server: Search, chat: DataSettings
) -> None:
    payload = Reindex("messages", batch_size=500)
    with context(server, chat, cancel_after=3) as ctx, pytest.raises(JobCancelled):
        reindex(payload, ctx)
    server.busy = 1
    with (
        context(server, chat, checkpoint=ctx.checkpoints[-1]) as busy,
        pytest.raises(Retry, match="queue full"),
    ):
        reindex(payload, busy)
    before = server.bulks()

    result = run(server, chat, payload, checkpoint=ctx.checkpoints[-1])

    assert before == 4
    assert server.bulks() - before == -(-rows(chat) // 500) - 3
    assert result.docs_indexed == result.count_index == rows(chat)


def test_an_attempt_whose_checkpoint_was_lost_begins_anew(server: Search, chat: DataSettings) -> None:
    with context(server, chat, cancel_after=1) as ctx, pytest.raises(JobCancelled):
        reindex(Reindex("messages", batch_size=500), ctx)
    assert len(server.indexes) == 1

    assert run(server, chat).count_index == rows(chat)
    assert len(server.indexes) == 1


def test_after_max_duration_the_next_run_goes_on(server: Search, chat: DataSettings) -> None:
    payload = Reindex("messages", batch_size=1_000, max_duration=timedelta(seconds=2))
    ticks = iter([0.0, 1.0, 3.0])
    target = SearchTarget(server.url)
    with context(server, chat) as ctx, SearchServer("messages", target) as search:
        database = ctx.use(Database, chat)
        with pytest.raises(Snooze, match="2000 of"):
            SearchRebuild(search, target, database, payload, ctx, clock=lambda: next(ticks)).run()

    result = run(server, chat, payload, checkpoint=ctx.checkpoints[-1])

    assert result.docs_indexed == rows(chat)


def test_the_index_may_hold_other_rows_and_fewer_fields(server: Search, chat: DataSettings) -> None:
    target = SearchTarget(server.url, entity="users", alias="people", fields=("name",))

    result = run(server, chat, target=target)

    assert list(server.aliases) == ["people"]
    assert result.count_index == rows(chat, table="users")
    assert {frozenset(document) for document in server.found("people").values()} == {
        frozenset({"id", "name"})
    }


def test_a_field_that_the_table_lacks_is_named(server: Search, chat: DataSettings) -> None:
    target = SearchTarget(server.url, fields=("body", "colour"))

    with pytest.raises(
        Discard, match=r"\[plugins.maintenance.search.messages\] fields has colour, which messages"
    ):
        run(server, chat, target=target)


def test_an_index_in_the_place_of_the_alias_is_told(server: Search, chat: DataSettings) -> None:
    server.indexes["messages"] = Index({})

    with pytest.raises(
        Discard, match="'messages' is an index on search server 'messages', and must be an alias"
    ):
        run(server, chat)


@pytest.mark.parametrize(
    ("status", "kind"), [(503, Retry), (429, Retry), (500, Retry), (403, Discard), (400, Discard)]
)
def test_an_answer_is_classified(
    server: Search, chat: DataSettings, status: int, kind: type[Exception]
) -> None:
    server.down["/_bulk"] = status

    with pytest.raises(kind, match=f"answered {status} to POST"):
        run(server, chat)


def test_a_server_that_is_away_means_trying_again_later(chat: DataSettings) -> None:
    with pytest.raises(Retry, match="search server 'messages' does not answer"):
        run(Search(url="http://127.0.0.1:1"), chat)


def test_a_wrong_password_ends_the_job_and_is_not_shown(server: Search, chat: DataSettings) -> None:
    server.login = "elastic:right"
    wrong = SearchTarget(server.url, username="elastic", password="s3cret")

    with pytest.raises(Discard, match=r"answered 401 .*correct its username and password") as caught:
        run(server, chat, target=wrong)

    assert "s3cret" not in str(caught.value) + repr(wrong)
    assert run(server, chat, target=attrs.evolve(wrong, password="right")).swapped


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://x"},
        {"url": "http://"},
        {"url": "http://elastic:secret@host:9200"},
        {"url": "http://host", "alias": "Messages"},
        {"url": "http://host", "alias": "_all"},
    ],
)
def test_a_search_server_that_is_configured_wrongly_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        SearchTarget(**fields)


def test_names_of_indexes_are_for_databases(server: Search, chat: DataSettings) -> None:
    with pytest.raises(Discard, match="indexes names nothing on a search server"):
        run(server, chat, Reindex("messages", indexes=("x",)))


@pytest.mark.parametrize(
    "fields",
    [
        {"indexes": ()},
        {"lock_timeout": timedelta(hours=1)},
        {"keep_old": timedelta(days=31)},
        {"batch_size": 1},
        {"max_count_drift": 1.5},
        {"max_duration": timedelta(0)},
    ],
)
def test_a_payload_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Reindex("messages", **fields)
