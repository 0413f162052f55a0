"""History replayed from real git objects: what each commit means, whatever its files are called."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kiro_invoke.changes.objects import Objects
from kiro_invoke.changes.replay import Replay, Replayed
from kiro_invoke.ecosystems.registry import ECOSYSTEMS
from kiro_invoke.engine import git, process
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import KiroError, UsageError
from tests.support.repository import git as run_git
from tests.support.repository import write_texts

MANIFEST = """\
[package]
name = "app"
version = "0.1.0"
edition = "2021"

[dependencies]
fnv = "1"
"""
LOCK = """\
version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = [
 "fnv",
]

[[package]]
name = "fnv"
version = "1.0.7"
source = "registry+https://github.com/rust-lang/crates.io-index"
"""
FIRST = {
    "app/Cargo.toml": MANIFEST,
    "app/Cargo.lock": LOCK,
    "app/src/main.rs": "fn main() {}\n",
    "README": "x\n",
}


class History:
    """A repository that commits are made in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main", str(folder), place=False)

    def git(self, *words: str, place: bool = True) -> str:
        return run_git(*(("-C", str(self.folder)) if place else ()), *words)

    def commit(self, texts: Mapping[str, str | None]) -> str:
        """Write, or with None remove, and commit; the commit's id."""
        write_texts(self.folder, texts)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=it")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def history(tmp_path: Path) -> History:
    found = History(tmp_path / "a repository")
    found.commit(FIRST)
    return found


@pytest.fixture
def replay(history: History) -> Iterator[Replay]:
    with git.opened(history.folder) as repository:
        yield Replay(Objects(repository.read), ECOSYSTEMS["cargo"].inputs, "app")


def bumped(text: str) -> str:
    return text.replace('"0.1.0"', '"0.2.0"')


def test_a_source_is_no_dependency(history: History, replay: Replay) -> None:
    commit = history.commit({"app/src/main.rs": "fn main() { todo!() }\n"})
    assert replay.one(commit) == Replayed(commit, Kind.SOURCE, "src/main.rs changed", glob_rule=False)


def test_a_version_bump_is_a_source_whatever_a_glob_says(history: History, replay: Replay) -> None:
    done = replay.one(history.commit({"app/Cargo.toml": bumped(MANIFEST), "app/Cargo.lock": bumped(LOCK)}))
    assert (done.kind, done.dependency, done.glob_rule) == (Kind.SOURCE, False, True)
    assert "version" in done.cause
    assert "cannot see it" in done.cause


def test_an_added_crate_is_told_by_its_name(history: History, replay: Replay) -> None:
    done = replay.one(history.commit({"app/Cargo.toml": f'{MANIFEST}hex = "0.4"\n'}))
    assert (done.kind, done.dependency, done.glob_rule) == (Kind.DEPENDENCY, True, True)
    assert done.cause == "Cargo.toml: dependency `hex` added"


def test_an_added_test_is_a_target_that_no_glob_sees(history: History, replay: Replay) -> None:
    done = replay.one(history.commit({"app/tests/api.rs": ""}))
    assert (done.kind, done.glob_rule) == (Kind.DEPENDENCY, False)
    assert done.cause == "tests/api.rs: target added"


def test_a_toolchain_is_more_than_a_dependency(history: History, replay: Replay) -> None:
    done = replay.one(history.commit({"app/rust-toolchain.toml": '[toolchain]\nchannel = "1.85"\n'}))
    assert (done.kind, done.dependency) == (Kind.BASE, True)


def test_what_lies_elsewhere_is_ignored(history: History, replay: Replay) -> None:
    for edit in ({"README": "y\n"}, {"other/Cargo.toml": MANIFEST}, {}):
        done = replay.one(history.commit(edit))
        assert (done.kind, done.cause) == (Kind.IGNORED, "nothing in app changed"), edit


def test_a_manifest_that_cannot_be_read_takes_the_slower_path(history: History, replay: Replay) -> None:
    done = replay.one(history.commit({"app/Cargo.toml": "[package\n"}))
    assert done.kind is Kind.DEPENDENCY
    assert "Cargo.toml:1" in done.cause
    assert replay.one(history.commit({"app/Cargo.toml": MANIFEST})).kind is Kind.DEPENDENCY


def test_a_first_commit_adds_everything(history: History, replay: Replay) -> None:
    root = history.git("rev-list", "--max-parents=0", "HEAD")
    assert replay.one(root).kind is Kind.DEPENDENCY


def test_a_merge_is_compared_with_its_first_parent(history: History, replay: Replay) -> None:
    history.git("checkout", "--quiet", "-b", "side")
    history.commit({"app/Cargo.toml": f'{MANIFEST}hex = "0.4"\n'})
    history.git("checkout", "--quiet", "main")
    history.commit({"app/src/main.rs": "fn main() { todo!() }\n"})
    history.git("merge", "--quiet", "--no-edit", "side")
    assert replay.one(history.git("rev-parse", "HEAD")).cause == "Cargo.toml: dependency `hex` added"


def test_a_link_is_read_as_what_it_leads_to(history: History, replay: Replay) -> None:
    (history.folder / "app/Cargo.toml").unlink()
    (history.folder / "app/Cargo.toml").symlink_to("deep/./../real.toml")
    assert replay.one(history.commit({"app/real.toml": MANIFEST})).kind is Kind.SOURCE
    (history.folder / "app/Cargo.toml").unlink()
    (history.folder / "app/Cargo.toml").symlink_to("Cargo.toml")
    assert replay.one(history.commit({})).kind is Kind.DEPENDENCY


def test_odd_names_modes_and_submodules_do_no_harm(history: History, replay: Replay) -> None:
    odd = os.fsencode(history.folder) + b"/app/\xff\n \t"
    Path(os.fsdecode(odd)).touch()
    (history.folder / "app/src/main.rs").chmod(0o755)
    head = history.git("rev-parse", "HEAD")
    history.git("update-index", "--add", "--cacheinfo", f"160000,{head},app/sub")
    history.git("add", "app")
    history.git("commit", "--quiet", "--message=it")
    assert replay.one(history.git("rev-parse", "HEAD")).kind is Kind.SOURCE


def test_a_commit_that_is_not_there_is_told(replay: Replay) -> None:
    for name in ("0" * 40, "nonsense", "a\nb", "HEAD:app"):
        done = replay.one(name)
        assert (done.missing, done.dependency) == (name, False)


def test_a_shallow_history_tells_whose_parent_is_missing(history: History, tmp_path: Path) -> None:
    commit = history.commit({"app/src/main.rs": ""})
    clone = tmp_path / "clone"
    history.git("clone", "--quiet", "--depth=1", f"file://{history.folder}", str(clone), place=False)
    with git.opened(clone) as repository:
        done = Replay(Objects(repository.read), ECOSYSTEMS["cargo"].inputs, "app").one(commit)
    assert done.missing == history.git("rev-parse", "HEAD~1")


def test_a_bare_repository_and_one_of_longer_ids_serve(tmp_path: Path) -> None:
    long = tmp_path / "long"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(long)], check=True)
    history = History(long)
    history.commit(FIRST)
    commit = history.commit({"app/tests/api.rs": ""})
    bare = tmp_path / "bare"
    history.git("clone", "--quiet", "--bare", str(long), str(bare), place=False)
    with git.opened(bare) as repository:
        assert Replay(Objects(repository.read), ECOSYSTEMS["cargo"].inputs, "/app/").one(commit).dependency


def test_commits_are_listed_newest_first(history: History) -> None:
    ids = [history.commit({"README": str(number)}) for number in range(3)]
    assert git.commits(history.folder, process.run, last=2) == (ids[2], ids[1])
    assert git.resolved(history.folder, process.run, "main~1") == ids[1]


@pytest.mark.parametrize("revision", ["nowhere", "--help", "", "HEAD:README"])
def test_what_names_no_commit_is_wrong_use(history: History, revision: str) -> None:
    with pytest.raises(UsageError, match="no commit is called"):
        git.resolved(history.folder, process.run, revision)


def test_a_folder_without_a_repository_is_wrong_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="not a git repository"):
        git.commits(tmp_path, process.run, last=1)
    with git.opened(tmp_path) as repository, pytest.raises(KiroError, match="git ended"):
        repository.read("HEAD")


def test_a_machine_without_git_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KiroError, match="there is no git here"), git.opened(tmp_path):
        pass


def test_a_manifest_that_is_a_link_to_another_file(history: History, replay: Replay) -> None:
    history.commit({"app/base/manifest.txt": MANIFEST, "app/Cargo.toml": None})
    (history.folder / "app/Cargo.toml").symlink_to("base/manifest.txt")
    history.commit({})
    done = replay.one(history.commit({"app/base/manifest.txt": f'{MANIFEST}hex = "0.4"\n'}))
    assert (done.kind, done.cause) == (Kind.DEPENDENCY, "Cargo.toml: dependency `hex` added")


@pytest.mark.parametrize("asks", ['lib = { path = "lib" }', 'members = ["lib"]', 'members = ["l*"]', ""])
def test_a_submodule_that_a_manifest_leads_into(
    history: History, replay: Replay, tmp_path: Path, asks: str
) -> None:
    """Nothing of it is in the repository: what it holds now may depend on anything."""
    other = History(tmp_path / "other")
    other.commit({"x": "1"})
    workspace = f"[workspace]\n{asks if 'members' in asks else ''}\n"
    manifest = f"{workspace}{MANIFEST}{'' if 'members' in asks else asks}\n"
    history.git(
        "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(other.folder), "app/lib"
    )
    history.commit({"app/Cargo.toml": manifest})
    other.commit({"x": "2"})
    history.git("-C", "app/lib", "pull", "--quiet", "origin", "main")
    done = replay.one(history.commit({}))
    assert done.kind is (Kind.DEPENDENCY if asks else Kind.SOURCE)
