"""Putting a build together: recipes from a repository, what surrounds them, what is recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.builds.planner import Profile, plan_everything, plan_images
from kiro_invoke.builds.sending import CONTEXTS, mirrored
from kiro_invoke.cache import warm
from kiro_invoke.cache.made import ran_here
from kiro_invoke.cache.namespaces import clean_namespace, move, read_namespaces
from kiro_invoke.cache.remembered import LAYERS, Made, read_made, write_made
from kiro_invoke.changes.context import Rules
from kiro_invoke.changes.mirror import held, mirror_name
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import CacheRecord, Completed
from kiro_invoke.model.errors import BuildFailed, ConfigError, EngineError
from kiro_invoke.model.record import BaseRecord
from kiro_invoke.model.service import Project, Secret, Service
from tests.unit.build_fakes import SKELETON, Seen, recorded
from tests.unit.fakes import FakeEngine

BOTH = (Profile.PROD, Profile.DEV)
RUST, DEBIAN = "rust:1.95", "debian:13-slim"


def project(root: Path, *services: Service) -> Project:
    return Project(root, "shop", services)


def service(root: Path, name: str = "web", *, prod: str | None = None, dev: str | None = None) -> Service:
    """A service with these Dockerfiles on disk."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path | None] = {"Dockerfile": None, "Dockerfile.fast": None}
    for file, text in (("Dockerfile", prod), ("Dockerfile.fast", dev)):
        if text is not None:
            (folder / file).write_text(text)
            paths[file] = folder / file
    return Service(name, folder, f"shop/{name}", "other", paths["Dockerfile"], paths["Dockerfile.fast"])


# --- recipes


def test_each_profile_is_read_from_its_file(tmp_path: Path) -> None:
    web = service(tmp_path, prod="FROM a AS p\n", dev="FROM a AS d\n")
    found = warm.read_recipes(project(tmp_path, web), BOTH)
    assert [(r.tag, r.final) for r in found] == [("shop/web:prod", "p"), ("shop/web:dev", "d")]


def test_a_service_with_one_of_the_two_has_that_one(tmp_path: Path) -> None:
    shop = project(tmp_path, service(tmp_path, prod="FROM a\n"))
    assert [r.profile for r in warm.read_recipes(shop, BOTH)] == [Profile.PROD]


def test_a_service_without_the_wanted_one_is_named_with_its_folder(tmp_path: Path) -> None:
    shop = project(tmp_path, service(tmp_path, prod="FROM a\n"))
    with pytest.raises(ConfigError, match=r"^web: service web has no Dockerfile.fast\. Fix: add one"):
        warm.read_recipes(shop, (Profile.DEV,))


@pytest.mark.parametrize("text", ["", "# nothing\n", "ARG A=1\n"])
def test_a_dockerfile_without_from_is_named(tmp_path: Path, text: str) -> None:
    shop = project(tmp_path, service(tmp_path, dev=text))
    with pytest.raises(ConfigError, match=r"^web/Dockerfile.fast: has no FROM instruction\. Fix: "):
        warm.read_recipes(shop, BOTH)


@pytest.mark.parametrize("data", [b"FROM a\n\xff\xfe", b"\xff\xfeF\x00"])
def test_a_dockerfile_that_is_no_text_is_named(tmp_path: Path, data: bytes) -> None:
    web = service(tmp_path, dev="")
    (tmp_path / "web/Dockerfile.fast").write_bytes(data)
    with pytest.raises(ConfigError, match=r"^web/Dockerfile.fast: cannot be read: .* Fix: "):
        warm.read_recipes(project(tmp_path, web), BOTH)


def test_a_dockerfile_that_vanished_is_named(tmp_path: Path) -> None:
    web = service(tmp_path, dev="FROM a")
    (tmp_path / "web/Dockerfile.fast").unlink()
    with pytest.raises(ConfigError, match=r"^web/Dockerfile.fast: cannot be read: "):
        warm.read_recipes(project(tmp_path, web), BOTH)


# --- bases and what surrounds


def test_the_wanted_bases_are_what_the_files_stand_on(tmp_path: Path) -> None:
    web = service(tmp_path, prod=f"FROM {RUST}\nFROM {DEBIAN}\n", dev="ARG V=1.95\nFROM rust:$V\n")
    shop = project(tmp_path, web)
    assert warm.wanted_bases(shop, warm.read_recipes(shop, BOTH)) == (RUST, DEBIAN)


def test_build_arguments_decide_about_bases(tmp_path: Path) -> None:
    shop = project(tmp_path, service(tmp_path, dev="ARG V=1\nFROM rust:$V\n"))
    shop = replace(shop, build_args=(("V", "2"),))
    assert warm.wanted_bases(shop, warm.read_recipes(shop, BOTH)) == ("rust:2",)


def test_a_replaced_base_is_wanted_in_place_of_the_official_one(tmp_path: Path) -> None:
    web = service(tmp_path, dev=f"FROM {RUST}\nFROM {DEBIAN}\n")
    shop = replace(project(tmp_path, web), base_images=((RUST, "mirror/rust:1"), ("unused", "x")))
    recipes = warm.read_recipes(shop, BOTH)
    assert warm.wanted_bases(shop, recipes) == ("mirror/rust:1", DEBIAN)


@pytest.mark.parametrize(
    ("replaced", "bases", "contexts"),
    [
        ((), [Base(RUST, BaseStatus.PRESENT, RUST)], {}),
        ((), [], {}),
        (
            (),
            [Base(RUST, BaseStatus.STANDIN, "kiro-standin/rust:1.95")],
            {RUST: "docker-image://kiro-standin/rust:1.95"},
        ),
        (
            ((RUST, "mirror/rust:1"),),
            [Base("mirror/rust:1", BaseStatus.PULLED, "mirror/rust:1")],
            {RUST: "docker-image://mirror/rust:1"},
        ),
        (
            ((RUST, "node:24"),),
            [Base("node:24", BaseStatus.STANDIN, "kiro-standin/node:24")],
            {RUST: "docker-image://kiro-standin/node:24"},
        ),
        (((RUST, "mirror/rust:1"),), [], {RUST: "docker-image://mirror/rust:1"}),
    ],
)
def test_named_contexts_lead_to_the_images_that_are_here(
    tmp_path: Path, replaced: tuple[tuple[str, str], ...], bases: list[Base], contexts: dict[str, str]
) -> None:
    shop = replace(project(tmp_path, service(tmp_path, dev=f"FROM {RUST}\n")), base_images=replaced)
    assert warm.surroundings(shop, warm.read_recipes(shop, BOTH), bases).contexts == contexts


def test_secrets_agents_and_arguments_go_along(tmp_path: Path) -> None:
    shop = replace(
        project(tmp_path, service(tmp_path, dev="FROM a\n")),
        ca_bundle=Path("/etc/ca.pem"),
        secrets=(Secret("key", "env:KEY"),),
        ssh=("default",),
        build_args=(("A", "1"),),
    )
    around = warm.surroundings(shop, warm.read_recipes(shop, BOTH), ())
    assert around.secrets == (Secret("ca_bundle", "file:/etc/ca.pem"), Secret("key", "env:KEY"))
    assert (around.project, around.ssh, around.build_args) == ("shop", ("default",), {"A": "1"})


def test_without_certificates_there_is_no_secret_for_them(tmp_path: Path) -> None:
    shop = project(tmp_path, service(tmp_path, dev="FROM a\n"))
    assert warm.surroundings(shop, warm.read_recipes(shop, BOTH), ()).secrets == ()


# --- the syntax line


def test_syntax_images_are_found_once_each(tmp_path: Path) -> None:
    text = "# syntax=docker/dockerfile:1\nFROM a\n"
    shop = project(tmp_path, service(tmp_path, prod=text, dev=text), service(tmp_path, "api", dev="FROM a"))
    assert warm.syntax_images(warm.read_recipes(shop, BOTH)) == ("docker/dockerfile:1",)


@pytest.mark.parametrize(
    ("offline", "gone"), [(frozenset({"docker/dockerfile:1"}), True), (frozenset(), False)]
)
def test_a_syntax_image_that_cannot_be_had_is_done_without(
    tmp_path: Path, offline: frozenset[str], gone: bool
) -> None:
    web = service(tmp_path, prod="FROM b\n", dev="# syntax=docker/dockerfile:1\nFROM a\nRUN x\n")
    shop = project(tmp_path, web)
    recipes = warm.read_recipes(shop, BOTH)
    prepared = warm.prepare(shop, recipes, lambda r: plan_images(r, "x"), (), offline_syntax=offline)
    targets = json.loads(prepared.definition)["target"]
    assert targets["web-prod-0"]["dockerfile"] == str(tmp_path / "web/Dockerfile")
    dev = targets["web-dev-0"]
    assert dev.get("dockerfile-inline") == ("#\nFROM a\nRUN x\n" if gone else None)
    assert ("dockerfile" in dev) is not gone


# --- the whole build


def test_a_build_records_what_the_engine_did(tmp_path: Path) -> None:
    printf = 'RUN printf "one\\ntwo\\r\\nhalf" && sleep 0.3'
    text = f"FROM debian:13-slim AS base\n{printf}\nFROM base AS final\nCOPY . /src\n"
    shop = project(tmp_path, service(tmp_path, dev=text))
    engine, seen = FakeEngine(), Seen()
    engine.bake_lines = recorded("success")
    engine.records = [
        CacheRecord("a", "regular", "", size=1234),
        CacheRecord("b", "regular", "", shared=True, size=9),
    ]
    bases = (Base(DEBIAN, BaseStatus.STANDIN, "kiro-standin/debian:13-slim", "Debian 13"),)
    recipes = warm.read_recipes(shop, BOTH)
    prepared = warm.prepare(shop, recipes, lambda r: plan_everything(r, "warm"), bases)
    record = warm.run(prepared, shop, engine, seen, clock=iter((1.0, 3.5)).__next__)
    assert record.seconds == 2.5
    assert record.base_images == (BaseRecord(DEBIAN, "stand-in", "Debian 13"),)
    assert record.cache_bytes == 1234
    (image,) = record.images
    assert [(stage.name, stage.cached) for stage in image.stages] == [("base", False), ("final", False)]
    assert record.began == min(step.started for step in record.steps if not step.cached)
    assert list((tmp_path / ".kiro/logs").iterdir())
    assert seen.printed == ["one", "two", "half", "done"]


class Weighed(FakeEngine):
    """Its cache weighs more after each bake; `weighed` counts how often it was asked."""

    weighed = 0

    def bake(self, definition: str, **how: Any) -> Completed:
        done = super().bake(definition, **how)
        self.records = [*self.records, CacheRecord(str(len(self.baked)), "regular", "", size=1000)]
        return done

    def cache_records(self) -> tuple[CacheRecord, ...]:
        self.weighed += 1
        return super().cache_records()


def test_the_cache_is_read_only_after_a_build_that_ran_something(tmp_path: Path) -> None:
    """Reading it takes some engines longer than such a build."""
    shop = project(tmp_path, service(tmp_path, dev="FROM a AS base\nRUN x\n"))
    engine = Weighed()
    prepared = warm.prepare(shop, warm.read_recipes(shop, BOTH), lambda r: plan_images(r, "x"), ())
    seen = []
    for stream in ("cached", "cached", "success", "cached"):
        engine.bake_lines = recorded(stream)
        record = warm.run(prepared, shop, engine, Seen())
        seen.append((record.cache_bytes, engine.weighed))
    assert seen == [(1000, 1), (1000, 1), (3000, 2), (3000, 2)]


def test_an_engine_that_cannot_weigh_its_cache_is_said(tmp_path: Path) -> None:
    class Broken(FakeEngine):
        def cache_records(self) -> tuple[CacheRecord, ...]:
            raise EngineError("the engine refused: no")

    shop = project(tmp_path, service(tmp_path, dev="FROM a AS base\nRUN x\n"))
    engine = Broken()
    engine.bake_lines = recorded("cached")
    prepared = warm.prepare(shop, warm.read_recipes(shop, BOTH), lambda r: plan_images(r, "x"), ())
    with pytest.raises(EngineError, match="the engine refused"):
        warm.run(prepared, shop, engine, Seen())


def test_a_failed_build_records_nothing(tmp_path: Path) -> None:
    shop = project(tmp_path, service(tmp_path, dev="FROM a AS build\n"))
    engine = FakeEngine()
    engine.bake_lines, engine.bake_status = recorded("failing_step"), 1
    prepared = warm.prepare(shop, warm.read_recipes(shop, BOTH), lambda r: plan_images(r, "x"), ())
    with pytest.raises(BuildFailed, match=r"^web/Dockerfile.fast:5: web: build RUN"):
        warm.run(prepared, shop, engine, Seen())


def test_what_a_failed_build_ran_is_not_forgotten(tmp_path: Path) -> None:
    """Its steps that succeeded left layers, which nobody would know for ours."""
    shop = project(tmp_path, service(tmp_path, dev="FROM a AS build\n"))
    engine = FakeEngine()
    engine.bake_lines, engine.bake_status = recorded("failing_step"), 1
    write_made(shop.state / LAYERS, Made(engine=engine.facts.address))
    prepared = warm.prepare(shop, warm.read_recipes(shop, BOTH), lambda r: plan_images(r, "x"), ())
    with pytest.raises(BuildFailed) as failed:
        warm.run(prepared, shop, engine, Seen())
    (noted,) = read_made(shop.state / LAYERS).reckoned
    assert failed.value.attempt is not None
    assert noted.steps == tuple(filter(ran_here, failed.value.attempt.steps)) != ()


# --- what changes before the mirror's lock is held


def waited_for(shop: Project, *meanwhile: Callable[[], object], offline: frozenset[str] = frozenset()) -> str:
    """Read the recipes, let something happen, and build; the error it ends with."""
    engine = FakeEngine()
    engine.bake_lines = recorded("cached")
    recipes = warm.read_recipes(shop, BOTH)
    prepared = warm.prepare(shop, recipes, lambda r: plan_images(r, "x"), (), offline_syntax=offline)
    for act in meanwhile:
        act()
    with pytest.raises(ConfigError) as refused:
        warm.run(prepared, shop, engine, Seen())
    assert not engine.baked
    return str(refused.value)


@pytest.mark.parametrize("syntax", ["", "# syntax=docker/dockerfile:1\n"])
@pytest.mark.parametrize("text", ["FROM b\n", "FROM a\nRUN x\n", "\xff", None])
def test_a_dockerfile_that_changed_since_it_was_read_is_not_built(
    tmp_path: Path, syntax: str, text: str | None
) -> None:
    """The plan and the bases are those of what was read."""
    shop = project(tmp_path, service(tmp_path, dev=f"{syntax}FROM a\n"))
    file = tmp_path / "web/Dockerfile.fast"
    (tmp_path / "web/.dockerignore").write_text("*")

    def change() -> None:
        file.unlink()
        if text is not None:
            file.write_text(syntax + text, encoding="latin-1")

    told = waited_for(shop, change, offline=frozenset({"docker/dockerfile:1"}))
    if text is None and not syntax:
        assert "the Dockerfile cannot be read" in told
    else:
        assert told == "web/Dockerfile.fast: changed since it was read. Fix: build again"


def test_a_dockerfile_whose_text_means_the_same_is_built(tmp_path: Path) -> None:
    shop = project(tmp_path, service(tmp_path, dev="FROM a\n"))
    (tmp_path / "web/Dockerfile.fast").write_bytes(b"FROM a\r\n# no instruction\r\n")
    engine = FakeEngine()
    engine.bake_lines = recorded("cached")
    prepared = warm.prepare(shop, warm.read_recipes(shop, BOTH), lambda r: plan_images(r, "x"), ())
    (tmp_path / "web/Dockerfile.fast").write_bytes(b"FROM a\r\n# another\r\n")
    warm.run(prepared, shop, engine, Seen())
    assert engine.baked


@pytest.mark.parametrize("file", ["Dockerfile", "Dockerfile.fast"])
def test_an_ignore_file_that_came_for_either_dockerfile_is_noticed(tmp_path: Path, file: str) -> None:
    shop = project(tmp_path, service(tmp_path, prod="FROM a\n", dev="FROM a\n"))
    recipes = warm.read_recipes(shop, BOTH)
    name = mirror_name(shop.root, "web", Rules())
    other = ExitStack()
    other.enter_context(held(shop.state / CONTEXTS, name, pytest.fail))

    def waiting(_service: str) -> None:
        (tmp_path / f"web/{file}.dockerignore").write_text("secret")
        other.close()

    with pytest.raises(ConfigError) as refused, mirrored(recipes, shop, waiting=waiting):
        pass
    told = f"web/{file}: its ignore file came or went since it was read. Fix: build again"
    assert str(refused.value) == told


def test_after_a_wait_the_base_images_are_made_available_again(tmp_path: Path) -> None:
    """What was waited for may have been a cleaning, which takes them too."""
    shop = project(tmp_path, service(tmp_path, dev="FROM a\n"))
    recipes = warm.read_recipes(shop, BOTH)
    prepared = warm.prepare(shop, recipes, lambda r: plan_images(r, "x"), ())
    name = mirror_name(shop.root, "web", Rules())
    asked: list[str] = []
    for waits in (False, True):
        engine, other = FakeEngine(), ExitStack()
        engine.bake_lines = recorded("cached")
        if waits:
            other.enter_context(held(shop.state / CONTEXTS, name, pytest.fail))
        with suppress(BuildFailed):
            warm.run(
                prepared, shop, engine, Seen(), say=lambda _line, other=other: other.close(),  # type: ignore[misc]
                bases_again=lambda engine=engine: asked.append(f"{len(engine.baked)} built"),  # type: ignore[misc]
            )  # fmt: skip
        assert asked == ["0 built"] * waits
        assert engine.baked


@pytest.mark.parametrize(("how", "expected"), [("usual", "r2"), ("tried", "r1"), ("clean", "clean")])
def test_after_a_wait_services_are_built_in_the_namespace_that_they_moved_to(
    tmp_path: Path, how: str, expected: str
) -> None:
    """What was waited for may have found a mount damaged, or made all anew. A build that tries one stays in that."""
    shop = project(tmp_path, service(tmp_path, dev="FROM a\n"))
    begin = read_namespaces(shop)
    names = {"r1": begin.next(1), "r2": begin.next(2), "clean": clean_namespace(shop.checkout, 3)}
    prepared = warm.prepare(shop, warm.read_recipes(shop, BOTH), lambda r: plan_images(r, "x"), ())
    if how == "tried":
        prepared = prepared.moved(("web",), names["r1"])
    elif how == "clean":
        prepared = prepared.in_namespace(names["clean"])
    other, engine = ExitStack(), FakeEngine()
    engine.bake_lines = recorded("cached")
    other.enter_context(held(shop.state / CONTEXTS, mirror_name(shop.root, "web", Rules()), pytest.fail))

    def meanwhile(_line: str) -> None:
        move(shop, ("web",), names["r2"])
        other.close()

    with suppress(BuildFailed):
        warm.run(prepared, shop, engine, Seen(), say=meanwhile)
    (target,) = json.loads(engine.baked[0])["target"].values()
    assert target["args"]["BUILDKIT_CACHE_MOUNT_NS"] == names[expected]


PLANNED = f"{SKELETON}FROM a AS planner\nRUN --mount=type=bind,from=kiro-skeleton x\nFROM planner\n"


def test_a_skeleton_is_kept_for_a_dockerfile_that_has_its_stage_and_for_no_other(tmp_path: Path) -> None:
    shop = project(
        tmp_path, service(tmp_path, prod="FROM a\n", dev=PLANNED), service(tmp_path, "api", dev="FROM a\n")
    )
    with mirrored(warm.read_recipes(shop, BOTH), shop, waiting=pytest.fail) as sending:
        folders = {(name, path.name): sent.skeleton for (name, path), sent in sending.items()}
        context = sending["web", tmp_path / "web/Dockerfile.fast"].context
    skeleton = context.with_name(f"{context.name}-skeleton")
    assert folders == {
        ("web", "Dockerfile"): None,
        ("web", "Dockerfile.fast"): skeleton,
        ("api", "Dockerfile.fast"): None,
    }
    assert sorted(path.name for path in (skeleton / "skeleton").iterdir()) == [
        "Dockerfile",
        "Dockerfile.fast",
    ]
    assert list((shop.state / CONTEXTS).glob("*-skeleton")) == [skeleton]


@pytest.mark.parametrize("everything", [False, True])
def test_only_a_build_of_everything_runs_the_skeletons_stage(tmp_path: Path, everything: bool) -> None:
    shop = project(tmp_path, service(tmp_path, dev=PLANNED))
    engine = FakeEngine()
    engine.bake_lines = recorded("cached")
    planning = plan_everything if everything else plan_images
    prepared = warm.prepare(shop, warm.read_recipes(shop, (Profile.DEV,)), lambda r: planning(r, "x"), ())
    warm.run(prepared, shop, engine, Seen())
    (baked,) = engine.baked
    targets = json.loads(baked)["target"]
    given = [target.get("contexts", {}).keys() for target in targets.values()]
    assert given == ([set(), set()] if everything else [{"kiro-skeleton"}])


@pytest.mark.parametrize(("edits", "rests"), [(1, True), (9, True), (99, False)])
def test_ignore_rules_that_change_during_the_refresh_are_applied(
    tmp_path: Path, edits: int, rests: bool
) -> None:
    shop = project(tmp_path, service(tmp_path, dev="FROM a\n"))
    recipes, left = warm.read_recipes(shop, BOTH), [edits]

    def now() -> int:
        if left[0]:
            left[0] -= 1
            (tmp_path / "web/.dockerignore").write_text("*\n" * left[0] + "!Dockerfile.fast\n")
        return time.time_ns()

    with ExitStack() as stack:
        if rests:
            (sent,) = stack.enter_context(mirrored(recipes, shop, waiting=pytest.fail, now=now)).values()
            assert sorted(path.name for path in sent.context.iterdir()) == [
                ".dockerignore",
                "Dockerfile.fast",
            ]
        else:
            with pytest.raises(ConfigError, match="the ignore rules keep changing"):
                stack.enter_context(mirrored(recipes, shop, waiting=pytest.fail, now=now))
