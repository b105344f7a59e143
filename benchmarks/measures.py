"""What is measured: each measure is one function from a peer to named figures, on a fresh server."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import attrs
import redis

from benchmarks import job
from benchmarks.adapter import WARM_UP
from benchmarks.peer import Peer, wait_for, wait_for_all
from benchmarks.server import fresh_server, url

Figures = dict[str, float]
IO_JOBS = 2_000
IO_CONCURRENCY = 50
IO_IDEAL = IO_JOBS / IO_CONCURRENCY * job.SLEEP
MEMORY_JOBS = 2_000
_QUIET = 0.5  # seconds in which the last settlements reach the server
_PATIENCE = 180.0
_IDLE = 1.0  # seconds from the first job to an idle worker


@attrs.frozen
class Size:
    """How much is measured.

    Args:
        seconds: About how long one run of a worker lasts.
        lonely: Single jobs for the latency.
    """

    seconds: float
    lonely: int

    def jobs(self, peer: Peer) -> int:
        """No-ops for one run of this peer."""
        return max(100, round(peer.about["rate"] * self.seconds))


def enqueue(peer: Peer, size: Size) -> Figures:
    """One by one from one thread or event loop, and by the call for many if there is one."""
    number = round(1_500 * size.seconds)
    with fresh_server() as server:
        figures = {"one by one": number / peer.ask(["enqueue", "noop", str(number)], _environment(server))}
    if peer.about["bulk"]:
        with fresh_server() as server:
            seconds = peer.ask(["bulk", "noop", str(10 * number)], _environment(server))
            figures["bulk"] = 10 * number / seconds
    return figures


def throughput(peer: Peer, size: Size) -> Figures:
    """No-ops that wait, one worker process: from the first start to the last, and what the server did."""
    with fresh_server() as server:
        jobs = _fill(peer, server, "noop", size.jobs(peer))
        before = _server_work(server)
        with peer.worker("noop", peer.about["concurrency"], _environment(server)) as worker:
            wait_for(worker, jobs, _PATIENCE)
            time.sleep(_QUIET)
            after = _server_work(server)
            moments = job.read(worker.notes)
    work = {name: (after[name] - before[name]) / jobs for name in after}
    return {"jobs a second": _rate(moments), "run twice": len(moments) - jobs, **work}


def two_workers(peer: Peer, size: Size) -> Figures:
    """The same with two worker processes: jobs a second in the time in which both work."""
    return {"jobs a second": _by_two(peer, "noop", 3 * size.jobs(peer))}


def busy(peer: Peer, size: Size) -> Figures:
    """Jobs that use a processor for a millisecond, one worker process and two: what the server leaves."""
    if not peer.about.get("busy"):
        return {}
    with fresh_server() as server:
        jobs = _fill(peer, server, "work", round(700 * size.seconds))
        with peer.worker("work", peer.about["concurrency"], _environment(server)) as worker:
            wait_for(worker, jobs, _PATIENCE)
            one = _rate(job.read(worker.notes))
    return {"one process": one, "two processes": _by_two(peer, "work", 3 * jobs)}


def _by_two(peer: Peer, kind: str, number: int) -> float:
    """Jobs a second in the time in which both work."""
    with fresh_server() as server:
        environment, concurrency = _environment(server), peer.about["concurrency"]
        # More than twice as many: the first one to start has some for itself.
        jobs = _fill(peer, server, kind, number)
        with (
            peer.worker(kind, concurrency, environment) as first,
            peer.worker(kind, concurrency, environment) as second,
        ):
            wait_for_all([first, second], jobs, _PATIENCE)
            notes = [job.read(worker.notes) for worker in (first, second)]
    if not all(notes):
        raise ValueError("one worker did all the jobs before the other one had started")
    start, end = max(moments[0] for moments in notes), min(moments[-1] for moments in notes)
    inside = [moment for moments in notes for moment in moments if start <= moment <= end]
    return _rate(sorted(inside))


def latency(peer: Peer, size: Size) -> Figures:
    """Milliseconds from the call that enqueues to the job's first instruction, the worker idle."""
    with fresh_server() as server:
        environment = _environment(server)
        with peer.worker("noop", peer.about["concurrency"], environment) as worker:
            jobs = _fill(peer, server, "noop", 1)
            wait_for(worker, jobs, _PATIENCE)
            time.sleep(_IDLE)
            waits = peer.ask(["latency", str(size.lonely)], environment | {"BENCH_NOTES": worker.notes})
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return {f"p{percent} ms": cuts[percent - 1] * 1000 for percent in (50, 95, 99)}


def io(peer: Peer, size: Size) -> Figures:
    """Seconds for 2,000 jobs that wait 50 ms each, 50 at a time; 2.0 would be ideal."""
    if not peer.about["concurrent"]:
        return {}
    with fresh_server() as server:
        jobs = _fill(peer, server, "sleep", IO_JOBS - WARM_UP)
        with peer.worker("sleep", IO_CONCURRENCY, _environment(server)) as worker:
            wait_for(worker, 2 * jobs, _PATIENCE)
            moments = job.read(worker.notes)
    return {"seconds": (moments[-1] - moments[0]) / 1e9}


def memory(peer: Peer, size: Size) -> Figures:
    """Bytes in Redis by waiting job: what the server allocated, and the sum over its keys."""
    with fresh_server() as server:
        _fill(peer, server, "noop", 10)
        before = _allocated(server), _by_key(server)
        jobs = _fill(peer, server, "noop", MEMORY_JOBS)
        after = _allocated(server), _by_key(server)
    return {"allocated": (after[0] - before[0]) / jobs, "in keys": (after[1] - before[1]) / jobs}


MEASURES: Mapping[str, Callable[[Peer, Size], Figures]] = {
    "throughput": throughput,
    "two_workers": two_workers,
    "busy": busy,
    "enqueue": enqueue,
    "latency": latency,
    "io": io,
    "memory": memory,
}


def _environment(server: redis.Redis) -> dict[str, str]:
    return {"BENCH_REDIS": url(server)}


def _fill(peer: Peer, server: redis.Redis, kind: str, number: int) -> int:
    """Enqueue; gives how many there are, with those that warmed up the connection."""
    peer.ask(["bulk", kind, str(number)], _environment(server))
    return number + WARM_UP


def _rate(moments: list[int]) -> float:
    return (len(moments) - 1) / ((moments[-1] - moments[0]) / 1e9)


def _server_work(server: redis.Redis) -> Figures:
    """Since its start: commands (also inside scripts), reads from sockets, microseconds of processor time."""
    info = server.info("everything")
    commands = sum(value["calls"] for name, value in info.items() if name.startswith("cmdstat_"))
    processor = info["used_cpu_user"] + info["used_cpu_sys"]
    return {
        "commands": commands,
        "round trips": info["total_reads_processed"],
        "server µs": processor * 1e6,
    }


def _allocated(server: redis.Redis) -> int:
    time.sleep(_QUIET)  # clients have gone, and their buffers with them
    return server.info("memory")["used_memory"]


def _by_key(server: redis.Redis) -> int:
    return sum(server.memory_usage(key, samples=0) or 0 for key in server.scan_iter(count=1_000))
