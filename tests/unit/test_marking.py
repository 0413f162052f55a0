"""Marks of what `kiro init` writes: known again, changes seen, and gone byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_invoke.scaffold.marking import block_mark, is_damaged, whole, whole_mark, with_block, without_block

BODY = "**/target\n**/.git\n"


@pytest.mark.parametrize("comment", ["#", "//"])
def test_a_whole_file_is_known_by_its_first_line(comment: str) -> None:
    text = whole("FROM a\n", "1.2.3", comment)
    assert text.startswith(f"{comment} Written by kiro init 1.2.3 (")
    mark = whole_mark(text)
    assert mark is not None
    assert (mark.version, mark.intact, mark.body) == ("1.2.3", True, "FROM a\n")


def test_a_change_of_a_persons_is_seen() -> None:
    for text in (whole("FROM a\n", "1").replace("FROM a", "FROM b"), whole("FROM a\n", "1") + "\n"):
        mark = whole_mark(text)
        assert mark is not None
        assert not mark.intact
    block = with_block("mine\n", BODY, "1").replace("target", "out")
    found = block_mark(block)
    assert found is not None
    assert not found.intact


def test_line_ends_that_git_made_are_no_change() -> None:
    text = whole("FROM a\nRUN b\n", "1").replace("\n", "\r\n")
    mark = whole_mark(text)
    assert mark is not None
    assert mark.intact


def test_a_persons_own_file_has_no_mark() -> None:
    assert whole_mark("FROM a\n") is None
    assert whole_mark("FROM a\n" + whole("FROM a\n", "1")) is None
    assert block_mark("# kiro init\n") is None


@given(st.lists(st.sampled_from(["a", "!b", "ä", "# <<< kiro init", "\n", "\n", "\r\n", "\r\n", "\r"])))
def test_a_block_goes_byte_for_byte(pieces: list[str]) -> None:
    before = "".join(pieces)
    with_it = with_block(before, BODY, "0.1.0")
    mark = block_mark(with_it)
    assert mark is not None
    assert (mark.intact, mark.body) == (True, BODY)
    assert without_block(with_it) == before
    assert with_block(with_it, BODY, "0.1.0") == with_it


def test_what_a_person_writes_below_a_block_stays() -> None:
    text = with_block("mine", BODY, "1") + "below\n"
    assert without_block(text) == "mine\nbelow\n"


def test_a_block_that_lost_its_end_does_not_take_in_what_a_person_wrote_below() -> None:
    torn = with_block("above\n", BODY, "1").replace("# <<< kiro init\n", "") + "below\n"
    assert (is_damaged(torn), is_damaged(torn.replace("\n", "\r\n"))) == (True, True)
    assert block_mark(torn) is None
    again = with_block(torn, BODY, "1")
    assert without_block(again) == torn
    assert not is_damaged(with_block("above\n", BODY, "1"))
    assert not is_damaged("# >>> kiro init\n")
