"""The fingerprint against the real `cargo chef prepare`: two trees have equal parts if and only if equal recipes."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.ecosystems.cargo import fingerprint
from kiro_invoke.engine.certificates import host_bundle
from kiro_invoke.model.fingerprint import Part
from tests.support.cargo_edits import EDITS, Files, tree
from tests.support.cargo_odd_trees import odd_trees
from tests.support.cargo_random import random_tree
from tests.support.engine import ROOT, build_steps, docker

pytestmark = [pytest.mark.docker, pytest.mark.long]

IMAGE = f"kiro-test-{os.getpid()}/chef:1"
#: Trees that are in doubt though cargo-chef makes a recipe of them.
DOUBTED = frozenset({"a package whose workspace is within"})
#: Prepares a recipe in each folder; prints the folder's name, and the recipe's hash or `failed`.
LOOP = """\
cat >/tmp/judge <<'END'
for name; do
    recipe=/tmp/$name.json
    if (cd /trees/$name && cargo chef prepare --recipe-path $recipe >/dev/null 2>&1)
    then set -- $(sha256sum $recipe); rm $recipe
    else set -- failed
    fi
    echo "$name $1"
done
END
ls /trees | xargs -n 1 -P "$(nproc)" sh /tmp/judge
"""


def every_tree() -> Iterator[tuple[str, Files]]:
    """All trees to be judged, by name."""
    for edit in EDITS:
        before, after = edit.trees()
        yield f"before {edit.name}", before
        yield edit.name, after
    yield from odd_trees()
    yield from ((f"seed {seed}", random_tree(seed)) for seed in range(200))


def key(files: Files) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


@pytest.fixture(scope="module")
def recipes(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Tree -> hash of its recipe, or `failed`; judged in one container by the backend's own cargo-chef."""
    bundle = host_bundle(os.environ)
    secret = [f"--secret=id=ca_bundle,src={bundle}"] if bundle else []
    build_steps(
        *secret, "--load", "--target=chef", "-f", "backend/Dockerfile.fast", "-t", IMAGE, "backend", cwd=ROOT
    )
    root = tmp_path_factory.mktemp("trees")
    for _, files in every_tree():
        _write(root / key(files), files)
    told = docker(
        "run", "--rm", "--network=none", f"--volume={root}:/trees:ro", IMAGE, "sh", "-c", LOOP, timeout=1800
    )
    yield dict(line.split() for line in told.splitlines())
    docker("rmi", "--force", IMAGE)


def _write(folder: Path, files: Files) -> None:
    for path, raw in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(raw)


def test_the_pinned_version_is_the_one_that_is_mirrored() -> None:
    text = (ROOT / "backend/Dockerfile.fast").read_text()
    assert re.findall(r"cargo install cargo-chef --version (\S+)", text) == ["0.1.75"]


def test_an_edit_keeps_the_recipe_where_it_is_said_to(recipes: dict[str, str]) -> None:
    wrong = []
    for edit in EDITS:
        before, after = (recipes[key(files)] for files in edit.trees())
        assert before != "failed", edit.name
        expected = "failed" if edit.doubt else "other" if edit.says else "same"
        found = "failed" if after == "failed" else "same" if after == before else "other"
        if found != expected:
            wrong.append(f"{edit.name}: {found}, not {expected}")
    assert wrong == []


def test_parts_are_equal_where_recipes_are(recipes: dict[str, str]) -> None:
    by_recipe: dict[str, dict[frozenset[tuple[Part, str]], str]] = defaultdict(dict)
    by_parts: dict[frozenset[tuple[Part, str]], dict[str, str]] = defaultdict(dict)
    doubted = set()
    for name, files in every_tree():
        recipe, found = recipes[key(files)], fingerprint(tree(files))
        if recipe == "failed":
            continue
        if found.doubt:
            doubted.add(name)
            continue
        parts = frozenset(found.parts.items())
        by_recipe[recipe].setdefault(parts, name)
        by_parts[parts].setdefault(recipe, name)
    assert [names for names in by_recipe.values() if len(names) > 1] == []
    assert [list(names.values()) for names in by_parts.values() if len(names) > 1] == []
    assert doubted == DOUBTED
    assert len(by_recipe) > 300
