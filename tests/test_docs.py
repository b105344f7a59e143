"""The documentation is true: every snippet runs, and the reference pages say what the code does."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import attrs
import cyclopts
import pytest
from prometheus_client.core import CounterMetricFamily

import cgjobs
from cgjobs import Backoff, Client, Config, Processor, cli, errors, hookspecs, keys, loading, outcomes
from cgjobs.broker import Sender, library, moves
from cgjobs.builtin import logs as log_plugin
from cgjobs.builtin.metrics import BUCKETS, FleetCollector
from cgjobs.cli.enqueue import _OUR_FLAGS, _OUR_OPTIONS
from cgjobs.cli.exits import exit_code
from cgjobs.cli.job_options import JOB_OPTIONS
from cgjobs.config import QueueConfig
from cgjobs.environment import OTHER_VARIABLES
from cgjobs.event import EventName
from cgjobs.model import JobState, Priority
from cgjobs.testing import RecordingContext
from cgjobs.worker import Worker, WorkerHandle
from tests import jobs
from tests.conftest import ServerFactory
from tests.docs_pages import (
    PAGES,
    ROOT,
    Runner,
    Snippet,
    check_text,
    commands,
    rows,
    sections,
    slug,
    snippets,
)

REFERENCE = ROOT / "docs" / "reference"
SOURCE = Path(cgjobs.__file__).parent
TUTORIAL = ROOT / "docs" / "tutorial" / "first-plugin.md"
RUN = [page for page in PAGES if any(s.language in ("python", "console") for s in snippets(page))]
EVERY = [snippet for page in PAGES for snippet in snippets(page)]


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's directories of the test's own, and no configuration from outside."""
    for name in [name for name in os.environ if name.startswith(("REDIS_", "CGJOBS_"))]:
        if name != "CGJOBS_TEST_SERVER":
            monkeypatch.delenv(name)
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        place = tmp_path / variable.lower()
        place.mkdir()
        monkeypatch.setenv(variable, str(place))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "page"
    place.mkdir()
    return place


# Snippets


@pytest.mark.parametrize("page", [page for page in RUN if page != TUTORIAL], ids=relative)
def test_every_snippet_of_a_page_runs(
    page: Path,
    folder: Path,
    home: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(folder)  # for the modules that a page writes
    brings_a_broker = any(s.info == "background" and "cgjobs dev" in s.text for s in snippets(page))
    environ = {} if brings_a_broker else {"REDIS_URL": request.getfixturevalue("redis_url")}

    Runner(folder, environ).run(page)


def test_the_tutorial_works_from_an_empty_folder(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "src").mkdir()
    monkeypatch.syspath_prepend(folder / "src")
    names: dict[str, Any] = {}
    try:
        Runner(folder, {"PYTHONPATH": str(folder / "src")}).run(TUTORIAL)
        exec((folder / "test_greeting.py").read_text(), names)
        settings = importlib.import_module("cgjobs_greeting").Settings()
        names["RecordingContext"] = lambda: RecordingContext(settings=[settings])  # of the second half

        names["test_it_greets_by_name"]()
    finally:
        sys.modules.pop("cgjobs_greeting", None)


@pytest.mark.parametrize("snippet", EVERY, ids=lambda snippet: snippet.place)
def test_every_block_is_what_it_says(snippet: Snippet, tmp_path: Path) -> None:
    check_text(snippet, tmp_path)


def test_the_plugin_of_the_readme_is_the_example() -> None:
    example = (ROOT / "examples/slack/src/cgjobs_slack/__init__.py").read_text()

    assert example in [snippet.text for snippet in snippets(ROOT / "README.md")]
    assert example.count("\n") == 39, "the README says: a plugin in 39 lines"


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            other = (page.parent / path).resolve() if path else page
            if not other.exists():
                broken.append(f"{relative(page)}: {target}")
                continue
            headings = re.findall(r"^#+ (.+)$", other.read_text("utf-8"), re.MULTILINE) if anchor else []
            if anchor and anchor not in map(slug, headings):
                broken.append(f"{relative(page)}: {target} has no such heading")
    assert not broken


def test_every_page_is_linked_from_the_index_and_the_readme() -> None:
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - {ROOT / "docs" / "README.md"}
    for index in (ROOT / "docs" / "README.md", ROOT / "README.md"):
        targets = re.findall(r"\]\(([^)\s]+\.md)\)", index.read_text("utf-8"))
        linked = {(index.parent / target).resolve() for target in targets}
        assert pages <= linked, index


def test_no_page_names_a_command_an_option_or_a_metric_that_does_not_exist(redis_url: str) -> None:
    known = {" ".join(path): options for path, options in command_tree().items()}
    names = {f"{n}{end}" for n, *_ in metrics(redis_url) for end in ("", "_bucket", "_count", "_sum")}
    names |= {name for name in vars(hookspecs) if name.startswith("cgjobs_")}
    wrong = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for word in set(re.findall(r"(?<![\w.{/])cgjobs_[a-z_]+(?![\w.]*/)", text)):
            package = word in {
                "cgjobs_slack",
                "cgjobs_greeting",
                "cgjobs_cleanup",
                "cgjobs_data",
                "cgjobs_notification",
            }
            if word not in names and not package:
                wrong.append(f"{relative(page)}: {word}")
        for words in re.findall(r"`cgjobs ([a-z][^`]*)`", text):
            first, second = (*words.split(), "", "")[:2]
            command = f"{first} {second}" if f"{first} {second}" in known else first
            flags = {word.partition("=")[0] for word in words.split() if word.startswith("--")}
            if words in {"job", "queue", "config", "data"}:
                continue  # a noun with commands of its own
            everywhere = {"--help", "--config", "--debug", *(flags if command == "enqueue" else ())}
            if command not in known or flags - known[command] - everywhere:
                wrong.append(f"{relative(page)}: cgjobs {words}")
    assert not wrong


# Reference: hooks, errors, events, metrics


def test_every_hook_has_its_heading() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("cgjobs_")]

    assert list(sections(REFERENCE / "hooks.md")) == hooks
    for name, text in sections(REFERENCE / "hooks.md").items():
        parameters = inspect.signature(getattr(hookspecs, name)).parameters
        signature = re.search(rf"`{name}\(([^)]*)\)", text)
        assert signature, name
        assert [part.split(":")[0].strip() for part in signature[1].split(",") if part] == list(parameters)


def test_the_examples_of_the_hooks_are_one_plugin_that_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("acme_jobs")
    monkeypatch.setitem(sys.modules, "acme_jobs", module)
    for snippet in snippets(REFERENCE / "hooks.md"):
        if snippet.language == "python":
            exec(snippet.text, vars(module))

    registry = cgjobs.plugins.load(found=(), extra=[("acme", module)], strict=True)

    assert set(registry.subtypes) == {"acme.tidy"}
    assert set(registry.processors) == {"acme"}


def test_the_hooks_page_names_what_a_worker_handle_has() -> None:
    text = sections(REFERENCE / "hooks.md")["cgjobs_worker_start"]
    for field in attrs.fields(WorkerHandle):
        assert f"`{field.name}`" in text


def test_the_tree_of_errors_is_the_codes() -> None:
    assert errors.__doc__ is not None
    tree = inspect.cleandoc(errors.__doc__).partition("::\n\n")[2]
    [shown] = [s.text for s in snippets(REFERENCE / "errors.md") if s.language == "text"]

    assert shown == inspect.cleandoc(tree) + "\n"


def test_every_error_has_its_row_with_its_exit_code() -> None:
    classes = {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.CgjobsError) and not name.startswith("_")
    }
    table = {row[0]: row for row in rows((REFERENCE / "errors.md").read_text("utf-8")) if len(row) == 4}

    assert set(table) == set(classes)
    for name, cls in classes.items():
        assert int(table[name][2]) == exit_code(_made(cls)), name
        own = [base for base in cls.__mro__ if base.__module__ == errors.__name__]
        source = "".join(map(inspect.getsource, own))
        for attribute in filter(None, table[name][1].split(", ")):
            assert f"self.{attribute}" in source or f", self.{attribute}" in source, (name, attribute)


def _made(cls: type[errors.CgjobsError]) -> errors.CgjobsError:
    own = [base for base in cls.__mro__ if base.__module__ == errors.__name__]
    if not any("__init__" in vars(base) for base in own):
        return cls("x")
    return cls(*("x" for p in inspect.signature(cls).parameters.values() if p.default is p.empty))


def test_every_way_for_a_handler_to_end_has_its_row() -> None:
    text = sections(REFERENCE / "errors.md")["What a handler raises"]
    found = {name: cls for name, cls in vars(outcomes).items() if isinstance(cls, type)}
    classes = [name for name, cls in found.items() if issubclass(cls, BaseException)]

    assert {re.split(r"\W", row[0])[0] for row in rows(text)} == set(classes)


def test_every_event_has_its_row_with_its_level() -> None:
    table = {row[0]: row[1] for row in rows(sections(REFERENCE / "events-and-logs.md")["Events"])}
    levels = {name: log_plugin._LEVELS.get(name, "info") for name in get_args(EventName)}
    levels = {name: "warn" if level == "warning" else level for name, level in levels.items()}

    assert table == levels


def test_the_kinds_of_events_in_redis_are_all_named() -> None:
    lua = "".join(path.read_text() for path in SOURCE.glob("functions/*.lua"))
    kinds = set(re.findall(r"publish\(\{\{'(\w+)'", lua)) | set(re.findall(r"events \+ 1\] = \{'(\w+)'", lua))
    done = re.search(r"local DONE = \{(.*?)\}", lua, re.DOTALL)
    assert done
    kinds |= set(re.findall(r"= '(\w+)'", done[1]))
    text = sections(REFERENCE / "events-and-logs.md")["The events in Redis"]

    assert kinds <= set(re.findall(r"`(\w+)`", text))


def metrics(url: str) -> list[tuple[str, str, list[str]]]:
    """Name, type and labels of every metric of the fleet."""
    handle = type("Handle", (), {"config": jobs.config(url), "registry": jobs.registry()})()
    Client(handle.config, handle.registry).load_functions()
    collector = FleetCollector(handle)
    found = []
    for family in collector.collect():
        name = f"{family.name}_total" if isinstance(family, CounterMetricFamily) else family.name
        found.append((name, family.type, list(getattr(family, "_labelnames", ()))))
    collector.close()
    return found


def test_every_metric_has_its_row(redis_url: str) -> None:
    text = (REFERENCE / "metrics.md").read_text("utf-8")
    table = [(row[0], row[1], [x for x in row[2].split(", ") if x]) for row in rows(text) if len(row) == 4]

    assert sorted(table) == sorted(metrics(redis_url))
    assert f"in seconds: {', '.join(f'{bound:g}' for bound in BUCKETS)}." in text


# Reference: configuration


def test_every_setting_has_its_row_with_its_default() -> None:
    config = attrs.evolve(Config(), queues={"<name>": QueueConfig("<name>")}, schedules={})
    wanted = {setting.key: setting.value for setting in loading.show(config)}
    pages = [row for row in rows((REFERENCE / "configuration.md").read_text("utf-8")) if len(row) == 4]
    table = {row[0]: row[2] for row in pages if row[0] == "env" or re.match(r"[a-z]+\.", row[0])}
    schedules = {key: table.pop(key) for key in list(table) if key.startswith("schedules.")}

    assert table.pop("plugins.block") == "(empty)"
    assert wanted.pop("plugins.block") == ""
    assert table == wanted
    assert schedules == {
        "schedules.<name>.cron": "",
        "schedules.<name>.timezone": "UTC",
        "schedules.<name>.enabled": "true",
    }


def test_the_two_profiles_are_those_of_the_code() -> None:
    table = rows(sections(REFERENCE / "configuration.md")["The two profiles"])
    development, production = Config.development(), Config.production()
    theirs = production.queues
    queues = [row for row in table if len(row) == 5]
    schedules = [row for row in table if len(row) == 3]

    assert {row[0]: tuple(map(int, row[1:])) for row in queues} == {
        name: (mine.concurrency, mine.attempts, theirs[name].concurrency, theirs[name].attempts)
        for name, mine in development.queues.items()
    }
    for profile in (development, production):
        assert {row[0]: (row[1], row[2]) for row in schedules} == {
            name: (cron.expression, cron.timezone) for name, cron in profile.schedules.items()
        }
        backoffs = {queue.backoff for queue in profile.queues.values()}
        assert backoffs == {Backoff.exponential(timedelta(seconds=1))}


def test_every_variable_is_named() -> None:
    text = (REFERENCE / "configuration.md").read_text("utf-8")
    named = set(re.findall(r"\b(?:REDIS|CGJOBS)_[A-Z_]+\b", text))
    for variable in OTHER_VARIABLES:
        assert variable in named
    everywhere = "".join(page.read_text("utf-8") for page in PAGES)
    found = set(re.findall(r"\b(?:REDIS|CGJOBS)_[A-Z_]*[A-Z]\b", everywhere)) - OTHER_VARIABLES
    for variable in found - {"REDIS_URL", "CGJOBS_API"}:
        key = variable.removeprefix("CGJOBS_").removesuffix("_FILE").lower()
        assert key.startswith("plugins_") or loading.path_of(loading.Layout, key), variable


# Reference: what is in Redis


def defined() -> dict[str, str]:
    """The server-side functions with their flags."""
    return dict(re.findall(r"define\('(\w+)', \{([^}]*)\}", library.source()))


def test_every_function_has_its_heading_and_its_row() -> None:
    page = REFERENCE / "functions.md"
    table = {row[0]: row[1] for row in rows(page.read_text("utf-8"))}

    assert set(sections(page)) == set(defined())
    assert table == {name: "yes" if "allow-oom" in flags else "no" for name, flags in defined().items()}
    assert f"`{library.NAME}`" in page.read_text("utf-8")
    assert f"`{library.PREFIX}`" in page.read_text("utf-8")


def test_every_key_has_its_row() -> None:
    found = [row[0] for row in rows(sections(REFERENCE / "wire-format.md")["Keys"])]
    shown = {re.sub(r"<\w+>", "X", key) for key in found}
    wanted = {value for name, value in vars(keys).items() if name.isupper()}
    for function in vars(keys).values():
        if inspect.isfunction(function) and function.__module__ == keys.__name__:
            wanted.add(function("X"))
    wanted.add(keys.waiting("X", Priority.CRITICAL))
    lua = "".join(path.read_text() for path in SOURCE.glob("functions/*.lua"))
    wanted |= {f"{key}X" for key in re.findall(r"'(cgjobs:calls:|cgjobs:set-aside:)'", lua)}

    assert {key.replace("X:X", "X") for key in shown} == wanted


KEPT = cgjobs.Keep(timedelta(days=1), count=10)


@jobs.awaited
async def _fields(url: str, seen: set[str]) -> None:
    @cgjobs.subtype("work.note")
    async def note(payload: jobs.Note, ctx: cgjobs.Context) -> str:
        ctx.progress(1)
        if payload.text:
            raise ValueError(payload.text)
        return "done"

    async with jobs.at_work(url, note) as work:
        kept = await work.client.enqueue(jobs.Note(), keep_completed=timedelta(hours=1))
        options: dict[str, Any] = {
            "priority": "high",
            "job_id": "mine",
            "attempts": 2,
            "backoff": jobs.AT_ONCE,
        }
        failed = await work.client.enqueue(jobs.Note("bad"), timeout=timedelta(seconds=9), **options)
        bound = {"unique": "k", "expires": timedelta(hours=2), "keep_completed": KEPT, "keep_failed": KEPT}
        held = {"unique": "d", "debounce": timedelta(hours=1), "tags": ["a"]}
        later = await work.client.enqueue(jobs.Note(), delay=timedelta(hours=1), **bound)
        for _ in range(2):
            late = await work.client.enqueue(jobs.Note(), **held)
        await work.client.wait(kept)
        with contextlib.suppress(cgjobs.JobFailed):
            await work.client.wait(failed)
        waits: dict[str, Any] = {"on_dependency_failure": "ignore", "delay": timedelta(hours=1)}
        after = await work.client.enqueue(jobs.Note(), depends_on=[kept, failed, later], **waits)
        hour = timedelta(hours=1)
        batch = await work.client.enqueue_batch([jobs.Note()], on_done=jobs.Note(), delay=hour)
        with jobs.raw(url) as redis:
            for job_id in (kept.id, failed.id, later.id, late.id, after.id, f"{batch.id}-0"):
                seen |= set(redis.hgetall(keys.job(job_id)))
                for _, fields in redis.xrange(keys.results(job_id)):
                    seen |= {f"result {name}" for name in fields}


def test_every_field_of_a_job_has_its_row(redis_url: str) -> None:
    seen: set[str] = set()
    _fields(redis_url, seen)
    page = sections(REFERENCE / "wire-format.md")
    shown = {name for row in rows(page["The hash of a job"]) for name in row[0].split(", ")}
    results = {f"result {row[0]}" for row in rows(page["Results"])}

    # Of jobs whose worker died, that run while somebody cancels them, or that their worker cannot run.
    rare = {"recoveries", "cancel", "held", "held_reason", "limit_key"}
    rare |= {
        "checkpoint",
        "once:<key>",
        "logged",
        "begun",
        "outcome",
        "limit_key",
    }  # of handlers that ask for it
    assert {name for name in seen if not name.startswith("result ")} | rare == shown
    assert {name for name in seen if name.startswith("result ")} == results


def test_every_state_and_every_move_is_in_the_life_of_a_job() -> None:
    page = ROOT / "docs" / "explanation" / "life-of-a-job.md"
    table = [row for row in rows(page.read_text("utf-8")) if len(row) == 4]
    states = {word for row in table for cell in row[:2] for word in cell.split(", ")}
    named = {word for row in table for word in row[2].split(", ")}

    assert set(JobState) <= states
    assert states - set(JobState) <= {"(new)", "(gone)", "any but active"}
    assert named <= set(defined())
    about_no_job = {
        "renew",
        "cancels",
        "progress",
        "log",
        "checkpoint",
        "begin",
        "once",
        "register",
        "unregister",
    }
    about_no_job |= {"pause", "resume", "heard", "unheard", "stats", "history", "digest"}
    assert set(defined()) - named == about_no_job
    [diagram] = [s.text for s in snippets(page) if s.language == "mermaid"]
    drawn = {(a, b) for a, b in re.findall(r"(\S+) --> (\S+):", diagram) if "[*]" not in (a, b)}
    assert drawn == {
        (a, row[1])
        for row in table
        for a in row[0].split(", ")
        if a in set(JobState) and row[1] in set(JobState)
    }


def test_the_rights_of_the_production_page_suffice_and_hold(own_server: ServerFactory) -> None:
    page = ROOT / "docs" / "how-to" / "run-workers-in-production.md"
    server = own_server()
    [block] = [s.text for s in snippets(page) if s.language == "acl"]
    registry = jobs.registry()
    Client(jobs.config(server.url), registry).load_functions()
    with jobs.raw(server.url) as redis:
        for line in block.splitlines():
            _, name, *rules = line.split()
            redis.execute_command("ACL", "SETUSER", name, "reset", *rules)
        log = {"username": "producer", "password": "producer-secret"}
        producer = Client(jobs.config(server.url, broker=log), registry)
        choices: list[dict[str, Any]] = [
            {"delay": timedelta(hours=1)},
            {"priority": "high"},
            {"job_id": "mine"},
            {"unique": "k"},
            {"unique": "k", "unique_until": timedelta(minutes=1), "expires": timedelta(hours=1)},
            {"unique": "d", "debounce": timedelta(hours=1)},
            {"unique": "d", "debounce": timedelta(hours=1)},
        ]
        for options in [{}, *choices, {"job_id": "mine"}]:
            producer.enqueue(jobs.Note(), **options)
        redis.execute_command("ACL", "LOG", "RESET")
        for forbidden in (
            producer.queue("work").stats,
            producer.queue("work").pause,
            producer.queue("work").drain,
        ):
            with pytest.raises(errors.BrokerDenied):
                forbidden()
        redis.execute_command("ACL", "LOG", "RESET")
        log = {"username": "worker", "password": "worker-secret"}
        settings = jobs.config(server.url, broker=log)
        asyncio.run(Worker(settings, registry, burst=True).run())
        sender, second = Sender(settings.redis), timedelta(seconds=1)
        lease = [("work", "gone", "token")]
        sender.send(moves.renew("worker", lease, lease=second, ttl=second, busy=True))
        sender.send(moves.reap(max_crashes=3))
        sender.send(moves.promote(["work"]))
        sender.close()
        assert redis.execute_command("ACL", "LOG") == []
        stats = Client(jobs.config(server.url), registry).queue("work").stats()
    assert (stats.completed, stats.delayed) == (4, 2)


# Reference: command line


def command_tree() -> dict[tuple[str, ...], set[str]]:
    """Every command with its options."""
    found: dict[tuple[str, ...], set[str]] = {}

    def walk(app: cyclopts.App, path: tuple[str, ...]) -> None:
        if app.default_command is not None:
            collection = app.assemble_argument_collection(parse_docstring=False)
            parsed = [argument for argument in collection if argument.parameter.parse is not False]
            flags = {flag for argument in parsed for flag in {*argument.names} - {*argument.negatives}}
            found[path] = {flag for flag in flags if flag.startswith("--")}
        for name in app:
            if not name.startswith("-"):
                walk(app[name], (*path, name))

    root = cyclopts.App(default_parameter=cyclopts.Parameter(negative=()))
    for name, (target, _) in cli._COMMANDS.items():
        root.command(f"cgjobs.cli.{target}", name=name)
    for name, command in cgjobs.plugins.load(read_settings=lambda name, cls: None).commands.items():
        root.command(command.target, name=name)
    walk(root, ())
    found["enqueue",] = {*JOB_OPTIONS, *_OUR_OPTIONS, *_OUR_FLAGS, "--bulk", "--spread"}
    return found


def test_every_command_has_its_section_with_its_options() -> None:
    tree = command_tree()
    found = {
        heading: text
        for heading, text in sections(REFERENCE / "cli.md").items()
        if heading.startswith("cgjobs ")
    }

    assert {tuple(heading.split()[1:]) for heading in found} == set(tree)
    for heading, text in found.items():
        shown = {flag for row in rows(text) for flag in re.findall(r"--[a-z][a-z-]*", row[0])}
        assert shown == tree[tuple(heading.split()[1:])], heading


def test_the_exit_codes_are_those_of_the_code() -> None:
    table = {int(row[0]): row[1] for row in rows(sections(REFERENCE / "cli.md")["Exit codes"])}
    module = importlib.import_module("cgjobs.cli.exits")
    names = ("OK", "FAILED", "USAGE", "UNREACHABLE", "NOT_FOUND", "REFUSED", "INTERRUPTED", "BROKEN_PIPE")

    assert set(table) == {getattr(module, name) for name in names}


# Explanation: guarantees and architecture


def test_every_fault_names_tests_that_exist() -> None:
    text = sections(ROOT / "docs" / "explanation" / "guarantees.md")["Faults"]
    table = [row for row in rows(text) if len(row) == 4]
    tests = "".join(
        path.read_text() for path in [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/*.py")]
    )

    assert len(table) > 30
    for row in table:
        named = re.findall(r"\btest_\w+", row[3])
        assert named, row[0]
        for name in named:
            assert f"def {name}(" in tests, name


def units() -> dict[str, set[str]]:
    """Each module or package of the core, with those that it imports when it is loaded."""
    found: dict[str, set[str]] = {}

    def unit(dotted: str) -> str:
        first = [*dotted.split("."), "__init__"][1]
        if (SOURCE / first).is_dir():
            return f"{first}/"
        return f"{first}.py" if (SOURCE / f"{first}.py").exists() else "__init__.py"

    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).parts
        mine = f"{parts[0]}/" if len(parts) > 1 else parts[0]
        imported = found.setdefault(mine, set())
        for node in _at_import(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cgjobs":
                dotted = (
                    [f"cgjobs.{a.name}" for a in node.names] if node.module == "cgjobs" else [node.module]
                )
                imported |= {unit(name) for name in dotted}
        imported.discard(mine)
    return found


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not typing_only and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from _at_import(node)


def test_the_list_of_modules_is_complete_and_in_import_order() -> None:
    page = ROOT / "docs" / "explanation" / "architecture.md"
    listed = [row[0] for row in rows(sections(page)["The modules"])]

    assert sorted(listed) == sorted(units())
    place = {name: number for number, name in enumerate(listed)}
    upside_down = [f"{a} imports {b}" for a, deps in units().items() for b in deps if place[b] > place[a]]
    assert not upside_down


def test_the_changelog_names_things_by_names_that_exist() -> None:
    for name in set(re.findall(r"`(cgjobs\.[\w.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"))):
        parts = name.split(".")
        if name == "cgjobs.toml":
            continue
        found: Any = cgjobs
        for number, part in enumerate(parts[1:], 2):
            if not hasattr(found, part):
                importlib.import_module(".".join(parts[:number]))
            found = getattr(found, part)


def test_console_blocks_of_the_reference_know_their_commands() -> None:
    """A console block that is not run still names commands and options that exist."""
    tree = command_tree()
    for snippet in EVERY:
        if snippet.language != "console" or snippet.reason("no-run") is None:
            continue
        for command in commands(snippet):
            words = command.words
            if words[0] != "cgjobs" or "|" in words:
                continue
            path = tuple(word for word in words[1:3] if not word.startswith("-"))
            known = tree.get(path, tree.get(path[:1]))
            assert known is not None, f"{snippet.place}: {command.text}"
            assert {word for word in words if word.startswith("--")} <= known, (
                f"{snippet.place}: {command.text}"
            )


def test_the_processor_defaults_of_the_hooks_page_are_possible() -> None:
    assert Processor("acme").attempts == QueueConfig("acme").attempts
