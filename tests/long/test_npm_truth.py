"""The fingerprint of a Node project against real installs: where `npm ci` makes another tree, a part differs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kiro_invoke.ecosystems.npm import fingerprint
from kiro_invoke.model.fingerprint import Tree
from tests.docker.test_frontend_install import KNOWN, LISTING, NODE_IMAGE
from tests.support.engine import docker

pytestmark = [pytest.mark.docker, pytest.mark.long]

Files = dict[str, str]
#: Notes what stands beside it, where an install would keep it.
AFTER = "require('fs').writeFileSync('node_modules/note', require('./words.js'));\n"
#: What npm notes of the project itself is taken out of the tree: a layer is made of a project without a name.
INSTALL = """\
mkdir /w; cd /trees
for tree in *; do
    cp -r "/trees/$tree" "/w/$tree"; cd "/w/$tree"
    npm ci --prefer-offline --no-audit --no-fund >/dev/null || { echo "$tree failed"; continue; }
    node -e 'const f = "node_modules/.package-lock.json", fs = require("fs"), o = JSON.parse(fs.readFileSync(f));
        delete o.name; delete o.version; fs.writeFileSync(f, JSON.stringify(o))'
    set -- $(sh /test/listing "/w/$tree/node_modules" | sha256sum)
    echo "$tree $1"
done
"""


def project(packages: Mapping[str, str], **manifest: Any) -> Files:
    """A project with these packages, place below node_modules -> name@version, and its scripts."""
    locked = {
        f"node_modules/{place}": {"version": package.rpartition("@")[2], **KNOWN[package]}
        for place, package in packages.items()
    }
    asked = {place: "*" for place in packages if place in TOP}
    root = {"name": "small", "version": "1.0.0", "dependencies": asked}
    lock = {"name": "small", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, **locked}}
    scripts = {"postinstall": "node after.js", "build": "vite build"}
    return {
        "package.json": json.dumps({**root, "scripts": scripts, **manifest}),
        "package-lock.json": json.dumps(lock),
        "after.js": AFTER,
        "words.js": "module.exports = 'one';\n",
        "src/main.js": "1;\n",
    }


TOP = frozenset({"ms", "semver", "debug", "mkdirp"})
PACKAGES = {"ms": "ms@2.0.0", "debug": "debug@4.3.6", "debug/node_modules/ms": "ms@2.1.2"}
NEWER = {**PACKAGES, "debug": "debug@4.3.7", "debug/node_modules/ms": "ms@2.1.3"}
BASE = project(PACKAGES)


def manifest(change: Callable[[dict[str, Any]], object], file: str = "package.json") -> Files:
    value = json.loads(BASE[file])
    change(value)
    return {**BASE, file: json.dumps(value)}


def bumped(value: dict[str, Any]) -> None:
    value["version"] = "2.0.0"
    if "packages" in value:
        value["packages"][""]["version"] = "2.0.0"


#: Name -> the tree after it, whether `npm ci` makes another node_modules of it, whether a part differs.
EDITS: dict[str, tuple[Files, bool, bool]] = {
    "a version": ({**manifest(bumped), "package-lock.json": manifest(bumped, "package-lock.json")["package-lock.json"]},
                  False, False),
    "a description": (manifest(lambda it: it.update(description="x")), False, False),
    "a script that no install runs": (manifest(lambda it: it["scripts"].update(build="other")), False, False),
    "formatting": ({**BASE, "package.json": json.dumps(json.loads(BASE["package.json"]), indent=4)}, False, False),
    "the order of keys": (
        {**BASE, "package.json": json.dumps(dict(reversed(json.loads(BASE["package.json"]).items())))}, False, False,
    ),
    "the order of the lockfile": (
        {**BASE, "package-lock.json": json.dumps(dict(reversed(json.loads(BASE["package-lock.json"]).items())))},
        False, False,
    ),
    "a source": ({**BASE, "src/main.js": "2;\n"}, False, False),
    "a nested project": ({**BASE, "tools/package.json": '{"dependencies": {"semver": "*"}}'}, False, False),
    "a package added": (project({**PACKAGES, "semver": "semver@7.6.3"}), True, True),
    "a package with a program added": (project({**PACKAGES, "mkdirp": "mkdirp@3.0.1"}), True, True),
    "a package removed": (project({"ms": "ms@2.0.0"}), True, True),
    "another version": (project(NEWER), True, True),
    "the script that the install runs": (
        manifest(lambda it: it["scripts"].update(postinstall="node after.js && mkdir node_modules/more")), False, True,
    ),
    "what the script that the install runs writes": (
        {**BASE, "after.js": AFTER.replace("note'", "other'")}, True, True,
    ),
    "settings that leave packages out": ({**BASE, ".npmrc": "install-links=false\nomit=optional\n"}, False, True),
    "settings that keep scripts from running": ({**BASE, ".npmrc": "ignore-scripts=true\n"}, True, True),
    "a shrinkwrap that wins": (
        {**BASE, "npm-shrinkwrap.json": project(NEWER)["package-lock.json"]},
        True, True,
    ),
    "links to programs turned off": ({**BASE, ".npmrc": "bin-links=false\n"}, False, True),
}  # fmt: skip


@pytest.fixture(scope="module")
def trees(engine: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Edit -> hash of the tree that `npm ci` makes after it; "before": without any. All in one container."""
    root = tmp_path_factory.mktemp("npm")
    test = tmp_path_factory.mktemp("test")
    (test / "listing").write_text(LISTING)
    numbered = dict(enumerate(["before", *EDITS]))
    for number, name in numbered.items():
        for path, text in (EDITS[name][0] if name in EDITS else BASE).items():
            file = root / str(number) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    mounts = (f"--volume={root}:/trees:ro", f"--volume={test}:/test:ro")
    told = docker("run", "--rm", "--init", "--name", f"kiro-test-{os.getpid()}-ci", *mounts, NODE_IMAGE,
                  "sh", "-c", INSTALL, timeout=900)  # fmt: skip
    return {numbered[int(number)]: tree for number, tree in map(str.split, told.splitlines())}


def parts(files: Files) -> Mapping[Any, str]:
    found = fingerprint(Tree(files, lambda path: files[path].encode() if path in files else None))
    assert not found.doubt
    return found.parts


@pytest.mark.parametrize("name", EDITS)
def test_a_part_differs_where_the_tree_does(name: str, trees: dict[str, str]) -> None:
    files, moves, is_told = EDITS[name]
    assert "failed" not in (trees[name], trees["before"])
    assert (trees[name] != trees["before"]) is moves
    assert (parts(files) != parts(BASE)) is is_told


def test_no_tree_moves_untold() -> None:
    assert all(is_told for _, moves, is_told in EDITS.values() if moves)
