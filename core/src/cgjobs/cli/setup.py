"""``cgjobs setup``."""

from __future__ import annotations

from cgjobs.broker import address, library
from cgjobs.cli.output import AsJson, show, show_json
from cgjobs.cli.session import Shared


def setup(*, as_json: AsJson = False, session: Shared) -> None:
    """Check that the broker can be used and load this release's functions.

    Needed once for each release when workers and clients may not load functions themselves; otherwise it is
    done when it is first missed.

    Args:
        as_json: Print one JSON document.
    """
    where = address(session.reachable.redis)
    server = session.sender.load_functions()
    if as_json:
        show_json({"address": where, "server": server, "library": library.NAME, "digest": library.digest()})
    else:
        show(f"{server} at {where}: functions {library.NAME} ({library.digest()}) are loaded")
