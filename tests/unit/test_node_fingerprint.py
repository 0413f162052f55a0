"""What an install of npm can depend on, edit by edit. pnpm and yarn: test_pnpm_yarn_fingerprint.py."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_invoke.ecosystems import npm
from kiro_invoke.ecosystems.node_workspaces import below, matching
from kiro_invoke.model.fingerprint import Difference, Fingerprint, Part
from tests.support.npm_edits import EDITS, FILES, Edit, Files, in_json, said, tree_of, watched, writes

BASE = npm.fingerprint(tree_of(FILES))
FAST = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def of(files: Mapping[str, str | bytes]) -> Fingerprint:
    return npm.fingerprint(tree_of(files))


def edited(files: Mapping[str, str | bytes], *edits: Callable[[Files], None]) -> Files:
    copy = dict(files)
    for edit in edits:
        edit(copy)
    return copy


def change(files: Mapping[str, str | bytes], *edits: Callable[[Files], None]) -> tuple[list[str], list[str]]:
    """What edits change: of the parts, and of what is unseen."""
    before, after = of(files), of(edited(files, *edits))
    assert before.doubt == after.doubt == ""
    return said(before.parts, after.parts), said(before.unseen, after.unseen)


def test_there_are_many_edits_of_other_names() -> None:
    assert len({edit.name for edit in EDITS}) == len(EDITS) >= 60


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_an_edit_is_what_it_is_and_is_told(edit: Edit) -> None:
    after = of(edited(FILES, edit.make))
    parts, unseen = said(BASE.parts, after.parts), said(BASE.unseen, after.unseen)
    if edit.verdict == "doubt":
        assert (after.doubt, after.parts) == (edit.sentences[0], {})
        return
    assert after.doubt == ""
    if edit.verdict == "dependency":
        assert parts == list(edit.sentences) != []
    else:
        assert parts == []
        assert unseen == list(edit.sentences)
        assert bool(unseen) == (edit.verdict == "source")


def test_a_difference_holds_what_was_and_what_is() -> None:
    after = of(edited(FILES, in_json("package.json", lambda it: it["dependencies"].update(react="*"))))
    part = Part("package.json", "dependency `react`")
    assert Difference(part, BASE.parts[part], after.parts[part]) == Difference(part, '"^19.0.0"', '"*"')


def test_no_token_is_kept() -> None:
    found = of({**FILES, ".npmrc": "//registry.npmjs.org/:_authToken=s3cret\n"})
    assert "s3cret" not in str(found)


# --- lockfiles


def test_a_shrinkwrap_wins() -> None:
    both = {**FILES, "npm-shrinkwrap.json": FILES["package-lock.json"]}
    moved = in_json("package-lock.json", lambda it: it["packages"].clear())
    assert change(both, moved) == ([], ["package-lock.json: file changed"])
    moved = in_json("npm-shrinkwrap.json", lambda it: it["packages"].pop("node_modules/react"))
    assert change(both, moved)[0] == ["npm-shrinkwrap.json: locked package `react` removed"]


@pytest.mark.parametrize("version", [1, 2])
def test_old_lockfiles_nest(version: int) -> None:
    nested = {"b": {"version": "1.0.0", "dependencies": {"c": {"version": "1.0.0"}}}}
    lock: dict[str, Any] = {"lockfileVersion": version, "dependencies": {"a": {"dependencies": nested}}}
    if version == 2:
        lock["packages"] = {"": {}, "node_modules/a": {"version": "1.0.0"}}
    files = {**FILES, "package-lock.json": json.dumps(lock)}

    def upgrade(it: Any) -> None:
        it["dependencies"]["a"]["dependencies"]["b"]["dependencies"]["c"]["version"] = "2.0.0"

    assert change(files, in_json("package-lock.json", upgrade))[0] == [
        "package-lock.json: locked package `c` in `b` in `a` changed"
    ]
    assert change(files, in_json("package-lock.json", lambda it: it["dependencies"]["a"].update(x=1)))[0] == [
        "package-lock.json: locked package `a` changed"
    ]


def test_names_that_do_not_fit_a_line_stay_apart() -> None:
    names = ["a\nb", "a\\nb", "x" * 200, "x" * 201, "\ud800"]
    found = of({"package.json": json.dumps({"dependencies": dict.fromkeys(names, "1")})})
    assert len(found.parts) == len(names)
    assert all(part.what.isprintable() and len(part.what) < 150 for part in found.parts)


def test_a_large_lockfile_takes_no_time() -> None:
    entry = {
        "version": "1.0.0",
        "resolved": "https://x/" + "y" * 60,
        "integrity": "sha512-" + "z" * 88,
        "dev": True,
    }
    packages = {f"node_modules/package-{number}": entry for number in range(8_000)}
    text = json.dumps({"lockfileVersion": 3, "packages": packages}, indent=2)
    start = time.process_time()
    assert len(of({**FILES, "package-lock.json": text}).parts) > 8_000
    assert time.process_time() - start < 3 * len(text) / 20e6 + 0.3


# --- workspaces

WORKSPACE: Mapping[str, str | bytes] = {
    path: text if isinstance(text, str) else json.dumps(text, indent=2) + "\n"
    for path, text in {
        "package.json": {"name": "root", "workspaces": ["packages/*", "!packages/old"]},
        "package-lock.json": {
            "packages": {
                "": {"name": "root"},
                "packages/a": {"name": "a", "version": "1.0.0"},
                "node_modules/a": {"link": True},
            }
        },
        "packages/a/package.json": {"name": "a", "version": "1.0.0", "scripts": {"prepare": "node x.js"}},
        "packages/a/x.js": "1",
        "packages/a/deep/package.json": {"version": "1.0.0"},
        "packages/b/package.json": {"name": "b", "version": "1.0.0", "dependencies": {"a": "*"}},
        "packages/old/package.json": {"name": "old"},
        "other/package.json": {"name": "other"},
    }.items()
}


def test_packages_of_a_workspace_count() -> None:
    add = in_json("packages/b/package.json", lambda it: it["dependencies"].update(c="1"))
    assert change(WORKSPACE, add)[0] == ["packages/b/package.json: dependency `c` added"]
    rename = in_json("packages/b/package.json", lambda it: it.update(name="c"))
    assert change(WORKSPACE, rename)[0] == ["packages/b/package.json: `name` changed"]
    assert change(WORKSPACE, writes("packages/a/x.js", "2"))[0] == [
        "packages/a/x.js: input of the install changed"
    ]
    more = writes("packages/c/package.json", '{"name": "c"}')
    assert change(WORKSPACE, more)[0] == ["packages/c/package.json: `name` added"]


@pytest.mark.parametrize("folder", ["packages/old", "packages/a/deep", "other", "packages/.hidden"])
def test_packages_that_are_no_members_do_not_count(folder: str) -> None:
    edit = writes(f"{folder}/package.json", '{"dependencies": {"x": "1"}}')
    assert change(WORKSPACE, edit) == ([], [])


def test_a_member_s_version_counts_where_another_one_asks_for_it() -> None:
    bump = in_json("packages/a/package.json", lambda it: it.update(version="2.0.0"))
    locked = in_json("package-lock.json", lambda it: it["packages"]["packages/a"].update(version="2.0.0"))
    parts, unseen = change(WORKSPACE, bump, locked)
    assert parts == []
    assert unseen == [
        "package-lock.json: `version` in the copy of packages/a/package.json changed",
        "packages/a/package.json: `version` changed",
    ]
    wants = edited(
        WORKSPACE, in_json("packages/b/package.json", lambda it: it["dependencies"].update(a="^1.0.0"))
    )
    assert change(wants, bump)[0] == ["packages/a/package.json: `version` changed"]


def test_linked_folders_and_archives_count() -> None:
    files = {
        **FILES,
        "package.json": json.dumps(
            {
                "dependencies": {"a": "file:libs/a", "b": "file:./b.tgz", "c": "file:../c"},
                "devDependencies": {"f": "link:node_modules/f"},
            }
        ),
        "node_modules/f/package.json": "{",
        "libs/a/package.json": '{"name": "a", "dependencies": {"d": "file:../d"}}',
        "libs/d/package.json": '{"name": "d"}',
        "libs/e/package.json": '{"name": "e"}',
        "b.tgz": b"\x1f\x8b",
    }
    assert change(files, writes("b.tgz", b"\xff"))[0] == ["b.tgz: input of the install changed"]
    assert change(files, writes("libs/d/package.json", '{"name": "x"}'))[0] == [
        "libs/d/package.json: `name` changed"
    ]
    assert change(files, writes("libs/e/package.json", "{}")) == ([], [])


def test_an_addon_is_made_of_what_its_description_names() -> None:
    files = {**FILES, "binding.gyp": '{"targets": [{"sources": ["native/a.cc"]}]}', "native/a.cc": "1"}
    assert change(files, writes("native/a.cc", "2"))[0] == ["native/a.cc: input of the install changed"]
    assert change(files, writes("binding.gyp", "{}"))[0] == [
        "binding.gyp: input of the install changed",
        "native/a.cc: input of the install removed",
    ]


def test_a_broken_member_is_a_doubt() -> None:
    assert of({**WORKSPACE, "packages/a/package.json": "{\n,"}).doubt.startswith(
        "packages/a/package.json:2: no JSON"
    )


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["packages/*"], ["packages/a", "packages/b"]),
        (["./packages/a/"], ["packages/a"]),
        (["packages/**"], ["packages", "packages/a", "packages/b", "packages/b/c"]),
        (["**"], ["apps/a", "packages", "packages/a", "packages/b", "packages/b/c"]),
        (["**/a"], ["apps/a", "packages/a"]),
        (["{apps,packages}/a"], ["apps/a", "packages/a"]),
        (["packages/[ab]", "!**/b"], ["packages/a"]),
        (["!packages/b", "packages/*"], ["packages/a", "packages/b"]),
        (["packages/[^a]"], ["packages/b"]),
        (["packages/?", "!!apps/*"], ["apps/a", "packages/a", "packages/b"]),
        (["packages/@(a|b)"], ["packages/a", "packages/b"]),
        ([".hidden/*"], [".hidden/a"]),
        (["../x", "", "/"], []),
        ([], []),
    ],
)
def test_patterns_of_a_workspace(patterns: Sequence[str], found: Sequence[str]) -> None:
    folders = [".hidden/a", "apps/a", "packages", "packages/a", "packages/b", "packages/b/c", "packages/.x"]
    assert matching(folders, [below("", each) for each in patterns]) == found


def test_no_pattern_takes_long() -> None:
    assert matching(["a/" * 200 + "b"], ["**/a/" * 60 + "c", "*a" * 60 + "/" + "**/" * 50 + "c"]) == []
    doubtful = {"package.json": json.dumps({"workspaces": ["{a,b}" * 30]}), "x/package.json": "{}"}
    assert of(doubtful).doubt == "package.json: too many alternatives in a pattern of workspaces"


@FAST
@given(st.lists(st.text(alphabet="ab*?[]^!{},./-(&~|\\", max_size=12), max_size=3))
def test_any_pattern_will_do(patterns: list[str]) -> None:
    found = of({"package.json": json.dumps({"workspaces": patterns}), "a/b/package.json": '{"name": "b"}'})
    assert found.doubt == ""


# --- reads


@pytest.mark.parametrize(
    ("path", "is_read"),
    [
        ("package.json", True),
        ("packages/a/package.json", True),
        ("package-lock.json", True),
        ("npm-shrinkwrap.json", True),
        (".npmrc", True),
        ("packages/a/.npmrc", False),
        ("packages/a/package-lock.json", False),
        ("patches/a.patch", True),
        ("prisma/schema.prisma", True),
        ("binding.gyp", True),
        ("scripts/x.js", True),
        ("scripts/setup", True),
        ("src/App.tsx", False),
        ("src/App.css", False),
        ("index.html", False),
        ("README.md", False),
        ("yarn.lock", False),
        ("node_modules/a/package.json", False),
        ("packages/a/node_modules/b/x.js", False),
    ],
)
def test_what_an_install_may_read(path: str, is_read: bool) -> None:
    assert npm.reads(path) == is_read


@pytest.mark.parametrize("files", [FILES, WORKSPACE], ids=["one package", "workspace"])
def test_nothing_else_is_read(files: Mapping[str, str | bytes]) -> None:
    tree, seen = watched(files)
    assert npm.fingerprint(tree).doubt == ""
    assert set(seen) <= set(tree.names)
    assert all(map(npm.reads, seen))


# --- whatever is in the files

JSON = st.recursive(
    st.sampled_from([None, True, 0, -1.5, 1e400, "", "a", '"', "\\", "é\n", "file:a", "^1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*'ab:\n"']), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        *(
            "name",
            "scripts",
            "dependencies",
            "peerDependencies",
            "overrides",
            "workspaces",
            "pnpm",
            "packages",
        ),
        *("lockfileVersion", "patchedDependencies", "version", "resolutions", "engines", "new"),
    ]
)
ODD = st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=3), max_size=5)


@FAST
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_but_a_doubt(manifest: bytes, lock: bytes) -> None:
    found = of({"package.json": manifest, "package-lock.json": lock})
    assert found.doubt.startswith(("package.json:", "package-lock.json:")) or found.doubt == ""
    assert found.doubt.isprintable()


@FAST
@given(ODD, ODD)
def test_any_values_are_parts(manifest: dict[str, Any], lock: dict[str, Any]) -> None:
    files = {
        "package.json": json.dumps(manifest),
        "package-lock.json": json.dumps(lock),
        "a/package.json": "{}",
    }
    found = of(files)
    assert found.doubt == "" or "no value" in found.doubt
    assert all(part.what.isprintable() for part in (*found.parts, *found.unseen))


@FAST
@given(ODD, ODD, st.randoms(use_true_random=False), st.sampled_from([None, 0, 2, "\t"]))
def test_formatting_and_the_order_of_keys_change_no_part(
    manifest: dict[str, Any], lock: dict[str, Any], chance: random.Random, indent: int | str | None
) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            return [shuffled(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {key: shuffled(each) for key, each in chance.sample(list(value.items()), len(value))}

    before = of({"package.json": json.dumps(manifest), "package-lock.json": json.dumps(lock)})
    written = [json.dumps(shuffled(value), indent=indent) for value in (manifest, lock)]
    after = of({"package.json": written[0].replace("\n", "\r\n"), "package-lock.json": written[1] + "\n"})
    assert (before.parts, bool(before.doubt)) == (after.parts, bool(after.doubt))
