"""A service as it lies on disk: looking at what changed comes to the same as looking at everything."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.loop.sight import Sight
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import ConfigError

MANIFEST = '{"name": "web", "version": "1.0.0", "scripts": {"test": "x"}, "dependencies": {"a": "1.0.0"}}'
LOCK = '{"name": "web", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "web"}}}'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    for path, text in {
        "web/package.json": MANIFEST,
        "web/package-lock.json": LOCK,
        "web/src/app.ts": "1",
        "web/src/lib/util.ts": "1",
        "web/Dockerfile.fast": "FROM node AS build\nCOPY . .\nFROM build AS dev\nRUN make\n",
        "web/.dockerignore": "Dockerfile*\n.dockerignore\nnode_modules\n",
        "kiro.yaml": "project: shop\nservices:\n  - name: web\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def sight_of(root: Path) -> Sight:
    project = config.load(root, {})
    (recipe,) = read_recipes(project, (Profile.DEV,))
    return Sight(project, recipe, time.time_ns)


def told(sight: Sight, root: Path, *paths: str) -> list[tuple[str, str, str]]:
    """What changed by looking at these paths: kind, path, cause."""
    before = sight.side
    sight.look([str(root / path) for path in paths])
    return [(str(row.kind), row.path, row.cause) for row in sight.rows(before)]


def test_a_changed_source(root: Path) -> None:
    sight = sight_of(root)
    (root / "web/src/app.ts").write_text("2")
    assert told(sight, root, "web/src/app.ts") == [("SOURCE", "web/src/app.ts", "src/app.ts changed")]


def test_only_what_it_is_told_of_is_looked_at(root: Path) -> None:
    sight = sight_of(root)
    before = sight.side
    (root / "web/src/app.ts").write_text("2")
    assert told(sight, root, "web/src/lib/util.ts") == []
    assert sight.side is before  # and nothing is made anew


@pytest.mark.parametrize(
    ("path", "old", "new", "kind"),
    [
        ("package.json", '"test": "x"', '"test": "y"', Kind.SOURCE),
        ("package.json", '"a": "1.0.0"', '"a": "1.0.1"', Kind.DEPENDENCY),
        ("Dockerfile.fast", "RUN make", "RUN make all", Kind.BASE),
        ("Dockerfile.fast", "RUN make", "# a comment\nRUN make", Kind.IGNORED),
    ],
)
def test_each_change_by_its_content(root: Path, path: str, old: str, new: str, kind: Kind) -> None:
    sight = sight_of(root)
    file = root / "web" / path
    file.write_text(file.read_text().replace(old, new))
    before = sight.side
    sight.look([str(file)])
    assert max((row.kind for row in sight.rows(before)), default=Kind.IGNORED) == kind


def test_other_ignore_rules_are_another_context(root: Path) -> None:
    sight = sight_of(root)
    (root / "web/.dockerignore").write_text("Dockerfile*\n.dockerignore\nsrc/lib\n")
    assert told(sight, root, "web/.dockerignore") == [
        ("SOURCE", "web/src/lib/util.ts", "src/lib/util.ts is now left out of the build context by `src/lib`")
    ]
    assert not sight.concerns(str(root / "web/src/lib/util.ts"))


def test_what_concerns_it(root: Path) -> None:
    sight = sight_of(root)
    for path in ("web/src/app.ts", "web/src/new.ts", "web/Dockerfile.fast", "web/.dockerignore", "web"):
        assert sight.concerns(str(root / path)), path
    for path in ("web/node_modules/x", "website/src", "README.md", "web/Dockerfile"):
        assert not sight.concerns(str(root / path)), path


def test_folders_that_are_left_out_are_not_watched(root: Path) -> None:
    (root / "web/node_modules/a/b").mkdir(parents=True)
    found = {str(path.relative_to(root)) for path in sight_of(root).folders()}
    assert found == {"web", "web/src", "web/src/lib"}


def test_what_cannot_be_read_leaves_all_as_it_was(root: Path) -> None:
    sight = sight_of(root)
    file, before = root / "web/Dockerfile.fast", sight.side
    text = file.read_text()
    file.write_text("no instruction")
    with pytest.raises(ConfigError):
        sight.look([str(file)])
    assert sight.side is before
    with pytest.raises(ConfigError):
        sight.look(None)
    file.write_text(text + "RUN more\n")
    assert [kind for kind, *_ in told(sight, root, "web/Dockerfile.fast")] == ["BASE"]


def test_litter_is_not_wanted_in_a_container(root: Path) -> None:
    sight = sight_of(root)
    held = dict(sight.side.contents)
    before = sight.side
    (root / "web/src/app.ts").write_text("2")
    (root / "web/src/app.ts~").write_text("1")
    (root / "web/src/lib/util.ts").unlink()
    sight.look([str(root / "web/src")])
    wanted = sight.wanted(sight.rows(before), held)
    assert "src/app.ts~" not in wanted
    assert wanted["src/app.ts"] == sight.side.contents["src/app.ts"]
    assert "src/lib/util.ts" not in wanted


@pytest.mark.parametrize("seed", range(12))
def test_after_any_edits_it_is_as_if_looked_at_anew(root: Path, seed: int) -> None:
    sight, dice = sight_of(root), random.Random(seed)
    for _ in range(8):
        touched = [edit(root / "web", dice) for _ in range(dice.randrange(1, 5))]
        sight.look([str(path) for path in touched])
        fresh = sight_of(root)
        assert sight.side == fresh.side
        assert dict(sight.snapshot.folders) == dict(fresh.snapshot.folders)
        assert sight.revision == fresh.revision


def edit(web: Path, dice: random.Random) -> Path:
    """Do something to a file or folder; the path that an event would name."""
    names = [
        "src/app.ts",
        "src/lib/util.ts",
        "src/new.ts",
        "src/lib/more/x.ts",
        "package.json",
        "node_modules/y",
    ]
    path = web / dice.choice(names)
    match dice.randrange(6):
        case 0 if path.is_file() and path.name != "package.json":
            path.unlink()
        case 1 if path.is_file():
            path.chmod(dice.choice([0o644, 0o755]))
        case 2 if (web / "src/lib").is_dir():
            shutil.rmtree(web / "src/lib")
            return web / "src/lib"
        case 3 if path.name == "package.json":
            path.write_text(MANIFEST.replace("1.0.0", f"1.0.{dice.randrange(9)}"))
        case 4 if path.is_file() and path.name != "package.json":
            path.unlink()
            path.symlink_to(dice.choice(["app.ts", "nowhere"]))
        case _ if path.name != "package.json":
            if path.is_symlink():
                path.unlink()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(dice.randrange(100)))
            return path if path.parent.parent.name != "lib" else web / "src/lib"
    return path
