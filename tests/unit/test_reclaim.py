"""Which layers a build made, when to reclaim, and that it is done: on an engine in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.cache import reclaim
from kiro_invoke.cache.made import GATHERED_BYTES, layers_of, why_due
from kiro_invoke.cache.proving import PROVEN
from kiro_invoke.cache.reclaim import after_build, owner
from kiro_invoke.cache.records import LAYER, MOUNT
from kiro_invoke.cache.remembered import (
    LAYERS,
    RECKONED_BUILDS,
    CacheSize,
    Made,
    Reckoned,
    cache_size,
    must_read,
    note_failed,
    read_made,
    weight,
    write_made,
)
from kiro_invoke.engine.answers import cache_record
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import CacheRecord, LocalImage
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project, Service
from tests.unit.fakes import FACTS, FakeEngine

DATA = Path(__file__).with_name("data")
DOCKERFILE = """\
ARG PLATFORM=amd64
FROM debian:13-slim AS toolchain
RUN mkdir /empty
FROM toolchain AS planner
COPY . .
FROM toolchain AS tool
RUN --mount=type=cache,id=app-tool,target=/t,from=toolchain,source=/empty make tool
FROM toolchain AS cook
COPY --from=planner /recipe /recipe
RUN --mount=type=cache,id=app-deps-${PLATFORM},target=/deps,from=toolchain,source=/empty cook
FROM cook AS build
RUN --mount=type=bind,target=/app,rw --mount=type=cache,id=app-target,target=/t,from=cook,source=/target \\
    --mount=type=cache,target=/root/.npm --mount=type=cache,id=$UNKNOWN,target=/u build
"""


def step(
    text: str, *, stage: str = "build", at: float = 100.0, took: float = 1.0, cached: bool = False
) -> Step:
    return Step("app", stage, text, cached, took, at, at + took)


def layer(description: str, *, at: float = 100.5, id: str = "made", size: int = 1) -> CacheRecord:
    return CacheRecord(id, LAYER, description, created=at, size=size)


def made_by(records: Iterable[CacheRecord], steps: Iterable[Step]) -> frozenset[str]:
    return frozenset().union(*layers_of(records, steps).values())


# --- which layers a build made


def test_a_real_builds_layers_are_told_from_those_of_builds_before_it() -> None:
    recorded = map(cache_record, json.loads((DATA / "build_cache.json").read_text()))
    steps = tuple(Step(**row) for row in json.loads((DATA / "build_cache_steps.json").read_text()))
    # another build followed before they were read
    end = max(step.completed for step in steps) + 0.1
    records = tuple(record for record in recorded if record.created < end)
    made = made_by(records, steps)
    assert sorted(r.description[-30:] for r in records if r.id in made) == sorted(
        text[-30:]
        for text in (
            "[planner 1/2] COPY . .",
            "[planner 2/2] COPY deps.txt /recipe",
            "[build 1/2] COPY . .",
            "mount / from exec /bin/sh -c head -c 5000000 /dev/urandom >target/program && cp target/program /built",
            "[dev 1/1] COPY --from=build /built /built",
        )
    )


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("[dev 1/2] COPY . .", "COPY . ."),
        ("[build 1/2] COPY --from=a  /b /c", "COPY --from=a /b /c"),
        ("mount / from exec /bin/sh -c make  all", "RUN --network=none make all"),
        ("mount / from exec /bin/sh -c make", "RUN make"),
        (
            "mount / from exec /bin/sh -eu -c echo $X > /$X/d",
            "RUN --mount=type=cache,target=/1 echo 1 > /1/d",
        ),
        ("mount / from exec /bin/sh -c set -e\necho hi\n", "RUN <<EOF (set -e...)"),
        ("mount / from exec /bin/sh -c echo hi\n", "RUN --network=none <<EOF (echo hi)"),
    ],
)
def test_a_layer_is_known_by_its_steps_instruction(description: str, text: str) -> None:
    assert made_by([layer(description)], [step(text)]) == {"made"}


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("[dev 1/2] COPY . .", "COPY . /app"),
        ("[dev 1/2] COPY . .", "RUN COPY . ."),
        ("mount / from exec /bin/sh -c make", "RUN remake"),
        ("mount / from exec /bin/sh -c make", "RUN make all"),
        ("mount / from exec /bin/sh -c echo $X > /$X/d", "RUN echo 1 > /1/e"),
        ("mount / from exec /bin/sh -c echo $X > /$X/d", "RUN true > /1/d"),
        ("mount / from exec /bin/sh -c make", "COPY make"),
        ("mount / from exec /bin/sh -c false\n", "RUN <<EOF (set -e...)"),
    ],
)
def test_another_instructions_layer_is_not_taken_for_its_own(description: str, text: str) -> None:
    assert made_by([layer(description)], [step(text)]) == frozenset()


@pytest.mark.parametrize(("at", "own"), [(99.0, False), (99.95, True), (102.5, True), (120.0, False)])
def test_a_layer_is_a_steps_own_if_it_is_of_its_time(at: float, own: bool) -> None:
    assert bool(made_by([layer("[a 1/1] COPY . .", at=at)], [step("COPY . .")])) is own


def test_a_layer_that_another_build_may_have_made_at_the_same_time_is_left_out() -> None:
    twins = [layer("[a 1/1] COPY . .", id=id) for id in ("one", "two")]
    assert not made_by(twins, [step("COPY . .")])
    assert made_by(twins, [step("COPY . ."), step("COPY . .", stage="other")]) == {"one", "two"}


def test_what_was_cached_and_what_is_no_layer_was_not_made() -> None:
    assert not made_by([layer("[a 1/1] COPY . .")], [step("COPY . .", cached=True)])
    assert not made_by([layer("[a 1/1] FROM x")], [step("FROM x")])
    mount = CacheRecord("m", "exec.cachemount", "[a 1/1] COPY . .", created=100.5)
    assert not made_by([mount], [step("COPY . .")])


# --- when


@pytest.mark.parametrize(
    ("steps", "gathered", "why"),
    [
        (
            [step("RUN cook", stage="cook")],
            0,
            "stage cook ran: what its former result seeded is not used again",
        ),
        ([step("RUN mkdir /empty", stage="toolchain")], 0, "stage toolchain ran"),
        ([step("FROM debian:13-slim", stage="toolchain")], 0, ""),
        ([step("RUN cook", stage="cook", cached=True)], 0, ""),
        ([step("RUN build")], GATHERED_BYTES, ""),
        ([step("RUN build")], GATHERED_BYTES + 1, "1.0 GB of layers were made since the last time"),
    ],
)
def test_it_is_time_when_a_seed_was_replaced_or_much_has_gathered(
    steps: Sequence[Step], gathered: int, why: str
) -> None:
    found = why_due([parse(DOCKERFILE)], steps, gathered)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_a_seed_of_mounts_that_are_only_read_is_no_reason_by_itself() -> None:
    ran = [step("RUN cook", stage="cook")]
    for only in (",ro", ",readonly", ",readonly=true"):
        read = parse(DOCKERFILE.replace("from=cook,source=/target", f"from=cook,source=/target{only}"))
        assert why_due([read], ran, 0) == ""
        assert why_due([read], ran, GATHERED_BYTES + 1)


# --- whose


@pytest.fixture
def project(tmp_path: Path) -> Project:
    service = Service("app", tmp_path / "app", "shop/app", "other", None, tmp_path / "app/Dockerfile.fast")
    return Project(tmp_path, "shop", (service,))


@pytest.fixture
def recipes(project: Project) -> tuple[Recipe, ...]:
    path = project.services[0].fast_dockerfile
    assert path is not None
    return (Recipe(project.services[0], Profile.DEV, path, parse(DOCKERFILE)),)


def test_mounts_are_known_by_their_ids_and_whether_the_project_is_in_their_seed(
    project: Project, recipes: tuple[Recipe, ...]
) -> None:
    """A variable that only a stage knows tells no id: that mount stays."""
    found = owner(project, recipes)
    assert found.mounts == {
        "app-tool": False,
        "app-deps-amd64": False,
        "app-target": True,
        "/root/.npm": False,
    }
    assert (found.project, found.checkout, {*found.services}) == ("shop", project.checkout, {"app"})


def test_a_service_of_somebody_else_is_not_ours(project: Project, recipes: tuple[Recipe, ...]) -> None:
    stranger = Service("other", project.root, "x", "other", None, None)
    foreign = Recipe(stranger, Profile.DEV, project.root, recipes[0].parsed)
    assert owner(project, (foreign,)).mounts == {}
    assert owner(project, (foreign,)).services == set()


# --- done


def engine(project: Project, generations: int = 4) -> FakeEngine:
    """An engine after changes of dependencies: each left a cooked layer, a mount and an image."""
    found = FakeEngine()
    records = [CacheRecord("toolchain", LAYER, "mount / from exec /bin/sh -c mkdir /empty")]
    images = []
    for n in range(generations):
        cooked = CacheRecord(
            f"cook{n}", LAYER, "mount / from exec sh -c cook", ("toolchain",), size=100, created=n
        )
        said = f'cached mount /t from exec build with id "{project.checkout}/app-target"'
        mount = CacheRecord(f"target{n}", "exec.cachemount", said, (cooked.id,), size=10, created=n)
        records += [cooked, mount]
        own = {"dev.kiro.project": "shop", "dev.kiro.service": "app", "dev.kiro.checkout": project.checkout}
        images.append(LocalImage(f"image{n}", ("shop/app:dev",) if n == generations - 1 else (), own, n))
    found.records, found.local_images = records, images
    write_whole(project.state / PROVEN, json.dumps({"images": {}, "ids": [image.id for image in images]}))
    return found


COOKED = (step("RUN cook", stage="cook", at=3.0),)


def test_what_was_superseded_is_removed_and_weighed(project: Project, recipes: tuple[Recipe, ...]) -> None:
    ours = engine(project)
    done = after_build(ours, project, recipes, COOKED, ours.cache_records)
    assert done is not None
    assert (done.freed, sorted(done.images), sorted(done.records)) == (
        220, ["image0", "image1"], ["cook0", "cook1", "target0", "target1"],
    )  # fmt: skip
    assert done.cause.startswith("stage cook ran")
    assert {record.id for record in ours.records} == {"toolchain", "cook2", "target2", "cook3", "target3"}
    assert reclaim.reclaim(ours, project, recipes).freed == 0


def test_an_image_that_no_build_of_this_checkout_made_stays(
    project: Project, recipes: tuple[Recipe, ...]
) -> None:
    ours = engine(project)
    ours.local_images = [*ours.local_images, replace(ours.local_images[0], id="committed")]
    assert sorted(reclaim.reclaim(ours, project, recipes).images) == ["image0", "image1"]
    assert "committed" in {image.id for image in ours.local_images}


def test_images_go_first_because_the_cache_cannot_free_what_they_hold(
    project: Project, recipes: tuple[Recipe, ...]
) -> None:
    class Holding(FakeEngine):
        def cache_records(self) -> tuple[CacheRecord, ...]:
            held = {image.id.replace("image", "cook") for image in self.local_images}
            return tuple(replace(r, shared=r.id in held) for r in self.records)

        def _loose(self, ids: Sequence[str]) -> set[str]:
            held = {image.id.replace("image", "cook") for image in self.local_images}
            return super()._loose([id for id in ids if id not in held])

    plain, ours = engine(project), Holding()
    ours.records, ours.local_images = plain.records, plain.local_images
    assert sorted(reclaim.reclaim(ours, project, recipes).records) == ["cook0", "cook1", "target0", "target1"]


def test_what_could_not_be_removed_does_not_count(project: Project, recipes: tuple[Recipe, ...]) -> None:
    """Somebody began to use it after it was looked at."""

    class Busy(FakeEngine):
        def _loose(self, ids: Sequence[str]) -> set[str]:
            return super()._loose([id for id in ids if id != "target0"])

    plain, ours = engine(project), Busy()
    ours.records = plain.records
    done = reclaim.reclaim(ours, project, recipes)
    assert (sorted(done.records), done.freed) == (["cook1", "target1"], 110)


def test_what_the_engine_calls_removed_but_still_has_is_not_freed(
    project: Project, recipes: tuple[Recipe, ...]
) -> None:
    class Boasting(FakeEngine):
        def prune(self, ids: Sequence[str]) -> frozenset[str]:
            return super().prune(ids) | {"cook0"}

        def _loose(self, ids: Sequence[str]) -> set[str]:
            return super()._loose([id for id in ids if id != "cook0"])

    plain, ours = engine(project), Boasting()
    ours.records = plain.records
    done = reclaim.reclaim(ours, project, recipes)
    assert (sorted(done.records), done.freed) == (["cook1", "target0", "target1"], 120)


@pytest.mark.parametrize(
    ("generations", "more"), [(2, 0), (4, 2)], ids=["nothing goes", "images, then records"]
)
def test_records_that_nobody_changed_are_not_read_again(
    project: Project, recipes: tuple[Recipe, ...], generations: int, more: int
) -> None:
    class Counting(FakeEngine):
        read = 0

        def cache_records(self) -> tuple[CacheRecord, ...]:
            self.read += 1
            return super().cache_records()

    plain, ours = engine(project, generations), Counting()
    ours.records, ours.local_images = plain.records, plain.local_images
    assert after_build(ours, project, recipes, COOKED, lambda: plain.records) is not None
    assert ours.read == more


def test_a_build_in_which_nothing_ran_costs_no_question(
    project: Project, recipes: tuple[Recipe, ...]
) -> None:
    def never() -> Sequence[CacheRecord]:
        pytest.fail("asked")

    cached = (step("FROM a", stage="toolchain"), step("RUN cook", stage="cook", cached=True))
    assert after_build(engine(project), project, recipes, cached, never) is None
    assert not (project.state / LAYERS).exists()


def test_source_layers_gather_before_they_are_looked_through(
    project: Project, recipes: tuple[Recipe, ...]
) -> None:
    """What a step leaves is known once it was read: the records are not read again until it is time."""
    ours = engine(project, generations=0)
    seen, read = [], 0

    def records() -> Sequence[CacheRecord]:
        nonlocal read
        read += 1
        return ours.cache_records()

    for n in range(6):
        made = layer("mount / from exec /bin/sh -c make", id=f"made{n}", at=100.0 + n, size=240_000_000)
        ours.records = [*ours.records, made]
        ran = (step("RUN make", at=100.0 + n, took=0.6),)
        assert must_read(ours, project, ran) is (n == 0)
        done = after_build(ours, project, recipes, ran, records)
        seen.append(done and (done.cause, sorted(done.records)))
    cause = "1.2 GB of layers were made since the last time"
    assert (seen, read) == ([None, None, None, None, (cause, ["made0", "made1", "made2"]), None], 1)
    assert reclaim.reclaim(ours, project, recipes).records == ("made3",)
    kept = json.loads((project.state / LAYERS).read_text())
    assert (kept["layers"], kept["gathered"], kept["weight"]) == (["made4", "made5"], 0, 480_000_000)


def test_what_is_not_known_is_read() -> None:
    """A step that nobody saw before, another engine, sizes that were read long ago."""
    known = Made(engine="here", sizes={"RUN make": 5})
    ran = (step("RUN  make"), step("COPY . .", cached=True))
    once = known.reckon(ran, "here")
    assert once == replace(known, reckoned=(Reckoned(ran[:1], 5),))
    assert known.reckon((*ran, step("RUN other")), "here") is None
    assert known.reckon(ran, "there") is None
    assert replace(known, reckoned=(Reckoned(ran, 5),) * RECKONED_BUILDS).reckon(ran, "here") is None


def test_builds_close_together_keep_their_layers_apart() -> None:
    """Read after each of them, the layer of the next was not there yet."""
    made, records = Made(engine="here", sizes={"RUN make": 1}), []
    for n in range(3):
        records.append(layer("mount / from exec /bin/sh -c make", id=f"made{n}", at=100.0 + n, size=n))
        reckoned = made.reckon((step("RUN make", at=100.0 + n, took=0.5),), "here")
        assert reckoned is not None
        made = reckoned
    assert (made.gathered, made.reckoned_bytes) == (0, 3)
    read = made.read(records, "here")
    assert read == Made(frozenset({"made0", "made1", "made2"}), 3, 3, "here", {"RUN make": 2}, mounts=0)


def reckoned(made: Made, *builds: tuple[Step, ...], engine: str = "here") -> Made:
    for steps in builds:
        more = made.reckon(steps, engine)
        assert more is not None
        made = more
    return made


@pytest.mark.parametrize("order", ["the short one first", "the long one first"])
def test_two_builds_at_one_time_are_both_told(order: str) -> None:
    """The one that began later may have ended, and been noted, first: what began meanwhile does not end it."""
    texts = {"RUN long": (100.0, 10.0), "RUN short": (101.0, 4.0)}
    records = [
        layer(f"mount / from exec sh -c {text[4:]}", id=text, at=at + took - 0.1, size=50)
        for text, (at, took) in texts.items()
    ]
    builds = [(step(text, at=at, took=took),) for text, (at, took) in texts.items()]
    if order == "the short one first":
        builds.reverse()
    made = reckoned(Made(engine="here", sizes=dict.fromkeys(texts, 7)), *builds)
    read = made.read(records, "here")
    assert read == Made(frozenset(texts), 100, 100, "here", dict.fromkeys(texts, 50), mounts=0)


def test_a_build_that_is_noted_late_ends_where_the_next_began() -> None:
    """Even where the next one was noted first."""
    first, second = ((step("RUN make", at=at, took=0.5),) for at in (100.0, 101.0))
    made = reckoned(Made(engine="here", sizes={"RUN make": 1}), second, first)
    records = [layer("mount / from exec sh -c make", id=f"made{at}", at=at) for at in (100.4, 101.4)]
    assert made.read(records, "here").layers == {"made100.4", "made101.4"}


def test_a_size_stays_known_where_the_engine_dropped_the_layer_first() -> None:
    made = reckoned(Made(engine="here", sizes={"RUN make": 7}), (step("RUN make"),))
    read = made.read([], "here")
    assert (read.sizes, read.reckoned, read.gathered) == ({"RUN make": 7}, (), 0)


def test_what_leaves_nothing_that_is_recognized_is_not_read_each_time() -> None:
    ran = (step('RUN ["make"]'),)
    read = Made(engine="here").read([], "here", ran)
    assert read.reckon(ran, "here") == replace(read, reckoned=(Reckoned(ran, 0),))


def test_the_layers_of_a_build_that_failed_are_read_with_the_next_ones(tmp_path: Path) -> None:
    """What succeeded before the failure is ours too, and nothing else would ever tell."""
    file = tmp_path / LAYERS
    note_failed(file, (step("RUN make", at=1.0),), "here")
    assert not file.exists()
    write_made(file, Made(engine="here", sizes={"RUN make": 7}))
    note_failed(file, (step("RUN make", cached=True),), "here")
    note_failed(file, (step("RUN make"),), "elsewhere")
    assert read_made(file).reckoned == ()
    for number in range(40):
        note_failed(file, (step("RUN make", at=100.0 + number), step("RUN new", at=100.0 + number)), "here")
    made = read_made(file)
    assert len(made.reckoned) == 2 * RECKONED_BUILDS
    assert made.reckoned[-1].bytes == 7
    assert made.reckon((step("RUN make"),), "here") is None
    layers = [layer("mount / from exec /bin/sh -c make", at=139.5), layer("theirs", at=139.5, id="theirs")]
    assert made.read(layers, "here").layers == {"made"}


def test_what_was_reckoned_of_one_engine_is_not_looked_for_on_another() -> None:
    """Its layers may be there too, made by another's build of the same time."""
    made = reckoned(Made(engine="here", sizes={"RUN make": 7}), (step("RUN make"),))
    theirs = [layer("mount / from exec sh -c make", size=9)]
    assert made.read(theirs, "there") == Made(frozenset(), 0, 9, "there", {"RUN make": 7}, mounts=0)


def test_layers_that_the_engine_dropped_are_forgotten(project: Project, recipes: tuple[Recipe, ...]) -> None:
    ours = engine(project, generations=0)
    for n in (1, 2):
        text = f"make {n}"
        ours.records = [layer(f"mount / from exec sh -c {text}", id=f"made{n}", at=100.0 + n * 100)]
        after_build(ours, project, recipes, (step(f"RUN {text}", at=100.0 + n * 100),), ours.cache_records)
    assert json.loads((project.state / LAYERS).read_text())["layers"] == ["made2"]


def noted(**fields: object) -> str:
    return json.dumps({"layers": [], "gathered": 0, **fields})


def noted_build(**fields: object) -> str:
    """A note of the engine of these tests that knows all that COOKED leaves, and of one build before."""
    build = {"steps": [{**asdict(COOKED[0]), **fields}], "bytes": 1}
    return noted(engine=FACTS.address, sizes={"RUN cook": 1}, reckoned=[build])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"layers": 1, "gathered": 2}',
        '{"layers": [], "gathered": "x"}',
        pytest.param("[" * 100_000, id="deep"),
        noted(gathered=math.inf),
        noted(gathered=math.nan),
        noted(gathered=10**400),
        noted(weight=math.inf),
        noted(weight=10**400),
        noted(mounts=math.inf),
        noted(sizes={"RUN cook": math.inf}),
        noted(sizes={"RUN cook": None}),
        noted(reckoned=[{"steps": [], "bytes": math.inf}]),
        noted(reckoned=[{"steps": [{}], "bytes": 1}]),
        noted_build(started="soon"),
        noted_build(started=10**400),
        noted_build(completed=None),
        noted_build(completed=[]),
    ],
)
def test_a_damaged_note_is_an_empty_one(project: Project, recipes: tuple[Recipe, ...], text: str) -> None:
    write_whole(project.state / LAYERS, text)
    assert read_made(project.state / LAYERS) == Made()
    assert sorted(reclaim.reclaim(engine(project), project, recipes).records)[0] == "cook0"


@pytest.mark.parametrize(
    "fields",
    [
        {"started": "1"},
        {"completed": "4.5", "started": "3"},
        {"stage": 1, "text": 2},
        {"more": 1},
        {"started": math.nan},
    ],
)
def test_a_note_of_odd_types_does_not_stop_a_build(
    project: Project, recipes: tuple[Recipe, ...], fields: dict[str, object]
) -> None:
    write_whole(project.state / LAYERS, noted_build(**fields))
    ours = engine(project)
    must_read(ours, project, COOKED)
    done = after_build(ours, project, recipes, COOKED, ours.cache_records)
    assert done is not None
    assert done.freed == 220
    cache_size(ours, project)


def test_the_note_is_its_owners_alone(project: Project, recipes: tuple[Recipe, ...]) -> None:
    """It holds build arguments."""
    ours = engine(project)
    after_build(ours, project, recipes, COOKED, ours.cache_records)
    assert (project.state / LAYERS).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("broken", ["cache_records", "images_labelled", "remove_image", "prune"])
def test_trouble_with_the_engine_is_no_trouble_for_the_build(
    project: Project, recipes: tuple[Recipe, ...], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("the engine refused: gone", fix="start it")

    ours = engine(project)
    known = ours.cache_records()
    monkeypatch.setattr(ours, broken, refuse)
    done = after_build(ours, project, recipes, COOKED, lambda: known)
    assert done is not None
    assert done.trouble == "the engine refused: gone"
    assert done.freed == 0


# --- what the cache weighs


def test_the_cache_weighs_what_it_did_when_it_was_last_read(
    project: Project, recipes: tuple[Recipe, ...]
) -> None:
    """And what builds since then left, as far as that is known."""
    ours = engine(project)
    ours.records = [*ours.records, CacheRecord("image", LAYER, "", size=5000, shared=True)]
    assert cache_size(ours, project).bytes == 440
    after_build(ours, project, recipes, COOKED, ours.cache_records)
    ours.records = []
    assert cache_size(ours, project).bytes == 220
    for at, held in ((200.0, 30), (300.0, 60)):
        ours.records = [layer("mount / from exec sh -c make", at=at, size=30)]
        after_build(ours, project, recipes, (step("RUN make", at=at),), ours.cache_records)
        assert cache_size(ours, project).bytes == held


def test_another_engine_is_read_anew(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_size(engine(project), project).bytes == 440
    other = engine(project, generations=1)
    monkeypatch.setattr(other, "_facts", replace(other.facts, address="unix:///other.sock"))
    assert cache_size(other, project).bytes == 110


def test_mounts_are_weighed_by_themselves(project: Project, recipes: tuple[Recipe, ...]) -> None:
    ours = engine(project)
    mount = CacheRecord("m", MOUNT, "", size=7000)
    ours.records = [*ours.records, mount, replace(mount, id="shared", shared=True)]
    before = sum(record.size for record in ours.records if record.kind == MOUNT and not record.shared)
    assert cache_size(ours, project) == CacheSize(weight(ours.records), before)
    after_build(ours, project, recipes, COOKED, ours.cache_records)
    left = ours.records
    ours.records = []
    mounts = weight(record for record in left if record.kind == MOUNT)
    assert cache_size(ours, project) == CacheSize(weight(left), mounts)
    assert 7000 <= mounts < before


def test_a_note_of_an_older_version_knows_nothing_of_mounts(project: Project) -> None:
    """So it is read once more."""
    write_whole(project.state / LAYERS, noted(engine=FACTS.address, weight=50))
    assert read_made(project.state / LAYERS).mounts is None
    ours = engine(project)
    size = cache_size(ours, project)
    assert size.bytes == weight(ours.records)
    assert size.mounts is not None
    ours.records = []
    assert cache_size(ours, project) == size


def test_mounts_that_the_engine_still_holds_are_asked_for_again() -> None:
    """A step that failed a moment ago has its mounts in use for a while."""
    pauses: list[float] = []

    class Holding(FakeEngine):
        def cache_records(self) -> tuple[CacheRecord, ...]:
            self.records = [
                replace(record, in_use=record.in_use and len(pauses) < 2) for record in self.records
            ]
            return super().cache_records()

    engine = Holding()
    said = 'cached mount /t from exec make with id "shop-1/t"'
    engine.records = [
        CacheRecord("held", MOUNT, said, size=5, in_use=True),
        CacheRecord("loose", MOUNT, said, size=2),
    ]
    assert reclaim._drop(engine, lambda mount: mount[0] == "shop-1", sleep=pauses.append) == 7
    assert len(pauses) == 2
    assert engine.records == []
