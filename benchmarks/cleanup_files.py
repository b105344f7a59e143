"""How fast `cleanup.files` and `cleanup.logs` are, and whether a swapped directory leads out of the root.

    python -m benchmarks.cleanup_files [--files 100000]

Walks a tree of so many files, deletes a sixth of it, then the same while another process swaps directories
for links to a directory outside that has the same names. Then compresses logs of 100 MB with both codecs.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Files, Logs, Settings
from cgjobs_cleanup.handlers import files, logs

NOW = datetime.now(UTC)
OLD = (NOW - timedelta(days=90)).timestamp()


def plant(root: Path, count: int, *, every: int = 6) -> None:
    """Directories of 91 files; every sixth file is old."""
    for number in range(count):
        directory = root / f"{number // 9100:03}" / f"{number // 91:05}"
        if number % 91 == 0:
            directory.mkdir(parents=True)
        file = directory / f"{number:07}.bin"
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY))
        if number % every == 0:
            os.utime(file, (OLD, OLD))


def context(root: Path) -> RecordingContext:
    ctx = RecordingContext(settings=[Settings(roots={"r": root})])
    ctx.job = attrs.evolve(ctx.job, created_at=NOW)
    return ctx


def timed(run: Any, *args: Any) -> tuple[Any, float, float]:
    """The result, and how many seconds of the clock and of the processor it took."""
    began, worked = time.perf_counter(), time.process_time()
    result = run(*args)
    return result, time.perf_counter() - began, time.process_time() - worked


def swap_for_ever(root: Path, outside: Path) -> None:
    """Puts a link to outside where a directory was, and the directory back, again and again."""
    directories = sorted(path for path in root.glob("*/*") if path.is_dir())
    while True:
        for directory in directories:
            aside = directory.with_name("aside")
            with contextlib.suppress(OSError):
                directory.rename(aside)
                directory.symlink_to(outside / directory.name)
                directory.unlink()
                aside.rename(directory)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    count = parser.parse_args().files
    top = Path(tempfile.mkdtemp(prefix="cgjobs-bench-"))
    try:
        root = top / "root"
        plant(root, count)
        plan, took, worked = timed(files, Files("r", timedelta(days=30), dry_run=True), context(root))
        print(
            f"walked {plan.scanned} files in {took:.2f} s, {worked:.2f} s of the processor: "
            f"{plan.scanned / took:.0f} a second, {plan.scanned / worked:.0f} a second of the processor"
        )
        assert plan.matched == -(-count // 6)
        result, took, worked = timed(files, Files("r", timedelta(days=30)), context(root))
        print(f"deleted {result.deleted} of them in {took:.2f} s, {worked:.2f} s of the processor")
        shutil.rmtree(root)

        plant(root, count)
        outside = top / "outside"
        for directory in root.glob("*/*"):
            (outside / directory.name).mkdir(parents=True)
            for file in directory.iterdir():
                os.link(file, outside / directory.name / file.name)  # the same inode, size and time
        before = sum(len(names) for _, _, names in os.walk(outside))
        attacker = multiprocessing.Process(target=swap_for_ever, args=(root, outside), daemon=True)
        attacker.start()
        result, took, worked = timed(files, Files("r", timedelta(days=30), max_fraction=1.0), context(root))
        attacker.kill()
        attacker.join()
        after = sum(len(names) for _, _, names in os.walk(outside))
        print(
            f"beside an attacker: deleted {result.deleted} inside in {took:.1f} s, passed by "
            f"{result.skipped.symlink} links, {before - after} of {before} files outside are gone"
        )
        assert before == after, "something outside the root is gone"

        line = b'{"timestamp":"%d","level":"info","event":"request","data":{"path":"/api","ms":%d}}\n'
        for codec in ("gzip", "zstd"):
            folder = top / codec
            folder.mkdir()
            for day in (1, 2):
                log = folder / f"app.log-2026010{day}"
                log.write_bytes(b"".join(line % (n * 7919, n % 977) for n in range(1_100_000)))
                os.utime(log, (OLD, OLD))
            payload = Logs("r", action="compress", codec=codec)
            packed, took, worked = timed(logs, payload, context(folder))
            size = (folder / f"app.log-20260101{'.gz' if codec == 'gzip' else '.zst'}").stat().st_size
            whole = packed.bytes_before // 2
            print(
                f"{codec}: {whole / 1e6:.0f} MB in {took:.2f} s, {worked:.2f} s of the processor, "
                f"read back included, to 1/{whole / size:.0f}"
            )
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    main()
