"""Six REST calls of Elasticsearch and OpenSearch, and what their errors mean for a job."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx2

from cgjobs import Discard, Retry
from cgjobs_maintenance.settings import SearchTarget

_TIMEOUT = httpx2.Timeout(10.0, read=120.0)
_NDJSON = {"Content-Type": "application/x-ndjson"}
_SHOWN = 3
_ADVICE = {
    401: "correct its username and password",
    403: "give its user the right to manage and write the indexes of the alias",
    413: "lower batch_size",
}


class SearchServer:
    """One server or cluster; a context manager.

    Args:
        name: What it is called in the settings.
        target: Where it is.
    """

    def __init__(self, name: str, target: SearchTarget) -> None:
        self._name = name
        login = (target.username, target.password or "") if target.username else None
        headers = {"User-Agent": "cgjobs", "Accept": "application/json"}
        if target.api_key:
            headers["Authorization"] = f"ApiKey {target.api_key}"
        self._http = httpx2.Client(base_url=target.url, auth=login, headers=headers, timeout=_TIMEOUT)

    def __enter__(self) -> SearchServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def behind(self, alias: str) -> list[str]:
        """The indexes behind an alias, none when there is no such alias.

        Raises:
            Discard: It is the name of an index.
        """
        found = self._call("GET", f"/_alias/{quote(alias)}", missing={})
        if not found and self._call("HEAD", f"/{quote(alias)}", missing=None) is not None:
            raise Discard(
                f"{alias!r} is an index on search server {self._name!r}, and must be an alias to be swapped; "
                "reindex it once under another name and make the alias by hand"
            )
        return sorted(found)

    def exists(self, index: str) -> bool:
        """Whether there is such an index."""
        return self._call("HEAD", f"/{quote(index)}", missing=None) is not None

    def shape(self, index: str) -> dict[str, Any]:
        """Mappings and settings of an index as another one can be created with."""
        mappings = self._call("GET", f"/{quote(index)}/_mapping")[index].get("mappings", {})
        settings = self._call("GET", f"/{quote(index)}/_settings")[index]["settings"].get("index", {})
        kept = {
            key: settings[key]
            for key in ("analysis", "number_of_shards", "number_of_replicas")
            if key in settings
        }
        return {"mappings": mappings, "settings": {"index": kept}}

    def create(self, index: str, shape: Mapping[str, Any]) -> None:
        """Make an index."""
        self._call("PUT", f"/{quote(index)}", json_body=shape)

    def write(self, index: str, documents: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Write documents under their ids, in one call.

        Raises:
            Retry: The server was too busy for some of them.
            Discard: It refused some for good.
        """
        lines = []
        for key, document in documents:
            lines += [json.dumps({"index": {"_id": key}}), json.dumps(document, default=str)]
        body = "\n".join([*lines, ""])
        answer = self._call("POST", f"/{quote(index)}/_bulk", content=body.encode(), headers=_NDJSON)
        if not answer.get("errors"):
            return
        failed = [item["index"] for item in answer["items"] if item["index"].get("error")]
        words = "; ".join(f"{item['_id']}: {_reason(item['error'])}" for item in failed[:_SHOWN])
        told = f"{len(failed)} of {len(documents)} documents were refused: {words}"
        if all(item.get("status") in (429, 503) for item in failed):
            raise Retry(told)
        raise Discard(f"{told}; correct the mapping of the index")

    def refresh(self, index: str) -> None:
        """Make what was written visible to searches."""
        self._call("POST", f"/{quote(index)}/_refresh")

    def count(self, index: str) -> int:
        """How many documents are visible."""
        return int(self._call("GET", f"/{quote(index)}/_count")["count"])

    def swap(self, alias: str, new: str, old: Sequence[str]) -> None:
        """Let an alias mean another index, at one moment."""
        actions: list[dict[str, Any]] = [{"remove": {"index": each, "alias": alias}} for each in old]
        actions.append({"add": {"index": new, "alias": alias}})
        self._call("POST", "/_aliases", json_body={"actions": actions})

    def delete(self, index: str) -> None:
        """Delete an index, if it is there."""
        self._call("DELETE", f"/{quote(index)}", missing=None)

    def bytes(self, index: str) -> int:
        """What an index takes; 0 when the server does not say."""
        answer = self._call("GET", f"/{quote(index)}/_stats/store", missing={})
        total = answer.get("indices", {}).get(index, {}).get("total", {})
        return int(total.get("store", {}).get("size_in_bytes", 0))

    def _call(
        self, method: str, path: str, *, missing: Any = ..., json_body: Any = None, **options: Any
    ) -> Any:
        if json_body is not None:
            options["json"] = json_body
        try:
            response = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise Retry(
                f"search server {self._name!r} does not answer: {error or type(error).__name__}"
            ) from error
        status = response.status_code
        if status == 404 and missing is not ...:
            return missing
        if status < 400:
            return response.json() if response.content else {}
        told = f"search server {self._name!r} answered {status} to {method} {path}: {_words(response)}"
        if status in (408, 429) or status >= 500:
            raise Retry(told)
        raise Discard(f"{told}; {_ADVICE[status]}" if status in _ADVICE else told)


def _words(response: httpx2.Response) -> str:
    try:
        return _reason(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _reason(error: Any) -> str:
    if isinstance(error, Mapping):
        cause = error.get("caused_by") or {}
        parts = [str(error.get("reason") or error.get("type")), str(cause.get("reason", ""))]
        return ": ".join(filter(None, parts))
    return str(error)
