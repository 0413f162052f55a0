"""What may leave this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.builds.shipping import (
    STAYING,
    Builder,
    Leaving,
    StandinRefused,
    builder_of,
    check_leaving,
    check_shipment,
    labels_of,
    refuse_standins,
    shipped,
    standins_below,
)
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import ImageFacts
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS
from kiro_invoke.model.errors import ExitCode, KiroError, UsageError
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.shipment import NOTHING_ATTESTED, Attest, Shipment
from tests.unit.build_fakes import recipe, service
from tests.unit.fakes import FakeEngine

DEBIAN = Base("debian:13-slim", BaseStatus.PRESENT, "debian:13-slim")
NODE = Base("node:24", BaseStatus.PULLED, "node:24")
RUST = Base("rust:1.95", BaseStatus.STANDIN, "kiro-standin/rust:1.95", "Rust 1.85.0")


def test_what_stands_on_real_images_may_leave() -> None:
    refuse_standins([DEBIAN, NODE], {"debian:13-slim": {"maintainer": "somebody"}}, done="pushed")


def test_a_stand_in_is_refused_by_its_name_and_what_it_holds() -> None:
    with pytest.raises(StandinRefused) as refused:
        refuse_standins([DEBIAN, RUST, NODE], {}, done="pushed")
    assert refused.value.code is ExitCode.MISSED
    assert refused.value.refs == ("rust:1.95",)
    assert str(refused.value) == (
        "nothing made from stand-ins is pushed: rust:1.95 (really Rust 1.85.0) is a stand-in made from the "
        "distribution's packages. Fix: run `kiro warm-cache --pull` where a registry answers, then try again"
    )


def test_what_was_built_on_a_stand_in_is_refused_whatever_its_name() -> None:
    """A team's own base image, given under base_images:, built here on a stand-in: its label tells."""
    own = Base("team/rust:1", BaseStatus.PRESENT, "team/rust:1")
    labels = {"team/rust:1": {LABEL: "rust:1.95", LABEL_HOLDS: "Rust 1.85.0"}}
    assert standins_below([own, DEBIAN], labels) == (("team/rust:1", "Rust 1.85.0"),)
    with pytest.raises(StandinRefused, match="nothing made from stand-ins is attested: team/rust:1"):
        refuse_standins([own, DEBIAN], labels, done="attested")


def test_several_are_all_named() -> None:
    node = Base("node:24", BaseStatus.STANDIN, "node:24")
    with pytest.raises(StandinRefused, match=r"rust:1.95 \(really Rust 1.85.0\), node:24 are stand-ins"):
        refuse_standins([RUST, node], {}, done="pushed")


def test_labels_are_asked_for_by_the_name_that_builds_use() -> None:
    engine = FakeEngine({"kiro-standin/rust:1.95": ImageFacts("sha256:1", {LABEL: "rust:1.95"}, 1)})
    assert labels_of([RUST, NODE], engine) == {"kiro-standin/rust:1.95": {LABEL: "rust:1.95"}}


# --- what a builder can do

PLAN = plan_images(
    [recipe("FROM a\n", replace(service(), image="registry.example/web"), Profile.PROD)], "asked"
)
SEVERAL = BuildPlan(tuple(replace(one, platforms=("linux/amd64", "linux/arm64")) for one in PLAN.targets))
OWN, WHOLE = Builder("docker"), Builder("docker-container")
PUSH, ARCHIVE = Shipment(Attest()), Shipment(Attest(), Path("/out"))


@pytest.mark.parametrize("builder", [WHOLE, Builder("remote"), Builder("docker", is_containerd=True)])
@pytest.mark.parametrize("shipment", [PUSH, ARCHIVE])
def test_a_whole_builder_ships_everything(builder: Builder, shipment: Shipment) -> None:
    assert check_shipment(SEVERAL, shipment, builder) == shipment


def test_the_engine_s_own_pushes_one_platform_and_attests_nothing() -> None:
    assert check_shipment(PLAN, PUSH, OWN) == Shipment(NOTHING_ATTESTED)


@pytest.mark.parametrize(("plan", "shipment"), [(SEVERAL, PUSH), (SEVERAL, ARCHIVE), (PLAN, ARCHIVE)])
def test_what_it_cannot_do_is_said_before_anything_is_built(plan: BuildPlan, shipment: Shipment) -> None:
    with pytest.raises(KiroError) as refused:
        check_shipment(plan, shipment, OWN)
    assert "the engine's own builder" in refused.value.message
    assert "docker-container" in (refused.value.fix or "")


def test_an_image_that_names_no_registry_is_not_pushed_to_the_public_one() -> None:
    plan = BuildPlan(tuple(replace(one, tag="shop/web:prod") for one in PLAN.targets))
    with pytest.raises(UsageError, match="image shop/web:prod names no registry"):
        check_shipment(plan, PUSH, WHOLE)
    assert check_shipment(plan, ARCHIVE, WHOLE) == ARCHIVE


def test_what_leaves_are_the_images_and_nothing_is_run_again_but_for_other_platforms() -> None:
    stage = replace(PLAN.targets[0], tag=None)
    run_anew = BuildPlan((stage, *(replace(one, uncached=("a",)) for one in PLAN.targets)))
    assert shipped(run_anew) == PLAN
    anew = BuildPlan(tuple(replace(one, uncached=("a",)) for one in SEVERAL.targets))
    assert shipped(anew) == anew


def test_the_builder_is_asked_of_buildx() -> None:
    engine = FakeEngine()
    engine.builder_told = "Name:   mine\nDriver: remote\n\nNodes:\nName: mine0\n"
    assert builder_of(engine) == Builder("remote")
    engine.builder_told, engine.told = "", replace(engine.told, is_containerd=True)
    assert builder_of(engine) == Builder("docker", is_containerd=True)


def test_only_production_images_leave_and_in_one_way() -> None:
    check_leaving(Leaving(push=True), (Profile.PROD,))
    check_leaving(STAYING, (Profile.DEV,))
    with pytest.raises(UsageError, match="only production images"):
        check_leaving(Leaving(push=True), (Profile.DEV,))
    with pytest.raises(UsageError, match="do not go together"):
        check_leaving(Leaving(push=True, archive="out"), (Profile.PROD,))
