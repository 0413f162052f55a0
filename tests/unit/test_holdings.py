"""What an engine holds of a checkout: sizes, last uses, services, images, stand-ins."""

from __future__ import annotations

import pytest

from kiro_invoke.builds.bake import LABEL_MEASURED
from kiro_invoke.cache.holdings import Holdings
from kiro_invoke.cache.places import Kind
from kiro_invoke.cache.records import Graph
from kiro_invoke.cache.uses import MEASURED
from kiro_invoke.engine.protocol import LocalImage
from kiro_invoke.engine.standins import LABEL, ROOT_IMAGE
from tests.unit.held_fakes import (
    BUILT,
    COPY,
    OURS,
    THEIRS,
    changed,
    held_of,
    image,
    item,
    layer,
    mount,
    ours,
    unsure,
)

# --- records


def test_each_thing_has_its_kind_and_service() -> None:
    held = held_of(*BUILT)
    told = {one.id: (one.kind, set(one.services)) for one in held.items}
    assert told["target"] == (Kind.TARGET, {"app"})
    assert told["modules"] == (Kind.DEPENDENCIES, {"web"})
    assert told["registry"] == (Kind.REGISTRY, {"app", "web"})
    assert told["install"] == (Kind.LAYER, {"app", "web"})


def test_a_step_that_several_services_have_is_of_that_which_stands_on_it() -> None:
    held = held_of(*BUILT)
    assert item(held, "source").services == {"app"}
    assert item(held, "pages").services == {"web"}


def test_a_layer_was_used_when_what_stands_on_it_was() -> None:
    held = held_of(*changed(BUILT, "bundle", used=99.0))
    assert item(held, "pages").used == item(held, "ci").used == item(held, "install").used == 99
    assert item(held, "cook").used == 6


def test_a_mount_was_used_when_a_step_that_has_it_ran() -> None:
    """What the engine says of a mount's use is when it was weighed."""
    held = held_of(*changed(changed(BUILT, "target", used=500.0), "build", used=80.0))
    assert item(held, "target").used == 80
    assert item(held, "registry").used == 80
    assert item(held, "modules").used == 8
    assert item(held, "deps").used == 3


def test_what_a_build_uses_now_is_held() -> None:
    assert item(held_of(*changed(BUILT, "build", in_use=True)), "build").held == "a build uses it now"


def test_an_order_of_thousands_that_stand_on_each_other_is_made_once() -> None:
    chain = [layer("0"), *(layer(str(n), str(n - 1), "install") for n in range(1, 5000))]
    held = held_of(*chain, made=frozenset(record.id for record in chain))
    assert len(held.ours) == 5000
    places = held.graph.leaves_first
    assert [places[str(n)] for n in (4999, 0)] == [0, 4999]


def test_records_that_stand_on_each_other_twice_or_on_what_is_gone_are_in_order() -> None:
    records = (
        layer("a", "gone"),
        changed((layer("b", "a"),), "b", parents=("a", "a"))[0],
        changed((layer("c"),), "c", parents=("a", "b"))[0],
    )
    assert [*Graph(records).leaves_first] == ["c", "b", "a"]


# --- images


def test_an_image_is_ours_by_its_id_or_by_our_names_for_it() -> None:
    held = held_of(
        images=[image("app"), image("unknown", "shop/app:dev"), image("x", "shop/app:dev", checkout=THEIRS)]
    )
    assert ours(held) == {"app", "unknown"}


def test_a_name_that_somebody_gave_keeps_an_image() -> None:
    held = held_of(images=[image("app", "shop/app:dev", "demo:friday")])
    assert item(held, "app").held == "somebody named it demo:friday"
    unknown = held_of(images=[image("unknown", "shop/app:dev", "demo:friday")])
    assert ours(unknown) == set()


def test_the_digest_of_one_of_our_names_is_no_name_that_somebody_gave() -> None:
    """Engines with containerd's store give each image one, and every engine does at a push."""
    digest = "@sha256:" + "0" * 64
    held = held_of(images=[image("app", "shop/app:dev", f"shop/app{digest}")])
    assert ours(held) == {"app"}
    assert item(held, "app").held == ""
    other = held_of(images=[image("app", "shop/app:dev", f"shop/ap{digest}")])
    assert item(other, "app").held.startswith("somebody named it shop/ap@")


@pytest.mark.parametrize("names", [(), ("mine:1",)])
def test_what_somebody_made_of_our_image_is_not_ours(names: tuple[str, ...]) -> None:
    """A `docker commit`, or a FROM of their own: it has our labels."""
    held = held_of(images=[image("commit", *names)])
    assert unsure(held) == {"commit": "it stands on an image of this checkout, or is a copy of one"}


def test_what_somebody_gave_the_name_of_an_image_that_is_known_is_not_ours() -> None:
    """A `docker commit` under the name of the image that it was made of: that has another id."""
    images = [image("app"), image("commit", "shop/app:dev")]
    assert ours(held_of(images=images, proven=frozenset({"shop/app:dev"}))) == {"app"}
    assert ours(held_of(images=images)) == {"app", "commit"}


def test_the_same_of_a_measured_copys_image() -> None:
    labels = {LABEL_MEASURED: COPY}
    images = [
        image("app", checkout=COPY, labels=labels),
        image("base", "kiro-benchmark/rust:1", checkout="", labels=labels),
        image("commit", checkout=COPY, labels=labels),
        image("named", "kiro-benchmark/x:1", "mine:1", checkout=COPY, labels=labels),
    ]
    held = held_of(images=images)
    assert ours(held) == {"app", "base"}
    assert set(unsure(held)) == {"commit", "named"}
    assert item(held, "app").services == {MEASURED}
    assert (
        held_of(images=[image("b", "kiro-benchmark/x:1", checkout="", labels={LABEL_MEASURED: THEIRS})]).items
        == ()
    )


def test_a_running_container_keeps_its_image_and_is_named() -> None:
    held = held_of(images=[image("app", "shop/app:dev", containers=["shop-app-1"])])
    assert item(held, "app").held == "container shop-app-1 stands on it"


# --- stand-ins

RUST = "rust:1.95"
ROOT_STACK = (("root", 100),)
RUST_STACK = (*ROOT_STACK, ("rust", 900))


def standins(*more: LocalImage, layers: dict[str, tuple[tuple[str, int], ...]] | None = None) -> Holdings:
    root = image("root", ROOT_IMAGE, checkout="", created=1)
    rust = image("rust", "kiro-standin/rust:1.95", RUST, checkout="", created=2, labels={LABEL: RUST})
    stacks = {"root": ROOT_STACK, "rust": RUST_STACK, **(layers or {})}
    return held_of(images=[root, rust, *more], layers=stacks, bases=(RUST, "company/base:1"))


def test_the_stand_ins_that_our_dockerfiles_stand_on_are_ours_with_their_root() -> None:
    held = standins(image("app", "shop/app:dev", created=9), layers={"app": (*RUST_STACK, ("app", 5))})
    assert ours(held) == {"root", "rust", "app"}
    assert {one.kind for one in held.items if one.id != "sha256:app"} == {Kind.STANDIN}


def test_a_mount_that_no_dockerfile_names_was_used_when_the_engine_says_so() -> None:
    """Its id may hold a platform, which is known in the build alone: it must not seem as old as its first use."""
    held = held_of(*BUILT, mount("arch", "cook", "app-amd64-target", at=2, used=70.0))
    assert item(held, "arch").used == 70


def test_a_stand_in_is_used_by_what_is_made_on_it() -> None:
    """It is the oldest of all: without this, the first to go would be what all the others stand on."""
    held = standins(image("app", "shop/app:dev", created=9), layers={"app": (*RUST_STACK, ("app", 5))})
    assert (item(held, "root").used, item(held, "rust").used) == (9, 9)
    assert item(held, "rust").created == 2


def test_an_official_image_is_never_a_stand_in() -> None:
    held = held_of(images=[image("rust", RUST, checkout="")], bases=(RUST,))
    assert held.items == ()


def test_another_checkout_may_build_with_a_stand_in() -> None:
    held = standins(image("theirs", checkout="other-1", project="other"))
    assert unsure(held) == {"root": "other-1 may build with it", "rust": "other-1 may build with it"}


def test_an_image_of_others_that_stands_on_a_stand_in_keeps_it() -> None:
    held = standins(image("plain", "mine:1", checkout=""), layers={"plain": (*RUST_STACK, ("x", 1))})
    assert unsure(held)["rust"] == "the image mine:1 stands on it"
    assert unsure(held)["root"] == "the image mine:1 stands on it"


def test_a_root_stays_for_stand_ins_that_are_not_ours() -> None:
    node = image("node", "kiro-standin/node:24", "node:24", checkout="", labels={LABEL: "node:24"})
    held = standins(node, layers={"node": (*ROOT_STACK, ("n", 1))})
    assert ours(held) == {"rust"}
    assert unsure(held) == {"root": "the image kiro-standin/node:24 stands on it"}


def test_a_stand_in_that_somebody_named_and_one_with_a_container_are_held() -> None:
    named = image("rust", "kiro-standin/rust:1.95", "mine:1", checkout="", labels={LABEL: RUST})
    assert item(held_of(images=[named], bases=(RUST,)), "rust").held == "somebody named it mine:1"
    used = image("rust", "kiro-standin/rust:1.95", checkout="", containers=["c"], labels={LABEL: RUST})
    assert item(held_of(images=[used], bases=(RUST,)), "rust").held == "container c stands on it"


def test_the_layers_of_stand_ins_are_ours_while_nobody_else_is_here() -> None:
    made = layer("made", "base", text="mkdir -p /usr/local/cargo/bin && chmod -R a+w /usr/local/cargo")
    held = held_of(layer("base", text="from local "), made, bases=(RUST,))
    assert item(held, "made").kind is Kind.STANDIN
    assert "made" in ours(held)
    others = held_of(layer("base", text="from local "), made, mount("t", namespace=THEIRS), bases=(RUST,))
    assert "made" not in ours(others)


# --- bytes


def test_each_byte_is_counted_once() -> None:
    """A layer that an image holds as well is the image's; one that two images hold is of both together."""
    records = changed(BUILT, "build", shared=True, size=10)
    stack = (("b", 1000), ("x", 10))
    held = held_of(
        *records,
        images=[image("app", "shop/app:dev"), image("old", "shop/app:prod"), image("else", "x", checkout="")],
        layers={"app": stack, "old": (*stack, ("y", 7)), "else": (("b", 1000),)},
    )
    cache = sum(record.size for record in records) - 10
    assert held.cache_bytes == cache
    assert held.image_bytes({"sha256:app"}) == 0
    assert held.image_bytes({"sha256:app", "sha256:old"}) == 17
    assert held.all_image_bytes({"sha256:app", "sha256:old"}) == 1017
    assert held.bytes_of(held.ours) == cache + 17
    assert OURS not in held.others
