"""What `test-build-performance` decides: order, figures, targets, time left, what is told. No engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kiro_invoke.benchmark import told
from kiro_invoke.benchmark.documents import junit, markdown
from kiro_invoke.benchmark.estimate import as_words, expected, words_left
from kiro_invoke.benchmark.recorded import entry_of
from kiro_invoke.benchmark.results import claims, fields, judged
from kiro_invoke.benchmark.run import Run, load
from kiro_invoke.benchmark.runner import CannotMeasure, Runner
from kiro_invoke.benchmark.samples import Figure, Key, Sample, Samples, outliers, unsteadiness
from kiro_invoke.benchmark.scenarios import Scenario, Variant, can_measure, is_slow, measures
from kiro_invoke.benchmark.schedule import Block, Choice, Slot, blocks, remaining
from kiro_invoke.benchmark.targets import Improvement, Verdict, Wanted, improvements, limits, percent_for
from kiro_invoke.metrics import statistics
from kiro_invoke.model.errors import BuildFailed, UsageError
from kiro_invoke.model.record import Step

ALL = tuple(Variant)
BACKEND = Wanted("api", "cargo", 80.0, has_debug=True)
AT = "2026-01-02T03:04:05.000+00:00"


def key(variant: Variant, scenario: Scenario = Scenario.SOURCE, service: str = "api") -> Key:
    return Key(service, scenario, variant)


def taken(of: Key, *seconds: float | None) -> list[Sample]:
    return [Sample(of, number, each, 0.1, AT) for number, each in enumerate(seconds, start=1)]


def choice(
    *scenarios: Scenario, runs: int = 4, slow_runs: int = 4, chosen: tuple[Variant, ...] = ()
) -> Choice:
    return Choice(scenarios or tuple(Scenario), {"api": ALL}, chosen, runs, slow_runs, seed=7)


# --- the order


def test_each_variant_comes_once_a_round_and_every_second_round_is_the_reverse_of_the_one_before() -> None:
    (block,) = blocks(choice(Scenario.SOURCE))
    rounds = [[slot.key.variant for slot in block.slots if slot.round == number] for number in range(1, 5)]
    assert all(sorted(one) == sorted(ALL) for one in rounds)
    assert rounds[1] == rounds[0][::-1]
    assert rounds[3] == rounds[2][::-1]
    assert blocks(choice(Scenario.SOURCE)) == (block,)
    others = {
        tuple(slot.key.variant for slot in blocks(replace(choice(Scenario.SOURCE), seed=seed))[0].slots)
        for seed in range(9)
    }
    assert len(others) > 1


def test_what_takes_minutes_is_sampled_less_often() -> None:
    (block,) = blocks(choice(Scenario.SOURCE, slow_runs=1))
    counts = {variant: sum(slot.key.variant is variant for slot in block.slots) for variant in ALL}
    assert counts == {
        Variant.STANDARD: 1, Variant.STANDARD_DEV: 1, Variant.PROD: 4, Variant.FAST: 4, Variant.LIVE: 1,
    }  # fmt: skip
    (left,) = blocks(replace(choice(Scenario.SOURCE, runs=1), without=(Variant.LIVE,)))
    assert Variant.LIVE not in left.variants
    assert is_slow(Scenario.COLD, Variant.FAST)
    assert not is_slow(Scenario.WARM, Variant.STANDARD)


def test_what_has_no_meaning_is_not_measured_even_if_it_is_chosen() -> None:
    made = blocks(choice(runs=1, chosen=ALL))
    assert [block.scenario for block in made] == list(Scenario)
    lost = next(block for block in made if block.scenario is Scenario.LAYERS_LOST)
    assert set(lost.variants) == {Variant.PROD, Variant.FAST}
    assert not can_measure(Scenario.COLD, Variant.LIVE)
    assert not measures(Scenario.DEPENDENCY, Variant.STANDARD)
    assert can_measure(Scenario.DEPENDENCY, Variant.STANDARD)


def test_an_interrupted_run_goes_on_where_it_was_and_tries_again_what_failed() -> None:
    wanted = blocks(choice(Scenario.SOURCE, Scenario.WARM, runs=2))
    first = wanted[0].slots[0]
    failed = wanted[0].slots[1]
    done = [Sample(first.key, first.round, 1.0), Sample(failed.key, failed.round, None)]
    left = remaining(wanted, done)
    assert left[0].slots == wanted[0].slots[1:]
    assert left[1] == wanted[1]
    assert (
        remaining(wanted, [Sample(slot.key, slot.round, 1.0) for block in wanted for slot in block.slots])
        == ()
    )


# --- figures, against values that were worked out by hand


def test_medians_spread_and_outliers() -> None:
    figure = Figure((1.0, 1.2, 1.1, 9.0, 1.0))
    assert figure.median == 1.1
    assert figure.spread == pytest.approx(0.1 / 1.1)
    assert figure.outliers == (3,)
    assert outliers((1.0, 1.0, 9.0)) == ()  # of three, one is always far from the others
    assert outliers((2.0, 2.0, 2.0, 2.0)) == ()
    # the modified z-score of 4.0 is 0.6745 * 2 / 0.5 = 2.698, of 5.0 it is 4.047
    assert outliers((1.5, 2.0, 2.5, 2.0, 1.5, 4.0)) == ()
    assert outliers((1.5, 2.0, 2.5, 2.0, 1.5, 5.0)) == (5,)
    assert Figure(()).median is None
    assert Figure((0.0,)).spread == 0.0


def test_a_share_is_the_median_over_the_rounds_that_both_have() -> None:
    # the machine was slow in the second round; the ratio of medians would be 2 / 10
    samples = Samples(
        [*taken(key(Variant.FAST), 1.0, 4.0, 2.0), *taken(key(Variant.STANDARD), 10.0, 20.0, 5.0)]
    )
    assert samples.ratio(key(Variant.FAST), key(Variant.STANDARD)) == pytest.approx(0.2)
    apart = Samples([Sample(key(Variant.FAST), 1, 1.0), Sample(key(Variant.STANDARD), 2, 4.0)])
    assert apart.ratio(key(Variant.FAST), key(Variant.STANDARD)) == 0.25
    assert apart.ratio(key(Variant.FAST), key(Variant.PROD)) is None


def test_how_unsteady_a_machine_was() -> None:
    steady = [Sample(key(Variant.FAST), number, 1.0, 0.1) for number in range(20)]
    assert unsteadiness(steady) == 0.0
    assert unsteadiness(steady[:9]) is None
    noisy = [replace(one, probe=0.1 if number % 2 else 0.3) for number, one in enumerate(steady)]
    assert unsteadiness(noisy) == pytest.approx(2.0)


# --- targets


def improvement(
    samples: list[Sample], scenario: Scenario, variant: Variant, baseline: Variant, of: Wanted = BACKEND
) -> Improvement:
    found = improvements(Samples(samples), [of])
    return next(
        one for one in found if (one.scenario, one.variant, one.baseline) == (scenario, variant, baseline)
    )


@pytest.mark.parametrize(
    ("fast", "percent", "verdict"),
    [(2.0, 80.0, Verdict.MET), (2.01, 79.9, Verdict.MISSED), (12.0, -20.0, Verdict.MISSED)],
)
def test_fast_is_held_to_its_percentage(fast: float, percent: float, verdict: Verdict) -> None:
    samples = [*taken(key(Variant.FAST), fast), *taken(key(Variant.STANDARD), 10.0)]
    found = improvement(samples, Scenario.SOURCE, Variant.FAST, Variant.STANDARD)
    assert (found.percent, found.target, found.verdict) == (percent, 80.0, verdict)


def test_a_warm_build_is_compared_with_what_it_saves_and_with_a_warm_one_of_the_other() -> None:
    samples = [
        *taken(key(Variant.FAST, Scenario.WARM), 0.5),
        *taken(key(Variant.STANDARD), 100.0),
        *taken(key(Variant.STANDARD, Scenario.WARM), 0.4),
    ]
    found = [
        one
        for one in improvements(Samples(samples), [BACKEND])
        if one.scenario is Scenario.WARM and one.variant is Variant.FAST
    ]
    judged_one = next(one for one in found if one.target is not None)
    assert (judged_one.percent, judged_one.baseline_scenario, judged_one.verdict) == (
        99.5,
        Scenario.SOURCE,
        Verdict.MET,
    )
    same = next(one for one in found if one.baseline_scenario is Scenario.WARM)
    assert (same.percent, same.target, same.verdict) == (-25.0, None, Verdict.TOLD)  # slower, and told


def test_what_was_not_measured_never_passes() -> None:
    found = improvements(Samples(), [BACKEND])
    assert {one.verdict for one in found} == {Verdict.UNMEASURED}
    assert {one.verdict for one in limits(Samples(), [BACKEND])} == {Verdict.UNMEASURED}
    only_fast = improvement(taken(key(Variant.FAST), 1.0), Scenario.SOURCE, Variant.FAST, Variant.STANDARD)
    assert only_fast.verdict is Verdict.UNMEASURED


def test_live_never_counts() -> None:
    samples = [*taken(key(Variant.LIVE), 0.1), *taken(key(Variant.STANDARD), 10.0)]
    assert all(
        one.percent is None for one in improvements(Samples(samples), [BACKEND]) if one.target is not None
    )
    assert Variant.LIVE not in {one.variant for one in improvements(Samples(samples), [BACKEND])}


def test_equal_profiles_are_told_even_where_they_are_slower() -> None:
    samples = [
        *taken(key(Variant.FAST), 1.0), *taken(key(Variant.STANDARD), 10.0), *taken(key(Variant.STANDARD_DEV), 4.0),
        *taken(key(Variant.PROD), 11.0),
    ]  # fmt: skip
    fast = improvement(samples, Scenario.SOURCE, Variant.FAST, Variant.STANDARD_DEV)
    prod = improvement(samples, Scenario.SOURCE, Variant.PROD, Variant.STANDARD)
    assert (fast.percent, fast.equal_profile, fast.verdict) == (75.0, True, Verdict.TOLD)
    assert (prod.percent, prod.equal_profile, prod.verdict) == (-10.0, True, Verdict.TOLD)
    cross = improvement(samples, Scenario.SOURCE, Variant.FAST, Variant.STANDARD)
    assert not cross.equal_profile
    node = improvement(samples, Scenario.SOURCE, Variant.FAST, Variant.STANDARD, Wanted("api", "npm", 70.0))
    assert node.equal_profile  # Node's builds have no debug profile


def test_cold_gains_and_limits() -> None:
    cold = [
        *taken(key(Variant.FAST, Scenario.COLD), 59.0),
        *taken(key(Variant.STANDARD, Scenario.COLD), 100.0),
    ]
    found = improvement(cold, Scenario.COLD, Variant.FAST, Variant.STANDARD)
    assert (found.percent, found.target, found.verdict) == (41.0, 40.0, Verdict.MET)
    node = improvement(cold, Scenario.COLD, Variant.FAST, Variant.STANDARD, Wanted("api", "npm", 70.0))
    assert (node.percent, node.target, node.verdict) == (41.0, None, Verdict.TOLD)
    samples = Samples(
        [*taken(key(Variant.FAST, Scenario.WARM), 30.0), *taken(key(Variant.PROD, Scenario.COLD), 299.9)]
    )
    by_key = {(one.scenario, one.variant): one.verdict for one in limits(samples, [BACKEND])}
    assert by_key == {
        (Scenario.WARM, Variant.FAST): Verdict.MISSED,
        (Scenario.WARM, Variant.PROD): Verdict.UNMEASURED,
        (Scenario.COLD, Variant.FAST): Verdict.UNMEASURED,
        (Scenario.COLD, Variant.PROD): Verdict.MET,
    }


def test_whose_percentage_is_whose() -> None:
    assert percent_for("cargo") == percent_for("other") == 80.0
    assert {percent_for(one) for one in ("npm", "pnpm", "yarn")} == {70.0}
    assert (percent_for("cargo", backend=60, frontend=5), percent_for("npm", backend=60, frontend=5)) == (
        60,
        5,
    )


# --- taking samples, with a scripted clock and place


@dataclass
class World:
    """A place in which a build takes the seconds that are scripted for its variant."""

    seconds: dict[Variant, float] = field(default_factory=dict)
    broken: set[Variant] = field(default_factory=set)
    unready: set[Variant] = field(default_factory=set)
    cannot: set[Variant] = field(default_factory=set)
    time: float = 100.0
    calls: list[str] = field(default_factory=list)
    interrupt_after: int = 10**9
    unprepared: set[Variant] = field(default_factory=set)

    def settle(self, block: Block) -> None:
        self.calls.append(f"settle {block.scenario} {' '.join(block.variants)}")
        if block.slots[0].key.variant in self.unready:
            raise BuildFailed("api: RUN make failed", file="Dockerfile", line=3, fix="see the log")
        if block.slots[0].key.variant in self.cannot:
            raise CannotMeasure("nothing to edit")

    def prepare(self, slot: Slot) -> None:
        self.time += 50  # is not timed
        self.calls.append(f"prepare {slot.key.variant} {slot.round}")
        if slot.key.variant in self.unprepared:
            raise BuildFailed("watch: \x1b[31mnothing\x1b[0m was served")

    def build(self, key: Key) -> None:
        self.calls.append(f"build {key.variant}")
        self.time += self.seconds.get(key.variant, 1.0)
        if key.variant in self.broken:
            raise BuildFailed("api: RUN make\nfailed", tail=("no \x1b[31mrule",))
        if sum(call.startswith("build") for call in self.calls) > self.interrupt_after:
            raise KeyboardInterrupt

    def after(self) -> None:
        self.time += 50
        self.calls.append("after")

    def rest(self) -> None:
        self.calls.append("rest")


def runner(
    world: World, before: dict[Key, float] | None = None
) -> tuple[Runner, list[Sample], list[str], list[str]]:
    samples: list[Sample] = []
    unmeasured: list[str] = []
    said: list[str] = []
    made = Runner(
        world,
        lambda: world.time,
        lambda: AT,
        lambda: 0.05,
        samples.append,
        unmeasured.append,
        said.append,
        before or {},
    )
    return made, samples, unmeasured, said


def test_only_the_build_is_timed_and_each_sample_is_handed_on_at_once() -> None:
    world = World({Variant.FAST: 1.5, Variant.PROD: 3.25})
    made, samples, _, said = runner(world)
    made.measure(blocks(choice(Scenario.SOURCE, runs=2, chosen=(Variant.FAST, Variant.PROD))))
    assert sorted((one.key.variant, one.seconds) for one in samples) == [
        (Variant.FAST, 1.5), (Variant.FAST, 1.5), (Variant.PROD, 3.25), (Variant.PROD, 3.25),
    ]  # fmt: skip
    assert world.calls[:2] == ["settle source prod", "settle source fast"]
    assert world.calls.count("after") == 4
    assert world.calls[-1] == "rest"
    assert (samples[0].probe, samples[0].at) == (0.05, AT)
    assert sum("1.50 s" in line for line in said) == 2


def test_the_time_left_is_told_from_this_run_and_the_one_before() -> None:
    world = World({Variant.FAST: 2.0})
    wanted = blocks(choice(Scenario.SOURCE, Scenario.WARM, runs=3, chosen=(Variant.FAST,)))
    made, _, _, said = runner(world)
    made.measure(wanted)
    told_lines = [line for line in said if "making ready" not in line]
    assert told_lines[0] == "api source fast 1: 2.00 s   (1 of 6, more than 4 s left)"
    assert told_lines[-1] == "api warm fast 3: 2.00 s   (6 of 6)"
    made, _, _, said = runner(World({Variant.FAST: 2.0}), {key(Variant.FAST, Scenario.WARM): 60.0})
    made.measure(wanted)
    assert said[1] == "api source fast 1: 2.00 s   (1 of 6, about 3 min left)"
    assert expected(taken(key(Variant.FAST), 1.0, 3.0), {key(Variant.FAST): 9.0}) == {key(Variant.FAST): 2.0}
    assert words_left((), {}) == ""
    assert [as_words(59), as_words(60), as_words(4810)] == ["59 s", "1 min", "1 h 20 min"]


def test_what_does_not_build_is_a_failure_once_and_all_else_goes_on() -> None:
    world = World(broken={Variant.PROD})
    made, samples, _, _ = runner(world)
    made.measure(blocks(choice(Scenario.SOURCE, runs=3, chosen=(Variant.FAST, Variant.PROD))))
    failed = [one for one in samples if one.seconds is None]
    assert [(one.key.variant, one.detail) for one in failed] == [(Variant.PROD, "api: RUN make failed")]
    assert failed[0].tail == ("no rule",)
    assert sum(one.key.variant is Variant.FAST for one in samples) == 3
    assert world.calls.count("build prod") == 1


def test_what_cannot_be_made_ready_is_a_failure_too() -> None:
    world = World(unready={Variant.PROD})
    made, samples, _, _ = runner(world)
    made.measure(blocks(choice(Scenario.SOURCE, runs=2, chosen=(Variant.FAST, Variant.PROD))))
    (failed,) = [one for one in samples if one.seconds is None]
    assert failed.detail == "Dockerfile:3: api: RUN make failed. Fix: see the log"
    assert "build prod" not in world.calls


def test_what_cannot_be_measured_is_told_with_the_reason_and_is_no_failure() -> None:
    world = World(cannot={Variant.PROD})
    made, samples, unmeasured, _ = runner(world)
    made.measure(blocks(choice(Scenario.SOURCE, runs=2, chosen=(Variant.FAST, Variant.PROD))))
    assert unmeasured == ["api source prod: not measured: nothing to edit"]
    assert {one.key.variant for one in samples} == {Variant.FAST}


def test_an_interrupt_leaves_everything_as_it_was() -> None:
    world = World(interrupt_after=1)
    made, samples, _, _ = runner(world)
    with pytest.raises(KeyboardInterrupt):
        made.measure(blocks(choice(Scenario.SOURCE, runs=3, chosen=(Variant.FAST,))))
    assert len(samples) == 1
    assert world.calls[-2:] == ["after", "rest"]


def test_what_fails_while_it_is_made_ready_for_a_sample_is_a_failure_too() -> None:
    world = World(unprepared={Variant.FAST})
    made, samples, _, _ = runner(world)
    made.measure(blocks(choice(Scenario.SOURCE, runs=2, chosen=(Variant.FAST, Variant.PROD))))
    assert [one.detail for one in samples if one.seconds is None] == ["watch: nothing was served"]
    assert sum(one.key.variant is Variant.PROD for one in samples) == 2


# --- a run on disk


def a_run() -> Run:
    samples = [
        *taken(key(Variant.FAST), 1.0, 1.1), *taken(key(Variant.STANDARD), 10.0, 11.0),
        *taken(key(Variant.STANDARD_DEV), 6.0), *taken(key(Variant.FAST, Scenario.WARM), 0.4),
        Sample(key(Variant.PROD), 1, None, 0.1, AT, "api: RUN <make> | failed"),
    ]  # fmt: skip
    machine = {
        "processor": "Abacus 3000",
        "cores": 2,
        "memory_bytes": 2**34,
        "kernel": "6.1",
        "engine": "26",
        "buildx": "0.13",
    }
    return Run(
        choice(),
        "s1",
        "2026-01-02T03:04:05+00:00",
        machine,
        samples,
        ["api dependency fast: not measured: no pool"],
    )


def test_a_run_is_read_as_it_was_saved(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    a_run().save(file)
    assert load(file) == a_run()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 9}', '{"schema": 1, "choice": []}'])
def test_what_is_no_run_cannot_be_gone_on_with(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.json"
    with pytest.raises(UsageError, match="no run to go on with"):
        load(file)
    file.write_text(text)
    with pytest.raises(UsageError, match="cannot be gone on with"):
        load(file)


# --- what is told


def test_only_claims_that_were_asked_for_are_told() -> None:
    run = replace(a_run(), choice=replace(choice(Scenario.SOURCE), chosen=(Variant.FAST, Variant.STANDARD)))
    found = {claim.text for claim in claims(judged(replace(run, samples=[]), [BACKEND]))}
    assert found == {"source: fast saves 80% of standard"}
    without = replace(run, choice=Choice((Scenario.WARM,), {"api": (Variant.FAST,)}))
    left = {claim.text for claim in claims(judged(replace(without, samples=[]), [BACKEND]))}
    assert left == {"warm: fast saves 80% of standard (source)", "warm: fast takes less than 30 s"}
    text = markdown(judged(run, [BACKEND]))
    assert "3 met, 0 missed, 0 not measured" in text


def test_a_failure_is_one_until_the_same_sample_was_taken() -> None:
    run = replace(
        a_run(), samples=[*taken(key(Variant.FAST), 1.0, None), *taken(key(Variant.STANDARD), 10.0)]
    )
    failed = judged(run, [BACKEND])
    assert [one.round for one in failed.failures] == [2]
    assert not failed.ok
    assert failed.title == "not all met"
    run.samples.append(Sample(key(Variant.FAST), 2, 1.1))
    assert judged(run, [BACKEND]).failures == ()
    assert judged(run, [BACKEND]).title == "all that was measured is met"


def test_nothing_is_met_where_nothing_was_measured() -> None:
    nothing = judged(replace(a_run(), samples=[]), [BACKEND])
    assert not nothing.ok
    live = judged(replace(a_run(), samples=taken(key(Variant.LIVE), 1.0)), [BACKEND])
    assert (live.ok, live.title) == (True, "nothing was judged")


def test_fields_tell_all_of_it() -> None:
    results = judged(a_run(), [BACKEND])
    told_fields = fields(results)
    assert not results.ok
    assert told_fields["samples"][0] == {
        "service": "api", "scenario": "source", "variant": "fast", "seconds": [1.0, 1.1], "median": 1.05,
        "spread": 0.0476, "outliers": [], "failed": 0,
    }  # fmt: skip
    assert told_fields["improvements"][1]["percent"] == 90.0
    assert told_fields["improvements"][1]["passed"] is True
    assert told_fields["improvements"][2]["passed"] is None
    assert told_fields["failures"][0]["message"] == "api: RUN <make> | failed"
    json.dumps(told_fields)


def test_markdown_fits_a_comment_and_no_text_breaks_its_tables() -> None:
    text = markdown(judged(a_run(), [BACKEND]))
    assert text.startswith("## Build performance: not all met\n\n3 met, 0 missed, ")
    assert "Abacus 3000, 2 cores, 16 GiB, Linux 6.1, Docker 26, buildx 0.13" in text
    assert "| a source edited | 10.50 (of 2) | 6.00 (of 1) | failed | 1.05 (of 2) |" in text
    assert "| api | source: fast saves 80% of standard | 90.0% | met |" in text
    assert "| api | source: fast against standard-dev | 83.3% less | at equal profile |" in text
    assert "- api source prod failed: api: RUN &#60;make&#62; &#124; failed" in text
    assert "- api dependency fast: not measured: no pool" in text


def test_junit_has_a_case_for_each_claim() -> None:
    results = judged(
        replace(
            a_run(),
            samples=[
                *taken(key(Variant.FAST), 9.0),
                *taken(key(Variant.STANDARD), 10.0),
                Sample(key(Variant.PROD), 1, None, detail="no \x1b[31m rule"),
            ],
        ),
        [BACKEND],
    )
    suite = ET.fromstring(junit(results))
    assert suite.attrib == {
        "name": "kiro test-build-performance", "tests": "8", "failures": "1", "errors": "1", "skipped": "6",
    }  # fmt: skip
    failures = [case for case in suite if case.find("failure") is not None]
    assert failures[0].attrib["name"] == "source: fast saves 80% of standard"
    assert len(suite) == len(claims(results)) + 1


def test_a_person_is_told_the_same() -> None:
    lines = [
        "".join(part if isinstance(part, str) else part[0] for part in line)
        for line in told.lines(judged(a_run(), [BACKEND]))
    ]
    assert lines[0].split() == ["api,", "seconds", "standard", "standard-dev", "prod", "fast"]
    assert lines[1].split()[-4:] == ["10.50", "6.00", "failed", "1.05"]
    assert max(map(len, lines[:4])) < 80
    assert "met          api  source: fast saves 80% of standard: 90.0%" in lines
    assert "not measured api  cold: fast saves 40% of standard: -" in lines
    assert "  api  source: fast against standard-dev, at equal profile: 83.3% less" in lines
    assert "api source prod failed to build: api: RUN <make> | failed" in lines
    assert lines[-1].startswith("3 met, 0 missed, ")


def test_a_sample_is_remembered_as_a_build() -> None:
    steps = (
        Step("api", "build", "RUN make", cached=False, seconds=1.0),
        Step("api", "base", "RUN x", cached=True),
    )
    entry = entry_of(taken(key(Variant.FAST), 1.5)[0], steps, "unix", "r1")
    assert (entry.command, entry.seconds, entry.ok, entry.began) == (
        "test-build-performance",
        1.5,
        True,
        1767323045.0,
    )
    (image,) = entry.images
    assert (image.variant, image.scenario, image.profile, image.cached, image.ran) == (
        "fast",
        "source",
        "dev",
        1,
        1,
    )
    failed = entry_of(taken(key(Variant.LIVE), None)[0], (), "unix", "r1")
    assert (failed.ok, failed.way) == (False, "live")


def _keys() -> Iterator[Key]:
    yield from (Key("api", scenario, variant) for scenario in Scenario for variant in Variant)


def test_every_scenario_and_variant_says_what_it_is() -> None:
    assert all(one.scenario.described and one.variant.described for one in _keys())


def test_the_report_tells_them_in_the_same_order() -> None:
    assert tuple(map(str, Scenario)) == statistics.SCENARIOS
    assert tuple(map(str, Variant)) == statistics.VARIANTS
