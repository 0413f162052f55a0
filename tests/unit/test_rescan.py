"""A few paths looked at again: what comes of it is what a scan of everything gives."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.changes import rescan as module
from kiro_invoke.changes.context import Rules
from kiro_invoke.changes.patterns import read_patterns
from kiro_invoke.changes.rescan import rescan
from kiro_invoke.changes.snapshot import NOTHING, UNTRUSTED, Snapshot, scan
from tests.support.trees import write_tree

RULES = Rules(read_patterns(b"*.log\nout\n!out/kept\n"))


def later() -> int:
    return time.time_ns() + 100_000_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path, ["a/file", "a/other", "a/b/deep", "top", "a/link -> file", "x.log", "out/kept"])
    return tmp_path


def known(tree: Path) -> Snapshot:
    return scan(tree, RULES, NOTHING, later())


def edit(tree: Path) -> list[str]:
    (tree / "a/file").write_text("another text")
    return ["a/file"]


def add(tree: Path) -> list[str]:
    (tree / "a/new").write_text("x")
    return ["a/new"]


def remove(tree: Path) -> list[str]:
    (tree / "top").unlink()
    return ["top"]


def rename(tree: Path) -> list[str]:
    (tree / "a/file").rename(tree / "a/b/moved")
    return ["a/file", "a/b/moved"]


def make_executable(tree: Path) -> list[str]:
    (tree / "top").chmod(0o755)
    return ["top"]


def turn_a_link(tree: Path) -> list[str]:
    (tree / "a/link").unlink()
    (tree / "a/link").symlink_to("other")
    return ["a/link"]


def add_what_is_left_out(tree: Path) -> list[str]:
    (tree / "a.log").write_text("x")
    (tree / "out/more").write_text("x")
    return ["a.log", "out/more"]


def add_a_folder(tree: Path) -> list[str]:
    write_tree(tree, ["c/d/file"])
    return ["c"]


def add_in_a_folder_that_nobody_told_of(tree: Path) -> list[str]:
    write_tree(tree, ["c/d/file"])
    return ["c/d/file"]


def remove_a_folder(tree: Path) -> list[str]:
    shutil.rmtree(tree / "a")
    return ["a/file"]


def replace_a_folder_by_a_file(tree: Path) -> list[str]:
    shutil.rmtree(tree / "a/b")
    (tree / "a/b").write_text("x")
    return ["a/b"]


def replace_a_file_by_a_folder(tree: Path) -> list[str]:
    (tree / "top").unlink()
    write_tree(tree, ["top/inner"])
    return ["top"]


def replace_a_folder_by_a_link(tree: Path) -> list[str]:
    (tree / "a/b").rename(tree / "b")
    (tree / "a/b").symlink_to("../b")
    return ["a/b/deep", "b"]


def replace_a_folder_above_by_a_link(tree: Path) -> list[str]:
    (tree / "a").rename(tree.parent / "elsewhere")
    (tree / "a").symlink_to(tree.parent / "elsewhere")
    return ["a/b/deep"]


def name_what_no_file_can_be_called(_tree: Path) -> list[str]:
    return ["a/" + "x" * 300]


def make_a_pipe(tree: Path) -> list[str]:
    (tree / "top").unlink()
    os.mkfifo(tree / "top")
    return ["top"]


def name_what_is_not_there(_tree: Path) -> list[str]:
    return ["nothing", "a/nothing", "a//", ".", ""]


CHANGES = [
    edit, add, remove, rename, make_executable, turn_a_link, add_what_is_left_out, add_a_folder,
    add_in_a_folder_that_nobody_told_of, remove_a_folder, replace_a_folder_by_a_file, replace_a_file_by_a_folder,
    replace_a_folder_by_a_link, replace_a_folder_above_by_a_link, name_what_no_file_can_be_called,
    make_a_pipe, name_what_is_not_there,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_it_gives_what_a_scan_gives(tree: Path, change: Callable[[Path], list[str]]) -> None:
    before = known(tree)
    told = change(tree)
    after = rescan(tree, RULES, before, told, later())
    whole = scan(tree, RULES, NOTHING, later())
    assert (dict(after.entries), dict(after.folders)) == (dict(whole.entries), dict(whole.folders))


@pytest.mark.parametrize(
    "change", [edit, add, remove, rename, make_executable, turn_a_link, add_what_is_left_out]
)
def test_a_file_costs_no_scan(
    tree: Path, change: Callable[[Path], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = known(tree)
    told = change(tree)
    if change is add_what_is_left_out:
        told = told[:1]
    monkeypatch.setattr(module, "scan", lambda *_, **__: pytest.fail("scanned"))
    rescan(tree, RULES, before, told, later())


def test_nothing_changed_is_the_same_snapshot(tree: Path) -> None:
    before = known(tree)
    os.utime(tree / "top")
    assert rescan(tree, RULES, before, ["a/file", "nothing"], later()) is before


def test_a_young_file_is_not_trusted_and_a_revision_is_found_by_the_next_scan(tree: Path) -> None:
    before = known(tree)
    told = edit(tree)
    after = rescan(tree, RULES, before, told, time.time_ns())
    assert (after.entries["a/file"].ctime_ns, after.revision) == (UNTRUSTED, "")
    (tree / "a/file").write_text("ANOTHER TEXT")
    final = scan(tree, RULES, after, later())
    assert final.revision == scan(tree, RULES, NOTHING, later()).revision != before.revision


def test_an_untrusted_file_that_is_the_same_is_no_change(tree: Path) -> None:
    before = scan(tree, RULES, NOTHING, time.time_ns())
    assert rescan(tree, RULES, before, ["a/file"], time.time_ns()) is before


def test_what_is_not_named_stays_as_it_was(tree: Path) -> None:
    before = known(tree)
    edit(tree)
    (tree / "top").write_text("also")
    after = rescan(tree, RULES, before, ["a/file"], later())
    assert after.entries["top"] == before.entries["top"]
    assert replace(after, entries={}) == replace(before, entries={}, revision="")
