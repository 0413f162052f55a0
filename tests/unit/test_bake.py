"""The bake definition: what each target gets, and that bake reads back what was meant."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_invoke.builds.bake import Surroundings, definition, literal, secret_option
from kiro_invoke.model.plan import BuildPlan, Sent, Target
from kiro_invoke.model.service import Secret
from kiro_invoke.model.shipment import NOTHING_ATTESTED, Attest, Shipment

IMAGE = Target(
    "web-dev-dev", "web", Path("/repo/web"), Path("/repo/web/Dockerfile"), "dev", "why", "shop/web:dev"
)
STAGE = replace(IMAGE, name="web-dev-test", stage="test", tag=None)


def baked(*targets: Target, around: Surroundings | None = None) -> dict[str, Any]:
    value = json.loads(definition(BuildPlan(targets), around or Surroundings("shop")))
    assert isinstance(value, dict)
    return value


def read_back(text: str) -> str:
    """`text` as HCL's template language, which bake's JSON uses, reads it; templates are not expected."""
    out, at = "", 0
    while at < len(text):
        if text[at : at + 3] in {"$${", "%%{"}:
            out, at = out + text[at + 1 : at + 3], at + 3
            continue
        assert text[at : at + 2] not in {"${", "%{"}, f"a template begins at {at} of {text!r}"
        out, at = out + text[at], at + 1
    return out


def test_an_image_is_tagged_labelled_and_loaded() -> None:
    assert baked(IMAGE) == {
        "group": {"default": {"targets": ["web-dev-dev"]}},
        "target": {
            "web-dev-dev": {
                "context": "/repo/web",
                "dockerfile": "/repo/web/Dockerfile",
                "target": "dev",
                "tags": ["shop/web:dev"],
                "output": ["type=docker"],
                "labels": {"dev.kiro.project": "shop", "dev.kiro.service": "web"},
                "attest": ["type=provenance,disabled=true"],
            }
        },
    }


def test_a_proof_that_only_the_base_image_names_is_taken_away() -> None:
    around = Surroundings("shop", without_proof=frozenset({(IMAGE.service, IMAGE.dockerfile)}))
    other = replace(IMAGE, name="api", service="api")
    found = baked(IMAGE, other, around=around)["target"]
    assert found["web-dev-dev"]["labels"]["dev.kiro.proof"] == ""
    assert "dev.kiro.proof" not in found["api"]["labels"]


def test_a_stage_is_built_for_the_cache_alone() -> None:
    found = baked(IMAGE, STAGE)
    assert found["group"]["default"]["targets"] == ["web-dev-dev", "web-dev-test"]
    test = found["target"]["web-dev-test"]
    assert test["output"] == ["type=cacheonly"]
    assert test.keys().isdisjoint({"tags", "labels"})


def test_a_last_stage_without_a_name_is_not_asked_for_by_index() -> None:
    assert "target" not in baked(replace(IMAGE, stage="2"))["target"]["web-dev-dev"]


def test_a_dockerfile_that_cannot_be_used_as_it_is_goes_as_text() -> None:
    target = baked(replace(IMAGE, inline="#\nFROM x\nRUN echo ${A}\n"))["target"]["web-dev-dev"]
    assert target["dockerfile-inline"] == "#\nFROM x\nRUN echo $${A}\n"
    assert "dockerfile" not in target


def test_every_target_gets_the_surroundings() -> None:
    around = Surroundings(
        "shop",
        contexts={"rust:1": "docker-image://kiro/rust:1"},
        build_args={"A": "1", "EMPTY": ""},
        secrets=(Secret("key", "file:/s/key"), Secret("token", "env:TOKEN")),
        ssh=("default", "ci=/k/id"),
    )
    for target in baked(IMAGE, STAGE, around=around)["target"].values():
        assert target["contexts"] == {"rust:1": "docker-image://kiro/rust:1"}
        assert target["args"] == {"A": "1", "EMPTY": ""}
        assert target["secret"] == ["id=key,src=/s/key", "id=token,env=TOKEN"]
        assert target["ssh"] == ["default", "ci=/k/id"]


SENT = Sent(Path("/m/web"), Path("/m/web-dockerfiles/Dockerfile"), "r", Path("/m/${web}-skeleton"))


def test_the_skeleton_takes_the_place_of_its_stage() -> None:
    """For the targets of that service and Dockerfile, in every build that does not ask for the stage itself."""
    others = (
        replace(IMAGE, name="api", service="api"),
        replace(IMAGE, name="prod", dockerfile=Path("/repo/web/Dockerfile.prod")),
    )
    around = Surroundings(
        "shop",
        sending={
            (target.service, target.dockerfile): SENT if target is IMAGE else replace(SENT, skeleton=None)
            for target in (IMAGE, *others)
        },
        contexts={"rust:1": "docker-image://kiro/rust:1"},
    )
    rust = {"rust:1": "docker-image://kiro/rust:1"}
    found = baked(IMAGE, STAGE, *others, around=around)["target"]
    assert {name: target["contexts"] for name, target in found.items()} == {
        "web-dev-dev": rust | {"kiro-skeleton": "/m/$${web}-skeleton"},
        "web-dev-test": rust | {"kiro-skeleton": "/m/$${web}-skeleton"},
        "api": rust,
        "prod": rust,
    }


def test_where_the_skeletons_stage_is_asked_for_it_runs() -> None:
    """And only there: what plain builds find in the cache then is what this build made."""
    skeleton = replace(STAGE, name="web-dev-kiro-skeleton", stage="kiro-skeleton")
    other = replace(IMAGE, name="api", service="api")
    sending = {(target.service, target.dockerfile): SENT for target in (IMAGE, other)}
    found = baked(IMAGE, STAGE, skeleton, other, around=Surroundings("shop", sending=sending))["target"]
    assert [name for name, target in found.items() if "contexts" in target] == ["api"]
    assert found["web-dev-dev"]["context"] == "/m/web"


def test_nothing_in_a_definition_is_taken_for_a_template() -> None:
    odd = "a ${b} %{c} $${d} \"'\\ é"
    around = Surroundings(
        "shop",
        contexts={"x": f"docker-image://{odd}"},
        build_args={"A": odd},
        secrets=(Secret("s", f"file:/{odd}"),),
        ssh=(f"k=/{odd}",),
    )
    target = replace(IMAGE, context=Path(f"/{odd}"), dockerfile=Path(f"/{odd}/Dockerfile"))
    found = baked(target, around=around)["target"]["web-dev-dev"]
    assert read_back(found["context"]) == f"/{odd}"
    assert read_back(found["dockerfile"]) == f"/{odd}/Dockerfile"
    assert read_back(found["args"]["A"]) == odd
    assert read_back(found["contexts"]["x"]) == f"docker-image://{odd}"
    assert read_back(found["ssh"][0]) == f"k=/{odd}"
    (row,) = csv.reader([read_back(found["secret"][0])], strict=True)
    assert row == ["id=s", f"src=/{odd}"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("${X}", "$${X}"),
        ("%{if}", "%%{if}"),
        ("$${X}", "$$${X}"),
        ("$$${X}", "$$$${X}"),
        ("%%{x", "%%%{x"),
        ("$ {", "$ {"),
        ("$X % {", "$X % {"),
        ("${${", "$${$${"),
    ],
)
def test_literal(text: str, written: str) -> None:
    """Each of these was read back unchanged by `docker buildx bake --print` (0.13.1)."""
    assert literal(text) == written
    assert read_back(written) == text


@settings(deadline=None)
@given(st.text(alphabet="$%{}ab", max_size=20))
def test_any_text_is_read_back(text: str) -> None:
    assert read_back(literal(text)) == text


@pytest.mark.parametrize(
    ("secret", "option"),
    [
        (Secret("a", "file:/x"), "id=a,src=/x"),
        (Secret("a", "env:X"), "id=a,env=X"),
        (Secret("a", "file:/x:y"), "id=a,src=/x:y"),
        (Secret("a", "file:/x y"), "id=a,src=/x y"),
        (Secret("a", "file:/x,y"), 'id=a,"src=/x,y"'),
        (Secret("a", 'file:/x"y'), 'id=a,"src=/x""y"'),
        (Secret("a", "file:/x=y"), "id=a,src=/x=y"),
    ],
)
def test_secret_options_are_rows_of_csv(secret: Secret, option: str) -> None:
    assert secret_option(secret) == option
    ((first, second),) = csv.reader([option], strict=True)
    assert first == "id=a"
    assert second.partition("=")[2] == secret.source.partition(":")[2]


def test_the_same_plan_gives_the_same_text() -> None:
    around = Surroundings("shop", build_args={"B": "2", "A": "1"})
    plan = BuildPlan((IMAGE, STAGE))
    assert definition(plan, around) == definition(plan, around)
    assert definition(plan, around).isascii()


# --- production images

BOTH = ("linux/amd64", "linux/arm64/v8")


def only(target: Target, around: Surroundings) -> dict[str, Any]:
    (found,) = baked(target, around=around)["target"].values()
    assert isinstance(found, dict)
    return found


def test_an_image_for_several_platforms_is_loaded_for_one() -> None:
    """The store of an engine holds one; without an engine, the definition names all."""
    several = replace(IMAGE, platforms=BOTH)
    assert only(several, Surroundings("shop"))["platforms"] == [*BOTH]
    assert "platforms" not in only(several, Surroundings("shop").loading("arm64"))
    assert only(several, Surroundings("shop").loading("riscv64"))["platforms"] == ["linux/amd64"]


def test_what_leaves_is_for_all_platforms_attested_and_no_checkout_s() -> None:
    around = Surroundings("shop", checkout="shop-1", shipment=Shipment(Attest(generator="sbom:1")), created=7)
    found = only(replace(IMAGE, platforms=BOTH), around.loading("amd64"))
    assert found["platforms"] == [*BOTH]
    assert found["output"] == ["type=registry,rewrite-timestamp=true,source-date-epoch=7"]
    assert found["attest"] == ["type=provenance,mode=min", "type=sbom,generator=sbom:1"]
    assert found["labels"] == {"dev.kiro.project": "shop", "dev.kiro.service": "web"}
    assert "args" not in found


def test_what_is_loaded_is_not_attested_whatever_it_tells_as_its_time() -> None:
    found = only(IMAGE, Surroundings("shop", created=7))
    assert found["output"] == ["type=docker,source-date-epoch=7"]
    assert found["attest"] == ["type=provenance,disabled=true"]


def test_archives_are_named_after_services() -> None:
    around = Surroundings("shop", shipment=Shipment(NOTHING_ATTESTED, Path("/a, b/${c}")))
    found = only(IMAGE, around)
    assert read_back(found["output"][0]) == 'type=oci,"dest=/a, b/${c}/web.tar"'
    assert found["attest"] == ["type=provenance,disabled=true"]


def test_a_time_as_an_argument_is_given_to_whom_it_is_for() -> None:
    around = Surroundings("shop", epochs={(IMAGE.service, IMAGE.dockerfile): 0}, build_args={"A": "1"})
    assert only(IMAGE, around)["args"] == {"SOURCE_DATE_EPOCH": "0", "A": "1"}
    assert only(replace(IMAGE, service="api"), around)["args"] == {"A": "1"}
