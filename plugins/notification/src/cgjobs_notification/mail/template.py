"""Mails from templates: text and HTML of a directory, filled in with what a job brings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import css_inline
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cgjobs import Discard
from cgjobs_notification.payloads import Content

_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,2}\Z")
_MOST = 1_000_000


class Templates:
    """The templates of a directory, compiled once per worker.

    A mail ``welcome`` is ``welcome.subject.txt``, ``welcome.txt`` and, when it is there, ``welcome.html``; in
    German ``welcome.de.subject.txt`` and so on. Values are escaped in HTML, a missing one is an error, and a
    template reaches nothing but its values.

    Args:
        directory: Where they are.
        default_locale: Taken when there is none in the user's language, before the one without a language.
    """

    def __init__(self, directory: Path, default_locale: str = "") -> None:
        self._directory, self._default = directory, default_locale
        self._environment = ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(directory),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )
        # Nothing is fetched: neither style sheets nor files.
        self._inliner = css_inline.CSSInliner(load_remote_stylesheets=False)

    def render(self, name: str, locale: str | None, data: Mapping[str, Any]) -> Content:
        """Fill in a template.

        Args:
            name: Its name, as `Content` checked it.
            locale: The user's, such as ``de-AT``; ``de`` will do as well.
            data: Its values.

        Raises:
            Discard: There is no such template, or it cannot be filled in with these values.
        """
        subject = self._filled([f"{stem}.subject.txt" for stem in self._stems(name, locale)], data)
        text = self._filled([f"{stem}.txt" for stem in self._stems(name, locale)], data)
        if subject is None or text is None:
            missing = f"{name}.{'subject.txt' if subject is None else 'txt'}"
            raise Discard(f"there is no template {missing} in {self._directory}")
        html = self._filled([f"{stem}.html" for stem in self._stems(name, locale)], data)
        try:
            return Content(
                subject=" ".join(subject.split()),
                text=text,
                html=None if html is None else self._inliner.inline(html),
            )
        except (ValueError, css_inline.InlineError) as error:
            raise Discard(f"template {name!r}: {error}") from error

    def _stems(self, name: str, locale: str | None) -> Iterable[str]:
        for wanted in (locale, self._default):
            if wanted and _LOCALE.match(wanted):
                yield f"{name}.{wanted}"
                yield f"{name}.{re.split('[-_]', wanted)[0]}"
        yield name

    def _filled(self, names: list[str], data: Mapping[str, Any]) -> str | None:
        try:
            text = self._environment.select_template(names).render(data)
        except jinja2.TemplatesNotFound:
            return None
        except Exception as error:  # a template may do anything wrong, and trying again does not mend it
            raise Discard(f"template {names[-1]}: {type(error).__name__}: {error}") from error
        if len(text) > _MOST:
            raise Discard(f"template {names[-1]} gave {len(text):,} characters; a mail has at most {_MOST:,}")
        return text
