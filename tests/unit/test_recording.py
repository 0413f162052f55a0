"""What is remembered of builds: from the engine's stream to the store, and that no build is worse for it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.cache import warm
from kiro_invoke.commands import building, opening
from kiro_invoke.commands.one_build import build_now
from kiro_invoke.commands.recording import counts, entry_of, once, predicted, verdict
from kiro_invoke.commands.request import Request
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.protocol import CacheRecord, ImageFacts
from kiro_invoke.metrics.entry import CACHED, RAN, Entry
from kiro_invoke.metrics.store import FILE, Store
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.model.record import BuildRecord, ImageChange, ImageRecord, Step
from kiro_invoke.model.service import PathRule, Project, Recording, Service
from kiro_invoke.screen import Paper
from kiro_invoke.version import __version__
from tests.unit.build_fakes import event, ran, recorded, vertex
from tests.unit.fakes import FACTS, FakeEngine

DOCKERFILE = "FROM debian:13-slim AS deps\nRUN npm ci\nFROM deps AS final\nCOPY . /src\n"
BEGUN = "2026-01-02T03:04:05Z"


def stream(*, cached: bool = False, sent: int = 0) -> list[str]:
    """What the engine tells of a build of DOCKERFILE."""
    how = {"cached": True} if cached else {}
    return [
        *vertex("[internal] load build context", "sha256:c", started=BEGUN, completed=BEGUN),
        *event(statuses=[{"id": "transferring context:", "vertex": "sha256:c", "current": sent}]),
        *ran("[deps 2/2] RUN npm ci", "sha256:1", **how),
        *ran("[final 1/1] COPY . /src", "sha256:2", **how),
    ]


class World:
    """A repository with one service, an engine in memory, and what was said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = FakeEngine({"debian:13-slim": ImageFacts("sha256:1", {}, 1)})
        self.engine.records = [
            CacheRecord("l", "regular", "", size=30),
            CacheRecord("m", "exec.cachemount", "", size=500),
        ]
        self.environ: dict[str, str] = {}
        self.lines: list[str] = []
        self.write("web/Dockerfile.fast", DOCKERFILE)
        self.write("web/package.json", '{"name": "web"}')
        self.write("web/package-lock.json", '{"lockfileVersion": 3, "packages": {}}')
        self.write("web/src.js", "1")
        self.write("web/.dockerignore", ".dockerignore\nDockerfile*\n")
        self.write("kiro.yaml", "project: shop\nservices:\n  - name: web\n    ecosystem: npm\n")

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    @property
    def surface(self) -> Surface:
        return Surface(Lines(self.lines), Lines(self.lines), self.environ, self.root, None)

    def build(self, lines: list[str], status: int = 0, *, clean: bool = False) -> None:
        self.engine.bake_lines, self.engine.bake_status = lines, status
        building.build((), prod=False, clean=clean, show_definition=False, dry_run=False)(self.surface)

    @property
    def store(self) -> Store:
        return Store(self.root / ".kiro", pytest.fail)


class Lines(Paper):
    """Remembers what is written on it."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lambda: pytest.fail("no console is needed"))
        self._lines = lines

    @property
    def is_terminal(self) -> bool:
        return False

    def line(self, *parts: str | tuple[str, str]) -> None:
        self._lines.append("".join(part if isinstance(part, str) else part[0] for part in parts))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    return made


# --- what is remembered


def test_a_build_is_remembered_with_what_led_to_it(world: World) -> None:
    world.build(stream(sent=100))
    world.write("web/src.js", "2")
    world.build([*ran("[deps 2/2] RUN npm ci", cached=True), *ran("[final 1/1] COPY . /src", "sha256:2")])
    first, second = world.store.builds()
    assert (first.command, first.ok, first.way, first.context_bytes) == ("build", True, "image", 100)
    assert (second.cache_layers, second.cache_mounts) == (30, 500)
    one, two = (row.image for row in world.store.images())
    assert (one.kind, one.cause, one.file, one.predicted, one.verdict) == ("", "first build", "", "", RAN)
    assert (two.kind, two.cause, two.file) == ("SOURCE", "src.js changed", "web/src.js")
    assert (two.predicted, two.verdict, two.cached, two.ran) == (CACHED, CACHED, 1, 1)
    assert two.service == "web"
    assert two.profile == "dev"
    assert two.revision.startswith("kiro-revision-")
    assert one.revision != two.revision
    assert [step.text for step in world.store.steps(first.id)] == ["RUN npm ci", "COPY . /src"]


def test_of_a_build_in_which_nothing_changed_just_that_is_remembered(world: World) -> None:
    world.build(stream())
    world.build(stream(cached=True))
    image = world.store.images()[-1].image
    assert (image.kind, image.cause, image.predicted, image.verdict) == (
        "IGNORED",
        "nothing changed",
        CACHED,
        CACHED,
    )


def test_a_changed_dependency_is_foretold_to_run_and_so_it_does(world: World) -> None:
    world.build(stream())
    world.write("web/package.json", '{"name": "web", "dependencies": {"a": "1"}}')
    world.build(stream())
    image = world.store.images()[-1].image
    assert (image.kind, image.file, image.predicted, image.verdict) == (
        "DEPENDENCY",
        "web/package.json",
        RAN,
        RAN,
    )


def test_build_arguments_are_kept_out(world: World) -> None:
    world.write(
        "kiro.yaml",
        "project: shop\nbuild_args: {TOKEN: s3cr3t, N: '1'}\nservices:\n  - name: web\n    ecosystem: npm\n",
    )
    world.build([*ran("[deps 2/2] RUN npm ci --token=s3cr3t 1", "sha256:1")])
    (build,) = world.store.builds()
    assert [step.text for step in world.store.steps(build.id)] == ["RUN npm ci --token=$TOKEN 1"]


def test_of_several_changes_the_strongest_counts(world: World) -> None:
    world.build(stream())
    world.write("web/package.json", '{"name": "web", "dependencies": {"a": "1"}}')
    world.write("web/src.js", "2")
    world.write("web/Dockerfile.fast", DOCKERFILE + "RUN x\n")
    world.build(stream())
    image = world.store.images()[-1].image
    assert (image.kind, image.file, image.predicted) == ("BASE", "web/Dockerfile.fast", "")


def test_a_changed_configuration_is_told(world: World) -> None:
    world.build(stream())
    world.write("kiro.yaml", "version: 1\n" + (world.root / "kiro.yaml").read_text())
    world.build(stream(cached=True))
    image = world.store.images()[-1].image
    assert (image.kind, image.cause, image.file) == ("CONFIG", "kiro.yaml changed", "kiro.yaml")


def test_a_clean_build_foretells_nothing(world: World) -> None:
    world.build(stream())
    world.build(stream(), clean=True)
    image = world.store.images()[-1].image
    assert (image.kind, image.predicted, image.verdict) == ("IGNORED", "", RAN)


def test_a_build_that_failed_is_remembered(world: World) -> None:
    with pytest.raises(BuildFailed):
        world.build(recorded("failing_step"), status=1)
    (build,) = world.store.builds()
    assert not build.ok
    assert build.message.startswith("web: build RUN echo compiling")
    assert "\n" not in build.message
    assert world.store.steps(build.id)
    (row,) = world.store.images()
    assert (row.image.service, row.image.cause, row.ok) == ("web", "first build", False)


def test_what_is_built_after_a_failure_is_compared_with_the_last_good_build(world: World) -> None:
    world.build(stream())
    world.write("web/src.js", "broken")
    with pytest.raises(BuildFailed):
        world.build(stream(cached=True), status=1)
    world.write("web/src.js", "1")
    world.build(stream(cached=True))
    assert [row.image.kind for row in world.store.images()] == ["", "SOURCE", "IGNORED"]


def test_an_interrupted_build_is_not_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.engine, "bake", interrupt)
    with pytest.raises(KeyboardInterrupt):
        world.build([])
    assert world.store.builds() == ()


def test_the_commands_name_comes_along(world: World) -> None:
    project = config.load(world.root, {})
    (world.root / ".kiro").mkdir()
    world.engine.bake_lines = stream()
    recipes = warm.read_recipes(project, (Profile.DEV,))
    request = Request((), (Profile.DEV,), lambda found: plan_images(found, "x"), command="watch")
    build_now(world.surface, project, world.engine, recipes, request)
    building.warm_cache((), pull=False, setup=False, dry_run=False)(world.surface)
    assert [build.command for build in world.store.builds()] == ["watch", "warm-cache"]
    with sqlite3.connect(world.store.path) as db:
        assert db.execute("SELECT DISTINCT engine, tool FROM builds").fetchall() == [
            (FACTS.address, __version__)
        ]


def test_two_profiles_of_a_service_are_told_apart(world: World) -> None:
    world.write("web/Dockerfile", DOCKERFILE.replace("npm ci", "npm ci --omit=dev"))
    world.engine.bake_lines = [
        *ran("[web-dev-final deps 2/2] RUN npm ci", "sha256:1"),
        *ran("[web-prod-final deps 2/2] RUN npm ci --omit=dev", "sha256:2", cached=True),
    ]
    building.warm_cache((), pull=False, setup=False, dry_run=False)(world.surface)
    found = {row.image.profile: row.image for row in world.store.images()}
    assert (found["prod"].verdict, found["prod"].cached, found["prod"].ran) == (CACHED, 1, 0)
    assert (found["dev"].verdict, found["dev"].cached, found["dev"].ran) == (RAN, 0, 1)


# --- what is wanted


def test_nothing_is_remembered_where_nobody_wants_it(world: World) -> None:
    world.environ["KIRO_METRICS_RECORD"] = "false"
    world.build(stream())
    assert not (world.root / ".kiro" / FILE).exists()


def test_what_is_old_is_forgotten(world: World) -> None:
    (world.root / ".kiro").mkdir()
    world.store.add([Entry(1.0, 1.0, "build")])
    world.environ["KIRO_METRICS_KEEP"] = "forever"
    world.build(stream())
    assert len(world.store.builds()) == 2
    world.environ["KIRO_METRICS_KEEP"] = "1d"
    world.build(stream())
    assert len(world.store.builds()) == 2


# --- trouble


def test_a_damaged_store_is_set_aside(world: World) -> None:
    (world.root / ".kiro").mkdir()
    (world.root / ".kiro" / FILE).write_bytes(b"no database" * 100)
    world.build(stream())
    assert len([line for line in world.lines if "begun anew" in line]) == 1
    assert len(world.store.builds()) == 1


def test_a_store_that_cannot_be_written_fails_no_build_and_is_said_once(world: World) -> None:
    (world.root / ".kiro" / FILE).mkdir(parents=True)
    world.build(stream())
    (line,) = [line for line in world.lines if "history" in line]
    assert line.startswith(f"this build is not in the history: {FILE}: ")


def test_a_failed_build_stays_the_failure_that_it_is(world: World) -> None:
    (world.root / ".kiro" / FILE).mkdir(parents=True)
    with pytest.raises(BuildFailed, match="build RUN echo compiling"):
        world.build(recorded("failing_step"), status=1)


def test_a_mistake_of_ours_fails_no_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a\nmistake")

    monkeypatch.setattr(Store, "add", broken)
    world.build(stream())
    assert "this build is not in the history: a mistake" in world.lines


def test_a_line_is_said_once() -> None:
    lines: list[str] = []
    say = once(lines.append)
    for line in ("a", "b", "a"):
        say(line)
    assert lines == ["a", "b"]


# --- prediction and verdict


WEB = Service("web", Path("/r/web"), "shop/web", "npm", None, None)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Kind.IGNORED, CACHED),
        (Kind.SOURCE, CACHED),
        (Kind.DEPENDENCY, RAN),
        (Kind.BASE, ""),
        (Kind.CONFIG, ""),
        (None, ""),
    ],
)
def test_what_is_foretold(kind: Kind | None, said: str) -> None:
    assert predicted(kind, WEB) == said
    assert predicted(kind, None) == ""
    assert predicted(kind, replace(WEB, ecosystem="other")) == "", "all of it is in doubt"
    declared = replace(WEB, ecosystem="other", dependency_inputs=(PathRule("deps", "kiro.yaml:1"),))
    assert predicted(kind, declared) == said


def step(text: str, *, cached: bool = True) -> Step:
    return Step("web", "deps", text, cached)


def test_the_verdict_is_the_engines() -> None:
    assert verdict([step("COPY a b"), step("RUN npm test", cached=False)], "npm") == ""
    assert verdict([step("RUN npm ci"), step("RUN x", cached=False)], "npm") == CACHED
    assert verdict([step("RUN npm ci"), step("RUN npm ci", cached=False)], "npm") == RAN, "a twin ran"
    assert verdict([step("RUN npm ci")], "cargo") == ""
    assert verdict([step("RUN npm ci")], "other") == CACHED


def test_a_step_that_targets_share_counts_once_and_ran_if_any_twin_did() -> None:
    steps = [
        Step("web", "base", "FROM a", cached=False),
        step("RUN a"),
        step("RUN a", cached=False),
        step("RUN b"),
        Step("web", "other", "RUN b", cached=True),
    ]
    assert counts(steps) == (2, 1)


def test_services_of_one_build_have_their_own_time() -> None:
    def image(name: str, end: float) -> ImageRecord:
        one = Step(name, "a", "RUN x", False, 1.0, 101.0, end)
        return ImageRecord(name, "i", "Dockerfile", (), "dev", (one,))

    images = (image("web", 102.0), image("api", 108.0))
    record = BuildRecord(9.0, (), images, (), 5, None, (), at=100.0)
    project = Project(Path("/r"), "shop", (WEB,), recording=Recording())
    entry = entry_of(record, project, "build", "here")
    assert [image.seconds for image in entry.images] == [2.0, 8.0]
    assert (entry.cache_layers, entry.cache_mounts) == (None, None)
    alone = replace(
        record, images=images[:1], changes=(ImageChange("web", "dev", Kind.SOURCE, "c", "p", "r"),)
    )
    assert entry_of(alone, project, "build", "here").images[0].seconds == 9.0


def test_a_base_image_that_is_here_is_no_step_that_ran(world: World) -> None:
    world.build(
        [*vertex("[final 1/2] FROM debian:13-slim", "sha256:0", started=BEGUN, completed=BEGUN), *stream()]
    )
    (build,) = world.store.builds()
    assert [step.cached for step in world.store.steps(build.id) if step.text.startswith("FROM ")] == [True]
    assert not any(row.seconds == 0.0 for row in world.store.stages())
