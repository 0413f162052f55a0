"""A build whose cache mount is damaged: it is done once more, in a new namespace, and never a third time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke import config
from kiro_invoke.builds.executor import Stopped
from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.cache import warm
from kiro_invoke.cache.namespaces import NAMESPACES, clean_namespace, read_namespaces
from kiro_invoke.commands import building, one_build, opening
from kiro_invoke.commands.request import Request
from kiro_invoke.commands.surface import Answer
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.protocol import CacheRecord, Completed, ImageFacts
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.model.service import Project
from tests.unit.build_fakes import log, ran, vertex
from tests.unit.fakes import FakeEngine
from tests.unit.test_commands import DEBIAN, World

TORN = "error[E0786]: found invalid metadata files for crate `low`"
HALF = "error: failed to verify the checksum of `itoa v1.0.19`"
DOCKERFILE = """\
FROM debian:13-slim AS tool
RUN --mount=type=cache,id=tool-cache,target=/tool make tool
FROM debian:13-slim AS deps
COPY manifest /
RUN --mount=type=cache,id=shop-registry,target=/cargo/registry --mount=type=cache,id=web-deps,target=/deps make deps
FROM debian:13-slim AS apart
RUN make apart
FROM deps AS final
COPY --from=tool /tool /tool
COPY --from=apart /apart /apart
RUN --mount=type=cache,id=web-target,target=/app/target make app
"""


class Scripted(FakeEngine):
    """An engine whose builds end one after the other as it was told.

    Of each the lines that a step of `stage` printed before it failed, or None of one that succeeds. A mount of every
    namespace that it is asked for is there afterwards.
    """

    def __init__(self, *builds: Sequence[str] | None, stage: str = "final") -> None:
        super().__init__(DEBIAN)
        self.builds = list(builds)
        self.stage = stage
        self.before_second: Callable[[], None] = lambda: None

    @property
    def targets(self) -> list[Mapping[str, Any]]:
        return [json.loads(text)["target"] for text in self.baked]

    def bake(self, definition: str, *, on_line: Callable[[str], None], **how: Any) -> Completed:
        printed = self.builds.pop(0)
        targets = json.loads(definition)["target"]
        name = next(iter(targets))
        place = f"{name} {self.stage}" if len(targets) > 1 else self.stage
        tool = f"{name} tool" if len(targets) > 1 else "tool"
        lines = ran(f"[{tool} 1/1] RUN make tool", "sha256:0", cached=False)
        if printed is not None:
            lines += vertex(f"[{place} 2/2] RUN make", started="2026-01-02T03:04:05Z")
            lines += [line for one in printed for line in log(f"{one}\n".encode())]
            lines += ran(f"[{place} 2/2] RUN make", error="exit code: 1")
        self.bake_lines, self.bake_status = lines, 0 if printed is None else 1
        for target in targets.values():
            self.have_mounts(target["args"]["BUILDKIT_CACHE_MOUNT_NS"], "web-target", "shop-registry")
        try:
            return super().bake(definition, on_line=on_line, **how)
        finally:
            self.before_second()

    def have_mounts(self, namespace: str, *ids: str) -> None:
        for id in ids:
            said = f'cached mount /x from exec make with id "{namespace}/{id}"'
            record = CacheRecord(f"{namespace}/{id}", "exec.cachemount", said)
            if record not in self.records:
                self.records = [*self.records, record]

    @property
    def mounts(self) -> set[str]:
        return {record.id for record in self.records}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    made.write("web/Dockerfile.fast", DOCKERFILE)
    made.write("web/manifest", "1")
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    return made


def build(world: World, engine: FakeEngine, *services: str, **options: Any) -> Answer:
    world.engine = engine
    wanted = {"prod": False, "clean": False, "show_definition": False, "dry_run": False, **options}
    return building.build(services, **wanted)(world.surface)


def project(world: World) -> Project:
    return config.load(world.root, {})


def namespaces(engine: Scripted) -> list[str]:
    return [next(iter(targets.values()))["args"]["BUILDKIT_CACHE_MOUNT_NS"] for targets in engine.targets]


def test_a_damaged_mount_is_said_and_the_build_done_once_more_in_a_new_namespace(world: World) -> None:
    engine = Scripted([TORN], None)
    build(world, engine)
    own = project(world).checkout
    first, second = namespaces(engine)
    assert first == own
    assert second == read_namespaces(project(world)).of("web") != own
    (line,) = [line for line in world.said.splitlines() if "once more" in line]
    assert line.endswith(
        "web: the cache mount web-target is damaged (error[E0786]: found invalid metadata files for crate `low`): "
        "building once more in a new namespace"
    )
    assert engine.mounts == {f"{second}/web-target", f"{second}/shop-registry"}


def test_what_a_mount_may_have_spoiled_runs_anew_and_nothing_else(world: World) -> None:
    """The tool ran in the first attempt and read a mount; `apart` has none."""
    engine = Scripted([TORN], None)
    build(world, engine)
    first, second = (next(iter(targets.values())) for targets in engine.targets)
    assert "no-cache-filter" not in first
    assert second["no-cache-filter"] == ["tool", "deps", "final"]
    assert (first["tags"], first["target"]) == (second["tags"], second["target"])


def test_the_next_build_uses_the_new_namespace_and_its_cache(world: World) -> None:
    build(world, Scripted([TORN], None))
    engine = Scripted(None)
    build(world, engine)
    assert namespaces(engine) == [read_namespaces(project(world)).of("web")]
    assert "no-cache-filter" not in next(iter(engine.targets[0].values()))
    assert "once more" not in world.said.splitlines()[-1:]


def test_where_the_second_fails_too_nothing_is_remembered_and_there_is_no_third(world: World) -> None:
    engine = Scripted([TORN], [TORN, "error: another"])
    with pytest.raises(BuildFailed) as caught:
        build(world, engine)
    assert caught.value.tail[-1] == "error: another"
    own = project(world).checkout
    assert len(engine.baked) == 2
    assert engine.mounts == {f"{own}/web-target", f"{own}/shop-registry"}
    assert not (project(world).state / NAMESPACES).exists()


@pytest.mark.parametrize(
    "printed",
    [
        ["error[E0308]: mismatched types"],
        [TORN, "error: No space left on device (os error 28)"],
        [],
    ],
    ids=["ordinary", "full", "silent"],
)
def test_other_failures_are_not_tried_again(world: World, printed: list[str]) -> None:
    engine = Scripted(printed)
    with pytest.raises(BuildFailed):
        build(world, engine)
    assert len(engine.baked) == 1


def test_a_stage_without_any_mount_below_it_cannot_have_read_one(world: World) -> None:
    engine = Scripted([TORN], stage="apart")
    with pytest.raises(BuildFailed):
        build(world, engine)
    assert len(engine.baked) == 1


def test_a_clean_build_has_mounts_that_held_nothing(world: World) -> None:
    engine = Scripted([TORN])
    with pytest.raises(BuildFailed):
        build(world, engine, clean=True)
    assert len(engine.baked) == 1
    assert namespaces(engine)[0].startswith(clean_namespace(project(world).checkout, 0)[:-16])
    assert engine.mounts == set()


def test_a_loop_can_stop_it_between_the_attempts(world: World) -> None:
    engine, brake = Scripted([TORN], None), Brake()
    world.engine = engine
    whole = project(world)
    request = Request((), (Profile.DEV,), lambda found: plan_images(found, "x"))

    recipes = warm.read_recipes(whole, (Profile.DEV,))
    engine.before_second = brake.pull
    with pytest.raises(Stopped):
        one_build.build_now(world.surface, whole, engine, recipes, request, brake=brake)
    assert len(engine.baked) == 1
    assert not (whole.state / NAMESPACES).exists()


def test_both_attempts_are_in_the_history(world: World) -> None:
    build(world, Scripted([TORN], None))
    with sqlite3.connect(project(world).state / "metrics.sqlite") as store:
        builds = store.execute("SELECT ok FROM builds ORDER BY began, rowid").fetchall()
        causes = store.execute("SELECT cause FROM images").fetchall()
    store.close()
    assert [bool(ok) for (ok,) in builds] == [False, True]
    assert any("web-target is damaged" in cause for (cause,) in causes)


def test_a_mount_that_another_service_uses_stays(world: World) -> None:
    other = "FROM debian:13-slim AS only\nRUN --mount=type=cache,id=shop-registry,target=/r make\n"
    world.write("api/Dockerfile.fast", other)
    world.write("kiro.yaml", "project: shop\nservices:\n  - name: web\n  - name: api\n")
    engine = Scripted([TORN], None)
    build(world, engine, "web")
    own, new = project(world).checkout, read_namespaces(project(world)).of("web")
    assert engine.mounts == {f"{own}/shop-registry", f"{new}/web-target", f"{new}/shop-registry"}
    assert read_namespaces(project(world)).of("api") == own


def test_nothing_goes_where_it_is_not_known_what_others_use(world: World) -> None:
    world.write("api/Dockerfile.fast", "no dockerfile at all\n")
    world.write("kiro.yaml", "project: shop\nservices:\n  - name: web\n  - name: api\n")
    engine = Scripted([TORN], None)
    build(world, engine, "web")
    assert f"{project(world).checkout}/web-target" in engine.mounts


def test_only_the_service_whose_step_failed_moves(world: World) -> None:
    world.write("api/Dockerfile.fast", DOCKERFILE.replace("web-", "api-"))
    world.write("api/manifest", "1")
    world.write("kiro.yaml", "project: shop\nservices:\n  - name: web\n  - name: api\n")
    engine = Scripted([HALF], None)
    build(world, engine)
    by_service = {name.partition("-")[0]: target for name, target in engine.targets[1].items()}
    own = project(world).checkout
    assert by_service["web"]["args"]["BUILDKIT_CACHE_MOUNT_NS"] != own
    assert by_service["api"]["args"]["BUILDKIT_CACHE_MOUNT_NS"] == own
    assert "no-cache-filter" not in by_service["api"]
    assert "the cache mount shop-registry is damaged" in world.said


# --- a build that succeeded, and lies


class Lying(Scripted):
    """Its first image holds a program that is not whole, its second one what it should."""

    def bake(self, definition: str, **how: Any) -> Completed:
        done = super().bake(definition, **how)
        made = self.images["shop/web:dev"]
        labels = {**made.labels, "dev.kiro.proof": "/app"}
        id = f"sha256:{len(self.baked)}"
        self.images["shop/web:dev"] = ImageFacts(id, labels, 1)
        whole = made.labels["dev.kiro.revision"].encode()
        self.files[id, "/app"] = b"" if len(self.baked) == 1 else whole
        return done


def test_an_image_whose_program_is_torn_is_built_once_more(world: World) -> None:
    engine = Lying(None, None)
    build(world, engine)
    assert len(engine.baked) == 2
    assert "a cache mount is damaged (the file /app in the image shop/web:dev is not whole)" in world.said
    assert next(iter(engine.targets[1].values()))["no-cache-filter"] == ["deps", "final"]
    assert read_namespaces(project(world)).of("web") != project(world).checkout


def test_a_file_that_the_dockerfile_names_in_vain_is_no_damage(world: World) -> None:
    class Missing(Lying):
        def image_file(self, ref: str, path: str, until: bytes = b"") -> bytes | None:
            return None

    engine = Missing(None)
    with pytest.raises(BuildFailed, match="has no regular file /app"):
        build(world, engine)
    assert len(engine.baked) == 1
