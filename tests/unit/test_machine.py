"""Cache mounts on a builder that machines share: each machine has its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.bake import Surroundings, definition
from kiro_invoke.builds.planner import plan_images
from kiro_invoke.engine.machine import machine_mark
from tests.unit.build_fakes import recipe


def test_a_machine_is_told_from_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("aaaa\n")
    other.write_text("bbbb\n")
    mark = machine_mark(one, "laptop")
    assert mark == machine_mark(one, "laptop.home.example")
    # containers that are started from one image differ by name, hosts of one name by what was installed
    assert len({mark, machine_mark(one, "runner-2"), machine_mark(other, "laptop")}) == 3
    assert machine_mark(tmp_path / "none", "a") != machine_mark(tmp_path / "none", "b")
    assert machine_mark() == machine_mark()


@pytest.mark.parametrize("namespaces", [{}, {"web": "shop-0123456789-r0000000000000001"}])
def test_two_machines_with_a_checkout_at_one_place_have_no_mount_in_common(
    namespaces: dict[str, str],
) -> None:
    plan = plan_images([recipe("FROM a\nRUN --mount=type=cache,target=/x true\n")], "asked")
    here = Surroundings("shop", namespace="shop-0123456789", namespaces=namespaces)

    def namespace(around: Surroundings) -> str:
        (target,) = json.loads(definition(plan, around))["target"].values()
        return str(target["args"]["BUILDKIT_CACHE_MOUNT_NS"])

    assert namespace(here) == namespaces.get("web", "shop-0123456789")
    assert namespace(replace(here, machine="11111111")) != namespace(replace(here, machine="22222222"))
    assert namespace(replace(here, machine="11111111")) == f"{namespace(here)}-11111111"
