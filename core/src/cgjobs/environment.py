"""Environment variables set over what a file says: ``REDIS_...``, ``CGJOBS_...`` and secrets in files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from cgjobs.errors import Fault, suggest
from cgjobs.setting import alternatives, fields_of, has_fields, is_mapping, is_table
from cgjobs.written import Source, Table, Written, plain

PREFIX = "CGJOBS_"
OTHER_VARIABLES = frozenset(
    {
        "CGJOBS_CONFIG",  # path of the configuration file
        "CGJOBS_STATE_DIR",  # where `cgjobs dev` keeps its broker
        "CGJOBS_LOG_FORMAT",  # json or pretty
        "CGJOBS_LOG_LEVEL",  # debug, info, warn or error
        "CGJOBS_TEST_SERVER",  # which server the tests start
    }
)
"""Variables with our prefix that are no keys of the configuration; other parts of the package read them."""
_REDIS_KEYS = ("host", "port", "username", "password", "db", "url")


@attrs.frozen
class _Variable:
    """One variable that is set: what it stands for, and whether its value is the path of a file."""

    name: str
    path: tuple[str, ...]
    file: bool

    @property
    def weight(self) -> tuple[bool, bool]:
        """What is heavier wins."""
        return self.name.startswith(PREFIX), self.path == ("redis", "url")

    def written(self, environ: Mapping[str, str]) -> Written:
        text = environ[self.name]
        return Written(read_secret(text) if self.file else text, Source(variable=self.name))


def overlay(
    table: Table,
    environ: Mapping[str, str],
    layout: type,
    *,
    plugins: Collection[str],
    known: Collection[str],
) -> list[Fault]:
    """Set what the environment says over a table. An empty variable counts as absent.

    ``REDIS_URL`` wins over ``REDIS_HOST`` and its like, ``CGJOBS_REDIS_...`` over all of them.

    Args:
        table: What the file says; changed in place.
        environ: The variables.
        layout: The attrs class with the keys of the configuration.
        plugins: Names of plugins, to tell the plugin ``slack_bot`` from the key ``bot_token`` of ``slack``.
        known: Variables to suggest in place of an unknown one.

    Returns:
        What is wrong. No value of a variable is in there.
    """
    faults: list[Fault] = []
    environ = {name: value for name, value in environ.items() if value}
    if isinstance(url := table.get("redis", "url"), Written):
        _put_url(table, url, "redis.url", faults)
    ours = [name for name in sorted(environ) if name.startswith(PREFIX) and name not in OTHER_VARIABLES]
    variables = [*_redis_variables(environ)]
    for name in ours:
        if variable := _find(name, layout, table, plugins):
            variables.append(variable)
        else:
            close = suggest(name.removeprefix(PREFIX).upper(), [each.removeprefix(PREFIX) for each in known])
            hint = f"did you mean {PREFIX + close!r}?" if close else "its keys are those of cgjobs.toml"
            faults.append(Fault(name, f"unknown variable; {hint}"))
    for variable in sorted(variables, key=lambda each: each.weight):
        _put(table, variable, environ, faults)
    return faults


def path_of(hint: Any, name: str, table: Written | Table | None = None) -> tuple[str, ...] | None:
    """The keys that a flat name such as ``notification_keep_failed`` stands for.

    Args:
        hint: The class or type that the keys belong to.
        name: The rest of a variable's name, in lower case.
        table: What is written already; its names come first where a name could be cut in several ways.

    Returns:
        A path such as ``("notification", "keep_failed")``, or None when there is no such key.
    """
    for key, below in _keys_below(alternatives(hint)[0], name, table):
        if name == plain(key) and not is_table(below):
            return (key,)
        if name.startswith(f"{plain(key)}_"):
            inner = table.get(key) if isinstance(table, Table) else None
            if rest := path_of(below, name[len(key) + 1 :], inner):
                return (key, *rest)
    return None


def read_secret(path: str) -> str:
    """The text of a file without its last line break, as Docker and Kubernetes mount secrets.

    Raises:
        ValueError: It cannot be read. The path is not repeated: it may be the secret, set by mistake.
    """
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise ValueError(f"its file cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("its file cannot be read: it is no UTF-8 text") from None
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def parse_redis_url(url: object) -> dict[str, object]:
    """The parts of a URL as fields of `RedisConfig`; parts that it does not have are absent.

    ``redis://[user[:password]@]host[:port][/db]``, ``rediss://`` with TLS, or
    ``unix://[user[:password]@]path[?db=0]``. ``redis://`` does not switch TLS off.

    Raises:
        ValueError: It is none of these. The message repeats no part of it.
    """
    if not isinstance(url, str):
        raise ValueError(f"is not text; {_URL_HINT}")
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        port, host, username, password = parts.port, parts.hostname, parts.username, parts.password
    except ValueError:
        raise ValueError(f"is not a valid URL; {_URL_HINT}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("begins with none of redis://, rediss:// and unix://")
    if parts.fragment or query.keys() - {"db"}:
        raise ValueError(f"has more than user, password, host, port and db; {_URL_HINT}")
    found: dict[str, object] = {"username": username, "password": password}
    found = {key: unquote(text) for key, text in found.items() if isinstance(text, str) and text}
    db = query.get("db", "")
    if parts.scheme == "unix":
        found["socket"] = unquote(parts.netloc.rpartition("@")[2] + parts.path)
        if not found["socket"]:
            raise ValueError("has no path; write unix:///path/of/the/socket")
    else:
        db = parts.path.strip("/") or db
        found |= {"host": unquote(host)} if host else {}
        found |= {"port": port} if port is not None else {}
        found |= {"tls": True} if parts.scheme == "rediss" else {}
    if db:
        if not (db.isascii() and db.isdecimal() and len(db) < 10):
            raise ValueError(f"has a database that is not a number; {_URL_HINT}")
        found["db"] = int(db)
    return found


_URL_HINT = "write redis://user:password@host:6379/0 and percent-encode what is special in the password"


def _keys_below(hint: Any, name: str, table: Written | Table | None) -> Iterator[tuple[str, Any]]:
    """The keys that a flat name may begin with, each with the type of what is there."""
    if has_fields(hint):
        yield from ((field.name, field.hint) for field in fields_of(hint).values())
    elif is_mapping(get_origin(hint) or hint):
        _, item = get_args(hint) or (str, Any)
        if isinstance(table, Table):
            yield from ((key, item) for key in sorted(table.entries, key=len, reverse=True))
        parts = name.split("_")
        yield from (("_".join(parts[:end]), item) for end in range(1, len(parts) + 1))


def _find(name: str, layout: type, table: Table, plugins: Collection[str]) -> _Variable | None:
    if not name.isupper():
        return None
    key = name.removeprefix(PREFIX).lower()
    if path := _path(key, layout, table, plugins):
        return _Variable(name, path, file=False)
    stem = key.removesuffix("_file")
    if stem != key and (path := _path(stem, layout, table, plugins)):
        return _Variable(name, path, file=True)
    return None


def _path(key: str, layout: type, table: Table, plugins: Collection[str]) -> tuple[str, ...] | None:
    section, _, rest = key.partition("_")
    if key in ("redis_url", "plugins_block"):
        return (section, rest)
    if section == "plugins":  # the keys of a plugin are known when its settings class is
        named = (plugin for plugin in plugins if rest.startswith(f"{plain(plugin).lower()}_"))
        name = max(named, key=len, default=rest.partition("_")[0])
        inner = rest[len(name) + 1 :]
        return ("plugins", name, inner) if name and inner and rest != "block_file" else None
    return path_of(layout, key, table)


def _redis_variables(environ: Mapping[str, str]) -> Iterator[_Variable]:
    for key in _REDIS_KEYS:
        for name, file in ((f"REDIS_{key.upper()}", False), (f"REDIS_{key.upper()}_FILE", True)):
            if name in environ:
                yield _Variable(name, ("redis", key), file)


def _put(table: Table, variable: _Variable, environ: Mapping[str, str], faults: list[Fault]) -> None:
    stem = variable.name.removesuffix("_FILE")
    if variable.file and stem in environ:
        faults.append(Fault(variable.name, f"is set as well as {stem}; unset one of them"))
        return
    try:
        written = variable.written(environ)
    except ValueError as error:
        faults.append(Fault(variable.name, str(error)))
        written = Written(None, Source(variable=variable.name))
    if variable.path == ("redis", "url"):
        _put_url(table, written, "redis.url", faults)
    else:
        _put_at(table, variable.path, written)


def _put_url(table: Table, written: Written, key: str, faults: list[Fault]) -> None:
    redis = table.get("redis")
    if isinstance(redis, Table):
        redis.entries.pop("url", None)
    parts: dict[str, object] = {"password": None}  # perhaps it has one: no second fault for its absence
    try:
        if written.value is not None:
            parts = parse_redis_url(written.value)
    except ValueError as error:
        faults.append(Fault(written.source.at(key), str(error)))
    for name, value in parts.items():
        _put_at(table, ("redis", name), Written(value, written.source))


def _put_at(table: Table, path: tuple[str, ...], written: Written) -> None:
    redis = table.get("redis")
    if path == ("redis", "host") and isinstance(redis, Table):
        redis.entries.pop("socket", None)  # a socket wins over a host, and the host was said later
    table.put(path, written)
