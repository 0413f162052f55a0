"""What a build may remove to make room: what was replaced, then what nobody used for a day."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_PROJECT, LABEL_SERVICE
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.cache.records import MOUNT
from kiro_invoke.commands.held import Checkout
from kiro_invoke.commands.own_room import RECENT_SECONDS, OldestCleaner
from kiro_invoke.engine.protocol import CacheRecord, LocalImage
from kiro_invoke.model.service import Project, Service
from tests.unit.build_fakes import recipe
from tests.unit.fakes import FakeEngine

NOW = 1_000_000.0
MB = 1_000_000
DOCKERFILE = """\
FROM scratch AS base
FROM base AS dev
RUN --mount=type=cache,id=web-old,target=/old make old
RUN --mount=type=cache,id=web-new,target=/new make new
"""


def mount(id: str, name: str, namespace: str, *, at: float, size: int = 100 * MB) -> CacheRecord:
    said = f'cached mount /m from exec /bin/sh -c make with id "{namespace}/{name}"'
    return CacheRecord(id, MOUNT, said, size=size, created=at)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    service = Service("web", tmp_path / "web", "shop/web", "other", None, tmp_path / "web/Dockerfile.fast")
    project = Project(tmp_path, "shop", (service,))
    recipes: tuple[Recipe, ...] = (recipe(DOCKERFILE, service, Profile.DEV),)
    engine = FakeEngine()
    old = NOW - RECENT_SECONDS
    engine.records = [
        mount("old", "web-old", project.checkout, at=old - 1),
        mount("older", "web-old", project.checkout, at=old - 2),
        mount("new", "web-new", project.checkout, at=old + 1),
        mount("theirs", "web-old", "shop-2222222222", at=old - 99),
    ]
    return Checkout(project, recipes, frozenset(), engine)


def cleaner(checkout: Checkout) -> OldestCleaner:
    return OldestCleaner(checkout, clock=lambda: NOW)


def left(checkout: Checkout) -> set[str]:
    return {record.id for record in checkout.engine.cache_records()}


def test_what_was_used_within_a_day_goes_only_when_a_person_says_so(checkout: Checkout) -> None:
    offers = cleaner(checkout).could_free()
    assert [(one.bytes, one.asks, one.command) for one in offers] == [
        (200 * MB, False, "kiro clean-cache --what build --older-than 1d"),
        (300 * MB, True, "kiro clean-cache --what build"),
    ]


def test_only_as_much_goes_as_is_wanted_the_oldest_first(checkout: Checkout) -> None:
    said: list[str] = []
    assert cleaner(checkout).free(50 * MB, said.append) == 100 * MB
    assert left(checkout) == {"old", "new", "theirs"}
    assert said == ["removed 100 MB of layers and mounts that were not used for a day"]


def test_what_images_hold_makes_no_room_in_the_cache(checkout: Checkout) -> None:
    labels = {LABEL_PROJECT: "shop", LABEL_CHECKOUT: checkout.project.checkout, LABEL_SERVICE: "web"}
    image = LocalImage("sha256:web", ("shop/web:dev",), labels, NOW, size=900 * MB)
    checkout.engine.local_images = [image]  # type: ignore[attr-defined]
    checkout.engine.layers = {image.id: [("sha256:layer", image.size)]}  # type: ignore[attr-defined]
    assert cleaner(checkout).free(150 * MB, lambda _line: None) == 200 * MB
    assert left(checkout) == {"new", "theirs"}


def test_nothing_newer_goes_however_much_is_wanted(checkout: Checkout) -> None:
    assert cleaner(checkout).free(900 * MB, lambda _line: None) == 200 * MB
    assert left(checkout) == {"new", "theirs"}


def test_what_a_recent_step_had_mounted_is_not_old(checkout: Checkout) -> None:
    step = CacheRecord("step", "regular", "mount / from exec /bin/sh -c make old", created=NOW - 1)
    checkout.engine.records = [*checkout.engine.cache_records(), replace(step)]  # type: ignore[attr-defined]
    assert cleaner(checkout).free(900 * MB, lambda _line: None) == 0
    assert left(checkout) == {"old", "older", "new", "theirs", "step"}
