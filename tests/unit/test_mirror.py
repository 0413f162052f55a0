"""The mirror: what it holds, which times it gives, and how it mends itself. Builds from it: tests/docker."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.changes import drafts as drafts_module
from kiro_invoke.changes.context import Rules, rules_of
from kiro_invoke.changes.mirror import Mirror, Mirrored, held, mirror_name, refresh
from kiro_invoke.changes.snapshot import NOTHING, scan
from kiro_invoke.model.errors import ConfigError
from tests.support.trees import listing, ordinary_folder, write_tree

SECOND = 1_000_000_000


@dataclass
class Clock:
    """Far enough in the future that what was written just now is old."""

    now: int = field(default_factory=lambda: time.time_ns() + 1000 * SECOND)

    def tick(self) -> int:
        self.now += SECOND
        return self.now


@dataclass
class Checkout:
    root: Path
    clock: Clock = field(default_factory=Clock)

    @property
    def context(self) -> Path:
        return self.root / "app"

    @property
    def state(self) -> Path:
        return self.root / ".kiro"

    @property
    def dockerfile(self) -> Path:
        return self.root / "Dockerfile"

    def refresh(self, now: int | None = None, **more: Any) -> Mirrored:
        rules = rules_of(self.context, self.dockerfile)
        with held(self.state / "contexts", mirror_name(self.root, "app", rules), pytest.fail) as mirror:
            return refresh(
                mirror,
                self.context,
                rules,
                more.pop("dockerfiles", [self.dockerfile]),
                state=self.state,
                now=self.clock.tick() if now is None else now,
                **more,
            )

    def write(self, path: str, text: str) -> None:
        (self.context / path).parent.mkdir(parents=True, exist_ok=True)
        (self.context / path).write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "check out")
    write_tree(made.context, ["src/main.rs", "src/lib.rs", "run", "link -> src", "empty/er/"])
    (made.context / "run").chmod(0o755)
    made.dockerfile.write_text("FROM scratch\n")
    return made


def times(folder: Path) -> dict[str, int]:
    """The mtime of everything but folders."""
    return {
        str(path.relative_to(folder)): path.lstat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def test_the_mirror_holds_what_the_context_does(checkout: Checkout) -> None:
    names = [
        "x y",
        "a\nb",
        "n\udcff",
        "é",
        "-",
        "n" * 255,
        "deep/" + "/".join("d" * 120 for _ in range(20)) + "/x",
    ]
    write_tree(checkout.context, [*names, "l\udcff -> t\udcff", "out/x", "out/kept"])
    (checkout.context / ".dockerignore").write_text("out\n!out/kept\n.dockerignore\n")
    os.mkfifo(checkout.context / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(checkout.context / "s"))
    mirrored = checkout.refresh()
    expected = listing(checkout.context)
    for path in ("out/x", ".dockerignore", "pipe", "s"):
        del expected[path]
    assert listing(mirrored.folder) == expected
    assert mirrored.files == len(mirrored.changed) == 4 + len(names) + 2
    rules = rules_of(checkout.context, checkout.dockerfile)
    assert mirrored.revision == scan(checkout.context, rules, NOTHING, checkout.clock.now).revision


def test_nothing_changed_writes_nothing(checkout: Checkout) -> None:
    first = checkout.refresh()
    everything = {path: path.lstat() for path in checkout.state.rglob("*") if not path.name.endswith(".lock")}
    second = checkout.refresh()
    assert second.changed == ()
    assert (second.revision, second.files, second.folder) == (first.revision, first.files, first.folder)
    for path, status in everything.items():
        assert path.lstat().st_mtime_ns == status.st_mtime_ns or path == checkout.state / "contexts"
        assert path.lstat().st_ino == status.st_ino


def test_a_touched_file_keeps_its_time_in_the_mirror(checkout: Checkout) -> None:
    before = times(checkout.refresh().folder)
    os.utime(checkout.context / "run")
    shutil.copy(checkout.context / "src/lib.rs", checkout.context / "copy")
    (checkout.context / "copy").replace(checkout.context / "src/lib.rs")
    mirrored = checkout.refresh()
    assert mirrored.changed == ()
    assert times(mirrored.folder) == before


@pytest.mark.parametrize("clock", [3600, 0, -3600])
def test_a_written_file_is_newer_than_any_ever_was(checkout: Checkout, clock: int) -> None:
    """The engine compares size and time: even when the clock was set back, no time may come again."""
    newest = max(times(checkout.refresh().folder).values())
    now = checkout.clock.now + clock * SECOND
    for text in ("one", "two", "one"):
        checkout.write("run", text)
        mirrored = checkout.refresh(now)
        assert (mirrored.folder / "run").read_text() == text
        assert mirrored.changed == ("run",)
        assert times(mirrored.folder)["run"] > newest
        assert times(mirrored.folder)["run"] >= now
        newest = times(mirrored.folder)["run"]
        (checkout.context / "run").unlink()
        checkout.refresh(now)


@pytest.mark.parametrize("grain", [1_000, SECOND, 2 * SECOND])
def test_a_file_system_with_a_coarse_clock_gets_newer_times_too(
    checkout: Checkout, grain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    utime = os.utime

    def coarse(path: str, ns: tuple[int, int], **more: Any) -> None:
        utime(path, ns=(ns[0] // grain * grain, ns[1] // grain * grain), **more)

    monkeypatch.setattr(os, "utime", coarse)
    now = checkout.clock.tick()
    seen = [0]
    for text in ("one", "two", "six"):
        checkout.write("run", text)
        seen.append(times(checkout.refresh(now).folder)["run"])
        assert seen[-1] > seen[-2]


def marked(folder: Path) -> None:
    """An edit: an extended attribute."""
    try:
        os.setxattr(folder / "run", "user.kiro", b"1")
    except OSError:
        pytest.skip("this file system has no attributes")


def replaced(path: str, *by: str) -> Callable[[Path], None]:
    """An edit: `path` goes, and `by` comes (`write_tree`)."""

    def edit(folder: Path) -> None:
        place = folder / path
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
        write_tree(folder, by)

    return edit


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (lambda app: (app / "run").write_text("new"), ["run"]),
        (lambda app: (app / "run").chmod(0o700), ["run"]),
        (replaced("link"), ["link"]),
        (replaced("link", "link -> run"), ["link"]),
        (replaced("link", "link"), ["link"]),
        (replaced("link", "link/in"), ["link", "link/in"]),
        (replaced("run", "run -> link"), ["run"]),
        (replaced("run", "run/in"), ["run", "run/in"]),
        (replaced("run", f"run -> {hashlib.sha256(b'content of run').hexdigest()}"), ["run"]),
        (replaced("src", "src"), ["src", "src/lib.rs", "src/main.rs"]),
        (replaced("src", "src -> run"), ["src", "src/lib.rs", "src/main.rs"]),
        (
            lambda app: (app / "src").rename(app / "other"),
            ["other/lib.rs", "other/main.rs", "src/lib.rs", "src/main.rs"],
        ),
        (lambda app: (app / "empty").chmod(0o1700), []),
        (lambda app: (app / "empty/er").rmdir(), []),
        (lambda app: (app / "new/er").mkdir(parents=True), []),
        (marked, ["run"]),
    ],
)
def test_an_edit_reaches_the_mirror(
    checkout: Checkout, edit: Callable[[Path], object], changed: list[str]
) -> None:
    before = checkout.refresh()
    old = times(before.folder)
    edit(checkout.context)
    after = checkout.refresh()
    assert listing(after.folder) == listing(checkout.context)
    assert list(after.changed) == changed
    for path, mtime in times(after.folder).items():
        assert mtime > max(old.values()) if path in changed else mtime == old[path]
    assert checkout.refresh().changed == ()
    attributes = os.listxattr(checkout.context / "run") if (checkout.context / "run").exists() else []
    assert not attributes or os.listxattr(after.folder / "run") == attributes


@pytest.mark.parametrize(
    ("harm", "mended"),
    [
        (lambda mirror: (mirror / "run").write_text("x"), ["run"]),
        (lambda mirror: (mirror / "run").unlink(), ["run"]),
        (lambda mirror: (mirror / "run").chmod(0o600), ["run"]),
        (lambda mirror: os.utime(mirror / "run", ns=(1, 1)), ["run"]),
        (replaced("run", "run/"), ["run"]),
        (replaced("link", "link -> /etc"), ["link"]),
        (replaced("src"), ["src/lib.rs", "src/main.rs"]),
        (replaced("src", "src -> /etc"), ["src", "src/lib.rs", "src/main.rs"]),
        (replaced("run", "run", "stray", "src/stray/deep"), ["run", "src/stray/deep", "stray"]),
        (lambda mirror: os.mkfifo(mirror / "pipe"), ["pipe"]),
        (lambda mirror: (mirror / "empty").chmod(0o700), []),
        (lambda mirror: (mirror / "empty/er").rmdir(), []),
        (lambda mirror: (mirror / "stray").mkdir(), []),
    ],
)
def test_a_harmed_mirror_is_mended(
    checkout: Checkout, harm: Callable[[Path], object], mended: list[str]
) -> None:
    before = checkout.refresh()
    newest = max(times(before.folder).values())
    harm(before.folder)
    after = checkout.refresh()
    assert listing(after.folder) == listing(checkout.context)
    assert list(after.changed) == mended
    assert after.revision == before.revision
    now = times(after.folder)
    assert all(now[path] > newest for path in mended if path in now)
    assert checkout.refresh().changed == ()


@pytest.mark.parametrize(
    "loss", ["mirror", "record", "damaged record", "mirror is a link", "mirror is a file"]
)
def test_a_lost_mirror_is_made_anew_with_fresh_times(checkout: Checkout, loss: str, tmp_path: Path) -> None:
    mirrored = checkout.refresh()
    newest = max(times(mirrored.folder).values())
    record = mirrored.folder.with_name(f"{mirrored.folder.name}.snapshot")
    if "record" in loss:
        record.write_bytes(record.read_bytes()[:-1]) if "damaged" in loss else record.unlink()
    else:
        shutil.rmtree(mirrored.folder)
    if loss == "mirror is a link":
        write_tree(tmp_path, ["elsewhere/x"])
        mirrored.folder.symlink_to(tmp_path / "elsewhere")
    elif loss == "mirror is a file":
        mirrored.folder.write_text("")
    after = checkout.refresh(1)
    assert listing(after.folder) == listing(checkout.context)
    assert len(after.changed) == after.files == mirrored.files
    assert min(times(after.folder).values()) > newest
    assert loss != "mirror is a link" or (tmp_path / "elsewhere/x").exists()


def test_what_is_gone_on_both_sides_is_gone(checkout: Checkout) -> None:
    before = checkout.refresh()
    for folder in (checkout.context, before.folder):
        (folder / "run").unlink()
    after = checkout.refresh()
    assert after.revision == scan(checkout.context, Rules(), NOTHING, checkout.clock.now).revision
    assert listing(after.folder) == listing(checkout.context)


def test_a_refresh_that_was_killed_anywhere_is_made_good(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call that changes something in turn is the last one."""
    killed = 0
    before = checkout.refresh()
    newest = max(times(before.folder).values())
    for last in range(1, 200):
        shutil.rmtree(checkout.context)
        write_tree(
            checkout.context,
            ["src", "run/a", "link", "more/b -> x"] if last % 2 else ["src/a", "run -> x", "link/y"],
        )
        checkout.write("same", str(last))
        with dying(monkeypatch, last):
            try:
                checkout.refresh()
                break
            except KeyboardInterrupt:
                killed += 1
        mirrored = checkout.refresh()
        assert listing(mirrored.folder) == listing(checkout.context)
        assert times(mirrored.folder)["same"] > newest
        newest = max(times(mirrored.folder).values())
    assert killed > 20


#: The calls that change something on the disk.
CHANGING = (
    "chmod", "fsync", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink", "utime", "write",
)  # fmt: skip


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, last: int) -> Iterator[None]:
    """The call of that number that changes something, of all that do together, is the process's last one."""
    left = [last]

    def until(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] <= 0:
                raise KeyboardInterrupt
            return call(*args, **more)

        return run

    with monkeypatch.context() as patch:
        for name in CHANGING:
            patch.setattr(os, name, until(getattr(os, name)))
        yield


def test_random_edits_all_arrive_with_times_that_never_were(checkout: Checkout) -> None:
    """Names and contents come back all the time: what changes for the engine has a time it never saw at that path."""
    chance = random.Random(4)
    seen: dict[str, dict[tuple[int, int], object]] = {}
    for _ in range(150):
        for _ in range(chance.randint(0, 4)):
            _edit(chance, checkout.context)
        mirrored = checkout.refresh(checkout.clock.now + chance.randint(-5, 5))
        assert listing(mirrored.folder) == listing(checkout.context)
        for path, what in listing(mirrored.folder).items():
            status = (mirrored.folder / path).lstat()
            if what[0] != chr(4):
                known = seen.setdefault(path, {})
                assert known.setdefault((status.st_size, status.st_mtime_ns), what) == what


def _edit(chance: random.Random, app: Path) -> None:
    path = app / chance.choice("abc") / chance.choice(["x", "y/x", "y"])
    path = path if chance.random() < 0.7 else path.parent
    if path.is_symlink() or path.is_file():
        if chance.random() < 0.3 and not path.is_symlink():
            path.chmod(chance.choice([0o644, 0o755, 0o400]))
            return
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    if chance.random() < 0.8 and not any(one.is_file() or one.is_symlink() for one in path.parents):
        path.parent.mkdir(parents=True, exist_ok=True)
        makers: list[Callable[[], object]] = [
            lambda: path.write_text(chance.choice("12")),
            lambda: path.symlink_to("1"),
            path.mkdir,
        ]
        chance.choice(makers)()
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(1, 1))


def test_what_is_built_is_frozen_at_the_refresh(checkout: Checkout) -> None:
    mirrored = checkout.refresh()
    before = listing(mirrored.folder)
    checkout.write("run", "edited during the build")
    (checkout.context / "link").unlink()
    assert listing(mirrored.folder) == before
    assert (checkout.refresh().folder / "run").read_text() == "edited during the build"


def test_what_is_mirrored_is_what_was_hashed(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is written to while it is copied: its hash is that of the bytes in the mirror."""
    write, busy, edits = os.write, checkout.context / "busy", iter(range(12))
    busy.write_text("0")

    def meanwhile(file: int, data: bytes) -> int:
        if (edit := next(edits, None)) is not None:
            busy.write_text(str(edit))
        return write(file, data)

    monkeypatch.setattr(os, "write", meanwhile)
    mirrored = checkout.refresh(time.time_ns())
    monkeypatch.undo()
    assert mirrored.revision == scan(mirrored.folder, Rules(), NOTHING, checkout.clock.now).revision
    assert (mirrored.folder / "busy").read_text() == "11"


def test_a_file_that_is_never_done_with_is_not_mirrored(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(checkout.refresh().folder)
    write, busy = os.write, checkout.context / "busy"
    busy.write_text("0")

    def meanwhile(file: int, data: bytes) -> int:
        busy.write_text(str(time.time_ns()))
        return write(file, data)

    monkeypatch.setattr(os, "write", meanwhile)
    with pytest.raises(ConfigError, match="the sources of app keep changing"):
        checkout.refresh()
    monkeypatch.undo()
    (folder,) = (checkout.state / "contexts").glob("app-??????????")
    assert listing(folder) == before


def test_a_checkout_during_the_refresh_is_mirrored_whole(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file in turn is the one that is copied when all of them are replaced."""
    write = os.write
    for when in range(3):
        left = [when]

        def meanwhile(file: int, data: bytes, left: list[int] = left) -> int:
            if left[0] == 0:
                replaced("src", "src -> run")(checkout.context)
                replaced("run", "run/a")(checkout.context)
                replaced("link", "link")(checkout.context)
            left[0] -= 1
            return write(file, data)

        shutil.rmtree(checkout.context)
        write_tree(checkout.context, ["src/main.rs", "src/lib.rs", "run", "link -> src"])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", meanwhile)
            mirrored = checkout.refresh()
        assert left[0] < 0
        assert listing(mirrored.folder) == listing(checkout.context)
        assert mirrored.revision == scan(mirrored.folder, Rules(), NOTHING, checkout.clock.now).revision
        shutil.rmtree(mirrored.folder)


def test_a_source_from_another_century_is_mirrored(checkout: Checkout) -> None:
    """Its time, in the year 2300, has no room in 64 bits of nanoseconds."""
    moment = 330 * 31_556_952 * SECOND
    os.utime(checkout.context / "run", ns=(moment, moment))
    if (checkout.context / "run").stat().st_mtime_ns != moment:
        pytest.skip("this file system keeps no such time")
    checkout.refresh()
    assert checkout.refresh().changed == ()
    checkout.write("run", "new")
    os.utime(checkout.context / "run", ns=(moment, moment))
    assert (checkout.refresh().folder / "run").read_text() == "new"


@pytest.mark.parametrize("limit", [(1 << 34) * SECOND, (1 << 63) - 1, None])
def test_a_strange_time_at_the_end_of_time_leaves_fresh_ones(
    checkout: Checkout, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system keeps times up to a limit, and a file in the mirror was given the last of them."""
    mirrored, utime = checkout.refresh(), os.utime
    newest = max(times(mirrored.folder).values())
    limit = limit or newest + 2 * 86400 * SECOND

    def limited(path: str, ns: tuple[int, int], **more: Any) -> None:
        utime(path, ns=(min(ns[0], limit), min(ns[1], limit)), **more)

    monkeypatch.setattr(os, "utime", limited)
    os.utime(mirrored.folder / "run", ns=(1 << 80, 1 << 80))
    assert checkout.refresh().changed == ("run",)
    for text in ("one", "two"):
        checkout.write("run", text)
        after = checkout.refresh()
        assert newest < times(after.folder)["run"] < limit
        assert checkout.refresh().changed == ()
        newest = times(after.folder)["run"]


def test_where_time_has_ended_nothing_is_mirrored(checkout: Checkout) -> None:
    checkout.refresh((1 << 63) - 2)
    checkout.write("run", "new")
    checkout.refresh((1 << 63) - 2)
    checkout.write("run", "newer")
    with pytest.raises(ConfigError, match="no time left that is newer than all") as refused:
        checkout.refresh()
    assert refused.value.fix == f"set the clock, and remove {checkout.state / 'contexts'}: it is made anew"


def test_a_file_that_becomes_a_link_while_it_is_read_is_mirrored_as_one(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    fchmod, left = os.fchmod, [1, 1]

    def meanwhile(file: int, mode: int) -> None:
        fchmod(file, mode)
        if left:
            left.pop()
            (checkout.context / "run").write_text(f"edit {len(left)}")
            if not left:
                replaced("run", "run -> link")(checkout.context)

    for path in ("src", "link"):
        replaced(path)(checkout.context)
    monkeypatch.setattr(os, "fchmod", meanwhile)
    mirrored = checkout.refresh()
    assert listing(mirrored.folder) == listing(checkout.context)
    assert (mirrored.folder / "run").is_symlink()


def test_a_large_file_is_cloned_where_the_file_system_can(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its hash is the clone's."""
    asked: list[int] = []

    def clone(draft: int, what: int, file: int) -> None:
        asked.append(what)
        os.pwrite(draft, b"c" * 200_000, 0)

    monkeypatch.setattr(fcntl, "ioctl", clone)
    checkout.write("large", "x" * 200_000)
    mirrored = checkout.refresh()
    assert asked == [0x40049409]
    assert (mirrored.folder / "large").read_bytes() == b"c" * 200_000
    assert (mirrored.folder / "large").stat().st_mode == (checkout.context / "large").stat().st_mode
    assert mirrored.revision == scan(mirrored.folder, Rules(), NOTHING, checkout.clock.now).revision


def test_a_file_system_without_clones_is_asked_once(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refuse(draft: int, what: int, file: int) -> None:
        asked.append(what)
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    for name in ("one", "two"):
        checkout.write(name, name * 100_000)
    assert listing(checkout.refresh().folder) == listing(checkout.context)
    assert len(asked) == 1


def test_a_large_file_goes_in_pieces(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if each write takes only some of it."""
    write, data = os.write, os.urandom(3_000)
    monkeypatch.setattr(drafts_module, "CHUNK", 1_000)
    monkeypatch.setattr(os, "write", lambda file, some: write(file, some[:700]))
    (checkout.context / "large").write_bytes(data)
    mirrored = checkout.refresh()
    assert (mirrored.folder / "large").read_bytes() == data
    assert mirrored.revision == scan(checkout.context, Rules(), NOTHING, checkout.clock.now).revision


def test_folders_that_cannot_be_written_are_updated_all_the_same() -> None:
    with ordinary_folder() as folder:
        checkout = Checkout(folder)
        write_tree(checkout.context, ["locked/in/a", "locked/in/b", "locked/c", "locked/d/"])
        checkout.dockerfile.write_text("")
        lock = [checkout.context / path for path in ("locked/in", "locked/d", "locked")]

        def locked(mode: int) -> None:
            for path in lock if mode == 0o555 else reversed(lock):
                path.chmod(mode)

        locked(0o555)
        checkout.refresh()
        locked(0o755)
        (checkout.context / "locked/in/a").write_text("new")
        (checkout.context / "locked/c").unlink()
        write_tree(checkout.context, ["locked/e/f", "locked/d/g"])
        locked(0o555)
        after = checkout.refresh()
        assert listing(after.folder) == listing(checkout.context)
        assert checkout.refresh().changed == ()
        write_tree(folder, ["other/"])
        (after.folder / "to other").symlink_to(folder / "other")
        for path in (after.folder / "locked/in", after.folder / "locked"):
            path.chmod(0)
        assert listing(checkout.refresh().folder) == listing(checkout.context)
        assert (folder / "other").stat().st_mode & 0o777 == 0o755, "links are not followed"
        locked(0o755)
        shutil.rmtree(checkout.context / "locked")
        assert listing(checkout.refresh().folder) == {}


def test_nothing_of_the_person_is_changed(checkout: Checkout) -> None:
    def marks() -> dict[str, tuple[int, ...]]:
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns, path.lstat().st_ino)
            for path in (checkout.context, *checkout.context.rglob("*"))
        }

    before = marks()
    checkout.refresh()
    assert marks() == before


def test_the_state_folder_is_not_mirrored_when_the_context_is_the_root(checkout: Checkout) -> None:
    with held(checkout.state / "contexts", "root", pytest.fail) as mirror:
        mirrored = refresh(
            mirror, checkout.root, Rules(), [], state=checkout.state, now=checkout.clock.tick()
        )
        assert {path.name for path in mirrored.folder.iterdir()} == {"app", "Dockerfile"}
        assert refresh(mirror, checkout.root, Rules(), [], state=checkout.state, now=0).changed == ()


def test_what_cannot_be_read_is_named_and_the_mirror_can_be_made_later() -> None:
    with ordinary_folder() as folder:
        checkout = Checkout(folder)
        write_tree(checkout.context, ["a", "b"])
        checkout.dockerfile.write_text("")
        (checkout.context / "b").chmod(0)
        with pytest.raises(ConfigError, match="belongs to the build context, but cannot be read") as refused:
            checkout.refresh()
        assert refused.value.file == str(checkout.context / "b")
        (checkout.context / "b").chmod(0o644)
        assert checkout.refresh().files == 2
        checkout.dockerfile.unlink()
        with pytest.raises(ConfigError, match="the Dockerfile cannot be read"):
            checkout.refresh()


@pytest.mark.parametrize("step", ["write", "rename", "symlink"])
def test_a_full_disk_is_said(checkout: Checkout, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(ConfigError, match="cannot be mirrored for the build: No space left on device"):
        checkout.refresh()
    assert not list((checkout.state / "contexts").glob("*.drafts"))
    monkeypatch.undo()
    assert listing(checkout.refresh().folder) == listing(checkout.context)


def test_a_failing_disk_is_blamed_on_the_file(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(ConfigError, match="cannot be read: Input/output error"):
        checkout.refresh()


def test_dockerfiles_keep_their_names_beside_an_ignore_file_that_ignores_nothing(checkout: Checkout) -> None:
    """The context has been filtered already: the engine must not do it a second time."""
    fast = checkout.root / "docker/Dockerfile.fast"
    same = checkout.root / "docker/Dockerfile"
    write_tree(checkout.root, ["docker/Dockerfile.fast", "docker/Dockerfile"])
    fast.with_name("Dockerfile.fast.dockerignore").write_text("*")
    given = [checkout.dockerfile, fast, same]
    mirrored = checkout.refresh(dockerfiles=given, texts={same: "FROM é\n"})
    copies = mirrored.dockerfiles
    assert [copy.name for copy in copies.values()] == ["Dockerfile", "Dockerfile.fast", "Dockerfile"]
    assert len({copy.parent for copy in copies.values()}) == 2
    assert copies[fast].parent == mirrored.folder.with_name(f"{mirrored.folder.name}-dockerfiles")
    assert copies[checkout.dockerfile].read_bytes() == checkout.dockerfile.read_bytes()
    assert copies[fast].read_bytes() == fast.read_bytes()
    assert copies[same].read_text() == "FROM é\n"
    for copy in copies.values():
        assert rules_of(mirrored.folder, copy).patterns == ()
        assert rules_of(mirrored.folder, copy).is_own


def test_dockerfiles_are_updated_by_content_with_fresh_times(checkout: Checkout) -> None:
    other = checkout.root / "Dockerfile.other"
    other.write_text("FROM scratch\n")
    copy = checkout.refresh(dockerfiles=[checkout.dockerfile, other]).dockerfiles[checkout.dockerfile]
    before = copy.stat()
    assert before.st_mtime_ns >= checkout.clock.now
    os.utime(checkout.dockerfile)
    checkout.refresh()
    assert copy.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.name for path in copy.parent.iterdir()) == ["Dockerfile", "Dockerfile.dockerignore"]
    checkout.dockerfile.write_text("FROM nothing\n")
    os.utime(checkout.dockerfile, ns=(before.st_mtime_ns,) * 2)
    checkout.refresh(now=1)
    assert (copy.read_text(), copy.stat().st_mtime_ns > before.st_mtime_ns) == ("FROM nothing\n", True)
    newest = copy.stat().st_mtime_ns
    checkout.dockerfile.write_text("FROM scratch\n")
    checkout.refresh(now=1)
    assert copy.stat().st_mtime_ns > newest


def test_names_are_unique_for_checkout_service_and_ignore_file(tmp_path: Path) -> None:
    def name(root: str, service: str, own: str | None = None, *, is_own: bool = True) -> str:
        return mirror_name(
            tmp_path / root, service, Rules((), tmp_path / own if own else None, is_own=is_own)
        )

    names = [
        name("one", "backend"),
        name("two", "backend"),
        name("one", "frontend"),
        name("one", "backend", "Dockerfile.dockerignore"),
        name("one", "backend", "x/Dockerfile.dockerignore"),
        name("one", "a/b c"),
    ]
    assert len(set(names)) == len(names)
    assert names[0].startswith("backend-") and len(names[0]) == len("backend-") + 10
    assert names[-1].startswith("a_b_c-")
    assert name("one", "backend", ".dockerignore", is_own=False) == names[0], "an ignore file comes and goes"


def test_who_waits_says_so_once_and_comes_after_the_holder(tmp_path: Path) -> None:
    said: list[float] = []
    with _holder(tmp_path) as holder:
        started = time.monotonic()

        def waiting() -> None:
            said.append(time.monotonic() - started)
            holder.kill()

        with held(tmp_path, "app", waiting) as mirror:
            assert mirror == Mirror(tmp_path, "app")
        assert len(said) == 1
    assert holder.returncode == -signal.SIGKILL, "a killed holder frees it"


def test_other_mirrors_are_not_waited_for(tmp_path: Path) -> None:
    with held(tmp_path, "one", pytest.fail), held(tmp_path, "two", pytest.fail):
        pass
    with held(tmp_path, "one", pytest.fail):
        pass


def _holder(place: Path) -> Any:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom kiro_invoke.changes.mirror import held\n"
        "with held(Path(sys.argv[1]), 'app', exit):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_the_context_may_be_a_link(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(checkout.context)
    with held(checkout.state, "alias", pytest.fail) as mirror:
        mirrored = refresh(mirror, tmp_path / "alias", Rules(), [], state=checkout.state, now=1)
    assert listing(mirrored.folder) == listing(checkout.context)
    assert (
        hashlib.sha256((mirrored.folder / "run").read_bytes()).hexdigest()
        == listing(checkout.context)["run"][2]
    )
