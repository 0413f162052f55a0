"""What Tilt is told: from the same rules as `watch` has, and never less than the classifier says takes an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kiro_invoke import config
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.image_config import ImageConfig, image_config
from kiro_invoke.changes.classify import Scope, Side, classify
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.commands.tilting import tilt_config
from kiro_invoke.ecosystems.registry import ECOSYSTEMS
from kiro_invoke.loop.tilt import NotLive, TiltLive, falling_back, tilt_live
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.fingerprint import Tree
from kiro_invoke.model.live import Live, SyncRule
from kiro_invoke.screen import paper
from tests.support import cargo_edits, npm_edits
from tests.support.cargo_edits import Files

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "kiro_invoke/schemas/tilt-config.json").read_text())


# --- what a Dockerfile says of its image


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("FROM a\nWORKDIR /app\n", "/app"),
        ("FROM a\nWORKDIR /app\nWORKDIR src/../web\n", "/app/web"),
        ("FROM a AS one\nWORKDIR /app\nFROM one AS Two\nWORKDIR two\nFROM TWO\nRUN x\n", "/app/two"),
        ("FROM a AS one\nWORKDIR /app\nFROM b\nCOPY --from=one /x /x\n", ""),
        ("FROM a\nWORKDIR app\n", ""),
        ("FROM a\nWORKDIR /app\nWORKDIR $WHERE\n", ""),
        ('FROM a\nWORKDIR "/a b"\n', "/a b"),
    ],
)
def test_the_working_folder_is_that_of_the_last_stage(text: str, folder: str) -> None:
    assert image_config(parse(text)).folder == folder


@pytest.mark.parametrize(
    ("text", "labels", "unknown"),
    [
        ('LABEL a=1 b="two words" c=x=y', {"a": "1", "b": "two words", "c": "x=y"}, set()),
        ("LABEL a the rest is its value", {"a": "the rest is its value"}, set()),
        ("LABEL a=1\nLABEL a=2 b=1", {"a": "2", "b": "1"}, set()),
        ('LABEL a="$X" b="\\$X"', {"b": "$X"}, {"a"}),
        ("LABEL a=$X\nLABEL a=1", {"a": "1"}, set()),
        ("LABEL a='", {}, set()),
    ],
)
def test_its_labels(text: str, labels: dict[str, str], unknown: set[str]) -> None:
    found = image_config(parse(f"FROM x\n{text}\n"))
    assert found.labels == labels
    assert found.unknown == unknown


# --- a live update in Tilt's words

IMAGE = ImageConfig("/app", {}, '["kiro-supervise"]')
RESTARTED = "kill -HUP 1"


def steps(live: Live, image: ImageConfig = IMAGE) -> TiltLive:
    found = tilt_live(live, image, ["a", "b"])
    assert isinstance(found, TiltLive), found
    return found


def test_the_whole_context_goes_to_the_working_folder() -> None:
    found = steps(Live())
    assert found.sync == (SyncRule("", "/app"),)
    assert found.fall_back_on == ("a", "b")
    (restart,) = found.run
    assert RESTARTED in restart
    assert not found.restart_container


def test_the_deepest_rule_comes_first_for_tilt_takes_the_first() -> None:
    rules = (SyncRule("", "/app"), SyncRule("src/inner", "/i"), SyncRule("src", "/s"))
    assert [rule.folder for rule in steps(Live(sync=rules)).sync] == ["src/inner", "src", ""]


def test_a_build_looks_at_contents_whatever_the_times_are() -> None:
    """Tilt gives files the times that they have here: cargo would take an older one for built."""
    cargo = ECOSYSTEMS["cargo"].live
    build, _ = steps(cargo).run
    assert 'KIRO_FRESH="$(command -v kiro-fresh >/dev/null && echo kiro-fresh build)"' in build
    assert build.endswith(cargo.run)
    assert "-exec touch {} +" in build
    assert "touch" not in steps(Live(run="make")).run[0]


@pytest.mark.parametrize(
    ("live", "run", "restarts"),
    [
        (Live(restart="container", run="x", test="t"), ("x",), True),
        (Live(restart="none"), (), False),
        (Live(restart="x refresh", before_restart="migrate", test="t"), ("migrate", "x refresh", "t"), False),
    ],
)  # fmt: skip
def test_restarts(live: Live, run: tuple[str, ...], restarts: bool) -> None:
    found = steps(live, ImageConfig("/app"))
    assert tuple(each.rpartition("; ")[2] for each in found.run) == run
    assert found.restart_container is restarts


def test_variables_that_the_image_asks_for() -> None:
    image = ImageConfig("/app", {"dev.kiro.live.env": "KIRO_LIVE=1 B='x y'"}, "kiro-supervise")
    assert steps(Live(), image).env == {"KIRO_LIVE": "1", "B": "x y"}


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (ImageConfig("", {}, "kiro-supervise"), "working folder is not known"),
        (ImageConfig("/app", {}, "tini"), "ENTRYPOINT is no kiro-supervise"),
        (
            ImageConfig("/app", {}, "kiro-supervise", frozenset({"dev.kiro.live.run"})),
            "dev.kiro.live.run is known to builds only",
        ),
    ],
)
def test_where_it_cannot_be_the_reason_is_told(image: ImageConfig, why: str) -> None:
    found = tilt_live(Live(), image, [])
    assert isinstance(found, NotLive)
    assert why in found.why


# --- the command

DOCKERFILE = 'FROM debian:13-slim AS dev\nWORKDIR /app\nCOPY . .\nENTRYPOINT ["kiro-supervise"]\nCMD ["x"]\n'
MANIFEST = '[package]\nname = "api"\nversion = "0.1.0"\nedition = "2021"\n'


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {"KIRO_CA_BUNDLE": ""}
        self.config = "project: shop\nservices:\n  - name: api\n"
        self.write("api/Dockerfile.fast", DOCKERFILE)
        self.write("api/Cargo.toml", MANIFEST)
        self.write("api/src/main.rs", "fn main() {}\n")
        self.write("api/src/lib.rs", "")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def answer(self) -> Answer:
        self.write("kiro.yaml", self.config)
        shown = paper(stderr=True, environ={"NO_COLOR": "1"})
        return tilt_config(())(Surface(shown, shown, self.environ, self.root, None))

    def fields(self) -> dict[str, Any]:
        fields = json.loads(json.dumps(self.answer().fields))
        jsonschema.validate({"schema": 1, "command": "tilt-config", "ok": True, **fields}, SCHEMA)
        assert isinstance(fields, dict)
        return fields

    def service(self) -> Mapping[str, Any]:
        (found,) = self.fields()["services"]
        assert isinstance(found, dict)
        return found

    def falls_back(self) -> set[str]:
        prefix = f"{self.root}/api/"
        return {path.removeprefix(prefix) for path in self.service()["live"]["fall_back_on"]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_names_that_dependencies_come_from_take_the_image(world: World) -> None:
    world.write("api/Cargo.lock", "version = 4\n")
    world.write("api/crates/a/Cargo.toml", MANIFEST.replace("api", "a"))
    world.write("api/crates/a/src/lib.rs", "")
    world.write("api/Cargo.toml", MANIFEST + '[workspace]\nmembers = ["crates/*"]\n')
    roots = set(ECOSYSTEMS["cargo"].roots)
    assert world.falls_back() == roots | {"crates/a/Cargo.toml"}
    assert set(world.service()["watched"]) == {f"{world.root}/api/{path}" for path in world.falls_back()}


def test_a_manifest_that_cannot_be_read_takes_the_image_with_all_that_count(world: World) -> None:
    world.write("api/Cargo.toml", "[package")
    world.write("api/crates/a/Cargo.toml", MANIFEST)
    assert {"Cargo.toml", "crates/a/Cargo.toml"} <= world.falls_back()


def test_an_install_depends_on_what_its_scripts_name(world: World) -> None:
    for path in (world.root / "api").rglob("Cargo.toml"):
        path.unlink()
    scripts = {"postinstall": "node scripts/after.js", "build": "node scripts/build.js"}
    world.write("api/package.json", json.dumps({"name": "api", "scripts": scripts}))
    world.write("api/package-lock.json", json.dumps({"lockfileVersion": 3, "packages": {}}))
    world.write("api/scripts/after.js", "")
    world.write("api/scripts/build.js", "")
    assert world.falls_back() == {*ECOSYSTEMS["npm"].roots, "scripts/after.js"}


def test_a_manifest_of_any_folder_has_the_tiltfile_run_anew(world: World) -> None:
    """It may get a script that names files of which nobody was told: updated live, they would be stale."""
    for path in (world.root / "api").rglob("Cargo.toml"):
        path.unlink()
    world.write("api/package.json", json.dumps({"name": "api", "workspaces": ["packages/*"]}))
    world.write("api/packages/a/package.json", json.dumps({"name": "a"}))
    packages = {"packages/a": {"name": "a"}, "node_modules/a": {"resolved": "packages/a", "link": True}}
    world.write("api/package-lock.json", json.dumps({"lockfileVersion": 3, "packages": packages}))
    world.write("api/packages/a/after.js", "")
    assert "packages/a/after.js" not in world.falls_back()
    assert f"{world.root}/api/packages/a/package.json" in world.service()["watched"]
    world.write(
        "api/packages/a/package.json", json.dumps({"name": "a", "scripts": {"postinstall": "node after.js"}})
    )
    assert "packages/a/after.js" in world.falls_back()


def test_declared_inputs_take_the_image(world: World) -> None:
    world.config += "    dependency_inputs: [vendor/**]\n"
    world.write("api/vendor/x.c", "")
    assert "vendor/x.c" in world.falls_back()
    assert not any("vendor" in path for path in world.service()["watched"])


def test_ignored_paths_are_not_watched_but_for_what_dependencies_are_made_from(world: World) -> None:
    world.config += "    ignore: ['docs/**', '*.toml']\n"
    assert world.service()["unwatched"] == ["docs/**", "*.toml", "!Cargo.toml"]


@pytest.mark.parametrize(
    ("folder", "ignore", "heeded"),
    [
        (".", "", False),
        ("api", "", False),
        ("api", "[docs/**]", True),
        ("api/inner", "[docs/**]", False),
        ("web", "", True),
    ],
)
def test_what_another_service_is_built_from_is_watched_for_it(
    world: World, folder: str, ignore: str, heeded: bool
) -> None:
    """Tilt's watch_settings hold for all that it builds."""
    world.config += "    ignore: ['docs/**']\n"
    world.config += f"  - name: other\n    context: {folder}\n    ecosystem: cargo\n"
    world.config += f"    ignore: {ignore}\n" if ignore else ""
    world.write(".dockerignore", ".kiro\n")
    for name in ("Dockerfile.fast", "Cargo.toml", "src/main.rs"):
        world.write(f"{folder}/{name}", DOCKERFILE if name == "Dockerfile.fast" else "")
    fields = world.fields()
    (found,) = (one for one in fields["services"] if one["name"] == "api")
    assert found["unwatched"] == (["docs/**"] if heeded else [])
    assert any("ignore of api is not heeded: other" in note for note in fields["notes"]) is not heeded


def test_other_base_images_are_given_where_arguments_name_them(world: World) -> None:
    world.config += "base_images: {'a:1': 'x:1', 'b:1': 'y:1', 'c:1': 'z:1', 'd:1': 'q:1'}\n"
    world.write(
        "api/Dockerfile.fast",
        "ARG A=a:1\nARG B=b:1\nARG V=1\nFROM ${A} AS one\nFROM $A AS two\nFROM ${B}\nARG B\nFROM c:${V}\n"
        "COPY --from=d:1 /x /x\nWORKDIR /app\nENTRYPOINT kiro-supervise\n",
    )
    fields = world.fields()
    args = fields["services"][0]["build_args"]
    assert (args["A"], "B" in args, "V" in args) == ("x:1", False, False)
    for ref in ("b:1", "c:1", "d:1"):
        assert any(f"Tilt takes {ref} itself" in note for note in fields["notes"])
    assert len(fields["notes"]) == 3


def test_what_builds_are_given(world: World) -> None:
    world.write("a,b.txt", "x")
    world.config += (
        "secrets:\n  - {id: token, file: 'a,b.txt'}\n  - {id: key, env: KEY}\n"
        "ssh: [default]\nbuild_args: {X: '1', EMPTY: ''}\nbase_images: {'debian:13-slim': 'debian:13'}\n"
    )
    fields = world.fields()
    (service,) = fields["services"]
    assert service["secret"][-2:] == [f'id=token,"src={world.root}/a,b.txt"', "id=key,env=KEY"]
    assert service["ssh"] == ["default"]
    namespace = config.load(world.root, {}).checkout
    assert service["build_args"] == {"X": "1", "EMPTY": "", "BUILDKIT_CACHE_MOUNT_NS": namespace}
    assert len(fields["notes"]) == 2
    assert "base_images of kiro.yaml: Tilt takes debian:13-slim itself" in fields["notes"][0]
    assert "takes EMPTY from its environment" in fields["notes"][1]


def test_kiro_yaml_says_the_live_update_as_for_watch(world: World) -> None:
    world.config += (
        "    live:\n      sync: {src: /app/src, .: /elsewhere}\n      run: make\n      restart: container\n"
    )
    live = world.service()["live"]
    assert live["sync"] == [
        {"from": f"{world.root}/api/src", "to": "/app/src"},
        {"from": f"{world.root}/api", "to": "/elsewhere"},
    ]
    assert (live["run"][0].endswith("; make"), live["restart_container"]) == (True, True)


def test_labels_of_the_dockerfile_say_it_where_kiro_yaml_does_not(world: World) -> None:
    world.write(
        "api/Dockerfile.fast", DOCKERFILE + 'LABEL dev.kiro.live.restart="x refresh" dev.kiro.live.run=""\n'
    )
    assert world.service()["live"]["run"] == ["x refresh"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"api/Dockerfile.fast": "FROM x\nWORKDIR /app\n"}, "ENTRYPOINT is no kiro-supervise"),
        ({"api/Dockerfile": DOCKERFILE, "api/Dockerfile.fast": None}, "it has no Dockerfile.fast"),
        ({"api/Cargo.toml": None}, "it is not known what api depends on"),
    ],
)
def test_where_nothing_is_live_the_reason_is_noted(
    world: World, change: dict[str, str | None], why: str
) -> None:
    for name, text in change.items():
        if text is None:
            (world.root / name).unlink()
        else:
            world.write(name, text)
    fields = world.fields()
    (service,) = fields["services"]
    assert service["live"] is None
    assert why in service["not_live"]
    assert any(why in note for note in fields["notes"])


def test_a_configuration_that_cannot_be_used_is_an_error(world: World) -> None:
    world.config = "servces: []\n"
    with pytest.raises(ConfigError, match="servces"):
        world.answer()


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_the_roots_of_an_ecosystem_are_what_it_reads(name: str) -> None:
    ecosystem = ECOSYSTEMS[name]
    assert {ecosystem.manifest, *ecosystem.lockfiles} <= set(ecosystem.roots)
    reads = ecosystem.inputs.reads
    assert all(reads(root) or reads(f"{root}/x.js") for root in ecosystem.roots)


# --- never less than the classifier


class Reads:
    """An ecosystem's word of its paths, where kiro.yaml adds none."""

    def __init__(self, ecosystem: str) -> None:
        self.reads = ECOSYSTEMS[ecosystem].inputs.reads

    def declared(self, _path: str) -> bool:
        return False


def check(ecosystem: str, before: Files, after: Files) -> None:
    """What the classifier calls dependencies, or more, for a file's contents takes the image under Tilt too."""
    sides = []
    for files in (before, after):
        tree = Tree(frozenset(files), lambda path, files=files: files.get(path))  # type: ignore[misc]
        sides.append(Side(files, ECOSYSTEMS[ecosystem].inputs.fingerprint(tree).hashed))
    inputs = Reads(ecosystem)
    rows = classify(Scope("api", "", inputs.reads), *sides)
    strong = {row.path for row in rows if row.kind >= Kind.DEPENDENCY}
    known = set(falling_back(before, sides[0].fingerprint, inputs, ECOSYSTEMS[ecosystem].roots))
    other = {path for path in before.keys() & after.keys() if before[path] != after[path]}
    assert strong & other <= known
    if strong and before.keys() == after.keys():
        assert other & known
    assert not any(path.endswith(".rs") for path in known)


@pytest.mark.parametrize("edit", cargo_edits.EDITS, ids=lambda edit: edit.name)
def test_what_changes_cargos_dependencies_takes_the_image(edit: cargo_edits.Edit) -> None:
    check("cargo", *edit.trees())


@pytest.mark.parametrize("edit", npm_edits.EDITS, ids=str)
def test_what_changes_an_install_takes_the_image(edit: npm_edits.Edit) -> None:
    after = dict(npm_edits.FILES)
    edit.make(after)
    check("npm", encoded(npm_edits.FILES), encoded(after))


def encoded(files: Mapping[str, str | bytes]) -> Files:
    return {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
