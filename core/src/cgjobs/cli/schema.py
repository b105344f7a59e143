"""``cgjobs schema``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cgjobs.cli.output import AsJson, pretty_json, show, show_json, show_table
from cgjobs.cli.session import Shared
from cgjobs.schema import json_schema


def schema(
    name: Annotated[str | None, Parameter(name="NAME")] = None, /, *, as_json: AsJson = False, session: Shared
) -> None:
    """Print the JSON Schema (2020-12) of a payload, or list the subtypes. Needs no broker.

    Args:
        name: Full name of a subtype, such as notification.email.
        as_json: Print one JSON document, on one line.
    """
    if name is not None:
        found = json_schema(session.registry.subtype(name))
        if as_json:
            show_json(found)
        else:
            show(pretty_json(found))
        return
    known = [
        {
            "name": each.name,
            "version": each.version,
            "traits": list(each.traits),
            "summary": each.summary,
        }
        for each in session.registry.subtypes.values()
    ]
    if as_json:
        show_json(known)
    else:
        subtypes = session.registry.subtypes.values()
        rows = ((each.name, each.version, ", ".join(each.traits), each.summary) for each in subtypes)
        show_table(("NAME", "VERSION", "TRAITS", "SUMMARY"), rows)
