"""What is sent into a container: the transfer turns one tree into the other, and holds what was looked at."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.loop.syncing import Moved, Places, Transfer, archive, transfer
from kiro_invoke.model.live import SyncRule

APP = Places((SyncRule(),), "/app")
Contents = Mapping[str, object]


def file(text: str, mode: int = 0o644) -> tuple[str, bytes, int]:
    return ("x" if mode & 0o111 else "f", hashlib.sha256(text.encode()).hexdigest().encode(), mode)


def link(text: str) -> tuple[str, bytes, int]:
    return ("l", text.encode(), 0o777)


BEFORE: Contents = {"a": file("a"), "b": file("b"), "d/": 0o755, "d/c": file("c"), "l": link("a")}


def after(**changes: object) -> dict[str, object]:
    """BEFORE with changes: None removes. `_` in a name stands for `/`."""
    found = dict(BEFORE)
    for name, what in changes.items():
        path = name.replace("_", "/")
        if what is None:
            del found[path]
        else:
            found[path] = what
    return found


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (after(), Transfer()),
        (after(a=file("A")), Transfer(put=(("a", "/app/a"),), changed=("a",))),
        (after(a=file("a", 0o755)), Transfer(put=(("a", "/app/a"),), changed=("a",))),
        (after(a=None), Transfer(drop=("/app/a",), changed=("a",))),
        (after(n=file("n")), Transfer(put=(("n", "/app/n"),), changed=("n",))),
        (after(l=link("b")), Transfer(clear=("/app/l",), put=(("l", "/app/l"),), changed=("l",))),
        (after(l=file("f")), Transfer(clear=("/app/l",), put=(("l", "/app/l"),), changed=("l",))),
        (after(a=link("b")), Transfer(clear=("/app/a",), put=(("a", "/app/a"),), changed=("a",))),
        (
            {key: what for key, what in BEFORE.items() if not key.startswith("d")},
            Transfer(drop=("/app/d/c",), prune=("/app/d",), changed=("d/", "d/c")),
        ),
        # a folder becomes a file: what is in the folder goes with it
        (
            {**{key: what for key, what in BEFORE.items() if not key.startswith("d")}, "d": file("d")},
            Transfer(drop=("/app/d/c",), clear=("/app/d",), put=(("d", "/app/d"),), changed=("d", "d/", "d/c")),
        ),
        # a file becomes a folder
        (
            {**after(a=None), "a/": 0o755, "a/x": file("x")},
            Transfer(
                clear=("/app/a",), put=(("a/", "/app/a"), ("a/x", "/app/a/x")), changed=("a", "a/", "a/x")
            ),
        ),
        (after(e_f=file("f"), e_=0o700), Transfer(
            put=(("e/", "/app/e"), ("e/f", "/app/e/f")), changed=("e/", "e/f")
        )),
    ],
)  # fmt: skip
def test_it_turns_one_tree_into_the_other(wanted: Contents, expected: Transfer) -> None:
    found = transfer(BEFORE, wanted, APP)
    assert replace(found, rewritten=False) == expected


@pytest.mark.parametrize(
    ("wanted", "rewritten"),
    [
        (after(a=file("A")), True),
        (after(a=file("A"), b=file("B")), True),
        (after(a=file("a", 0o755)), False),
        (after(a=file("A"), n=file("n")), False),
        (after(a=file("A"), b=None), False),
        (after(l=link("b")), False),
        (after(a=link("b")), False),
        (after(l=file("l")), False),
        (after(d_=0o700), False),
    ],
)
def test_other_contents_alone_are_told_apart(wanted: Contents, rewritten: bool) -> None:
    assert transfer(BEFORE, wanted, APP).rewritten is rewritten
    assert not transfer(BEFORE, wanted, APP, doubt=["a"]).rewritten


def test_it_is_plain_if_all_of_it_is_files_of_a_kind_with_other_contents() -> None:
    before = {"a.rs": file("a"), "b.txt": file("b")}
    one = transfer(before, {**before, "a.rs": file("A")}, APP)
    both = transfer(before, {"a.rs": file("A"), "b.txt": file("B")}, APP)
    assert one.is_plain([".rs"])
    assert not transfer(before, before, APP).is_plain([".rs"])
    assert not one.is_plain([])
    assert not both.is_plain([".rs"])
    assert both.is_plain([".rs", ".txt"])


def test_what_is_in_doubt_is_sent_again_whatever_lies_there() -> None:
    found = transfer(BEFORE, BEFORE, APP, doubt=["a", "gone", "d/"])
    assert found == Transfer(
        drop=("/app/gone",),
        clear=("/app/a",),
        put=(("a", "/app/a"), ("d/", "/app/d")),
        changed=("a", "d/", "gone"),
    )


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("src/main.rs", "/srv/src/main.rs"),
        ("src", "/srv/src"),
        ("src/gen/x", "/gen/x"),
        ("srcs/x", None),
        ("assets/x", "/app/x"),
        ("README", None),
    ],
)
def test_the_rule_of_the_nearest_folder_says_where_a_file_lies(path: str, place: str | None) -> None:
    rules = (SyncRule("src", "/srv/src"), SyncRule("src/gen", "/gen/"), SyncRule("assets"))
    assert Places(rules, "/app").of(path) == place


def test_what_no_rule_covers_is_told() -> None:
    found = transfer(BEFORE, after(b=file("B"), a=file("A")), Places((SyncRule("d"),), "/app"))
    assert found.uncovered == ("a", "b")


def test_what_this_machine_mounts_there_is_not_sent() -> None:
    places = Places((SyncRule(),), "/app", binds=("/app/d",))
    found = transfer(BEFORE, after(d_c=file("C"), a=file("A")), places)
    assert found == Transfer(
        put=(("a", "/app/a"),), changed=("a", "d/c")
    )  # its time is this machine's: not `rewritten`


def read(tar: bytes) -> dict[str, tuple[str, int, str]]:
    """Name -> type, mode, content or link."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archived:
        for member in archived:
            content = archived.extractfile(member) if member.isreg() else None
            text = content.read().decode() if content else member.linkname
            kind = "file" if member.isreg() else "link" if member.issym() else "folder"
            found[member.name] = (kind, member.mode, text)
    return found


def test_the_archive_holds_places_modes_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    wanted: Contents = {"a": file("a", 0o755), "d/": 0o750, "l": link("../x")}
    put = [("a", "/app/deep/a"), ("d/", "/app/d"), ("l", "/app/l")]
    assert read(archive(tmp_path, put, wanted)) == {
        "app/deep/a": ("file", 0o755, "a"),
        "app/d": ("folder", 0o750, ""),
        "app/l": ("link", 0o777, "../x"),
    }


@pytest.mark.parametrize("what", ["another content", "gone", "a link now", "a folder now"])
def test_a_file_that_is_no_longer_what_it_was_is_not_sent(tmp_path: Path, what: str) -> None:
    place = tmp_path / "a"
    match what:
        case "another content":
            place.write_text("A")
        case "a link now":
            (tmp_path / "b").write_text("a")
            place.symlink_to("b")
        case "a folder now":
            place.mkdir()
    with pytest.raises(Moved):
        archive(tmp_path, [("a", "/app/a")], {"a": file("a")})


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \n'\"$x")
    (tmp_path / name).write_text("a")
    with tarfile.open(
        fileobj=io.BytesIO(archive(tmp_path, [(name, f"/app/{name}")], {name: file("a")})),
        errors="surrogateescape",
    ) as tar:
        assert tar.getnames() == [f"app/{name}"]
