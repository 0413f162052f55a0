"""What may leave this machine."""

from __future__ import annotations

import pytest

from kiro_invoke.builds.shipping import StandinRefused, labels_of, refuse_standins, standins_below
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import ImageFacts
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS
from kiro_invoke.model.errors import ExitCode
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
