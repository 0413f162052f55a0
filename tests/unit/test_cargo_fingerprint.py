"""What a Cargo workspace's recipe is made from. tests/docker/test_cargo_truth.py has cargo-chef judge the same."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_invoke.ecosystems.cargo import fingerprint, reads
from kiro_invoke.model.fingerprint import Fingerprint, Part, Tree, differences, explanations
from tests.support.cargo_edits import BASE, EDITS, LOCK, ROOT, Edit, changed, encoded, tree
from tests.support.cargo_odd_trees import odd_trees
from tests.support.cargo_random import random_tree

FILES = encoded(BASE)
MANIFESTS = sorted(
    part.file for part in fingerprint(tree(FILES)).unseen if part.what == "comments or formatting"
)
FAST = settings(max_examples=60, deadline=None, database=None, derandomize=True)
ODD = list(odd_trees())


def said(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    return tuple(map(str, differences(before.parts, after.parts)))


def is_told(found: Fingerprint) -> bool:
    """Whether it is a fingerprint, or a doubt that a person can do something with."""
    if not found.doubt:
        return bool(found.parts) and not any("\n" in part.what for part in found.parts)
    assert not found.parts and not found.unseen
    return re.fullmatch(r"[^\n]+:\d+: [^\n]+", found.doubt) is not None


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_is_told(edit: Edit) -> None:
    before, after = map(fingerprint, map(tree, edit.trees()))
    assert not before.doubt
    assert after.doubt.startswith(edit.doubt) if edit.doubt else not after.doubt, after.doubt
    assert is_told(after)
    if not edit.doubt:
        assert said(before, after) == edit.says
        if not edit.says:
            assert tuple(map(str, explanations(before, after))) == edit.because


def test_names_of_edits_are_their_own() -> None:
    assert len({edit.name for edit in EDITS}) == len(EDITS)
    assert len(dict(ODD)) == len(ODD)


@pytest.mark.parametrize(
    ("path", "is_read"),
    [
        ("Cargo.toml", True),
        ("crates/a/Cargo.toml", True),
        ("Cargo.lock", True),
        (".cargo/config", True),
        (".cargo/config.toml", True),
        ("rust-toolchain", True),
        ("rust-toolchain.toml", True),
        ("crates/a/Cargo.lock", False),
        ("crates/a/.cargo/config.toml", False),
        ("crates/a/rust-toolchain.toml", False),
        ("src/main.rs", False),
        ("build.rs", False),
        ("NotCargo.toml", False),
        ("Cargo.toml/x", False),
        ("deny.toml", False),
    ],
)
def test_which_contents_count(path: str, is_read: bool) -> None:
    assert reads(path) == is_read


def test_no_other_content_is_looked_at() -> None:
    seen: set[str] = set()

    def read(path: str) -> bytes | None:
        seen.add(path)
        return FILES.get(path)

    assert not fingerprint(Tree(frozenset(FILES), read)).doubt
    assert all(map(reads, seen))


def test_versions_of_local_crates_are_told_as_unseen() -> None:
    unseen = fingerprint(tree(FILES)).unseen
    assert unseen[Part("Cargo.toml", "version")] == '"0.3.0"'
    assert unseen[Part("Cargo.toml", "version of workspace dependency `core`")] == '"0.3.0"'
    assert unseen[Part("Cargo.lock", "version of `app-core`")] == '"0.3.0"'


def test_formatting_is_told_of_a_file_of_which_nothing_else_changed() -> None:
    after = changed(FILES, {"Cargo.toml": ('unsafe_code = "forbid"', ""), "Cargo.lock": ("# It", "# it")})
    told = explanations(fingerprint(tree(FILES)), fingerprint(tree(after)))
    assert list(map(str, told)) == [
        "Cargo.lock: comments or formatting changed",
        "Cargo.toml: workspace lints changed",
    ]


@pytest.mark.parametrize(
    "path", ["tests/more", "src/bin/other", "crates/linked", "Cargo.lock", "src", ".cargo/config"]
)
def test_a_link_whose_end_nobody_sees_is_in_doubt(path: str) -> None:
    files = {name: raw for name, raw in FILES.items() if name != path and not name.startswith(f"{path}/")}
    found = fingerprint(Tree(frozenset({*files, path}), files.get))
    assert found.doubt.startswith(f"{path}:1: ")


def test_a_version_of_thousands_of_digits_is_one() -> None:
    lock = "".join(f'[[package]]\nname = "x"\nversion = "1.{number * 5000}.0"\n' for number in "921")
    assert is_told(fingerprint(tree({**FILES, "Cargo.lock": lock.encode()})))


def test_a_large_lockfile_is_not_parsed() -> None:
    raw = LOCK.encode() + b"# \n" * 7_000_000
    assert fingerprint(tree({**FILES, "Cargo.lock": raw})).doubt == "Cargo.lock:1: larger than 8 MB"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a = " + "[" * 100_000, f"[a{'.a' * 100_000}]", f"a = {'9' * 9999}"]
)
def test_what_no_parser_wants_is_in_doubt(text: str) -> None:
    assert is_told(fingerprint(tree({**FILES, "Cargo.toml": text.encode()})))
    assert is_told(
        fingerprint(tree({**FILES, "Cargo.toml": f"{ROOT}\n[package.metadata.y]\n{text}".encode()}))
    )


def test_odd_projects_raise_nothing() -> None:
    for name, files in ODD:
        assert is_told(fingerprint(tree(files))), name


def test_random_edits_raise_nothing_and_are_told_alike_each_time() -> None:
    for seed in range(60):
        files = random_tree(seed)
        found = fingerprint(tree(files))
        assert is_told(found)
        assert fingerprint(Tree(sorted(files, reverse=True), files.get)) == found


@FAST
@given(st.sampled_from(MANIFESTS), st.randoms(use_true_random=False))
def test_formatting_is_no_difference(path: str, dice: random.Random) -> None:
    ends = ["\n", "\r\n", "  \n", "\t# c\n", "\n\n", "\n# [x]\n", "\n  \t\n"]
    text = "".join(line + dice.choice(ends) for line in FILES[path].decode().splitlines())
    before, after = fingerprint(tree(FILES)), fingerprint(tree({**FILES, path: text.encode()}))
    assert after.parts == before.parts and not after.doubt
    assert [str(each) for each in explanations(before, after)] in (
        [],
        [f"{path}: comments or formatting changed"],
    )


@FAST
@given(st.sampled_from(sorted(FILES)), st.binary(max_size=60), st.integers(0, 2000), st.integers(0, 40))
def test_no_bytes_raise(path: str, raw: bytes, at: int, gone: int) -> None:
    assert is_told(fingerprint(tree({**FILES, path: FILES[path][:at] + raw + FILES[path][at + gone :]})))


KEYS = (
    "package", "workspace", "name", "version", "edition", "members", "exclude", "dependencies", "dev_dependencies",
    "dev-dependencies", "path", "target", "features", "profile", "lib", "bin", "test", "patch", "badges", "metadata",
    "build", "crate-type", "proc-macro", "strip", "maintenance", "default-members", "autobins", "x",
)  # fmt: skip
WORDS = st.sampled_from(["", "a", ".", "..", "*", "crates/*", "2021", "true", "\0", "\u2028", "a\nb"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@FAST
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), st.sampled_from(MANIFESTS))
def test_no_types_raise(document: dict[str, Any], path: str) -> None:
    text = "".join(f"{key} = {toml(value)}\n" for key, value in document.items())
    assert is_told(fingerprint(tree({**FILES, path: text.encode()})))
    own = document.get("package")
    package = toml({"name": "app", **own} if isinstance(own, dict) else {"name": "app"})
    rest = "".join(f"{key} = {toml(value)}\n" for key, value in document.items() if key != "package")
    assert is_told(fingerprint(tree({**FILES, path: f"package = {package}\n{rest}".encode()})))


@FAST
@given(st.text("*?[]!-ab/.^\\&|~\n(){}", max_size=12))
def test_no_pattern_of_members_raises(pattern: str) -> None:
    root = f"[workspace]\nmembers = [{json.dumps(pattern)}]\nexclude = [{json.dumps(pattern)}]\n"
    assert is_told(fingerprint(tree({**FILES, "Cargo.toml": root.encode()})))


@FAST
@given(st.lists(st.text("ab.\n\udcff é", min_size=1, max_size=5), max_size=4))
def test_no_names_raise(names: list[str]) -> None:
    def paths() -> Iterator[str]:
        for name in names:
            yield from (f"tests/{name}.rs", f"src/bin/{name}/main.rs", f"crates/{name}/Cargo.toml")

    files = FILES | dict.fromkeys(paths(), b'[package]\nname = "n"\n')
    assert is_told(fingerprint(tree(files)))
