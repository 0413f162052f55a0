"""What is to go when a person asks for it: nothing that is not ours, and nothing that what stays stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_invoke.builds.bake import LABEL_PROJECT
from kiro_invoke.cache.clean import clean
from kiro_invoke.cache.cleaning import CleanPlan, What, Wish, by_cause, plan_clean
from kiro_invoke.cache.holdings import Facts, Holdings, holdings
from kiro_invoke.cache.places import Kind
from kiro_invoke.cache.records import LAYER, MOUNT, Graph
from kiro_invoke.engine.protocol import CacheRecord, ImageFacts, LocalImage
from kiro_invoke.engine.standins import LABEL, ROOT_IMAGE
from kiro_invoke.model.errors import EngineError
from tests.unit.fakes import FakeEngine
from tests.unit.held_fakes import (
    ALL,
    BUILT,
    COPY,
    MADE,
    OURS,
    STEPS,
    THEIRS,
    changed,
    facts,
    held_of,
    image,
    item,
    layer,
    mount,
)

BUILD, IMAGES = Wish(What.BUILD), Wish(What.IMAGES)
LAYERS = frozenset(MADE | {"base"})


def gone(plan: CleanPlan) -> set[str]:
    return {going.item.id.removeprefix("sha256:") for going in (*plan.images, *plan.records)}


def kept(plan: CleanPlan) -> dict[str, str]:
    return {going.item.id.removeprefix("sha256:"): going.cause for going in plan.keep}


def of(held: Holdings, wish: Wish | None = None) -> set[str]:
    return gone(plan_clean(held, wish or Wish()))


# --- what is asked for


def test_build_takes_layers_and_mounts_images_takes_images_all_takes_both() -> None:
    held = held_of(*BUILT, images=[image("app", "shop/app:dev"), image("old")])
    assert of(held, BUILD) == ALL
    assert of(held, IMAGES) == {"app", "old"}
    assert of(held) == ALL | {"app", "old"}
    assert set(kept(plan_clean(held, BUILD)).values()) == {"images were not asked for"}
    assert set(kept(plan_clean(held, IMAGES)).values()) == {"layers and mounts were not asked for"}


def test_what_is_not_known_to_be_ours_stays_with_the_reason() -> None:
    held = held_of(*BUILT, layer("theirs", "cook", "x"), images=[image("commit", "mine:1")])
    plan = plan_clean(held, Wish())
    assert gone(plan) == ALL - {"cook", "install", "base"}
    assert kept(plan)["cook"] == "somebody else's layer or mount stands on it"
    assert kept(plan)["commit"].startswith("it stands on an image")


def test_what_is_made_on_a_thing_goes_before_it() -> None:
    plan = plan_clean(held_of(*BUILT), Wish())
    order = [going.item.id for going in plan.records]
    for record in BUILT:
        assert all(order.index(record.id) < order.index(parent) for parent in record.parents)
    assert str(plan).splitlines()[0].startswith("remove ")


# --- what holds things


def test_what_a_build_uses_now_stays_with_all_below_it() -> None:
    held = held_of(*changed(BUILT, "build", in_use=True))
    assert of(held) == ALL - {"build", "source", "cook", "install", "base"}
    assert kept(plan_clean(held, Wish()))["build"] == "a build uses it now"
    assert kept(plan_clean(held, Wish()))["cook"] == "what stays stands on it"


def test_a_running_containers_image_stays_and_what_it_may_be_made_of() -> None:
    records = changed(changed(BUILT, "build", shared=True), "bundle", shared=True)
    images = [
        image("app", "shop/app:dev", containers=["shop-app-1"]),
        image("web", "shop/web:dev", service="web"),
    ]
    plan = plan_clean(held_of(*records, images=images), Wish())
    assert kept(plan)["app"] == "container shop-app-1 stands on it"
    assert kept(plan)["build"] == "shop/app:dev may hold it and stays"
    assert gone(plan) == {"web", "bundle", "pages", "ci", "modules", "target", "deps", "registry"}


def test_layers_of_images_stay_where_only_builds_are_asked_for() -> None:
    records = changed(BUILT, "build", shared=True)
    plan = plan_clean(held_of(*records, images=[image("app", "shop/app:dev")]), BUILD)
    assert "an image holds it" in kept(plan)["build"]
    assert gone(plan) == ALL - {"build", "source", "cook", "install", "base"}


def test_a_name_that_somebody_gave_keeps_the_image() -> None:
    plan = plan_clean(held_of(images=[image("app", "shop/app:dev", "demo:1")]), Wish())
    assert kept(plan) == {"app": "somebody named it demo:1"}


def test_a_stand_in_stays_with_an_image_on_it_that_does() -> None:
    rust = image("rust", "kiro-standin/rust:1.95", "rust:1.95", checkout="", labels={LABEL: "rust:1.95"})
    root = image("root", ROOT_IMAGE, checkout="")
    stacks = {"root": (("r", 1),), "rust": (("r", 1), ("s", 2)), "app": (("r", 1), ("s", 2), ("a", 3))}
    for app, whole in (
        (image("app", "shop/app:dev"), {"root", "rust", "app"}),
        (image("app", "shop/app:dev", containers=["c"]), set()),
        (image("app", "mine:1"), set()),
    ):
        held = held_of(images=[root, rust, app], layers=stacks, bases=("rust:1.95",))
        assert of(held, IMAGES) == whole, app
        if not whole:
            assert kept(plan_clean(held, IMAGES))["rust"].endswith("stands on it and stays")
    commit = image("commit", checkout=OURS)
    held = held_of(
        images=[root, rust, commit], layers={**stacks, "commit": stacks["app"]}, bases=("rust:1.95",)
    )
    assert of(held) == set()


# --- --service


def test_of_one_service_goes_what_is_its_alone() -> None:
    held = held_of(*BUILT, images=[image("app", "shop/app:dev"), image("old", "shop/web:dev", service="web")])
    plan = plan_clean(held, Wish(services=frozenset({"web"})))
    assert gone(plan) == {"old", "modules", "ci", "pages", "bundle"}
    assert kept(plan)["app"] == "it is of another service"
    assert kept(plan)["registry"] == "it is of another service"
    assert of(held, Wish(services=frozenset({"app"}))) == {"app", "deps", "target", "cook", "source", "build"}
    assert of(held, Wish(services=frozenset({"app", "web"}))) == ALL | {"app", "old"}


def test_what_is_of_no_service_stays_where_one_is_asked_for() -> None:
    copied = mount("copied", "x", namespace=COPY)
    plan = plan_clean(held_of(copied), Wish(services=frozenset({"app"})))
    assert kept(plan) == {"copied": "it is of another service"}
    unknown = held_of(mount("m", name="no service has it"))
    assert kept(plan_clean(unknown, Wish(services=frozenset({"app"})))) == {"m": "it is not of one service"}


# --- --older-than


def test_what_was_used_since_stays_with_what_it_stands_on() -> None:
    held = held_of(*BUILT)
    assert of(held, Wish(unused_since=8.5)) == {"cook", "source", "build", "deps", "target"} | {"modules"}
    assert kept(plan_clean(held, Wish(unused_since=8.5)))["install"] == "it was used since"
    assert of(held, Wish(unused_since=11)) == ALL
    assert of(held, Wish(unused_since=1)) == set()


def test_a_mount_is_as_old_as_the_last_step_that_had_it() -> None:
    """To the engine, weighing a mount is a use, and being written to is none."""
    weighed = changed(BUILT, "modules", used=1000.0)
    assert "modules" in of(held_of(*weighed), Wish(unused_since=20))
    again = (*BUILT, layer("bundle2", "pages", "npm ci", at=50))
    assert "modules" not in of(held_of(*again, made=MADE | {"bundle2"}), Wish(unused_since=20))


def test_an_image_is_as_old_as_it_is() -> None:
    held = held_of(images=[image("app", "shop/app:dev", created=10), image("old", created=1)])
    assert of(held, Wish(unused_since=5)) == {"old"}


# --- --max-size


def test_what_was_used_longest_ago_goes_first_until_it_fits() -> None:
    held = held_of(*BUILT)
    whole = held.bytes_of(held.ours)
    assert of(held, Wish(at_most=whole)) == set()
    assert of(held, Wish(at_most=whole - 1)) == {"deps"}
    assert of(held, Wish(at_most=whole - 51)) == {"deps", "target"}
    assert of(held, Wish(at_most=whole - 91)) == {"deps", "target", "build"}
    assert of(held, Wish(at_most=0)) == ALL
    assert kept(plan_clean(held, Wish(at_most=whole)))["deps"] == "there is room for it"


def test_the_size_is_of_what_was_asked_for() -> None:
    held = held_of(*BUILT, images=[image("app", "shop/app:dev", size=9000)], layers={"app": (("b", 9000),)})
    web = Wish(services=frozenset({"web"}))
    its = sum(item(held, id).size for id in ("ci", "modules", "pages", "bundle"))
    assert of(held, replace(web, at_most=its)) == set()
    assert of(held, replace(web, at_most=its - 1)) == {"modules"}
    assert of(held, Wish(What.BUILD, at_most=1000)) == set()
    assert of(held, Wish(What.IMAGES, at_most=8999)) == {"app"}
    assert of(held, Wish(What.IMAGES, at_most=9000)) == set()


def test_an_image_leaves_to_the_cache_what_that_holds_as_well() -> None:
    records = tuple(replace(r, shared=r.kind == LAYER, size=100 if r.kind == LAYER else 0) for r in BUILT)
    stack = (("l", sum(record.size for record in records)),)
    held = held_of(*records, images=[image("app", "shop/app:dev", created=1)], layers={"app": stack})
    plan = plan_clean(held, Wish(at_most=500))
    layers = [going for going in plan.records if going.item.kind.value == "layers"]
    assert len(layers) == len(LAYERS) - 5
    assert plan.frees == 100 * len(layers)


def test_a_stand_in_goes_after_what_stands_on_it() -> None:
    rust = image("rust", "kiro-standin/rust:1.95", checkout="", created=1, labels={LABEL: "rust:1.95"})
    app = image("app", "shop/app:dev", created=50)
    held = held_of(
        images=[rust, app], layers={"rust": (("s", 2),), "app": (("s", 2), ("a", 3))}, bases=("rust:1.95",)
    )
    assert of(held, Wish(at_most=4)) == {"app"}
    assert of(held, Wish(at_most=1)) == {"app", "rust"}


# --- what it frees


def test_what_an_image_and_the_cache_hold_both_is_free_when_both_are_gone() -> None:
    records = changed(changed(BUILT, "build", shared=True), "cook", shared=True)
    stack = (("cook", 30), ("build", 10), ("base", 500))
    held = held_of(
        *records, images=[image("app", "shop/app:dev"), image("x", checkout="")],
        layers={"app": stack, "x": (("base", 500), ("x", 1))},
    )  # fmt: skip
    cache = sum(record.size for record in records) - 40
    assert plan_clean(held, Wish()).frees == cache + 40
    assert plan_clean(held, IMAGES).frees == 0
    assert plan_clean(held, BUILD).frees == cache - 100 - 2


def test_what_an_image_that_stays_holds_is_not_free_and_nothing_else_for_that() -> None:
    records = changed(changed(BUILT, "build", shared=True), "bundle", shared=True)
    web = image("old", "shop/web:dev", service="web")
    app = image("app", "shop/app:dev", containers=["c"])
    held = held_of(*records, images=[web, app], layers={"old": (("bundle", 5),), "app": (("build", 10),)})
    plan = plan_clean(held, Wish())
    assert plan.frees == sum(record.size for record in records if record.id in gone(plan))


def test_what_an_image_of_others_holds_as_well_is_not_taken_from_what_is_free() -> None:
    records = changed(changed(BUILT, "build", shared=True), "install", shared=True)
    stack = (("install", 100), ("build", 10))
    held = held_of(
        *records, layer("theirs", "install", "x", shared=True),
        images=[image("app", "shop/app:dev"), image("x", checkout="")],
        layers={"app": stack, "x": (("install", 100), ("x", 1))},
    )  # fmt: skip
    plan = plan_clean(held, Wish())
    assert plan.frees == sum(record.size for record in records if record.id in gone(plan))


def test_a_stand_in_that_stays_holds_no_layers_of_services() -> None:
    records = changed(BUILT, "build", shared=True)
    rust = image("rust", "kiro-standin/rust:1.95", "mine:1", checkout="", labels={LABEL: "rust:1.95"})
    held = held_of(*records, images=[image("app", "shop/app:dev"), rust], bases=("rust:1.95",))
    assert of(held) == ALL | {"app"}


def test_causes_are_told_once_for_all_that_have_them() -> None:
    plan = plan_clean(held_of(*BUILT), Wish())
    assert {cause: len(some) for cause, some in by_cause(plan.records)} == {
        "made by this checkout's builds": 8,
        "a mount of this checkout": 4,
    }


# --- carried out

NAMES = ("shop/app:dev",)


class Shared(FakeEngine):
    """An engine whose image holds layers: as long as it is here, they are shared."""

    def __init__(self, records: Iterable[CacheRecord], images: Iterable[LocalImage], holds: set[str]) -> None:
        super().__init__({n: ImageFacts(i.id, i.labels, 1) for i in images for n in i.names})
        self.records, self.local_images, self.holds = tuple(records), tuple(images), holds
        self.interfering: Callable[[], None] = lambda: None

    def cache_records(self) -> tuple[CacheRecord, ...]:
        here = any(one.id == "sha256:app" for one in self.local_images)
        self.records = [replace(r, shared=here and r.id in self.holds) for r in self.records]
        return tuple(self.records)

    def look(self) -> Holdings:
        stack = tuple((r.id, r.size) for r in self.records if r.id in self.holds)
        held = holdings(facts(*self.cache_records(), images=self.local_images, layers={"app": stack}))
        self.interfering()
        return held

    def untag(self, name: str) -> None:
        super().untag(name)
        self.local_images = [
            replace(i, names=tuple(n for n in i.names if n != name)) for i in self.local_images
        ]

    def remove_image(self, id: str) -> bool:
        if any(one.id == id and one.names for one in self.local_images):
            return False
        return super().remove_image(id)


def test_images_go_first_and_what_they_held_with_the_next_reading() -> None:
    engine = Shared(BUILT, [image("app", *NAMES)], {"build", "source", "cook"})
    done = clean(engine, engine.look, Wish())
    assert {going.item.id for going in done.records} == ALL
    assert [going.item.id for going in done.images] == ["sha256:app"]
    assert engine.records == [] and not engine.local_images
    assert (done.left, done.keep) == ((), ())
    assert done.freed == sum(record.size for record in BUILT)


def test_what_others_make_meanwhile_stays_and_is_not_counted() -> None:
    engine = Shared(BUILT, [image("app", *NAMES)], {"build"})
    theirs = layer("theirs", "install", "their own", size=10_000)

    def interfering() -> None:
        if not any(record.id == "theirs" for record in engine.records):
            engine.records = [*engine.records, theirs]

    engine.interfering = interfering
    done = clean(engine, engine.look, Wish())
    assert {record.id for record in engine.records} == {"theirs", "install", "base"}
    assert done.freed == sum(record.size for record in BUILT) - 101


def test_a_name_that_a_build_gave_to_another_image_meanwhile_stays() -> None:
    engine = Shared((), [image("app", *NAMES)], set())

    def interfering() -> None:
        if engine.images["shop/app:dev"].id == "sha256:app":
            engine.images["shop/app:dev"] = ImageFacts("sha256:new", {}, 1)
            engine.local_images = [image("app"), image("new", *NAMES, checkout=THEIRS)]

    engine.interfering = interfering
    clean(engine, engine.look, Wish())
    assert [one.id for one in engine.local_images] == ["sha256:new"]
    assert engine.untagged == []


def test_an_image_that_a_container_is_made_of_meanwhile_is_told_as_left() -> None:
    engine = Shared((), [image("app", *NAMES)], set())

    def refusing(_name: str) -> None:
        raise EngineError("the engine refused: 409 conflict")

    engine.images["sha256:app"] = engine.images["shop/app:dev"]
    engine.untag = refusing  # type: ignore[method-assign,assignment]
    done = clean(engine, engine.look, Wish())
    assert [going.item.id for going in done.left] == ["sha256:app"]
    assert (done.images, done.freed) == ((), 0)


def test_what_the_engine_does_not_let_go_is_told_as_left() -> None:
    engine = Shared(BUILT, [], set())
    engine.prune = lambda ids: frozenset()  # type: ignore[method-assign]
    done = clean(engine, engine.look, Wish())
    assert {going.item.id for going in done.left} == ALL
    assert done.freed == 0


def test_a_measured_copys_layers_are_of_no_service() -> None:
    """A refresh removes what a service's builds do not use any more: what measurements keep is not replaced by it."""
    copys = (
        layer("copy-base", text="from local "),
        layer("copy-cook", "copy-base", "cook"),
        mount("copy-target", "copy-cook", "app-target", COPY),
        layer("copy-source", "copy-cook", "COPY . ."),
    )
    held = held_of(*copys, made=frozenset())
    wish = Wish(What.BUILD, frozenset({"app", "web"}), unused_since=100.0, kinds=frozenset({Kind.LAYER}))
    assert gone(plan_clean(held, wish)) == set()
    assert gone(plan_clean(held, Wish(What.BUILD))) == {record.id for record in copys}


def test_an_engine_that_goes_away_in_the_middle_leaves_it_said_what_is_gone() -> None:
    engine = Shared(BUILT, [image("app", *NAMES)], {"build"})

    def gone_away(_ids: object) -> frozenset[str]:
        raise EngineError("the engine refused")

    engine.prune = gone_away  # type: ignore[method-assign,assignment]
    told = r"refused \(by then, 1 images and at least 0 layers and mounts were removed\)"
    with pytest.raises(EngineError, match=told):
        clean(engine, engine.look, Wish())
    with pytest.raises(EngineError, match=r"^the engine refused$"):
        clean(engine, engine.look, Wish(What.BUILD))


# --- whatever there is

NAMESPACES = (OURS, THEIRS, COPY, "", f"{OURS}-x-2222222222")


@st.composite
def worlds(draw: st.DrawFn) -> Facts:
    """An engine with records on each other in any way, and images of anybody."""
    records: list[CacheRecord] = []
    for number in range(draw(st.integers(0, 14))):
        parents = draw(st.sets(st.sampled_from([r.id for r in records]), max_size=2)) if records else set()
        flags = {name: draw(st.booleans()) and draw(st.booleans()) for name in ("in_use", "shared")}
        at = float(draw(st.integers(0, 9)))
        if draw(st.booleans()):
            name = draw(st.sampled_from(("app-target", "app-deps", "/root/.npm", "registry", "else")))
            one = mount(f"r{number}", "", name, draw(st.sampled_from(NAMESPACES)), at=at, size=5, **flags)
        else:
            text = draw(st.sampled_from((*STEPS, "their own", "from local ", "pulled from x")))
            one = layer(f"r{number}", "", text, at=at, size=3, **flags)
        records.append(replace(one, parents=tuple(sorted(parents))))
    made = frozenset(draw(st.sets(st.sampled_from([r.id for r in records])))) if records else frozenset()
    stack = st.lists(st.sampled_from("abc"), max_size=3).map(lambda ids: tuple((id, 7) for id in ids))
    images: list[LocalImage] = []
    layers: dict[str, tuple[tuple[str, int], ...]] = {}
    for id in draw(st.lists(st.sampled_from(("app", "old", "x", "y")), unique=True)):
        layers[id] = draw(stack)
        names = draw(st.lists(st.sampled_from(("shop/app:dev", "shop/web:dev", "mine:1")), unique=True))
        images.append(
            image(
                id, *names, checkout=draw(st.sampled_from((OURS, THEIRS, COPY, "other-1", ""))),
                project=draw(st.sampled_from(("shop", "other"))),
                service=draw(st.sampled_from(("app", "web"))), created=float(draw(st.integers(0, 9))),
                containers=draw(st.sampled_from(((), (), ("c",)))),
            )
        )  # fmt: skip
    return facts(*records, images=images, layers=layers, made=made)


WISHES = st.builds(
    Wish,
    st.sampled_from(What),
    st.sets(st.sampled_from(("app", "web"))).map(frozenset),
    st.none() | st.integers(0, 10).map(float),
    st.none() | st.integers(0, 60),
)


@settings(max_examples=300, deadline=None)
@given(worlds(), WISHES)
def test_whatever_is_asked_for_nothing_of_others_goes_and_nothing_that_they_stand_on(
    read: Facts, wish: Wish
) -> None:
    held = holdings(read)
    plan = plan_clean(held, wish)
    going = {one.item.id for one in plan.records}
    graph = Graph(read.records)
    # of ours, what builds made here and what our Dockerfiles say; of mounts, those of our namespaces. A measured copy
    # has base images of its own: nobody else's layer is on what its mounts are seeded from
    copies = [record for record in read.records if f'id "{COPY}/' in record.description]
    copied = {one for record in copies for seed in record.parents for one in graph.below(seed)}
    for id in going:
        record = graph.by_id[id]
        if record.kind == MOUNT:
            assert f'id "{OURS}/' in record.description or f'id "{COPY}/' in record.description
        elif id not in copied:
            known = id in read.made or bool(read.said.services_of(record))
            assert known or record.description.startswith("from local"), record
        assert not record.in_use
        assert not record.description.startswith("pulled")
    assert not graph.above(graph.by_id.keys() - going) & going, "what stays stands on it"
    places = {one.item.id: place for place, one in enumerate(plan.records)}
    for id, place in places.items():
        assert all(places.get(parent, place + 1) > place for parent in graph.by_id[id].parents)
    images = {one.id: one for one in read.images}
    for one in plan.images:
        found = images[one.item.id]
        assert found.labels[LABEL_PROJECT] == "shop"
        assert found.labels["dev.kiro.checkout"] == OURS
        assert not found.in_use
        assert "mine:1" not in found.names
        assert found.names or found.id in read.owner.images
    told = {one.item.id for one in (*plan.images, *plan.records, *plan.keep)}
    assert told == held.by_id.keys()
    assert 0 <= plan.frees <= held.bytes_of(held.items)


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_without_an_upper_bound_it_goes_as_far_as_any_bound_could_ask(read: Facts) -> None:
    held = holdings(read)
    whole = gone(plan_clean(held, Wish()))
    for bound in (0, 5, 20):
        assert gone(plan_clean(held, Wish(at_most=bound))) <= whole
    assert gone(plan_clean(held, Wish(unused_since=100.0))) == whole
