"""`refresh-cache`: new mounts first, and what they replace only when all is built and proven."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.cache import warm
from kiro_invoke.cache.namespaces import NAMESPACES, clean_namespace, read_namespaces
from kiro_invoke.cache.proving import read_proven
from kiro_invoke.commands import opening, refreshing
from kiro_invoke.commands.surface import Answer
from kiro_invoke.engine.protocol import Completed, ImageFacts, LocalImage
from kiro_invoke.model.errors import BuildFailed, UsageError
from kiro_invoke.model.service import Project
from tests.unit.fakes import FakeEngine
from tests.unit.test_commands import World, whole
from tests.unit.test_retrying import DOCKERFILE, Scripted, build, namespaces, project

OLD = "sha256:shop/web:dev"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    made.write("web/Dockerfile.fast", DOCKERFILE)
    made.write("web/manifest", "1")
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    return made


def refresh(world: World, engine: FakeEngine, *services: str, dry_run: bool = False) -> Answer:
    world.engine = engine
    return refreshing.refresh_cache(services, dry_run=dry_run)(world.surface)


class Renewing(Scripted):
    """An engine in which each build makes another image, and the one before loses its name."""

    def bake(self, definition: str, **how: Any) -> Completed:
        before = dict(self.images)
        done = super().bake(definition, **how)
        for name, image in list(self.images.items()):
            if image is not before.get(name):
                self.images[name] = replace(image, id=f"{image.id}@{len(self.baked)}")
                self.images[self.images[name].id] = self.images[name]
        return done


class HalfWay(Renewing):
    """One image is made, under its name; then the build fails."""

    only_fails = False

    def bake(self, definition: str, **how: Any) -> Completed:
        done = super().bake(definition, **how)
        if self.bake_status and not self.only_fails:
            labels = next(iter(self.targets[-1].values()))["labels"]
            self.images["shop/web:dev"] = ImageFacts("sha256:half", labels, 1)
        return done


def test_everything_is_built_anew_in_a_new_namespace_and_the_old_one_goes(world: World) -> None:
    engine = Scripted(None, None)
    build(world, engine)
    answer = whole("refresh-cache", refresh(world, engine))
    own = project(world).checkout
    first, second = namespaces(engine)
    assert first == own
    assert second == read_namespaces(project(world)).of("web") == answer["namespaces"]["web"] != own
    assert next(iter(engine.targets[1].values()))["no-cache-filter"] == ["tool", "deps", "final"]
    assert engine.mounts == {f"{second}/web-target", f"{second}/shop-registry"}
    assert answer["freed_bytes"] == 0


def test_a_refresh_after_another_leaves_one_namespace(world: World) -> None:
    engine = Scripted(None, None, None)
    build(world, engine)
    refresh(world, engine)
    refresh(world, engine)
    now = read_namespaces(project(world)).of("web")
    assert len({*namespaces(engine)}) == 3
    assert engine.mounts == {f"{now}/web-target", f"{now}/shop-registry"}


def test_a_refresh_that_fails_leaves_all_as_it_was(world: World) -> None:
    engine = HalfWay(None, ["error: no"])
    build(world, engine)
    mounts, image = engine.mounts, engine.images["shop/web:dev"]
    with pytest.raises(BuildFailed):
        refresh(world, engine)
    assert engine.mounts == mounts
    assert engine.images["shop/web:dev"] == image
    assert not (project(world).state / NAMESPACES).exists()
    assert len(engine.baked) == 2


def test_a_damaged_mount_is_nothing_that_a_new_one_can_be(world: World) -> None:
    engine = Scripted(["error[E0786]: found invalid metadata files for crate `low`"])
    with pytest.raises(BuildFailed):
        refresh(world, engine)
    assert len(engine.baked) == 1


def test_an_image_that_is_not_proven_has_no_name_afterwards(world: World) -> None:
    class Lying(HalfWay):
        def bake(self, definition: str, **how: Any) -> Completed:
            done = super().bake(definition, **how)
            if len(self.baked) == 2:
                made = self.images["shop/web:dev"]
                other = {**made.labels, "dev.kiro.revision": "another"}
                self.images["shop/web:dev"] = replace(made, labels=other)
            return done

    engine = Lying(None, None)
    build(world, engine)
    image = engine.images["shop/web:dev"]
    with pytest.raises(BuildFailed, match="is not built from the sources that were sent"):
        refresh(world, engine)
    assert engine.images["shop/web:dev"] == image


def test_a_name_that_no_image_had_is_taken_away_again(world: World) -> None:
    engine = HalfWay(["error: no"])
    with pytest.raises(BuildFailed):
        refresh(world, engine)
    assert engine.untagged == ["shop/web:dev"]


def test_a_build_that_was_waited_for_keeps_its_image(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it proved is newer than what had the name when the refresh began."""
    engine = HalfWay(None, None, ["error: no"])
    build(world, engine)
    run = warm.run

    def after_another(*args: Any, **how: Any) -> Any:
        monkeypatch.setattr(warm, "run", run)
        world.write("web/manifest", "2")
        build(world, engine)
        engine.only_fails = True
        return run(*args, **how)

    monkeypatch.setattr(warm, "run", after_another)
    with pytest.raises(BuildFailed):
        refresh(world, engine)
    assert read_proven(project(world).state).images["shop/web:dev"].id == engine.images["shop/web:dev"].id
    assert engine.images["shop/web:dev"].id.endswith("@2")


def test_a_name_that_another_checkout_took_meanwhile_is_theirs(tmp_path: Path) -> None:
    engine = FakeEngine({"a:dev": ImageFacts("sha256:theirs", {"dev.kiro.checkout": "other"}, 1)})
    ours = Project(tmp_path, "ours", ())
    refreshing.put_back(engine, {"a:dev": None, "b:dev": None}, ours, lambda _text: None)
    assert engine.images["a:dev"].id == "sha256:theirs"


def test_only_the_chosen_services_move(world: World) -> None:
    world.write("api/Dockerfile.fast", DOCKERFILE.replace("web-", "api-"))
    world.write("api/manifest", "1")
    world.write("kiro.yaml", "project: shop\nservices:\n  - name: web\n  - name: api\n")
    engine = Scripted(None)
    own = project(world).checkout
    engine.have_mounts(own, "web-target", "api-target", "shop-registry")
    refresh(world, engine, "web")
    found = read_namespaces(project(world))
    assert (found.of("api"), found.of("web") == own) == (own, False)
    left = {mount for mount in engine.mounts if mount.startswith(f"{own}/")}
    assert left == {f"{own}/api-target", f"{own}/shop-registry"}


def test_images_without_a_name_go_but_for_those_that_are_used_or_somebody_elses(world: World) -> None:
    engine = Scripted(None, None)
    build(world, engine)
    labels = {"project": "shop", "service": "web", "checkout": project(world).checkout}
    own = {f"dev.kiro.{key}": value for key, value in labels.items()}
    image = LocalImage(OLD, (), own, 1)
    engine.local_images = [image, replace(image, id="committed")]
    refresh(world, engine)
    assert [one.id for one in engine.local_images] == ["committed"]


def test_a_dry_run_says_what_runs_anew_and_asks_no_engine(world: World) -> None:
    engine = Scripted()
    answer = refresh(world, engine, dry_run=True)
    value = whole("refresh-cache", answer)
    assert value["anew"] == [{"dockerfile": "web/Dockerfile.fast", "stages": ["tool", "deps", "final"]}]
    assert world.shown(answer)[-1] == "anew   web/Dockerfile.fast: tool, deps, final"
    assert engine.baked == []
    assert not project(world).state.exists()


def test_a_service_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(UsageError, match='"wbe"'):
        refresh(world, Scripted(), "wbe")


def test_it_is_in_the_history_and_foretells_nothing(world: World) -> None:
    refresh(world, Scripted(None))
    with sqlite3.connect(project(world).state / "metrics.sqlite") as store:
        rows = store.execute("SELECT command, ok FROM builds").fetchall()
        foretold = store.execute("SELECT predicted FROM images").fetchall()
    store.close()
    assert [(command, bool(ok)) for command, ok in rows] == [("refresh-cache", True)]
    assert {value for (value,) in foretold} == {""}


def test_what_a_refresh_left_that_was_cut_short_goes_with_the_next(world: World) -> None:
    engine = Scripted(None)
    older = read_namespaces(project(world)).next(1)
    engine.have_mounts(older, "web-target")
    engine.have_mounts(older.replace(project(world).checkout, "other-0123456789"), "web-target")
    refresh(world, engine)
    assert f"{older}/web-target" not in engine.mounts
    assert any(mount.startswith("other-") for mount in engine.mounts)


def test_the_mounts_of_a_build_that_still_runs_in_a_namespace_of_its_own_stay(world: World) -> None:
    """A clean build of another service, or one that tries a new namespace: between two steps it uses none of them."""
    engine = Scripted(None)
    tried = clean_namespace(project(world).checkout, 1)
    engine.have_mounts(tried, "api-target")
    engine.records = [replace(record, created=time.time() - 60) for record in engine.records]
    refresh(world, engine)
    assert f"{tried}/api-target" in engine.mounts
