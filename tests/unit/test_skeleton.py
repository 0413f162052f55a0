"""The skeleton of a context: what it holds, when it is written, how it mends itself. Builds from it: tests/docker."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kiro_invoke.changes.mirror import held
from kiro_invoke.changes.skeleton import keeps_content, refresh_skeleton, skeleton_of
from kiro_invoke.changes.snapshot import Entry, Snapshot
from kiro_invoke.model.errors import ConfigError
from tests.support.odd_tree import odd_tree
from tests.support.trees import listing, ordinary_folder, write_tree
from tests.unit import test_mirror
from tests.unit.test_mirror import dying, replaced, times

Listing = dict[str, tuple[str, int, str]]
SOURCES = (
    "Cargo.toml", "Cargo.lock", "src/main.rs", "src/bin/x y.rs", "a\nb", "n\udcff.toml", "n\udcff", "empty/er/",
    "link -> src", "linked -> n\udcff", ".cargo/config", "tool/rust-toolchain", ".dockerignore",
)  # fmt: skip

#: Those of them that are there without their content.
EMPTY = ("src/main.rs", "src/bin/x y.rs", "a\nb", "n\udcff", ".dockerignore")


def expected(context: Path) -> Listing:
    """The skeleton by its definition, told once more: listed as `listing` does, from `skeleton/` on."""
    found: Listing = {}

    def manifest(path: str) -> bool:
        folder, name = os.path.split(path)
        is_manifest = name.endswith((".toml", ".lock")) or name == "rust-toolchain"
        return is_manifest or (name == "config" and Path(folder).name == ".cargo")

    there = listing(context)
    links = [path for path, (kind, _, _) in there.items() if kind == chr(stat.S_IFLNK >> 12)]
    leading = [path for path in links if manifest(path) or Path(path).name == ".cargo"]
    for path, (kind, _, value) in there.items():
        is_kept = bool(leading) or manifest(path)
        if kind == chr(stat.S_IFDIR >> 12):
            found[path] = (kind, 0o755, "")
        elif kind == chr(stat.S_IFLNK >> 12):
            found[path] = (kind, 0o777, value)
        elif kind == chr(stat.S_IFREG >> 12):
            found[path] = (kind, 0o644, value if is_kept else hashlib.sha256(b"").hexdigest())
    return found


@dataclass
class Checkout(test_mirror.Checkout):
    """A checkout whose mirror has a skeleton."""

    def skeleton(self, now: int | None = None) -> Path:
        """The folder `skeleton` after a refresh, holding what it must."""
        top = self.refreshed(now)
        assert [path.name for path in top.parent.iterdir()] == ["skeleton"]
        assert stat.S_IMODE(top.stat().st_mode) == 0o755
        assert listing(top) == expected(self.context)
        return top

    def refreshed(self, now: int | None = None) -> Path:
        mirrored = self.refresh(now)
        with held(self.state / "contexts", mirrored.folder.name, pytest.fail) as mirror:
            folder = refresh_skeleton(mirror, mirrored, now=self.clock.now if now is None else now)
        assert folder == mirrored.folder.with_name(f"{mirrored.folder.name}-skeleton")
        return folder / "skeleton"

    @property
    def record(self) -> Path:
        (found,) = (self.state / "contexts").glob("*-skeleton.snapshot")
        return found


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "check out")
    write_tree(made.context, SOURCES)
    (made.context / ".dockerignore").write_text("Dockerfile*\n")
    made.dockerfile.write_text("FROM scratch\n")
    return made


def marks(place: Path) -> dict[Path, tuple[int, int, int, int]]:
    """What tells whether a file or folder was touched."""
    return {
        path: (status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns)
        for path in (place, *place.rglob("*"))
        for status in (path.lstat(),)
    }


# --- what it holds


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("Cargo.toml", True),
        ("a/b/Cargo.lock", True),
        (".toml", True),
        ("a/.lock", True),
        ("n\udcff.toml", True),
        ("a\nb.toml", True),
        ("rust-toolchain", True),
        ("a b/rust-toolchain", True),
        ("rust-toolchain.toml", True),
        (".cargo/config", True),
        ("a/.cargo/config", True),
        (".cargo/config.toml", True),
        ("config", False),
        ("cargo/config", False),
        ("a.cargo/config", False),
        (".cargo/a/config", False),
        (".cargo/config/x", False),
        (".cargo/xconfig", False),
        ("my-rust-toolchain", False),
        ("rust-toolchain/x", False),
        ("Cargo.toml/x", False),
        ("Cargo.TOML", False),
        ("Cargo.toml.orig", False),
        ("toml", False),
        ("src/main.rs", False),
        ("build.rs", False),
    ],
)
def test_the_contents_that_are_kept(path: str, kept: bool) -> None:
    assert keeps_content(path) is kept


def test_it_is_derived_from_names_kinds_and_kept_contents_alone() -> None:
    toml, rust, link = b"1" * 64, b"2" * 64, b"text of \xff"
    seen = Snapshot(
        {
            "Cargo.toml": Entry("f", toml, 0o600, 1, 2, 3, 4),
            "x.lock": Entry("x", toml, 0o755, 1, 2, 3, 4),
            "src/a.rs": Entry("f", rust, 0o644, 1, 2, 3, 4),
            "run": Entry("x", rust, 0o4755, 1, 2, 3, 4),
            "l": Entry("l", link, 0o777, 1, 2, 3, 4),
        },
        {"src": 0o700, "empty": 0o1777},
        "revision",
    )
    empty = hashlib.sha256(b"").hexdigest().encode()
    skeleton = skeleton_of(seen, {})
    assert {path: entry.what for path, entry in skeleton.entries.items()} == {
        "skeleton/Cargo.toml": ("f", toml, 0o644),
        "skeleton/x.lock": ("f", toml, 0o644),
        "skeleton/src/a.rs": ("f", empty, 0o644),
        "skeleton/run": ("f", empty, 0o644),
        "skeleton/l": ("l", link, 0o777),
    }
    assert skeleton.folders == {"skeleton": 0o755, "skeleton/src": 0o755, "skeleton/empty": 0o755}
    last = {path: entry._replace(inode=7) for path, entry in skeleton.entries.items()}
    assert skeleton_of(seen, last).entries == last
    last["skeleton/run"] = last["skeleton/run"]._replace(kind="l")
    last["skeleton/Cargo.toml"] = last["skeleton/Cargo.toml"]._replace(value=rust)
    found = skeleton_of(seen, last).entries
    assert [path for path, entry in found.items() if not entry.inode] == [
        "skeleton/Cargo.toml",
        "skeleton/run",
    ]


@pytest.mark.parametrize(
    ("link", "keeps_all"),
    [
        ("Cargo.toml", True),
        ("a/Cargo.lock", True),
        ("x.toml", True),
        ("rust-toolchain", True),
        (".cargo/config", True),
        ("a/.cargo/config.toml", True),
        (".cargo", True),
        ("a/.cargo", True),
        ("config", False),
        ("a.cargo", False),
        ("a/x.cargo", False),
        (".cargo/x", False),
        ("toml", False),
        ("src", False),
    ],
)
def test_all_contents_are_kept_where_a_link_may_lead_to_a_manifest(link: str, keeps_all: bool) -> None:
    """Of another name: cargo reads what is behind the link."""
    content = b"2" * 64
    files = {path: Entry("f", content, 0o644, 1, 2, 3, 4) for path in ("shared/manifest.in", "src/main.rs")}
    seen = Snapshot({**files, link: Entry("l", b"shared/manifest.in", 0o777, 1, 2, 3, 4)}, {}, "")
    kept = {
        entry.value == content for path, entry in skeleton_of(seen, {}).entries.items() if entry.kind != "l"
    }
    assert kept == {keeps_all}
    as_file = Snapshot({**files, link: Entry("f", content, 0o644, 1, 2, 3, 4)}, {}, "")
    assert skeleton_of(as_file, {}).entries["skeleton/src/main.rs"].value != content


@pytest.mark.parametrize("linked", [False, True])
def test_all_odd_names_and_kinds_are_there(tmp_path: Path, linked: bool) -> None:
    checkout = Checkout(tmp_path)
    tree = odd_tree(tmp_path)
    tree.rename(checkout.context)
    write_tree(checkout.context, [*SOURCES, "deep/" + "/".join("d" * 120 for _ in range(20)) + "/x.toml"])
    if linked:
        write_tree(checkout.context, ["Linked.toml -> n\udcff"])
    for path, mode in (("Cargo.toml", 0o4755), ("src", 0o555), ("empty", 0o1777), ("Cargo.lock", 0o400)):
        (checkout.context / path).chmod(mode)
    (checkout.context / ".dockerignore").unlink()
    checkout.dockerfile.write_text("FROM scratch\n")
    checkout.skeleton()


def test_what_is_ignored_is_not_there(checkout: Checkout) -> None:
    (checkout.context / ".dockerignore").write_text("*.lock\nsrc\n")
    found = listing(checkout.refreshed())
    assert expected(checkout.context).keys() - found.keys() == {
        "Cargo.lock",
        "src",
        "src/main.rs",
        "src/bin",
        "src/bin/x y.rs",
    }


def test_attributes_stay_behind(checkout: Checkout) -> None:
    try:
        os.setxattr(checkout.context / "Cargo.toml", "user.kiro", b"1")
    except OSError:
        pytest.skip("this file system has no attributes")
    skeleton = checkout.skeleton()
    assert os.listxattr(skeleton / "Cargo.toml") == []
    os.setxattr(skeleton / "Cargo.toml", "user.kiro", b"1")
    assert os.listxattr(checkout.skeleton() / "Cargo.toml") == []


# --- when it is written


def edit_sources(app: Path) -> None:
    (app / "src/main.rs").write_text("edited")
    (app / "n\udcff").write_text("")


def replace_a_source(app: Path) -> None:
    (app / "new").write_text("another")
    (app / "new").replace(app / "src/main.rs")


@pytest.mark.parametrize(
    "edit",
    [
        lambda app: None,
        edit_sources,
        replace_a_source,
        lambda app: (app / "src/main.rs").chmod(0o755),
        lambda app: (app / "src").chmod(0o700),
        lambda app: (app / "Cargo.toml").chmod(0o600),
        lambda app: os.utime(app / "Cargo.toml"),
    ],
)
def test_what_is_no_part_of_it_leaves_it_and_its_record_untouched(
    checkout: Checkout, edit: Callable[[Path], object]
) -> None:
    folder = checkout.skeleton().parent
    before = marks(folder), marks(checkout.record)
    edit(checkout.context)
    checkout.skeleton()
    assert (marks(folder), marks(checkout.record)) == before
    assert not list((checkout.state / "contexts").glob("*.drafts"))


@pytest.mark.parametrize(
    ("edit", "written"),
    [
        (lambda app: (app / "Cargo.toml").write_text("edited"), {"Cargo.toml"}),
        (lambda app: (app / ".cargo/config").write_text("edited"), {".cargo/config"}),
        (lambda app: (app / "n\udcff.toml").write_text(""), {"n\udcff.toml"}),
        (lambda app: (app / "src/new one.rs").write_text("x"), {"src/new one.rs"}),
        (lambda app: (app / "src/new.toml").write_text("x"), {"src/new.toml"}),
        (lambda app: (app / "src/main.rs").rename(app / "src/lib.rs"), {"src/lib.rs"}),
        (lambda app: (app / "src").rename(app / "s\udcfe"), {"s\udcfe/main.rs", "s\udcfe/bin/x y.rs"}),
        (lambda app: (app / "a\nb").unlink(), set()),
        (lambda app: (app / "empty/er").rmdir(), set()),
        (lambda app: (app / "new/er").mkdir(parents=True), set()),
        (replaced("link", "link -> run"), {"link"}),
        (replaced("link", "link"), {"link"}),
        (replaced("link", "link/in.toml"), {"link/in.toml"}),
        (replaced("Cargo.toml", "Cargo.toml -> a\nb"), {"Cargo.toml", *EMPTY}),
        (replaced(".cargo", ".cargo -> tool"), {".cargo", *EMPTY}),
        (replaced("Cargo.lock", "Cargo.lock -> nowhere"), {"Cargo.lock", *EMPTY}),
        (replaced("Cargo.toml", "Cargo.toml/in"), {"Cargo.toml/in"}),
        (replaced("src", "src"), {"src"}),
    ],
)
def test_an_edit_that_matters_reaches_it_with_times_that_never_were(
    checkout: Checkout, edit: Callable[[Path], object], written: set[str]
) -> None:
    """What the engine's client has seen with a size and a time it does not send again."""
    before = times(checkout.skeleton())
    edit(checkout.context)
    after = times(checkout.skeleton())
    assert {path for path, time in after.items() if before.get(path) != time} == written
    assert all(after[path] > max(before.values()) for path in written)


@pytest.mark.parametrize("clock", [10, 0, -10])
def test_a_content_that_comes_back_has_a_new_time(checkout: Checkout, clock: int) -> None:
    """Even when the clock was set back, and where a name was gone meanwhile."""
    newest = max(times(checkout.skeleton()).values())
    now = checkout.clock.now + clock * test_mirror.SECOND
    for text in ("one", "two", "one", None, "two"):
        (checkout.context / "Cargo.toml").unlink(missing_ok=True)
        if text:
            (checkout.context / "Cargo.toml").write_text(text)
        found = times(checkout.skeleton(now))
        if text:
            assert found["Cargo.toml"] > newest
            newest = found["Cargo.toml"]


# --- how it mends itself


@pytest.mark.parametrize(
    ("harm", "mended"),
    [
        (lambda top: (top / "Cargo.toml").write_text("content of Cargo.tomX"), {"Cargo.toml"}),
        (lambda top: (top / "src/main.rs").write_text("x"), {"src/main.rs"}),
        (lambda top: (top / "src/main.rs").unlink(), {"src/main.rs"}),
        (lambda top: (top / "src/main.rs").chmod(0o755), {"src/main.rs"}),
        (lambda top: os.utime(top / "src/main.rs", ns=(1, 1)), {"src/main.rs"}),
        (replaced("link", "link -> /etc"), {"link"}),
        (replaced("Cargo.toml", "Cargo.toml -> Cargo.lock"), {"Cargo.toml"}),
        (replaced("src", "src -> /etc"), {"src/main.rs", "src/bin/x y.rs"}),
        (replaced("src/bin"), {"src/bin/x y.rs"}),
        (lambda top: write_tree(top, ["stray", "src/stray/deep"]), set()),
        (lambda top: write_tree(top.parent, ["stray", "Dockerfile"]), set()),
        (lambda top: (top.parent / ".dockerignore").write_text("*"), set()),
        (lambda top: os.mkfifo(top / "pipe"), set()),
        (lambda top: (top / "stray").mkdir(), set()),
        (lambda top: (top / "empty/er").rmdir(), set()),
        (lambda top: (top / "empty").chmod(0o700), set()),
        (lambda top: top.chmod(0o700), set()),
    ],
)
def test_a_harmed_one_is_mended(checkout: Checkout, harm: Callable[[Path], object], mended: set[str]) -> None:
    top = checkout.skeleton()
    before = times(top)
    harm(top)
    after = times(checkout.skeleton())
    assert {path for path, time in after.items() if before[path] != time} == mended
    assert all(after[path] > max(before.values()) for path in mended)
    settled = marks(top.parent)
    checkout.skeleton()
    assert marks(top.parent) == settled


@pytest.mark.parametrize(
    "loss", ["folder", "skeleton", "record", "damaged record", "link", "inner link", "file"]
)
def test_a_lost_one_is_made_anew_with_fresh_times(checkout: Checkout, loss: str, tmp_path: Path) -> None:
    top = checkout.skeleton()
    newest = max(times(top).values())
    place = top if loss in ("skeleton", "inner link") else top.parent
    if "record" in loss:
        checkout.record.write_bytes(
            checkout.record.read_bytes()[:-1]
        ) if "damaged" in loss else checkout.record.unlink()
    else:
        shutil.rmtree(place)
    write_tree(tmp_path, ["elsewhere/skeleton/x"])
    if "link" in loss:
        place.symlink_to(tmp_path / "elsewhere")
    elif loss == "file":
        place.write_text("")
    assert min(times(checkout.skeleton(1)).values()) > newest
    assert listing(tmp_path / "elsewhere").keys() == {"skeleton", "skeleton/x"}


@pytest.mark.parametrize("folder", ["", "src", ".."])
def test_one_that_cannot_be_listed_is_made_anew(folder: str) -> None:
    with ordinary_folder() as place:
        checkout = Checkout(place)
        write_tree(checkout.context, SOURCES)
        checkout.dockerfile.write_text("FROM scratch\n")
        (checkout.context / ".dockerignore").unlink()
        top = checkout.skeleton()
        newest = max(times(top).values())
        os.chmod(top / folder, 0)  # noqa: PTH101
        assert min(times(checkout.skeleton()).values()) > newest


def test_a_refresh_that_was_killed_anywhere_is_made_good(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call that changes something in turn is the last one."""
    killed = 0
    newest = max(times(checkout.skeleton()).values())
    for last in range(1, 200):
        shutil.rmtree(checkout.context)
        write_tree(
            checkout.context,
            ["src", "run/a", "link", "more/b -> x", "c.toml/d"]
            if last % 2
            else ["src/a", "run -> x", "link/y", "c.toml"],
        )
        checkout.write("same.toml", str(last))
        mirrored = checkout.refresh()
        with (
            held(checkout.state / "contexts", mirrored.folder.name, pytest.fail) as mirror,
            dying(monkeypatch, last),
        ):
            try:
                refresh_skeleton(mirror, mirrored, now=checkout.clock.now)
                break
            except KeyboardInterrupt:
                killed += 1
        now = times(checkout.skeleton(checkout.clock.now - 1))
        assert now["same.toml"] > newest
        newest = max(now.values())
    assert killed > 20


def test_a_mirror_that_somebody_changes_meanwhile_is_not_taken(checkout: Checkout) -> None:
    """The mirror mends itself in the next build; the skeleton would take the wrong content for what was hashed."""
    mirrored = checkout.refresh()
    (mirrored.folder / "Cargo.toml").write_text("another")
    with (
        held(checkout.state / "contexts", mirrored.folder.name, pytest.fail) as mirror,
        pytest.raises(ConfigError, match="somebody changed it while a build held it") as refused,
    ):
        refresh_skeleton(mirror, mirrored, now=checkout.clock.now)
    assert refused.value.file == str(mirrored.folder / "Cargo.toml")
    checkout.skeleton()


def test_a_full_disk_is_said(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored = checkout.refresh()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with held(checkout.state / "contexts", mirrored.folder.name, pytest.fail) as mirror:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(ConfigError, match="cannot be mirrored for the build: No space left on device"):
            refresh_skeleton(mirror, mirrored, now=checkout.clock.now)
        monkeypatch.undo()
    checkout.skeleton()
