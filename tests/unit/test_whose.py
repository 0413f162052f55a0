"""Whose the records of an engine's cache are: what is not known to be this checkout's never is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_MEASURED, LABEL_PROJECT
from kiro_invoke.cache.namespaces import clean_namespace
from kiro_invoke.cache.records import MOUNT, mount_id
from kiro_invoke.cache.whose import is_own_mount, other_checkouts, twin_of
from kiro_invoke.engine.answers import cache_record
from tests.unit.held_fakes import (
    ALL,
    BUILT,
    COPY,
    MADE,
    OURS,
    OWNER,
    THEIRS,
    changed,
    held_of,
    image,
    layer,
    mount,
    ours,
    unsure,
)

RECORDED = tuple(map(cache_record, json.loads((Path(__file__).parent / "data/build_cache.json").read_text())))


def test_what_builds_were_seen_to_make_and_its_mounts_are_ours() -> None:
    assert ours(held_of(*BUILT)) == ALL
    assert unsure(held_of(*BUILT)) == {}


def test_without_a_memory_ours_is_what_only_our_mounts_tell_of_and_our_dockerfiles_say() -> None:
    """The bundle's seed is made of the project's files, and so is the target's."""
    held = held_of(*BUILT, made=frozenset())
    assert ours(held) == ALL
    nobodys = held_of(*(r for r in BUILT if r.kind != MOUNT), made=frozenset())
    assert ours(nobodys) == set()
    assert set(unsure(nobodys).values()) == {"no build of this checkout was seen to make it"}


# --- mounts


@pytest.mark.parametrize(
    "namespace",
    [OURS, clean_namespace(OURS, 10**18), f"{OURS}-r0123456789abcdef", COPY, f"{COPY}-lost-12"],
)
def test_mounts_of_our_namespaces_are_ours(namespace: str) -> None:
    assert is_own_mount(mount("m", namespace=namespace), OWNER)


@pytest.mark.parametrize(
    "namespace",
    [
        "",
        THEIRS,
        "shop",
        f"{OURS}-extra-2222222222",
        f"{OURS}-clean-2222222222",
        f"x{OURS}",
        f"{COPY}-lost-shop-2222222222",
        f"{COPY}-lost-",
        f"{COPY}-lost",
        "-lost-1",
    ],
)
def test_namespaces_that_only_look_like_ours_are_somebody_elses(namespace: str) -> None:
    """A project may be called as a checkout of ours is, and more."""
    record = mount("m", namespace=namespace)
    assert not is_own_mount(record, OWNER)
    assert "m" not in ours(held_of(record))


def test_a_mount_with_a_default_id_is_ours_within_our_namespace_alone() -> None:
    for namespace, whose in (("", set()), (THEIRS, set()), (OURS, {"m"})):
        held = held_of(mount("m", name="/root/.npm", namespace=namespace))
        assert ours(held) == whose
        assert unsure(held) == {}


def test_a_mount_that_a_plain_build_left_under_one_of_our_ids_may_be_anybodys() -> None:
    held = held_of(mount("m", namespace=""))
    assert unsure(held) == {"m": "a build without kiro left it: it may be anybody's"}


@pytest.mark.parametrize("step", [f'echo with id "{OURS}/app-target" >x', 'grep "with id " x'])
def test_what_a_mounts_step_says_does_not_tell_whose_it_is(step: str) -> None:
    said = f'cached mount /t from exec /bin/sh -c {step} with id "{THEIRS}/app-target"'
    assert not is_own_mount(replace(mount("m"), description=said), OWNER)


# --- layers that others stand on or may use


def test_what_others_made_on_ours_stays_theirs_with_all_below_it() -> None:
    held = held_of(*BUILT, layer("theirs", "install", "their own"))
    assert ours(held) == ALL - {"install", "base"}
    assert unsure(held) == {"install": "somebody else's layer or mount stands on it"}


@pytest.mark.parametrize("made", [MADE, frozenset()])
def test_what_others_made_on_our_dependencies_is_not_ours_for_standing_there(made: frozenset[str]) -> None:
    """Somebody builds on one of our images: nothing but our mounts tells of what their layers stand on."""
    held = held_of(*BUILT, layer("theirs", "build", "their own"), layer("more", "theirs", "more"), made=made)
    assert not ours(held) & {"theirs", "more", "build", "source", "cook", "install"}
    assert {"target", "deps", "modules", "ci"} <= ours(held)
    assert "theirs" not in unsure(held)


def test_what_our_layers_stand_on_is_not_ours_where_no_dockerfile_of_ours_has_it() -> None:
    """The base image was built here: its layers are of the project that it is of."""
    records = changed(BUILT, "install", parents=("company",))
    held = held_of(layer("company", "base", "company tools"), *records)
    assert ours(held) == ALL - {"base"}


def test_a_mount_of_others_on_our_dependencies_takes_them_away_from_us() -> None:
    """They build the same Dockerfile: their mount has our id."""
    held = held_of(*BUILT, mount("theirs", "cook", namespace=THEIRS))
    assert held.twin == THEIRS
    assert ours(held) & {"cook", "source", "build"} == set()
    assert "build" in unsure(held)


@pytest.mark.parametrize("namespace", [THEIRS, ""])
def test_where_others_have_mounts_of_our_ids_only_what_stands_on_our_seeds_is_ours(namespace: str) -> None:
    """What our builds were seen to make elsewhere may be what theirs took from the cache."""
    held = held_of(
        *BUILT, layer("tool", "install", "bundle"), mount("theirs", "elsewhere", namespace=namespace)
    )
    assert held.twin == (namespace or "a build without kiro")
    assert ours(held) == ALL - {"install", "base"}
    held = held_of(
        *BUILT,
        layer("tool", "install", "bundle"),
        mount("theirs", namespace=namespace),
        made=MADE | {"tool"},
    )
    assert "tool" not in ours(held)
    assert unsure(held)["tool"].startswith(f"{held.twin} builds the same steps")


def test_where_others_build_the_same_what_was_not_seen_to_be_made_here_is_theirs() -> None:
    """They took our dependencies from the cache, and built on: in the graph that looks as if we had."""
    theirs = (layer("sources2", "cook", "COPY . ."), layer("build2", "sources2", "build"))
    held = held_of(*BUILT, *theirs, images=[image("theirs", "shop/app:dev", checkout=THEIRS)])
    assert held.twin == THEIRS
    assert not ours(held) & {"sources2", "build2", "cook", "install"}
    assert {"source", "build", "target"} <= ours(held)
    unseen = held_of(*BUILT, made=MADE - {"install"}, images=[image("theirs", checkout=THEIRS)])
    assert "install" not in ours(unseen)


def test_a_checkout_of_the_same_repository_in_a_folder_of_another_name_keeps_what_it_made() -> None:
    """It gives its images other names, and the engine may have dropped its mounts."""
    source = layer("their-source", "cook", "COPY . .", at=8)
    theirs = (source, layer("their-build", "their-source", "build", at=9))
    other = image("theirs", "shop-b/app:dev", checkout="shop-b-2222222222", project="shop-b")
    held = held_of(*BUILT, *theirs, images=[other])
    assert held.twin == ""
    assert ours(held) == ALL - {"cook", "install", "base"}
    assert "their-build" in ours(held_of(*BUILT, *theirs))  # nobody else is here


def test_an_image_of_another_checkout_tells_of_a_twin() -> None:
    theirs = image("theirs", checkout=THEIRS)
    assert twin_of((), [theirs], OWNER) == THEIRS
    assert twin_of((), [image("x", checkout="other-1", project="other")], OWNER) == ""
    measured = image("m", checkout=COPY, labels={LABEL_MEASURED: COPY})
    assert twin_of((), [image(), measured], OWNER) == ""


@pytest.mark.parametrize(
    "whose", [{"checkout": THEIRS}, {"checkout": "fork-1", "project": "fork"}, {"checkout": ""}]
)
def test_where_others_came_to_the_same_image_no_layer_is_ours(whose: dict[str, str]) -> None:
    """All of their build was taken from what ours made: that image is all that tells."""
    stack = (("b", 1), ("c", 2))
    images = [image("app", "shop/app:dev"), image("theirs", "their/app:1", **whose)]  # type: ignore[arg-type]
    held = held_of(*BUILT, images=images, layers={"app": stack, "theirs": stack})
    assert {"deps", "target", "modules", "registry", "app"} == ours(held)
    assert "build" in unsure(held)
    other = held_of(*BUILT, images=images, layers={"app": stack, "theirs": (*stack, ("d", 1))})
    assert "build" in ours(other)


def test_a_base_image_that_an_image_adds_nothing_to_is_nobodys_twin() -> None:
    stack = (("b", 1),)
    images = [image("app", "shop/app:dev"), image("nginx", "nginx:1.28", checkout="")]
    held = held_of(*BUILT, images=images, layers={"app": stack, "nginx": stack}, bases=("nginx:1.28",))
    assert ours(held) >= ALL


def test_contexts_and_images_from_elsewhere_are_nobodys() -> None:
    records = (
        replace(layer("sent"), description="local source for context"),
        layer("pulled", text="pulled from docker.io/library/debian:13-slim"),
        layer("made", "pulled", "install"),
    )
    held = held_of(*records, made=frozenset({"sent", "pulled", "made"}))
    assert ours(held) == {"made"}


# --- measured copies


def test_a_measured_copy_is_ours_whole_also_where_another_checkout_builds_the_same() -> None:
    copied = (
        layer("copy base", text="from local "),
        layer("copied", "copy base", "whatever it was"),
        mount("copy target", "copied", namespace=COPY),
        mount("copy lost", "copied", namespace=f"{COPY}-lost-3"),
    )
    held = held_of(*BUILT, *copied, images=[image("theirs", checkout=THEIRS)])
    assert {"copied", "copy target", "copy lost"} <= ours(held)


# --- who else is here


def test_other_checkouts_are_told_by_images_and_mounts() -> None:
    images = [image(), image("x", checkout="other-1", project="other"), image("plain", checkout="")]
    records = [mount("a"), mount("b", namespace=THEIRS), mount("c", namespace=""), mount("d", namespace=COPY)]
    assert other_checkouts(records, images, OWNER) == ("other-1", THEIRS)


def test_recorded_records_of_another_checkout_stay_out() -> None:
    owner = replace(OWNER, mounts={"app-deps": False, "app-target": True})
    held = held_of(*RECORDED, owner=owner, made=frozenset(record.id for record in RECORDED))
    assert held.twin == THEIRS
    theirs = {r.id for r in RECORDED if r.kind == MOUNT and (mount_id(r.description) or ("",))[0] == THEIRS}
    assert theirs
    assert not theirs & (ours(held) | unsure(held).keys())
    graph = held.graph
    assert not ours(held) & graph.above(theirs)


def test_labels_of_another_project_with_our_services_names_are_not_ours() -> None:
    theirs = image("theirs", "shop/app:dev", checkout=THEIRS)
    fork = image("fork", "shop/app:prod", project="fork", checkout=OURS)
    assert theirs.labels[LABEL_CHECKOUT] == THEIRS
    assert fork.labels[LABEL_PROJECT] == "fork"
    held = held_of(images=[theirs, fork])
    assert held.items == ()
