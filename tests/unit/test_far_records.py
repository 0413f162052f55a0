"""A builder's cache is its own affair: what is known of this machine's stays as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_PROJECT, LABEL_SERVICE
from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.cache import warm
from kiro_invoke.cache.proving import PROVEN
from kiro_invoke.cache.remembered import LAYERS, Made, read_made, write_made
from kiro_invoke.engine.protocol import LocalImage
from kiro_invoke.model.record import BuildRecord
from tests.unit.build_fakes import recorded
from tests.unit.fakes import FACTS, FakeEngine
from tests.unit.test_warm import project, service

DOCKERFILE = (
    'FROM debian:13-slim AS base\nRUN printf "one\\ntwo\\r\\nhalf" && sleep 0.3\nFROM base AS final\n'
)
HERE = Made(frozenset({"layer"}), 7, 1000, FACTS.address, {"RUN x": 5}, mounts=400)


class Far(FakeEngine):
    def cache_records(self) -> tuple[()]:
        pytest.fail("the cache is not this machine's to read")


def built(root: Path) -> tuple[BuildRecord, Far]:
    shop = project(root, service(root, dev=DOCKERFILE))
    write_made(shop.state / LAYERS, HERE)
    engine = Far()
    engine._facts = replace(FACTS, address="builder team", builder="team")
    engine.bake_lines = recorded("success")
    old = {LABEL_PROJECT: shop.name, LABEL_SERVICE: "web", LABEL_CHECKOUT: shop.checkout}
    former = [LocalImage(f"sha256:{at}", (), old, float(at)) for at in range(3)]
    engine.local_images = [*former]
    (shop.state / PROVEN).write_text(json.dumps({"images": {}, "ids": [image.id for image in former]}))
    recipes = warm.read_recipes(shop, (Profile.DEV,))
    prepared = warm.prepare(shop, recipes, lambda found: plan_images(found, "asked"), ())
    record = warm.run(prepared, shop, engine, lambda _event: None)
    assert read_made(shop.state / LAYERS) == HERE
    return record, engine


def test_what_a_builder_ran_changes_nothing_that_is_known_of_this_machine(tmp_path: Path) -> None:
    record, _ = built(tmp_path)
    assert any(not step.cached for step in record.steps)
    assert (record.cache_bytes, record.cache_mounts) == (0, None)


def test_images_that_a_builders_replaced_go_all_the_same(tmp_path: Path) -> None:
    left = built(tmp_path)[1].local_images
    assert [image.id for image in left] == [
        "sha256:1",
        "sha256:2",
    ]  # as many as those of the engine's own builds
