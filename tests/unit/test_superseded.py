"""What of an engine's cache and images a checkout has superseded: decided on records, also on recorded ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.cache.namespaces import clean_namespace
from kiro_invoke.cache.records import LAYER, MOUNT, Graph, mount_id
from kiro_invoke.cache.superseded import (
    CLEAN_SECONDS,
    Owner,
    Superseded,
    superseded_images,
    superseded_records,
)
from kiro_invoke.engine.answers import cache_record
from kiro_invoke.engine.protocol import CacheRecord, LocalImage

OURS, THEIRS = "shop-1111111111", "shop-2222222222"
OWNER = Owner("shop", OURS, frozenset({"app"}), {"app-deps": False, "app-target": True})
#: The records of an engine after three changes of dependencies and two of sources in one checkout, and one
#: build of another that shares the second's dependencies.
RECORDED = tuple(map(cache_record, json.loads((Path(__file__).parent / "data/build_cache.json").read_text())))
NOW = 10_000.0


def layer(id: str, parent: str = "", text: str = "", *, at: float = 0, used: float = 0) -> CacheRecord:
    return CacheRecord(
        id, LAYER, text or f"mount / from exec /bin/sh -c make {id}", tuple(filter(None, (parent,))),
        size=1, created=at, used=used,
    )  # fmt: skip


def mount(
    id: str, parent: str, *, name: str = "app-target", namespace: str = OURS, at: float = 0, used: float = 0
) -> CacheRecord:
    said = f'cached mount /app/target from exec /bin/sh -c make with id "{namespace}/{name}"'
    return CacheRecord(id, MOUNT, said, (parent,), size=1, created=at, used=used)


def generation(number: int, *, base: str = "toolchain", namespace: str = OURS) -> tuple[CacheRecord, ...]:
    """A changed dependency: the recipe's copy, the cooked layer, its mount, and what a build made on it."""
    at, n = number * 10.0, str(number)
    return (
        layer(f"recipe{n}", base, f"[cook {number}/2] COPY --from=planner /recipe /recipe", at=at),
        layer(f"cook{n}", f"recipe{n}", "mount / from exec /bin/sh -c cook", at=at + 1),
        mount(f"target{n}", f"cook{n}", namespace=namespace, at=at + 2),
        layer(f"sources{n}", f"cook{n}", "[build 1/2] COPY . .", at=at + 3),
        layer(f"program{n}", f"sources{n}", "mount / from exec /bin/sh -c build", at=at + 4),
    )


TOOLCHAIN = (layer("root", text="from local "), layer("toolchain", "root", "mount / from exec install"))


def cache(*numbers: int) -> tuple[CacheRecord, ...]:
    return (*TOOLCHAIN, *(record for number in numbers for record in generation(number)))


def changed(records: tuple[CacheRecord, ...], id: str, **fields: object) -> tuple[CacheRecord, ...]:
    assert any(record.id == id for record in records)
    return tuple(replace(r, **fields) if r.id == id else r for r in records)  # type: ignore[arg-type]


def plan(records: tuple[CacheRecord, ...], *, made: frozenset[str] = frozenset()) -> Superseded:
    found = superseded_records(records, OWNER, made=made, now=NOW)
    order = [item.id for item in found.remove]
    parents = {record.id: record.parents for record in records}
    for place, id in enumerate(order):
        assert not set(parents[id]) & set(order[:place]), f"{id} goes after what it was made on"
    assert not set(order) & {item.id for item in found.keep}
    return found


def gone(records: tuple[CacheRecord, ...], *, made: frozenset[str] = frozenset()) -> set[str]:
    return {item.id for item in plan(records, made=made).remove}


def ids(*numbers: int) -> set[str]:
    return {f"{what}{n}" for n in numbers for what in ("recipe", "cook", "target", "sources", "program")}


# --- dependencies


def test_the_last_two_dependency_layers_stay_with_all_that_was_made_on_them() -> None:
    assert gone(cache(1, 2)) == set()
    assert gone(cache(1, 2, 3, 4)) == ids(1, 2)


def test_last_means_used_last_not_made_last() -> None:
    assert gone(changed(cache(1, 2, 3), "program1", used=99)) == ids(2)
    late = layer("late1", "sources1", at=99)
    assert gone((*cache(1, 2, 3), late)) == ids(2)


def test_what_a_mounts_record_says_of_its_use_tells_nothing() -> None:
    """To the engine, adding up the sizes of its mounts is a use of each: first of the newest, it may be."""
    records = cache(1, 2, 3, 4)
    for number, used in ((4, 90), (3, 91), (2, 92), (1, 93)):
        records = changed(records, f"target{number}", used=used)
    assert gone(records) == ids(1, 2)


@pytest.mark.parametrize("id", ["target1", "cook1", "sources1", "program1", "recipe1"])
def test_what_is_in_use_stays_with_what_it_was_made_on(id: str) -> None:
    records = changed(cache(1, 2, 3), id, in_use=True)
    assert id not in gone(records)
    assert not gone(records) & Graph(records).above([id])


def test_mounts_in_use_count_as_used_last() -> None:
    assert gone(changed(cache(1, 2, 3), "target1", in_use=True)) == ids(2)
    records = cache(1, 2, 3)
    for number in (1, 2, 3):
        records = changed(records, f"target{number}", in_use=True)
    assert not gone(records) & {"target1", "target2", "target3"}


@pytest.mark.parametrize("id", ["cook1", "program1"])
def test_what_an_image_holds_stays_with_what_it_was_made_on(id: str) -> None:
    records = changed(cache(1, 2, 3), id, shared=True)
    assert not gone(records) & Graph(records).above([id])
    assert "target1" in gone(records)


def test_a_mount_waits_for_what_an_image_holds_where_nothing_else_tells_whose_that_is() -> None:
    """Another checkout builds the same: only by the mount it is known that the layers are ours."""
    theirs = generation(9, namespace=THEIRS)
    held = changed((*cache(1, 2, 3), *theirs), "program1", shared=True)
    assert gone(held) == set()
    kept = {item.id: item.cause for item in plan(held).keep}
    assert kept["target1"] == "what was made on its dependency layer is still held"
    assert gone(changed(held, "program1", shared=False)) == ids(1)


def test_each_goes_and_stays_with_its_cause() -> None:
    rows = str(plan(cache(1, 2, 3))).splitlines()
    assert "remove mount app-target: 2 mounts app-target were used since" in rows
    gone_cause = "of a dependency layer that no mount is seeded from any more"
    assert f"remove mount / from exec /bin/sh -c cook: {gone_cause}" in rows
    assert "remove COPY --from=planner /recipe /recipe: nothing that stays was made on it" in rows
    assert rows.count("keep   mount app-target: one of the last 2 used") == 2
    assert any(row.endswith("/bin/sh -c build: one of the last 2 results of its step") for row in rows)


def test_a_toolchain_is_anybodys() -> None:
    """A mount seeded from it tells nothing of what else was made on it."""
    records = (*TOOLCHAIN, *(mount(f"deps{n}", "toolchain", name="app-deps", at=n + 1) for n in range(4)))
    others = tuple(layer(f"other{n}", "toolchain", "[a 1/1] COPY . .", at=n) for n in range(4))
    assert gone((*records, *others)) == {"deps0", "deps1"}


def test_a_run_below_the_dependencies_is_anybodys() -> None:
    records = (*TOOLCHAIN, layer("old", "root"), *generation(1, base="old"), *generation(2), *generation(3))
    assert gone(records) == ids(1)


def test_a_run_below_the_dependencies_that_our_builds_made_goes_with_them() -> None:
    """Also where somebody else builds the same steps: on what they use, something of theirs was made."""
    crates = [layer(f"crates{n}", "toolchain", "mount / from exec fetch", at=n * 10) for n in (1, 2, 3)]
    generations = [record for n in (1, 2, 3) for record in generation(n, base=f"crates{n}")]
    records = (*TOOLCHAIN, *crates, *generations, mount("theirs", "cook3", namespace=THEIRS))
    made = frozenset({"crates1", "crates2", "crates3"})
    assert gone(records) == ids(1)
    assert gone(records, made=made) == ids(1) | {"crates1"}
    built_on = (*records, layer("other", "crates1", "mount / from exec other"))
    assert gone(built_on, made=made) == ids(1)


# --- others


def test_a_mount_of_another_namespace_keeps_all_that_it_hangs_on() -> None:
    records = (*cache(1, 2, 3), mount("theirs", "cook1", namespace=THEIRS))
    assert gone(records) == {"target1"}


@pytest.mark.parametrize("said", ["/app-target", "shop-11111111112/app-target", f"{OURS}x/app-target"])
def test_another_namespace_is_one_that_differs_at_all(said: str) -> None:
    theirs = replace(mount("theirs", "cook1"), description=f'cached mount /t from exec make with id "{said}"')
    assert "theirs" not in gone((*cache(1, 2, 3), theirs))
    assert gone((*cache(1, 2, 3), theirs)) == {"target1"}


def test_a_mount_that_no_dockerfile_names_stays_with_what_it_hangs_on() -> None:
    records = (*cache(1, 2, 3), mount("renamed", "cook1", name="app-former"))
    assert gone(records) == {"target1", "sources1", "program1"}


def test_nobody_elses_cache_is_touched() -> None:
    theirs = tuple(
        replace(record, id=f"x-{record.id}", parents=tuple(f"x-{p}" for p in record.parents))
        for number in range(1, 5)
        for record in generation(number, base="base", namespace=THEIRS)
    )
    assert gone((*theirs, layer("x-base"))) == set()


def test_a_record_that_cannot_be_read_belongs_to_somebody_else() -> None:
    odd = replace(mount("odd", "cook1"), description="cached mount /t from exec make with id somewhere")
    assert gone((*cache(1, 2, 3), odd)) == {"target1"}


# --- sources


def edits(*numbers: int) -> tuple[CacheRecord, ...]:
    """Builds of changed sources on the second dependency layer."""
    return tuple(
        record
        for n in numbers
        for record in (
            layer(f"edit{n}", "cook2", f"[{'dev' if n % 2 else 'build'} 1/2] COPY . .", at=100 + n),
            layer(f"made{n}", f"edit{n}", "mount / from exec /bin/sh -c build", at=100.5 + n),
        )
    )


def test_of_each_step_the_last_two_results_stay() -> None:
    """Twins of one step in two stages are one: the engine names either."""
    records = (*cache(1, 2), *edits(1, 2, 3))
    assert gone(records) == {"sources1", "program1", "sources2", "program2", "edit1", "made1"}


def test_a_result_that_something_newer_was_made_on_is_not_old() -> None:
    """The engine does not note that a parent was used."""
    records = (*cache(1, 2), *edits(1, 2, 3), layer("late", "edit1", "mount / from exec sh -c late", at=500))
    assert not gone(records) & {"edit1", "late"}
    assert "made1" in gone(records)


def test_other_steps_do_not_count_against_each_other() -> None:
    tests = (layer("tests", "cook2", at=1), layer("lints", "cook2", at=1))
    assert not gone((*cache(1, 2), *edits(1, 2, 3), *tests)) & {"tests", "lints"}


# --- what builds were seen to make


def planners(count: int) -> tuple[CacheRecord, ...]:
    return tuple(layer(f"plan{n}", "toolchain", "[planner 1/1] COPY . .", at=n) for n in range(count))


def test_layers_beside_the_dependencies_go_only_if_our_builds_made_them() -> None:
    records = (*TOOLCHAIN, *planners(5))
    assert gone(records) == set()
    assert gone(records, made=frozenset({"plan0", "plan1", "plan3"})) == {"plan0"}
    assert gone(records, made=frozenset(f"plan{n}" for n in range(5))) == {"plan0", "plan1", "plan2"}


def test_our_layer_that_somebody_built_on_stays() -> None:
    records = (*TOOLCHAIN, *planners(5), layer("theirs", "plan0"))
    assert "plan0" not in gone(records, made=frozenset(f"plan{n}" for n in range(5)))


def test_what_was_made_and_is_no_more_is_no_matter() -> None:
    assert gone(cache(1, 2), made=frozenset({"lost", "target1"})) == set()


# --- other checkouts, whose mounts the engine has dropped


def gone_beside(records: tuple[CacheRecord, ...], made: set[str]) -> set[str]:
    found = superseded_records(records, OWNER, made=made, now=NOW, others=("lend-3333333333",))
    return {item.id for item in found.remove}


def test_what_others_may_have_made_on_our_dependency_layer_stays() -> None:
    """A clone in another folder has another project's name, and nothing tells of its layers but that they are there."""
    seen = ids(1, 2, 3) - {f"target{n}" for n in (1, 2, 3)}
    theirs = layer("theirs", "cook1", "[build 1/2] COPY . .", at=5)
    assert "theirs" in gone((*cache(1, 2, 3), theirs), made=frozenset(seen))
    assert gone_beside((*cache(1, 2, 3), theirs), seen) == {"target1", "sources1", "program1"}
    assert gone_beside(cache(1, 2, 3), seen) == ids(1)


def test_beside_others_only_what_was_seen_to_be_made_here_goes() -> None:
    assert gone_beside(cache(1, 2, 3), set()) == {"target1"}
    assert gone_beside(cache(1, 2, 3), {"cook1", "sources1", "program1"}) == ids(1) - {"recipe1"}


# --- clean builds


@pytest.mark.parametrize(
    ("age", "in_use", "goes"), [(CLEAN_SECONDS + 1, False, True), (5, False, False), (9e3, True, False)]
)
def test_a_clean_builds_mounts_go_when_it_is_surely_over(age: float, in_use: bool, goes: bool) -> None:
    clean = replace(mount("clean", "cook2", namespace=clean_namespace(OURS, 1), at=NOW - age), in_use=in_use)
    assert gone((*cache(1, 2), clean)) == ({"clean"} if goes else set())


# --- namespaces that were replaced


NEWER, NEWEST = f"{OURS}-r{1:016x}", f"{OURS}-r{2:016x}"


def gone_of(records: tuple[CacheRecord, ...], **known: object) -> set[str]:
    whose = replace(OWNER, **known)  # type: ignore[arg-type]
    return {item.id for item in superseded_records(records, whose, made=frozenset(), now=NOW).remove}


@pytest.mark.parametrize(
    ("age", "changed", "in_use", "goes"),
    [
        (CLEAN_SECONDS + 1, 9e3, False, True),
        (5, 9e3, False, False),
        (9e3, CLEAN_SECONDS - 1, False, False),
        (9e3, 9e3, True, False),
    ],
    ids=["replaced", "just made: a build tries it", "just replaced: a build may use it", "in use"],
)
def test_mounts_of_a_replaced_namespace_go_when_no_build_can_use_them(
    age: float, changed: float, in_use: bool, goes: bool
) -> None:
    left = replace(mount("left", "cook2", namespace=NEWER, at=NOW - age), in_use=in_use)
    now = mount("now", "cook2", namespace=NEWEST, at=NOW - age)
    found = gone_of((*cache(1, 2), left, now), current={OURS, NEWEST}, changed=NOW - changed)
    assert found == ({"left"} if goes else set())


def test_the_checkouts_own_namespace_is_replaced_where_no_service_is_left_in_it() -> None:
    left, now = (
        mount("left", "toolchain", name="app-deps"),
        mount("now", "toolchain", name="app-deps", namespace=NEWER),
    )
    assert gone_of((*TOOLCHAIN, left, now), current={NEWER}) == {"left"}
    assert gone_of((*TOOLCHAIN, left, now), current={OURS, NEWER}) == set()


def test_services_in_several_namespaces_do_not_count_for_each_other() -> None:
    """A registry that three share by its id: each has its own, and needs it."""
    used = {OURS, NEWER, NEWEST}
    mounts = [mount(f"of-{one}", "toolchain", name="app-deps", namespace=one, at=5) for one in used]
    assert gone_of((*TOOLCHAIN, *mounts), current=used) == set()


def test_our_own_other_namespaces_are_nobody_elses() -> None:
    records = (*cache(1, 2, 3, 4), mount("now", "cook1", namespace=NEWER))
    found = gone_of(records, current={OURS, NEWER})
    assert not found & {"now", "cook1", "recipe1"}
    assert found >= {"target1", *ids(2)}
    assert gone_of(cache(1, 2, 3, 4), current={OURS, NEWER}) == ids(1, 2)


# --- recorded


def test_a_real_engines_records_are_read() -> None:
    graph = Graph(RECORDED)
    cooked = [r for r in RECORDED if "target/dependencies" in r.description and r.kind == LAYER]
    assert len(cooked) == 3
    hanging = {mount_id(graph.by_id[id].description) for r in cooked for id in graph.below(r.id)} - {None}
    assert hanging == {(OURS, "app-target"), (THEIRS, "app-target")}
    assert all(record.parents[0] in graph.by_id for record in cooked)
    assert all(1.7e9 < record.created <= record.used or record.used == 0 for record in RECORDED)


def test_on_a_real_engines_records_ours_go_and_what_is_shared_stays() -> None:
    # as they are once the images that lost their names are gone
    records = tuple(replace(record, shared=False) for record in RECORDED)
    graph = Graph(records)
    goes = gone(records)
    theirs = next(
        r.id for r in records if r.kind == MOUNT and THEIRS in r.description and "-target" in r.description
    )
    assert goes
    assert not goes & graph.above([theirs])
    targets = [r for r in records if mount_id(r.description) == (OURS, "app-target")]
    assert [r.id in goes for r in sorted(targets, key=lambda r: r.created)] == [True, False, False]
    assert gone(RECORDED) <= goes


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ('cached mount /t from exec x with id "ns/a"', ("ns", "a")),
        ('cached mount /t from exec x with id "/a"', ("", "a")),
        ('cached mount /t from exec x with id "ns//root/.npm"', ("ns", "/root/.npm")),
        ('cached mount /t from exec x with id "no" with id "ns/a\\"b"', None),
        ('from exec echo \'with id "ns/x"\' with id "ns/a"', None),
        ("cached mount /t from exec x", None),
        ('with id "ns"', None),
    ],
)
def test_a_mounts_namespace_and_id(said: str, known: tuple[str, str] | None) -> None:
    assert mount_id(said) == known


# --- images


def image(id: str, at: float, *names: str, in_use: bool = False, **labels: str) -> LocalImage:
    own = {"project": "shop", "checkout": OURS, "service": "app", **labels}
    return LocalImage(
        id, names, {f"dev.kiro.{name}": value for name, value in own.items()}, at, in_use=in_use
    )


def removed(*images: LocalImage, of_others: frozenset[str] = frozenset()) -> list[str]:
    built = frozenset(image.id for image in images) - of_others
    return [item.id for item in superseded_images(images, replace(OWNER, images=built)).remove]


def test_images_that_lost_their_names_go_but_for_the_newest() -> None:
    named = image("d", 40, "shop/app:dev")
    assert removed(image("a", 10), image("b", 20), image("c", 30), named) == ["a", "b"]
    assert removed(image("b", 20), image("a", 10)) == []
    assert removed(image("a", 40), image("b", 40), named) == ["b"]


@pytest.mark.parametrize(
    "kept",
    [
        image("k", 1, "shop/app:old"),
        image("k", 1, "shop/app@sha256:1"),
        image("k", 1, in_use=True),
        image("k", 1, project="other"),
        image("k", 1, checkout=THEIRS),
        image("k", 1, checkout=""),
        image("k", 1, service="other"),
        LocalImage("k", (), {}, 1),
    ],
    ids=["named", "by digest", "in use", "project", "checkout", "no checkout", "service", "not ours"],
)
def test_an_image_with_a_name_a_user_or_another_owner_stays(kept: LocalImage) -> None:
    assert removed(kept, image("a", 2), image("b", 3), image("c", 4)) == ["a"]


def test_an_image_that_only_inherited_our_labels_stays_and_takes_no_place() -> None:
    """A `docker commit` of our container has them all, and so has whatever is built FROM our image."""
    images = (image("a", 10), image("b", 20), image("theirs", 30), image("d", 40, "shop/app:dev"))
    assert removed(*images, of_others=frozenset({"theirs"})) == ["a"]
    old = (image("theirs", 1), image("a", 10), image("b", 20), image("d", 40, "shop/app:dev"))
    assert removed(*old, of_others=frozenset({"theirs"})) == ["a"]


def test_each_image_that_stays_has_its_cause() -> None:
    images = (image("a", 1, in_use=True), image("b", 2), image("c", 3, "shop/app:dev"))
    assert [
        item.cause for item in superseded_images(images, replace(OWNER, images=frozenset("abc"))).keep
    ] == [
        "a container stands on it",
        "one of the 2 newest",
        "it is shop/app:dev",
    ]


def test_a_copy_that_is_measured_is_nobody_else() -> None:
    """Its layers stand on base images of their own: none of them is one that we made."""
    edits = [
        layer(f"edit{n}", "toolchain", "mount / from exec /bin/sh -c again", at=50 + n) for n in range(5)
    ]
    records = (*cache(1), *edits, layer("apart", text="from local "))
    made = frozenset(edit.id for edit in edits)
    measured = replace(OWNER, apart=frozenset({THEIRS}))

    def removed(owner: Owner) -> set[str]:
        beside = (*records, mount("theirs", "apart", namespace=THEIRS))
        return {item.id for item in superseded_records(beside, owner, made=made, now=NOW).remove}

    assert removed(OWNER) == set()
    assert removed(measured) == {"edit0", "edit1", "edit2"}
