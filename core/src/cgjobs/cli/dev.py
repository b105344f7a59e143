"""``cgjobs dev``: a broker of the developer's own and a worker, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Parameter

from cgjobs.cli.output import talk
from cgjobs.cli.run import leaving_stuck_threads
from cgjobs.cli.session import Shared
from cgjobs.cli.worker import LogOptions, WorkerOptions
from cgjobs.embedded import EmbeddedBroker, default_directory


def dev(
    options: WorkerOptions = WorkerOptions(),  # noqa: B008 - frozen
    logging: LogOptions = LogOptions(),  # noqa: B008 - frozen
    *,
    directory: Annotated[Path | None, Parameter(env_var="CGJOBS_STATE_DIR", show_default=False)] = None,
    session: Shared,
) -> None:
    """Run a broker of your own and a worker, with nothing to install or configure.

    The broker is a real Valkey on a Unix socket that only you can reach; its jobs survive a restart. While it
    runs, the other commands find it by themselves, as long as nothing is configured about Redis. For your
    program, or with another directory, set the REDIS_URL that is printed at the start. Run cgjobs dev in
    another shell for a second worker on the same broker.

    Args:
        directory: Where the broker keeps its data. Otherwise a directory of yours for such things.
    """
    logging.apply()
    broker = EmbeddedBroker(directory or default_directory())
    with leaving_stuck_threads(), broker as redis:
        talk(f"{'broker' if broker.owned else 'the broker that runs already'} at {redis.socket}")
        talk("for your program, or other commands: export REDIS_URL=unix://" + str(redis.socket))
        options.run(attrs.evolve(session.config, redis=redis), session.config_file)
