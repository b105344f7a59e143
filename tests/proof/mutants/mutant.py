"""One seeded mistake."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

import attrs

from cgjobs.broker import library
from tests.proof.play import with_own_digest


@attrs.frozen
class Mutant:
    """One mistake: in this file, instead of ``text``, which stands there once, ``replacement``.

    Args:
        name: What is wrong then.
        file: The Lua file.
        text, replacement: What stands there, and what stands there instead.
        machine: Which one has to find it, see `tests.proof.play`.
    """

    name: str
    file: str
    text: str
    replacement: str
    machine: Literal["moves", "attempts", "limits"] = "moves"

    def source(self) -> str:
        """The library with the mistake in it and a digest of its own.

        Raises:
            LookupError: The text does not stand in the file exactly once.
        """
        lua = (files("cgjobs.functions") / self.file).read_text("utf-8")
        if lua.count(self.text) != 1:
            raise LookupError(
                f"mutant {self.name!r}: its text stands {lua.count(self.text)} times in {self.file}, "
                f"not once: {self.text!r}. The file has changed; change the mutant too"
            )
        whole = library.source()
        mutated = whole.replace(lua, lua.replace(self.text, self.replacement))
        if mutated == whole:
            raise LookupError(f"mutant {self.name!r}: {self.file} was edited since this process read it")
        return with_own_digest(mutated)
