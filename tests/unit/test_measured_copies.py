"""What is measured: copies of a project, edits of its sources, packages that are added, options that are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from kiro_invoke import config
from kiro_invoke.benchmark.copies import Copy, apart
from kiro_invoke.benchmark.edits import can_edit, edited, source_of
from kiro_invoke.benchmark.live_files import composes, composition, configuration
from kiro_invoke.benchmark.losses import LABEL, drop_lost, forget, lose_layers, lost_namespace, tidy
from kiro_invoke.benchmark.numbers import Counter
from kiro_invoke.benchmark.offer import Offer
from kiro_invoke.benchmark.packages import PACKAGES, adding, only_added, pool, recipe
from kiro_invoke.benchmark.runner import CannotMeasure
from kiro_invoke.benchmark.scenarios import Variant
from kiro_invoke.benchmark.standards import standards
from kiro_invoke.benchmark.tree import Tree, moved
from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile
from kiro_invoke.cache.records import LAYER
from kiro_invoke.cache.remembered import LAYERS, Made, write_made
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.commands.benchmarking import Asked
from kiro_invoke.commands.benchmarking import test_build_performance as measure
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import CacheRecord, ImageFacts, LocalImage
from kiro_invoke.model.errors import BuildFailed, ConfigError, UsageError
from kiro_invoke.model.service import Project
from kiro_invoke.screen import Paper
from tests.unit.fakes import FakeEngine

BOTH = (Profile.PROD, Profile.DEV)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    app = tmp_path / "a repo/web"
    (app / "src").mkdir(parents=True)
    (app / "node_modules/big").mkdir(parents=True)
    (app / "node_modules/big/file").write_text("big")
    (app / "Dockerfile").write_text("FROM node:1\nCOPY . .\n")
    (app / "Dockerfile.fast").write_text("FROM node:1\nCOPY . .\n")
    (app / ".dockerignore").write_text("node_modules\nDockerfile*\n.dockerignore\n")
    (app / "package.json").write_text('{"name": "web"}')
    (app / "package-lock.json").write_text('{"packages": {"": {}}}')
    (app / "src/main.js").write_text("start();\n")
    (app / "src/main.js").chmod(0o755)
    (app / "src/link").symlink_to("main.js")
    (app / "empty").mkdir()
    (app.parent / "other").write_text("not of the service")
    return config.load(app.parent, {})


def copied(project: Project, root: Path) -> tuple[Tree, str]:
    tree = Tree(root)
    return tree, tree.copy(project, read_recipes(project, BOTH), ())


def listing(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


# --- the copy


def test_a_copy_holds_what_builds_are_sent_and_what_they_are_made_by(
    project: Project, tmp_path: Path
) -> None:
    copied(project, tmp_path / "copy")
    assert listing(tmp_path / "copy") == {
        "web", "web/src", "web/src/main.js", "web/src/link", "web/empty", "web/package.json", "web/package-lock.json",
        "web/Dockerfile", "web/Dockerfile.fast", "web/.dockerignore",
    }  # fmt: skip
    assert (tmp_path / "copy/web/src/link").readlink() == Path("main.js")
    assert (tmp_path / "copy/web/src/main.js").stat().st_mode & 0o777 == 0o755


def test_it_is_brought_up_to_date_and_its_own_state_stays(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    _, first = copied(project, root)
    (root / ".kiro/contexts").mkdir(parents=True)
    (root / "web/src/stranger").mkdir()
    (root / "web/src/stranger/file").write_text("left by somebody")
    (root / "web/src/gone").symlink_to("nowhere")
    before = (root / "web/package.json").stat().st_mtime_ns
    src = project.root / "web/src"
    (src / "main.js").write_text("other();\n")
    (src / "link").unlink()
    (src / "link").mkdir()
    (src / "link/file").write_text("a folder now")
    _, second = copied(project, root)
    assert second != first
    assert (root / "web/src/main.js").read_text() == "other();\n"
    assert (root / "web/src/link/file").read_text() == "a folder now"
    assert not (root / "web/src/stranger").exists()
    assert not (root / "web/src/gone").is_symlink()
    assert (root / ".kiro/contexts").is_dir()
    assert (root / "web/package.json").stat().st_mtime_ns == before
    assert copied(project, root)[1] == second


def test_edits_are_taken_back(project: Project, tmp_path: Path) -> None:
    tree, _ = copied(project, tmp_path / "copy")
    main, manifest = tmp_path / "copy/web/src/main.js", tmp_path / "copy/web/package.json"
    tree.write({main: "one", manifest: "two"})
    tree.write({main: "three"})
    assert (main.read_text(), manifest.read_text()) == ("three", '{"name": "web"}')
    assert tree.read(main) == "start();\n"
    tree.write({})
    assert main.read_text() == "start();\n"


def test_what_a_build_is_made_by_is_copied_from_where_it_leads_to(project: Project, tmp_path: Path) -> None:
    real = project.root / "docker/web.Dockerfile"
    real.parent.mkdir()
    real.write_text("FROM node:2\n")
    file = project.root / "web/Dockerfile.fast"
    file.unlink()
    file.symlink_to("../docker/web.Dockerfile")
    copied(project, tmp_path / "copy")
    there = tmp_path / "copy/web/Dockerfile.fast"
    assert (there.is_symlink(), there.read_text()) == (False, "FROM node:2\n")


def test_a_file_that_is_read_only_is_edited_and_stays_so(project: Project, tmp_path: Path) -> None:
    (project.root / "web/src/main.js").chmod(0o444)
    tree, _ = copied(project, tmp_path / "copy")
    there = tmp_path / "copy/web/src/main.js"
    tree.write({there: "edited"})
    assert (there.read_text(), there.stat().st_mode & 0o777) == ("edited", 0o444)


def test_a_link_leads_to_nobodys_own_files(project: Project, tmp_path: Path) -> None:
    own = tmp_path / "own.js"
    own.write_text("a person's\n")
    main = project.root / "web/src/main.js"
    main.unlink()
    main.symlink_to(own)
    tree, _ = copied(project, tmp_path / "copy")
    with pytest.raises(CannotMeasure, match="no file that the build context holds itself"):
        tree.write({tmp_path / "copy/web/src/main.js": "edited"})
    with pytest.raises(CannotMeasure):
        tree.write({tmp_path / "copy/web/src/missing.js": "edited"})
    assert own.read_text() == "a person's\n"


def test_a_text_of_any_bytes_comes_back_as_it_was(project: Project, tmp_path: Path) -> None:
    main = project.root / "web/src/main.js"
    main.write_bytes(b"odd \xff\r\nlines\r\n")
    tree, _ = copied(project, tmp_path / "copy")
    there = tmp_path / "copy/web/src/main.js"
    tree.write({there: edited("main.js", tree.read(there), 1)})
    assert b"\xff\r\n" in there.read_bytes()
    tree.write({})
    assert there.read_bytes() == main.read_bytes()


def test_a_link_in_place_of_its_folder_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/file").write_text("a person's")
    home = project.root / ".kiro"
    home.mkdir()
    (home / "benchmark").symlink_to(tmp_path / "own")
    paper = Paper(lambda: Console(file=StringIO()))
    with pytest.raises(ConfigError, match="must not be a link"):
        measure(Asked())(Surface(paper, paper, {}, project.root, None))
    assert (tmp_path / "own/file").read_text() == "a person's"


def test_what_a_copy_makes_has_other_names(project: Project, tmp_path: Path) -> None:
    there = moved(project, tmp_path / "copy", "kiro-benchmark/x")
    (service,) = there.services
    assert (service.image, service.context) == ("kiro-benchmark/x/web", tmp_path / "copy/web")
    assert there.checkout != project.checkout
    assert there.state == tmp_path / "copy/.kiro"


# --- edits


@pytest.mark.parametrize(
    ("path", "added"),
    [
        ("src/main.rs", "#[used]\nstatic KIRO_BENCHMARK: u64 = 7;\n"),
        ("src/App.tsx", 'console.debug("kiro benchmark", 7);\n'),
        ("notes", "kiro benchmark 7\n"),
    ],
)
def test_each_edit_is_new_and_means_something(path: str, added: str) -> None:
    text = edited(path, "before\n", 7)
    assert text == f"before\n\n{added}"
    assert edited(path, "before\n", 8) != text
    assert can_edit(path)
    assert not can_edit("src/Main.java")  # what is added might not compile


@pytest.mark.parametrize(
    ("ecosystem", "paths", "texts", "source"),
    [
        ("cargo", ["src/lib.rs", "src/main.rs"], {}, "src/main.rs"),
        ("cargo", ["crates/b/src/main.rs", "crates/a/src/lib.rs", "tests/src/main.rs"], {}, "crates/b/src/main.rs"),
        ("cargo", ["src/lib.rs"], {}, "src/lib.rs"),
        ("cargo", ["Cargo.toml"], {}, None),
        ("npm", ["index.html", "app/x.tsx", "src/main.ts"], {"index.html": '<script src="/app/x.tsx">'}, "app/x.tsx"),
        ("npm", ["index.html", "src/main.ts"], {"index.html": '<script src="https://elsewhere/x.js">'}, "src/main.ts"),
        ("yarn", ["package.json", "lib/start.js"], {"package.json": '{"main": "./lib/start.js"}'}, "lib/start.js"),
        ("pnpm", ["package.json", "vite.config.ts", "src/a.test.ts", "lib/b.ts"], {"package.json": "?"}, "lib/b.ts"),
        ("other", ["src/main.rs"], {}, None),
    ],
)  # fmt: skip
def test_where_a_program_begins(
    ecosystem: str, paths: list[str], texts: Mapping[str, str], source: str | None
) -> None:
    assert source_of(ecosystem, paths, lambda path: texts[path]) == source


# --- packages


def test_a_package_is_added_to_the_crate_of_the_source() -> None:
    names = frozenset({"Cargo.toml", "Cargo.lock", "crates/api/Cargo.toml", "crates/api/src/main.rs"})
    adds = adding("cargo", "crates/api/src/main.rs", names)
    assert adds is not None
    assert adds.files == ("crates/api/Cargo.toml", "Cargo.lock")
    text = recipe(adds, "rust:1", ["either@1.0.0", "hex@0.4.3"])
    assert parse(text).bases({}) == ("rust:1",)
    assert "cargo add --quiet --manifest-path crates/api/Cargo.toml" in text
    assert adding("cargo", "src/main.rs", frozenset({"Cargo.toml"})) is None  # without a lockfile
    assert adding("yarn", "src/main.js", frozenset({"package.json", "yarn.lock"})) is None


def test_names_of_folders_are_no_commands() -> None:
    names = frozenset({"Cargo.lock", "a $(b)/Cargo.toml", "a $(b)/src/main.rs"})
    adds = adding("cargo", "a $(b)/src/main.rs", names)
    assert adds is not None
    assert "--manifest-path 'a $(b)/Cargo.toml'" in adds.command
    assert "'a $(b)/Cargo.toml' Cargo.lock" in recipe(adds, "rust:1", ["hex@1"])


def test_a_pool_leaves_out_what_is_locked() -> None:
    adds = adding("npm", "src/main.js", frozenset({"package.json", "package-lock.json"}))
    assert adds is not None
    found = pool(adds.pool, '"node_modules/clsx": {}')
    assert "clsx" not in dict(found)
    assert found[:2] == (("mitt", "3.0.1"), ("kleur", "4.1.5"))
    assert len(set(found)) == len(found)


def test_an_npm_lockfile_gets_what_was_added_and_nothing_else() -> None:
    before = {"packages": {"": {"name": "a"}, "node_modules/x": {"libc": ["musl"]}}}
    after = {
        "packages": {
            "": {"name": "a", "dependencies": {"b": "1"}},
            "node_modules/b": {},
            "node_modules/x": {},
        }
    }
    made = json.loads(only_added(json.dumps(before), json.dumps(after)))
    assert made["packages"] == {
        "": {"name": "a", "dependencies": {"b": "1"}},
        "node_modules/b": {},
        "node_modules/x": {"libc": ["musl"]},
    }


def offer(project: Project, tmp_path: Path, refused: str = "") -> tuple[Offer, list[str]]:
    made: list[str] = []
    adds = adding("npm", "src/main.js", frozenset({"package.json", "package-lock.json"}))
    assert adds is not None

    def make(dockerfile: str, out: Path) -> None:
        made.append(dockerfile)
        line = next(line for line in dockerfile.splitlines() if line.startswith("for package in "))
        for package in line.removeprefix("for package in ").removesuffix("; do").split():
            if package != refused:
                (out / package).mkdir(parents=True)
                (out / package / "package.json").write_text(f'{{"with": "{package}"}}')
                (out / package / "package-lock.json").write_text(
                    '{"packages": {"": {}, "node_modules/new": {}}}'
                )

    return Offer(
        "web", project.services[0].context, "node:1", adds, tmp_path / "packages", Counter(tmp_path / "numbers"), make,
        lambda path: path.read_text(),
    ), made  # fmt: skip


def test_each_package_is_taken_once_and_some_are_made_at_a_time(project: Project, tmp_path: Path) -> None:
    one, made = offer(project, tmp_path, refused="mitt@3.0.1")
    one.prepare()
    first, second = one.take(), one.take()
    manifest = project.services[0].context / "package.json"
    assert first[manifest] == '{"with": "clsx@2.1.1"}'
    assert second[manifest] == '{"with": "kleur@4.1.5"}'  # what cannot be added is passed over
    assert one.counter.last("package of web") == 3
    again, _ = offer(project, tmp_path)
    assert again.take()[manifest] == '{"with": "deepmerge@4.3.1"}'
    assert len(made) == 1
    with pytest.raises(CannotMeasure, match="were added already"):
        for _ in range(100):
            one.take()


def test_what_can_only_be_refused_is_no_package(project: Project, tmp_path: Path) -> None:
    one, _ = offer(project, tmp_path)
    one.make = lambda _dockerfile, _out: None  # a registry that does not answer
    for _ in range(3):
        with pytest.raises(CannotMeasure, match="refuses all"):
            one.take()
    assert one.counter.last("package of web") == 0
    lock = project.services[0].context / "package-lock.json"
    lock.write_text(" ".join(f'"node_modules/{name}"' for name in PACKAGES))
    with pytest.raises(CannotMeasure, match="holds all packages"):
        one.prepare()
    lock.write_text('{"lockfileVersion": 1}')
    again, _ = offer(project, tmp_path)
    with pytest.raises(CannotMeasure, match="of a form that is not known"):
        again.take()


# --- what is compared with


def test_a_standard_dockerfile_is_configured_or_lies_ready_or_is_derived(project: Project) -> None:
    (service,) = project.services
    found = standards(project, service, "node:1")
    assert set(found) == {Variant.STANDARD}
    assert found[Variant.STANDARD].origin == "standard (derived)"
    assert found[Variant.STANDARD].bases({}) == ("node:1",)
    assert "npm ci && npm run build" in found[Variant.STANDARD].text
    ready = project.root / "benchmarks/standard/web.Dockerfile"
    ready.parent.mkdir(parents=True)
    ready.write_text("FROM ready\n")
    assert (
        standards(project, service, "node:1")[Variant.STANDARD].origin == "benchmarks/standard/web.Dockerfile"
    )
    (project.root / "web/plain.Dockerfile").write_text("FROM given\n")
    (project.root / "kiro.yaml").write_text(
        "services:\n- name: web\n  benchmark: {standard: web/plain.Dockerfile, source: src/main.js}\n"
    )
    again = config.load(project.root, {})
    assert standards(again, again.services[0], "node:1")[Variant.STANDARD].text == "FROM given\n"
    assert again.services[0].benchmark.source == "src/main.js"
    assert (
        standards(project, replace(service, ecosystem="other"), "")[Variant.STANDARD].text == "FROM ready\n"
    )
    ready.unlink()
    assert standards(project, replace(service, ecosystem="other"), "x") == {}
    rust = standards(project, replace(service, ecosystem="cargo"), "rust:1")
    assert [one.text.splitlines()[-1].strip() for one in rust.values()] == [
        "cargo build --release",
        "cargo build",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{standard: nowhere}", 'kiro.yaml:3: standard "nowhere" is no file'),
        ("{source: ../kiro.yaml}", "is no file in web"),
        ("{standard: ../../x}", "leads outside"),
        ("{sauce: x}", 'did you mean "source"'),
    ],
)
def test_a_benchmark_section_that_cannot_be_used(project: Project, given: str, message: str) -> None:
    (project.root / "kiro.yaml").write_text(f"services:\n- name: web\n  benchmark: {given}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(project.root, {})
    assert message in str(caught.value)


# --- the running container


def test_a_copy_is_watched_by_its_own_configuration(project: Project, tmp_path: Path) -> None:
    (project.root / "kiro.yaml").write_text(
        "base_images: {'node:1': mine/node:2}\nservices:\n- name: web\n  ignore: [docs]\n"
        "  live: {run: make, sync: {src: /app/src}}\n"
    )
    there = moved(config.load(project.root, {}), tmp_path / "copy", "kiro-benchmark/x")
    tree, sources = copied(config.load(project.root, {}), tmp_path / "copy")
    base = Base("mine/node:2", BaseStatus.PRESENT, "kiro-benchmark/base:1")
    copy = Copy(there, tree, (base,), sources)
    (tmp_path / "copy/kiro.yaml").write_text(configuration(copy, there.services[0]))
    again = config.load(tmp_path / "copy", {})
    assert again.checkout == there.checkout
    assert again.services[0].image == "kiro-benchmark/x/web"
    assert again.services[0].live == there.services[0].live
    assert dict(again.base_images)["node:1"] == "kiro-benchmark/base:1"
    given: dict[str, Any] = {
        "image": "kiro/web:dev", "ports": [1], "container_name": "web", "environment": {"A": "$$b"},
        "labels": {"traefik.enable": "true"}, "volumes_from": ["db"], "network_mode": "host",
        "volumes": [
            {"type": "volume", "source": "data", "target": "/data"}, {"type": "bind", "source": "/x", "target": "/y"},
        ],
    }  # fmt: skip
    composed = yaml.safe_load(composition(copy, there.services[0], given))
    assert composed["services"]["web"] == {
        "environment": {"A": "$$b"}, "image": "kiro-benchmark/x/web:dev",
        "build": {"context": str(tmp_path / "copy/web"), "dockerfile": str(tmp_path / "copy/web/Dockerfile.fast")},
        "volumes": given["volumes"][:1],
    }  # fmt: skip
    assert composed["volumes"] == {"data": {}}
    # whatever a person set for their own project, Compose speaks of the copy's
    assert composes(copy)["COMPOSE_PROJECT_NAME"] == composed["name"] == f"kiro-benchmark-{there.checkout}"


# --- options


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(scenarios=("colt",)), '--scenario "colt": not known'),
        (Asked(variants=("quick",)), '--variant "quick": not known'),
        (Asked(runs="0"), '--runs "0"'),
        (Asked(runs="-3"), '--runs "-3"'),
        (Asked(target_backend="lots"), '--target-backend "lots"'),
        (Asked(target_frontend="101"), '--target-frontend "101"'),
        (Asked(outputs=("x.pdf",)), "its extension tells no format"),
        (Asked(quick=True, scenarios=("cold",)), "--quick leaves out"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(tmp_path: Path, asked: Asked, message: str) -> None:
    paper = Paper(lambda: Console(file=StringIO()))
    with pytest.raises(UsageError) as caught:
        measure(asked)(Surface(paper, paper, {}, tmp_path, None))
    assert message in str(caught.value)


# --- what is taken away


def _record(
    id: str, *parents: str, text: str = "", at: float = 1.0, shared: bool = False, kind: str = LAYER
) -> CacheRecord:
    what = text or f"[app 1/2] RUN {id}"
    return CacheRecord(id, kind, what, parents, shared=shared, size=10, created=at, used=at)


def _image(id: str, project: Project, *names: str) -> LocalImage:
    labels = {LABEL_CHECKOUT: project.checkout, LABEL: project.checkout}
    return LocalImage(id, names, labels, 1.0)


@pytest.fixture
def engine(project: Project) -> FakeEngine:
    """Layers that a copy made twice on its own base, and the same of a person's on another."""
    made = FakeEngine({"kiro-benchmark/c/app:dev": ImageFacts("i2", {}, 1)})
    made.records = [
        _record("base"), _record("mine", "base", text="[app 1/2] RUN deps"), _record("mine-2", "mine"),
        _record("apart"),
        _record("deps", "apart", text="[app 1/2] RUN deps", at=5.0),
        _record("old", "deps", text="[app 2/2] RUN make", at=6.0), _record("old-child", "old", text="COPY x", at=6.0),
        _record("new", "deps", text="[app 2/2] RUN make", at=9.0), _record("new-child", "new", text="COPY x", at=9.0),
        _record("mount", "deps", text='cached mount /m from exec x with id "ns/id"', kind="exec.cachemount", at=9.0),
    ]  # fmt: skip
    made.local_images = [_image("i1", project), _image("i2", project, "kiro-benchmark/c/app:dev")]
    project.state.mkdir()
    layers = frozenset({"deps", "old", "new"})
    write_made(project.state / LAYERS, Made(layers=layers, engine=made.facts.address))
    return made


def ids(engine: FakeEngine) -> set[str]:
    return {record.id for record in engine.records}


def test_of_each_step_of_a_copy_the_last_result_stays(engine: FakeEngine, project: Project) -> None:
    before = ids(engine)
    assert tidy(engine, project) == 2
    assert before - ids(engine) == {"old", "old-child"}
    assert [image.id for image in engine.local_images] == ["i2"]
    assert engine.untagged == []


def test_layers_are_lost_but_for_what_a_mount_stands_on_and_nobody_elses(
    engine: FakeEngine, project: Project
) -> None:
    assert lose_layers(engine, project) == 4
    assert ids(engine) == {"base", "mine", "mine-2", "apart", "deps", "mount"}
    assert engine.local_images == []
    assert engine.untagged == ["kiro-benchmark/c/app:dev"]


def test_an_image_that_somebody_named_is_theirs(engine: FakeEngine, project: Project) -> None:
    engine.local_images = [
        _image("i3", project, "kiro-benchmark/c/app:dev", "mine:debug"),
        _image("i4", project, "x:y"),
    ]
    lose_layers(engine, project)
    assert len(engine.local_images) == 2
    assert engine.untagged == []


def test_all_of_a_copy_can_be_forgotten(engine: FakeEngine, project: Project) -> None:
    engine.records = [
        replace(one, description=one.description.replace("ns/id", f"{project.checkout}/id"))
        for one in engine.records
    ]
    assert forget(engine, project)
    assert ids(engine) == {"base", "mine", "mine-2", "apart"}


def test_mounts_of_lost_namespaces_go_and_no_others(project: Project) -> None:
    made = FakeEngine()
    namespace = lost_namespace(project, 7)
    made.records = [
        _record(name, text=f'cached mount /m from exec x with id "{name}/id"', kind="exec.cachemount")
        for name in (namespace, project.checkout, f"{project.checkout}-lost", "other-lost-7")
    ]
    drop_lost(made, project)
    assert ids(made) == {project.checkout, f"{project.checkout}-lost", "other-lost-7"}


def test_base_images_are_apart_from_everybody_elses(project: Project) -> None:
    engine = FakeEngine()
    (base,) = apart(engine, [Base("node:1", BaseStatus.STANDIN, "kiro-standin/node:1")], "c", "s1")
    assert (base.ref, base.image) == ("node:1", "kiro-benchmark/c/base-0:s1")
    ((tag, text),) = engine.built
    assert tag == base.image
    assert text.splitlines()[0] == "FROM kiro-standin/node:1"
    assert "s1" in text
    engine.build_status, engine.build_output = 1, "no such\nimage"
    with pytest.raises(BuildFailed, match="node:1 cannot be made: no such image"):
        apart(engine, [base], "c", "s2")
