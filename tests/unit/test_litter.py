"""What editors, version control and builds leave in a folder."""

from __future__ import annotations

import pytest

from kiro_invoke.changes.litter import build_output, litter


@pytest.mark.parametrize(
    "name",
    [
        ".main.rs.swp", ".main.rs.swx", "4913", "main.rs~", ".#main.rs", "#main.rs#", "main.rs___jb_tmp___",
        "main.rs___jb_old___", ".goutputstream-A1B2C3", ".fuse_hidden0000a1", ".DS_Store",
    ],
)  # fmt: skip
def test_an_editors_own(name: str) -> None:
    assert litter(name)
    assert litter(f"src/deep/{name}")


@pytest.mark.parametrize(
    "path",
    ["src/main.rs", "4914", "a4913", "swp", "x.swp.rs", "a~b", "#a", ".env", "___jb_tmp___.rs/x", "index"],
)
def test_a_source_is_none(path: str) -> None:
    assert litter(path) == ""


@pytest.mark.parametrize(
    ("path", "is_litter"),
    [
        (".git/index", True), (".git/index.lock", True), (".git/logs/HEAD", True), (".git/refs/heads/x.lock", True),
        ("sub/.git/FETCH_HEAD", True), (".git/HEAD", False), (".git/refs/tags/v1", False),
        (".git/packed-refs", False), ("git/index", False),
    ],
)  # fmt: skip
def test_what_a_build_may_ask_version_control_for_is_none(path: str, is_litter: bool) -> None:
    assert bool(litter(path)) is is_litter


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("target/debug/a", "target"), ("target/CACHEDIR.TAG", "target"), ("sub/target/x", "sub/target"),
        ("node_modules/a/index.js", "node_modules"), ("web/node_modules/x", ""), ("other/target/x", ""),
        ("target", ""), ("src/target/x.rs", ""),
    ],
)  # fmt: skip
def test_build_output_has_the_mark_of_what_made_it(path: str, folder: str) -> None:
    marks = {"target/CACHEDIR.TAG", "sub/target/CACHEDIR.TAG", "node_modules/.package-lock.json"}
    assert build_output(path, marks | {"Cargo.toml", "web/package.json", "other/Cargo.toml"}) == folder
