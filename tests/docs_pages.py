"""The documentation's pages as snippets, and what runs them."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from cgjobs import loading
from cgjobs.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "core" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
LANGUAGES = {"python", "toml", "console", "json", "text", "mermaid", "ini", "yaml", "promql", "acl", "sh"}
"""What a fenced block may be; ``sh`` is shown and not run, in pages for people who only look in."""
_PROCESSES = {"worker", "scheduler", "dev", "demo"}  # they set up logging and signals: not in this process
_PATIENCE = 60.0
_FENCE = re.compile(r"^```(\S+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Snippet:
    """One fenced block.

    Args:
        page: Where it stands.
        line: Its first line, from 1.
        language: The first word of its info string.
        info: The rest: ``background``, ``file=NAME``, ``refused: why``, ``no-run: why``.
        text: What is in it.
    """

    page: Path
    line: int
    language: str
    info: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        found = re.search(r"\bfile=(\S+)", self.info)
        return found[1] if found else None

    def reason(self, mark: str) -> str | None:
        """Why it is marked so, or None when it is not."""
        found = re.search(rf"(?<!\S){mark}(?:: *(.*))?$", self.info)
        return None if found is None else (found[1] or "")


@attrs.frozen
class Command:
    """One ``$`` line of a console block and the output that is shown below it."""

    text: str
    code: int
    output: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def snippets(page: Path) -> list[Snippet]:
    """The fenced blocks of a page."""
    text = page.read_text("utf-8")
    return [
        Snippet(page, text.count("\n", 0, found.start()) + 1, found[1], found[2].strip(), found[3])
        for found in _FENCE.finditer(text)
    ]


def commands(snippet: Snippet) -> list[Command]:
    """The commands of a console block."""
    found: list[tuple[str, list[str]]] = []
    for line in snippet.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            assert found, f"{snippet.place}: output before any command"
            found[-1][1].append(line)
    made = []
    for line, output in found:
        text, _, comment = line.partition("   # exit ")
        made.append(Command(text.strip(), int(comment or 0), tuple(output)))
    return made


class Runner:
    """Runs one page in a folder of its own.

    Args:
        folder: The working directory, empty.
        environ: Further environment of all that is run.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._environ = folder, dict(environ)
        self._names: dict[str, Any] = {"__name__": "page"}
        self._background: list[subprocess.Popen[str]] = []
        self._python_environ: dict[str, str] = {}

    def run(self, page: Path) -> None:
        """Run all snippets of a page in their order."""
        with contextlib.chdir(self._folder), _environ(self._environ):
            try:
                for snippet in snippets(page):
                    self._run(snippet)
            finally:
                self._stop()

    def _run(self, snippet: Snippet) -> None:
        if snippet.file:
            path = self._folder / snippet.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text, "utf-8")
            if path.name == "pyproject.toml":
                self._install(snippet)
            sys.modules.pop(path.parent.name, None)  # a new version of a package
            importlib.invalidate_caches()
        elif snippet.language == "python" and snippet.reason("no-run") is None:
            self._python(snippet)
        if snippet.language == "console" and snippet.reason("no-run") is None:
            for command in commands(snippet):
                words = command.words
                assert words[0] == "cgjobs", f"{snippet.place}: {words[0]!r} is not run; say no-run: why"
                if snippet.info == "background":
                    self._start(words[1:])
                else:
                    self._console(snippet, command, process=words[1] in _PROCESSES)

    def _python(self, snippet: Snippet) -> None:
        if snippet.text == (ROOT / "examples/slack/src/cgjobs_slack/__init__.py").read_text("utf-8"):
            return  # the example's own tests run it
        code = compile("\n" * snippet.line + snippet.text, str(snippet.page), "exec")
        with _environ(self._python_environ), contextlib.redirect_stdout(io.StringIO()):
            exec(code, self._names)

    def _console(self, snippet: Snippet, command: Command, *, process: bool) -> None:
        words = command.words[1:]
        if process:
            ran = subprocess.run(
                [sys.executable, "-m", "cgjobs", *words], capture_output=True, text=True, timeout=_PATIENCE
            )
            code, printed = ran.returncode, ran.stdout + ran.stderr
        else:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(words)
            printed = out.getvalue() + err.getvalue()
        where = f"{snippet.place}: $ {command.text}"
        assert code == command.code, f"{where}\nexit code {code}, not {command.code}\n{printed}"
        plain = " ".join(printed.split())
        for line in command.output:
            pattern = ".*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
            assert re.search(pattern, plain), f"{where}\nprinted no {line!r} but\n{printed}"

    def _start(self, words: list[str]) -> None:
        self._stop()
        process = subprocess.Popen(
            [sys.executable, "-m", "cgjobs", *words, "--log-format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._background.append(process)
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "export REDIS_URL=" in line:
                self._python_environ = {"REDIS_URL": line.rpartition("REDIS_URL=")[2].strip()}
            if '"worker_started"' in line:
                # A pipe that nobody reads fills up and stops who writes.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return
        raise AssertionError(f"cgjobs {shlex.join(words)} ended at its start:\n{''.join(seen)}")

    def _stop(self) -> None:
        while self._background:
            process = self._background.pop()
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(_PATIENCE)
            finally:
                process.kill()
            assert process.stderr is not None
            with contextlib.suppress(ValueError):
                process.stderr.close()
            assert code == 0, f"a background command ended with {code}"

    def _install(self, snippet: Snippet) -> None:
        """What ``pip install -e .`` does, as far as Python looks at it."""
        project = tomllib.loads(snippet.text)["project"]
        info = self._folder / "src" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(head)
        points = "".join(f"{k} = {v}\n" for k, v in project["entry-points"]["cgjobs"].items())
        (info / "entry_points.txt").write_text(f"[cgjobs]\n{points}")


def check_text(snippet: Snippet, folder: Path) -> None:
    """Make sure that a block that is not run is at least what it says it is."""
    where = snippet.place
    assert snippet.language in LANGUAGES, f"{where}: unknown language {snippet.language!r}"
    for mark in ("no-run", "refused"):
        assert snippet.reason(mark) != "", f"{where}: {mark} needs a reason"
    match snippet.language:
        case "python":
            compile(snippet.text, where, "exec")
        case "json":
            texts = snippet.text.splitlines() if (snippet.file or "").endswith(".jsonl") else [snippet.text]
            for text in texts:
                json.loads(text)
        case "toml":
            path = folder / "cgjobs.toml"
            path.write_text(snippet.text, "utf-8")
            if snippet.file == "pyproject.toml":
                assert "cgjobs" in tomllib.loads(snippet.text)["project"]["entry-points"]
            elif snippet.reason("refused") is not None:
                with contextlib.suppress(loading.ConfigError):
                    loading.load(path, environ={})
                    raise AssertionError(f"{where}: it is not refused")
            else:
                config = loading.load(path, environ={})
                assert config.origins, f"{where}: nothing is configured"
        case "console":
            assert commands(snippet), f"{where}: no command"


@contextlib.contextmanager
def _environ(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def sections(page: Path, level: int = 2) -> dict[str, str]:
    """The text under each heading of one level, by its words without code marks; deeper headings included."""
    outside = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    parts = re.split(rf"^{'#' * level} (.+)$", outside, flags=re.MULTILINE)
    return {parts[i].replace("`", "").strip(): parts[i + 1] for i in range(1, len(parts), 2)}


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows, without code marks; heads and rules left out."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith("|") and not line.startswith("|-") and not following.startswith("|-"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            found.append([cell.strip().replace("`", "") for cell in cells])
    return found


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
