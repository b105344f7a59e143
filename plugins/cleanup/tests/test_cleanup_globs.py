"""Patterns on paths."""

from __future__ import annotations

import pytest

from cgjobs_cleanup.globs import Globs, check_glob


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("**", "a", True),
        ("**", "a/b/c", True),
        ("*.log", "a/b/x.log", True),
        ("*.log", "x.log.gz", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("**/tmp/*", "tmp/x", True),
        ("**/tmp/*", "a/tmp/x", True),
        ("a/?", "a/b", True),
        ("a?b", "a/b", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("x/[!a]y", "x//y", False),
        ("[a-c]", "b", True),
        ("[]]", "]", True),
        ("[", "[", True),
        ("a.c", "abc", False),
        ("a|b", "a", False),
        ("*", "line\nbreak", True),
        ("A", "a", False),
    ],
)
def test_a_pattern_matches_what_people_expect(glob: str, path: str, matches: bool) -> None:
    assert Globs([glob]).match(path) is matches


def test_one_pattern_of_several_is_enough_and_exceptions_win() -> None:
    globs = Globs(["*.png", "tmp/**"], but_not=["keep*"])

    assert globs.match("x.png")
    assert globs.match("tmp/x/keeper.d/x")
    assert not globs.match("tmp/keep.png")


def test_no_pattern_matches_nothing() -> None:
    assert Globs([]).misses("a")


@pytest.mark.parametrize("glob", ["", "/", "/etc/*", "../x", "a/../b", "./a", "a//b", "tmp/", "[z-a]"])
def test_a_pattern_that_can_match_nothing_is_refused(glob: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        check_glob(glob)
