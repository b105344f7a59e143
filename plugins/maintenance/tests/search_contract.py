"""A small server that keeps the contract of Elasticsearch's and OpenSearch's REST API, as far as it is used.

Written from their public reference, not from a server: none can be installed here. It refuses what it does
not know, so that a call outside the contract fails a test.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

_INDEX = re.compile(r"[a-z0-9][a-z0-9_.-]*\Z")


@attrs.define
class Index:
    """An index: what was written becomes visible with a refresh."""

    shape: dict[str, Any]
    written: dict[str, Any] = attrs.field(factory=dict)
    visible: dict[str, Any] = attrs.field(factory=dict)


@attrs.define
class Search:
    """The state of the server, and what it is told to do wrong.

    Args:
        calls: Every request, as ``METHOD path``.
        busy: So many of the next documents are refused with 429.
        loses: Every document with an id that ends in this is acknowledged and lost.
        down: Requests whose ``METHOD path`` matches are answered with this status.
    """

    url: str = ""
    indexes: dict[str, Index] = attrs.field(factory=dict)
    aliases: dict[str, set[str]] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)
    swaps: list[Any] = attrs.field(factory=list)
    login: str = ""
    busy: int = 0
    loses: str = ""
    down: dict[str, int] = attrs.field(factory=dict)

    def found(self, name: str) -> dict[str, Any]:
        """What a search on an index or an alias finds: everything that is visible."""
        names = self.aliases.get(name, {name})
        return {key: value for each in names for key, value in self.indexes[each].visible.items()}

    def bulks(self) -> int:
        return sum(call.endswith("/_bulk") for call in self.calls)


class Refused(Exception):
    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason


@contextmanager
def search_server() -> Iterator[Search]:
    """A server on a free port."""
    state = Search()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            with lock:
                try:
                    status, reply = respond(state, self.command, self.path, dict(self.headers), body)
                except Refused as error:
                    cause = {"type": error.kind, "reason": error.reason}
                    status, reply = error.status, {"error": cause, "status": error.status}
            content = b"" if self.command == "HEAD" else json.dumps(reply).encode()
            head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(content)}\r\n\r\n"
            self.wfile.write(head.encode() + content)  # one flush: else Nagle waits for an acknowledgement

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def respond(state: Search, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    call = f"{method} {path}"
    state.calls.append(call)
    if (
        state.login
        and headers.get("Authorization") != f"Basic {base64.b64encode(state.login.encode()).decode()}"
    ):
        raise Refused(401, "security_exception", "missing authentication credentials")
    for pattern, status in state.down.items():
        if re.search(pattern, call):
            raise Refused(status, "unavailable", "told to")
    parts = path.strip("/").split("/")
    match method, parts:
        case "GET", [""]:
            return 200, {"version": {"number": "8.15.0"}}
        case "GET", ["_alias", alias]:
            if alias not in state.aliases:
                return 404, {"error": f"alias [{alias}] missing", "status": 404}
            return 200, {name: {"aliases": {alias: {}}} for name in state.aliases[alias]}
        case "POST", ["_aliases"]:
            return swap(state, json.loads(body)["actions"])
        case "HEAD", [name]:
            return (200 if name in state.indexes or name in state.aliases else 404), None
        case "PUT", [name]:
            return create(state, name, json.loads(body or b"{}"))
        case "DELETE", [name]:
            index_of(state, name)
            del state.indexes[name]
            for behind in state.aliases.values():
                behind.discard(name)
            return 200, {"acknowledged": True}
        case "POST", [name, "_bulk"]:
            kind = headers.get("Content-Type", "")
            if not kind.startswith(("application/x-ndjson", "application/json")) or not body.endswith(b"\n"):
                raise Refused(400, "illegal_argument_exception", "must be terminated by a newline")
            return 200, bulk(state, name, body)
        case "POST", [name, "_refresh"]:
            found = index_of(state, name)
            found.visible = dict(found.written)
            return 200, {"_shards": {"failed": 0}}
        case "GET", [name, "_count"]:
            index_of(state, name)
            return 200, {"count": len(state.found(name))}
        case "GET", [name, "_mapping"]:
            return 200, {name: {"mappings": index_of(state, name).shape.get("mappings", {})}}
        case "GET", [name, "_settings"]:
            settings = index_of(state, name).shape.get("settings", {}).get("index", {})
            own = {"uuid": "x", "creation_date": "1", "provided_name": name, "number_of_shards": "1"}
            return 200, {name: {"settings": {"index": {**own, **settings}}}}
        case "GET", [name, "_stats", "store"]:
            size = len(json.dumps(index_of(state, name).written))
            return 200, {"indices": {name: {"total": {"store": {"size_in_bytes": size}}}}}
    raise Refused(400, "illegal_argument_exception", f"no handler found for [{call}]")


def index_of(state: Search, name: str) -> Index:
    if name not in state.indexes:
        raise Refused(404, "index_not_found_exception", f"no such index [{name}]")
    return state.indexes[name]


def create(state: Search, name: str, shape: dict[str, Any]) -> tuple[int, Any]:
    if name in state.indexes:
        raise Refused(400, "resource_already_exists_exception", f"index [{name}] already exists")
    if not _INDEX.match(name):
        raise Refused(400, "invalid_index_name_exception", f"Invalid index name [{name}]")
    if unknown := set(shape) - {"mappings", "settings", "aliases"}:
        raise Refused(400, "parse_exception", f"unknown key {unknown}")
    if private := set(shape.get("settings", {}).get("index", {})) & {
        "uuid",
        "creation_date",
        "provided_name",
    }:
        raise Refused(400, "illegal_argument_exception", f"private index setting {private} can not be set")
    state.indexes[name] = Index(shape)
    return 200, {"acknowledged": True, "index": name}


def bulk(state: Search, name: str, body: bytes) -> dict[str, Any]:
    index = index_of(state, name)
    lines = [json.loads(line) for line in body.splitlines()]
    items = []
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        key = action["index"]["_id"]
        error: dict[str, Any] | None = None
        status = 201
        if state.busy > 0:
            state.busy -= 1
            status, error = 429, {"type": "es_rejected_execution_exception", "reason": "queue full"}
        elif fault := mapping_fault(index, document):
            status, error = 400, {"type": "document_parsing_exception", "reason": fault}
        elif not (state.loses and key.endswith(state.loses)):
            index.written[key] = document
        items.append({"index": {"_id": key, "status": status} | ({"error": error} if error else {})})
    return {"errors": any("error" in item["index"] for item in items), "items": items}


def mapping_fault(index: Index, document: dict[str, Any]) -> str:
    for field, kind in index.shape.get("mappings", {}).get("properties", {}).items():
        if kind.get("type") == "integer" and not isinstance(document.get(field), (int, type(None))):
            return f"failed to parse field [{field}] of type [integer]"
    return ""


def swap(state: Search, actions: list[Any]) -> tuple[int, Any]:
    after = {alias: set(names) for alias, names in state.aliases.items()}
    for action in actions:
        ((verb, what),) = action.items()
        index_of(state, what["index"])
        if what["alias"] in state.indexes:
            raise Refused(
                400, "invalid_alias_name_exception", "an index exists with the same name as the alias"
            )
        if verb == "remove":
            if what["index"] not in after.get(what["alias"], set()):
                raise Refused(404, "aliases_not_found_exception", f"aliases [{what['alias']}] missing")
            after[what["alias"]].discard(what["index"])
        else:
            after.setdefault(what["alias"], set()).add(what["index"])
    state.aliases = {alias: names for alias, names in after.items() if names}
    state.swaps.append(actions)
    return 200, {"acknowledged": True}
