"""A folder by content: what is read again, what is never trusted, and what is stored."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kiro_invoke.changes import context
from kiro_invoke.changes import snapshot as module
from kiro_invoke.changes.context import Folder, Rules
from kiro_invoke.changes.patterns import read_patterns
from kiro_invoke.changes.snapshot import NOTHING, UNTRUSTED, Entry, Snapshot, digest, revision, scan
from kiro_invoke.changes.stored import Stored, load, save
from kiro_invoke.model.errors import ConfigError
from tests.support.trees import ordinary_folder, write_tree

SECOND = 1_000_000_000


class Reader:
    """Reads files, and remembers which."""

    def __init__(self, meanwhile: Callable[[str], object] = lambda path: None) -> None:
        self.paths: list[str] = []
        self._meanwhile = meanwhile

    def __call__(self, file: int, path: str, status: os.stat_result) -> bytes:
        self.paths.append(path)
        value = digest(file, path, status)
        self._meanwhile(path)
        return value


def later(seconds: float = 100) -> int:
    """A clock by which what was written just now is old."""
    return time.time_ns() + int(seconds * SECOND)


def content(text: str | bytes) -> bytes:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest().encode()


def values(seen: Snapshot) -> dict[str, tuple[str, bytes]]:
    return {path: (entry.kind, entry.value) for path, entry in seen.entries.items()}


def test_files_and_links_are_entries_and_folders_have_modes(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/file", "a/run", "a/link -> ../é", "empty/er/", "gone"])
    (tmp_path / "a/run").chmod(0o654)
    (tmp_path / "empty").chmod(0o710)
    seen = scan(tmp_path, Rules(read_patterns(b"gone")), NOTHING, later())
    assert values(seen) == {
        "a/file": ("f", content("content of a/file")),
        "a/run": ("x", content("content of a/run")),
        "a/link": ("l", "../é".encode()),
    }
    assert seen.entries["a/run"].mode == 0o654
    assert seen.folders == {"a": 0o755, "empty": 0o710, "empty/er": 0o755}


def test_only_what_was_touched_is_read_again(tmp_path: Path) -> None:
    write_tree(tmp_path, ["same", "edited", "touched", "moded", "replaced", "removed", "link -> same"])
    first = scan(tmp_path, Rules(), NOTHING, later())
    (tmp_path / "edited").write_text("new")
    os.utime(tmp_path / "touched", ns=(1, 1))
    (tmp_path / "moded").chmod(0o755)
    (tmp_path / "copy").write_bytes((tmp_path / "replaced").read_bytes())
    (tmp_path / "copy").rename(tmp_path / "replaced")
    (tmp_path / "removed").unlink()
    (tmp_path / "added").write_text("")
    reader = Reader()
    second = scan(tmp_path, Rules(), first, later(), read=reader)
    assert sorted(reader.paths) == ["added", "edited", "moded", "replaced", "touched"]
    assert second.entries["same"] is first.entries["same"]
    assert second == scan(tmp_path, Rules(), NOTHING, later())


def test_an_untouched_folder_is_the_snapshot_it_was(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/b", "c"])
    first = scan(tmp_path, Rules(), NOTHING, later())
    assert scan(tmp_path, Rules(), first, later()) is first
    (tmp_path / "a").chmod(0o700)
    assert scan(tmp_path, Rules(), first, later()).folders == {"a": 0o700}
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "c").unlink()
    assert set(scan(tmp_path, Rules(), first, later()).entries) == {"a/b"}


@pytest.mark.parametrize("hint", ["size", "mtime_ns", "ctime_ns", "inode"])
def test_each_hint_counts(tmp_path: Path, hint: str) -> None:
    """Not all file systems keep them all."""
    write_tree(tmp_path, ["file", "link -> file"])
    first = scan(tmp_path, Rules(), NOTHING, later())
    other = {path: Entry(**{**entry._asdict(), hint: 1}) for path, entry in first.entries.items()}
    second = scan(tmp_path, Rules(), replace(first, entries=other), later())
    assert second == first


def test_an_edit_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    os.utime(file, ns=(1, 1))
    first = scan(tmp_path, Rules(), NOTHING, later())
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert scan(tmp_path, Rules(), first, later()).entries["file"].value == content("two")


@pytest.mark.parametrize(
    ("mtime", "ctime", "trusted"),
    [
        (-45, -45, True),
        (-35, -45, False),
        (-45, -35, False),
        (35, -45, False),
        (45, -45, True),
        (-45, 45, False),
        (0, 0, False),
    ],
)
def test_a_hint_from_the_moment_of_the_scan_is_not_trusted(
    tmp_path: Path, mtime: float, ctime: float, trusted: bool
) -> None:
    """An edit within the same tick of the clock moves neither size nor times, nor may one of a mapped file."""
    file = tmp_path / "file"
    file.write_text("one")
    now = file.stat().st_ctime_ns - int(ctime * SECOND)
    os.utime(file, ns=(now, now + int(mtime * SECOND)))
    first = scan(tmp_path, Rules(), NOTHING, now)
    assert (first.entries["file"].ctime_ns != UNTRUSTED) is trusted
    reader = Reader()
    scan(tmp_path, Rules(), first, now + SECOND, read=reader)
    assert reader.paths == ([] if trusted else ["file"])


def test_an_edit_of_a_mapped_file_is_seen(tmp_path: Path) -> None:
    """A page that the kernel has not written back yet can be written again without any time moving."""
    file = tmp_path / "file"
    file.write_bytes(b"0" * mmap.PAGESIZE)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        mapped[0] = ord("1")
        first = scan(tmp_path, Rules(), NOTHING, file.stat().st_ctime_ns + 30 * SECOND)
        mapped[0] = ord("2")
        second = scan(tmp_path, Rules(), first, file.stat().st_ctime_ns + 31 * SECOND)
        assert second.entries["file"].value == content(mapped[:])


def test_only_what_changed_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    write_tree(tmp_path, ["young", *(f"old/{number}" for number in range(9))])
    now = later()
    os.utime(tmp_path / "young", ns=(now, now))
    first, reader = scan(tmp_path, Rules(), NOTHING, now), Reader()
    scan(tmp_path, Rules(), first, now + SECOND, read=reader)
    assert reader.paths == ["young"]


def test_once_it_is_old_it_is_trusted(tmp_path: Path) -> None:
    write_tree(tmp_path, ["file"])
    young = scan(tmp_path, Rules(), NOTHING, time.time_ns())
    old = scan(tmp_path, Rules(), young, later())
    assert old is not young
    assert scan(tmp_path, Rules(), old, later()) is old


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    reader = Reader(lambda _: file.write_text("second") if len(reader.paths) == 1 else None)
    assert scan(tmp_path, Rules(), NOTHING, later(), read=reader).entries["file"].value == content("second")


@pytest.mark.parametrize("changes", [3, 4, 7])
def test_a_file_that_changes_for_a_while_is_taken_as_it_is_at_last(tmp_path: Path, changes: int) -> None:
    log = tmp_path / "log"
    log.write_text("")
    reader = Reader(
        lambda _: log.write_text("x" * len(reader.paths)) if len(reader.paths) <= changes else None
    )
    assert scan(tmp_path, Rules(), NOTHING, later(), read=reader).entries["log"].value == content(
        "x" * changes
    )


def test_a_file_that_never_stands_still_is_named_with_the_cure(tmp_path: Path) -> None:
    """Such as a log that a running program writes to."""
    write_tree(tmp_path, ["app/a", "app/log", "app/z"])
    log = tmp_path / "app/log"
    reader = Reader(lambda path: log.write_text("x" * len(reader.paths)) if path == "log" else None)
    with pytest.raises(ConfigError, match="the sources of app keep changing") as refused:
        scan(tmp_path / "app", Rules(), NOTHING, later(), read=reader)
    assert refused.value.file == str(log)
    assert refused.value.fix == "build again when they rest, or name in .dockerignore what no build needs"
    assert len(reader.paths) == 32, "three times in each of ten looks, and the others once"


def test_a_listing_that_tells_other_times_than_the_files_do_is_not_taken_for_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some file systems of networks and virtual machines do."""
    write_tree(tmp_path, ["a", "b"])
    known = scan(tmp_path, Rules(), NOTHING, later())
    fstat, reader = os.fstat, Reader()

    def other(file: int) -> os.stat_result:
        status = fstat(file)
        times = {"st_mtime_ns": status.st_mtime_ns + 1, "st_ctime_ns": status.st_ctime_ns}
        return os.stat_result(tuple(status), times)

    monkeypatch.setattr(os, "fstat", other)
    assert scan(tmp_path, Rules(), NOTHING, later(), read=reader).revision == known.revision
    assert reader.paths == ["a", "b"] * 2 or reader.paths == ["b", "a"] * 2


@pytest.mark.parametrize("when", range(6))
def test_files_that_are_replaced_during_the_scan_are_of_one_moment(tmp_path: Path, when: int) -> None:
    """As by a checkout: a tree of which one half is from before it, one from after it, never was."""
    write_tree(tmp_path, ["a", "d/b", "c", "gone", "d/e/f"])
    places = [path for path in tmp_path.rglob("*") if path.is_file()]

    def checkout(_path: str) -> None:
        if len(reader.paths) == when + 1:
            for place in places:
                (tmp_path / "new").write_text("v2")
                (tmp_path / "new").rename(place)
            (tmp_path / "gone").unlink()
            (tmp_path / "d").chmod(0o700)
            write_tree(tmp_path, ["added"])

    reader = Reader(checkout)
    seen = scan(tmp_path, Rules(), NOTHING, later(), read=reader)
    assert seen == scan(tmp_path, Rules(), NOTHING, later())


def test_files_that_are_swapped_during_every_look_never_rest(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a", "b"])

    def swap(_path: str) -> None:
        (tmp_path / "a").rename(tmp_path / "c")
        (tmp_path / "b").rename(tmp_path / "a")
        (tmp_path / "c").rename(tmp_path / "b")

    with pytest.raises(ConfigError, match="keep changing"):
        scan(tmp_path, Rules(), NOTHING, later(), read=Reader(swap))


def test_only_a_folder_that_moved_is_looked_through_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, ["a", "b"])
    looks: list[Path] = []
    walk = context.walk

    def counted(root: Path, *rest: Any, **more: Any) -> Iterator[Folder]:
        looks.append(root)
        return walk(root, *rest, **more)

    monkeypatch.setattr(module, "walk", counted)
    first = scan(tmp_path, Rules(), NOTHING, later())
    assert len(looks) == 2
    scan(tmp_path, Rules(), first, later())
    assert len(looks) == 3
    (tmp_path / "a").unlink()
    scan(tmp_path, Rules(), first, later())
    assert len(looks) == 5


@pytest.mark.parametrize("becomes", ["nothing", "folder", "link", "pipe", "socket", "file"])
def test_what_vanishes_or_changes_its_kind_meanwhile_is_coped_with(
    tmp_path: Path, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, ["file"])
    file, opened = tmp_path / "file", os.open
    times: list[str] = []

    def replace_once(path: str, *args: int, **kwargs: int) -> int:
        if path == "file" and not times:
            times.append(path)
            file.unlink()
            make: dict[str, Callable[[], object]] = {
                "nothing": lambda: None,
                "folder": file.mkdir,
                "link": lambda: file.symlink_to("/etc/passwd"),
                "pipe": lambda: os.mkfifo(file),
                "socket": lambda: os.mknod(file, stat.S_IFSOCK | 0o644),
                "file": lambda: file.write_text("one"),
            }
            make[becomes]()
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", replace_once)
    expected = {"link": ("l", b"/etc/passwd"), "file": ("f", content("one"))}
    seen = scan(tmp_path, Rules(), NOTHING, later())
    assert values(seen) == ({"file": expected[becomes]} if becomes in expected else {})


def test_a_link_that_becomes_a_file_meanwhile_is_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, ["one -> two"])
    readlink = os.readlink

    def replace_it(path: str, **more: int) -> str:
        (tmp_path / "one").unlink()
        (tmp_path / "one").write_text("one")
        return readlink(path, **more)

    monkeypatch.setattr(os, "readlink", replace_it)
    assert values(scan(tmp_path, Rules(), NOTHING, later())) == {"one": ("f", content("one"))}


def test_a_folder_that_vanishes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    write_tree(tmp_path, ["first", "folder/a", "folder/b"])

    def remove(path: str) -> None:
        for name in ("a", "b"):
            (tmp_path / "folder" / name).unlink(missing_ok=True)
        if (tmp_path / "folder").exists():
            (tmp_path / "folder").rmdir()

    assert set(scan(tmp_path, Rules(), NOTHING, later(), read=Reader(remove)).entries) == {"first"}


def test_an_unreadable_file_is_named_with_the_cure() -> None:
    with ordinary_folder() as folder:
        write_tree(folder, ["a/secret"])
        (folder / "a/secret").chmod(0)
        with pytest.raises(ConfigError, match="cannot be read: Permission denied") as refused:
            scan(folder, Rules(), NOTHING, later())
        assert (refused.value.file, refused.value.fix) == (
            str(folder / "a/secret"),
            "make it readable, or name it in .dockerignore",
        )


def test_a_large_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(5_000)
    (tmp_path / "large").write_bytes(data)
    monkeypatch.setattr(module, "CHUNK", 1_000)
    sizes: list[int] = []
    read = os.read

    def sized(file: int, size: int) -> bytes:
        sizes.append(size)
        return read(file, size)

    monkeypatch.setattr(os, "read", sized)
    assert scan(tmp_path, Rules(), NOTHING, later()).entries["large"].value == content(data)
    assert sizes == [1_000] * 6


def test_nothing_of_the_person_is_touched(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/b", "link -> a"])

    def marks() -> list[tuple[int, ...]]:
        return [
            (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns, path.lstat().st_mode)
            for path in (tmp_path, *sorted(tmp_path.rglob("*")))
        ]

    before = marks()
    scan(tmp_path, Rules(), NOTHING, later())
    assert marks() == before


names = some.text(
    some.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: name not in (".", "..")) | some.sampled_from(["\udcff", "a\udc80", "a", "a.", "a\n"])
paths = some.lists(names, min_size=1, max_size=4).map("/".join)
numbers = some.integers(-(2**63), 2**63 - 1)
entries = some.dictionaries(
    paths,
    some.builds(
        lambda kind, text, *rest: Entry(kind, text if kind == "l" else content(text), *rest),
        some.sampled_from("fxl"),
        some.binary(min_size=1, max_size=8).filter(lambda text: b"\0" not in text),
        some.integers(0, 0o7777),
        some.integers(0, 2**63 - 1),
        numbers,
        numbers,
        some.integers(0, 2**64 - 1),
    ),
    max_size=6,
)
snapshots = some.builds(
    Snapshot, entries, some.dictionaries(paths, some.integers(0, 0o7777), max_size=3), some.just("r")
)


@settings(deadline=None)
@given(entries)
def test_the_revision_is_the_hash_of_the_tree_in_bytewise_order(tree: dict[str, Entry]) -> None:
    records = sorted(
        (path.encode(errors="surrogateescape"), entry.kind.encode() + entry.value)
        for path, entry in tree.items()
    )
    hashed = hashlib.sha256()
    for path, value in records:
        hashed.update(path + b"\0" + value + b"\0")
    assert revision(tree) == f"kiro-revision-{hashed.hexdigest()}"


def test_the_revision_of_a_known_tree(tmp_path: Path) -> None:
    """Written down: the helpers inside of builds must come to the same."""
    write_tree(tmp_path, ["a/b", "a.txt", "z\udcff -> a/b", "empty/"])
    (tmp_path / "a.txt").write_text("1\n")
    (tmp_path / "a/b").write_text("")
    (tmp_path / "a/b").chmod(0o700)
    known = "kiro-revision-6f0cc312ed18308de448724bfff95abc11091efd63c5c4c42806c86bbf6c3f27"
    assert scan(tmp_path, Rules(), NOTHING, later()).revision == known


@settings(deadline=None, max_examples=50)
@given(snapshots, snapshots, numbers)
def test_what_is_stored_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, first: Snapshot, second: Snapshot, number: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "stored.snapshot"
    stored = Stored((first, second), {"newest": number})
    save(path, stored)
    assert load(path) == stored
    loaded = load(path)
    assert loaded
    assert [list(one.entries) for one in loaded.snapshots] == [list(one.entries) for one in stored.snapshots]


def test_a_stored_file_that_is_damaged_counts_as_absent(tmp_path: Path) -> None:
    write_tree(tmp_path, ["tree/a", "tree/b -> a"])
    path = tmp_path / "stored"
    assert load(path) is None
    save(path, Stored((scan(tmp_path / "tree", Rules(), NOTHING, later()),)))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at])
        assert load(path) is None
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert load(path) is None
    path.write_bytes(whole + b"x")
    assert load(path) is None
    path.unlink()
    path.mkdir()
    assert load(path) is None


@pytest.mark.parametrize("moment", [2**63, -(2**63) - 1, 2**80])
def test_a_time_that_has_no_room_is_stored_and_not_trusted(tmp_path: Path, moment: int) -> None:
    """Before 1677 and after 2262: some archives hold such files."""
    write_tree(tmp_path, ["tree/file", "tree/link -> file"])
    seen = scan(tmp_path / "tree", Rules(), NOTHING, later())
    far = {path: entry._replace(mtime_ns=moment) for path, entry in seen.entries.items()}
    save(tmp_path / "stored", Stored((replace(seen, entries=far),)))
    loaded = load(tmp_path / "stored")
    assert loaded
    for path, entry in loaded.snapshots[0].entries.items():
        assert entry.mtime_ns != moment
        assert entry == far[path]._replace(mtime_ns=entry.mtime_ns)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_trouble_while_storing_keeps_the_old_one_and_leaves_no_draft(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stored"
    save(path, Stored((NOTHING,), {"a": 1}))

    def full(*_: object) -> None:
        assert load(path) == Stored((NOTHING,), {"a": 1})
        raise KeyboardInterrupt if step == "fsync" else OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises((OSError, KeyboardInterrupt)):
        save(path, Stored((NOTHING,), {"a": 2}))
    assert load(path) == Stored((NOTHING,), {"a": 1})
    assert [one.name for one in tmp_path.iterdir()] == ["stored"]
