"""The pure parts of the measuring scripts: edits, order, figures, targets, tables."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter as Counts
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import disk, network, record
from benchmarks.dependencies import FILES, POOLS
from benchmarks.disk import Reading
from benchmarks.doors import stages_that_ran
from benchmarks.edits import EDITS
from benchmarks.figures import Figures, Sample
from benchmarks.record import Run
from benchmarks.runner import all_bases, standard_base
from benchmarks.scenarios import BY_NAME, DEPENDENCY, SCENARIOS, Loss
from benchmarks.schedule import Block, Choice, blocks, remaining
from benchmarks.table import markdown
from benchmarks.targets import TARGETS, Judged, Limit, Target, Verdict, judge, verdict_of
from benchmarks.trees import Tree
from benchmarks.variants import BACKEND, FRONTEND, SERVICES, VARIANTS, Door
from kiro_invoke.benchmark.numbers import Counter
from kiro_invoke.benchmark.packages import only_added, pool
from kiro_invoke.model.errors import EngineError, KiroError, UsageError

ROOT = Path(__file__).parents[2]


def sample(
    variant: str, seconds: float | None, *, scenario: str = "source", number: int = 1, service: str = BACKEND
) -> Sample:
    return Sample(service, scenario, variant, number, seconds, 1, 0.5, "2026-01-01T00:00:00+00:00")


def samples(variant: str, *seconds: float, scenario: str = "source", service: str = BACKEND) -> list[Sample]:
    return [
        sample(variant, each, scenario=scenario, number=number, service=service)
        for number, each in enumerate(seconds, start=1)
    ]


def choice(*scenarios: str, variants: tuple[str, ...] = (), runs: int = 3, slow_runs: int = 3) -> Choice:
    return Choice(tuple(BY_NAME[name] for name in scenarios), SERVICES, variants, runs, slow_runs, seed=7)


# --- what is measured


def test_every_dockerfile_that_is_measured_exists() -> None:
    assert [v.dockerfile for v in VARIANTS if not (ROOT / v.dockerfile).is_file()] == []


def test_everything_stands_on_the_images_of_the_services() -> None:
    bases = set(all_bases(VARIANTS))
    assert bases == set(all_bases([v for v in VARIANTS if v.door is Door.KIRO]))
    assert {standard_base(service) for service in SERVICES} <= bases


def test_the_guides_recipe_keeps_its_mounts_apart_from_the_services() -> None:
    for name in ("backend.guide.Dockerfile", "backend.guide.debug.Dockerfile"):
        text = (ROOT / "benchmarks/standard" / name).read_text()
        assert text.count("type=cache,") == text.count("id=kiro-bench-guide-") == 3


@pytest.mark.parametrize("name", ["backend", "backend.guide"])
def test_the_profiles_of_a_baseline_differ_in_nothing_else(name: str) -> None:
    folder = ROOT / "benchmarks/standard"
    release, debug = ((folder / f"{name}{end}.Dockerfile").read_text() for end in ("", ".debug"))
    lines = [line for line in release.splitlines() if not line.startswith("#")]
    made = (
        "\n".join(lines)
        .replace(" --release", "")
        .replace("/release", "/debug")
        .replace("-release-", "-debug-")
    )
    assert made == "\n".join(line for line in debug.splitlines() if not line.startswith("#"))


def test_what_takes_minutes_each_time_is_left_out_of_rows_that_would_show_the_same() -> None:
    measured = {(s.name, v.name) for s in SCENARIOS for v in VARIANTS if s.measures(v)}
    assert ("source", "standard") in measured
    assert ("dependency", "standard") not in measured
    assert ("mounts-lost", "guide") not in measured
    assert ("dependency", "guide") in measured
    assert ("cold", "standard") in measured
    assert ("cold", "guide") not in measured


def test_a_loss_means_nothing_to_cargo_in_a_container() -> None:
    (native,) = (v for v in VARIANTS if v.door is Door.CARGO)
    assert {s.loss for s in SCENARIOS if s.can_measure(native)} == {Loss.NOTHING}


# --- edits


def unedited(service: str, files: tuple[str, ...]) -> dict[str, str]:
    return {file: (ROOT / service / file).read_text() for file in files}


@pytest.mark.parametrize(("service", "name"), EDITS)
def test_each_number_of_an_edit_is_a_content_of_its_own(service: str, name: str) -> None:
    edit = EDITS[service, name]
    before = unedited(service, edit.files)
    made = [edit.change(before, number) for number in (1, 2, 12)]
    assert all(each.keys() <= before.keys() for each in made)
    for file in made[0]:
        assert len({before[file], *(each[file] for each in made)}) == 4


def test_every_scenario_has_its_edit() -> None:
    wanted = {(service, name) for s in SCENARIOS for service, name in s.edits.items() if name != DEPENDENCY}
    assert wanted == EDITS.keys()


def test_a_version_bump_is_the_same_in_manifest_and_lockfile() -> None:
    edit = EDITS[BACKEND, "version"]
    before = unedited(BACKEND, edit.files)
    after = edit.change(before, 77)
    assert '\nversion = "0.1.77"\n' in after["Cargo.toml"]
    assert after["Cargo.lock"].count('version = "0.1.77"') == 3
    changed = [
        (old, new)
        for file in before
        for old, new in zip(before[file].splitlines(), after[file].splitlines(), strict=True)
        if old != new
    ]
    assert {new for _, new in changed} == {'version = "0.1.77"'}
    assert len(changed) == 4


def test_an_npm_version_bump_is_the_same_in_manifest_and_lockfile() -> None:
    edit = EDITS[FRONTEND, "version"]
    after = {file: json.loads(text) for file, text in edit.change(unedited(FRONTEND, edit.files), 77).items()}
    lock = after["package-lock.json"]
    assert {after["package.json"]["version"], lock["version"], lock["packages"][""]["version"]} == {"0.1.77"}


def test_an_edit_without_its_place_says_so() -> None:
    edit = EDITS[FRONTEND, "source"]
    with pytest.raises(KiroError, match=r"src/App\.tsx: nothing to edit"):
        edit.change({"src/App.tsx": "export {}"}, 1)


def test_a_pool_takes_turns_and_leaves_out_what_is_locked() -> None:
    found = pool({"a": "2 1", "b": "3", "c": "5 4"}, '[[package]]\nname = "b"\n')
    assert found == (("a", "2"), ("c", "5"), ("a", "1"), ("c", "4"))
    assert pool({"ms": "1"}, '"node_modules/ms": {}') == ()


def test_an_older_npm_changes_nothing_but_what_it_adds() -> None:
    before = {"name": "x", "packages": {"": {"name": "x"}, "node_modules/b": {"libc": ["musl"]}}}
    root = {"name": "x", "dependencies": {"a": "1"}}
    after = {"name": "x", "packages": {"": root, "node_modules/a": {"version": "1"}, "node_modules/b": {}}}
    made = json.loads(only_added(json.dumps(before), json.dumps(after)))
    assert made["packages"] == {
        "": root,
        "node_modules/a": {"version": "1"},
        "node_modules/b": {"libc": ["musl"]},
    }
    assert next(iter(made["packages"])) == ""


@pytest.mark.parametrize(("service", "variants"), [(BACKEND, 7), (FRONTEND, 4)])
def test_the_pools_last_for_a_full_run(service: str, variants: int) -> None:
    measured = [v for v in VARIANTS if v.service == service and BY_NAME[DEPENDENCY].measures(v)]
    lock = (ROOT / service / FILES[service][1]).read_text()
    assert len(measured) == variants
    assert len(pool(POOLS[service], lock)) > 5 * len(measured)


# --- the tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    repository = tmp_path / "repository"
    for service in SERVICES:
        (repository / service / "src/data").mkdir(parents=True)
        (repository / service / "src/data/file").write_text("kept")
        (repository / service / "a").write_text("old a")
        (repository / service / "b").write_text("old b")
        for left in ("target", "node_modules", "dist", "data", "crates/x/target"):
            (repository / service / left).mkdir(parents=True)
    (repository / "kiro.yaml").write_text("version: 1\n")
    made = Tree(tmp_path / "tree")
    made.copy_from(repository)
    return made


def test_a_copy_has_the_sources_and_no_build_output(tree: Tree) -> None:
    found = {path.relative_to(tree.work / BACKEND).as_posix() for path in (tree.work / BACKEND).rglob("*")}
    assert found == {"a", "b", "src", "src/data", "src/data/file", "crates", "crates/x"}


def test_an_edit_takes_the_place_of_the_one_before(tree: Tree) -> None:
    tree.write(BACKEND, {"a": "new a"})
    tree.write(BACKEND, {"b": "new b"})
    work = tree.work / BACKEND
    assert [(work / name).read_text() for name in "ab"] == ["old a", "new b"]
    assert tree.edited(BACKEND) == {"b": "new b"}
    assert tree.edited(FRONTEND) == {}
    tree.write(BACKEND, {})
    assert (work / "b").read_text() == "old b"
    assert tree.edited(BACKEND) == {}


def test_only_what_changes_is_written(tree: Tree) -> None:
    tree.write(BACKEND, {"a": "new a", "b": "old b"})
    old = (tree.work / BACKEND / "b").stat().st_mtime_ns
    tree.write(BACKEND, {"a": "newer a", "b": "old b"})
    assert (tree.work / BACKEND / "b").stat().st_mtime_ns == old


def test_numbers_are_given_once_even_to_a_later_run(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    assert [Counter(path).next("edit") for _ in range(3)] == [1, 2, 3]
    assert Counter(path).next("other") == 1


# --- order


def test_each_variant_comes_once_in_each_round() -> None:
    (block,) = (b for b in blocks(choice("source"), VARIANTS) if b.service == BACKEND)
    names = [(slot.round, slot.variant.name) for slot in block.slots]
    everybody = {v.name for v in VARIANTS if v.service == BACKEND}
    for number in (1, 2, 3):
        assert Counts(name for turn, name in names if turn == number) == Counts(everybody)
    assert [turn for turn, _ in names] == sorted(turn for turn, _ in names)


def test_rounds_are_shuffled_and_the_seed_decides_how() -> None:
    def orders(seed: int) -> list[list[str]]:
        (block,) = (b for b in blocks(replace(choice("source"), seed=seed), VARIANTS) if b.service == BACKEND)
        return [[s.variant.name for s in block.slots if s.round == number] for number in (1, 2, 3)]

    assert orders(7) == orders(7)
    assert orders(7) != orders(8)
    assert orders(7)[0] != orders(7)[1]


def test_what_takes_minutes_may_have_fewer_samples() -> None:
    found = Counts(
        slot.variant.name
        for block in blocks(choice("source", runs=5, slow_runs=2), VARIANTS)
        for slot in block.slots
        if block.service == BACKEND
    )
    assert (found["standard"], found["standard-debug"], found["fast"], found["guide"]) == (2, 2, 5, 5)


def test_chosen_variants_are_measured_wherever_they_mean_something() -> None:
    chosen = choice("mounts-lost", "dependency", variants=("guide", "native"))
    found = {(b.scenario.name, v.name) for b in blocks(chosen, VARIANTS) for v in b.variants}
    assert found == {("mounts-lost", "guide"), ("dependency", "guide"), ("dependency", "native")}


def test_variants_can_be_left_out(tmp_path: Path) -> None:
    left = replace(choice("mounts-lost", "dependency"), without=("prod", "fast-docker"))
    found = {variant.name for block in blocks(left, VARIANTS) for variant in block.variants}
    assert "fast" in found
    assert not found & {"prod", "fast-docker"}
    Run(left).save(tmp_path / "run.json")
    assert record.load(tmp_path / "run.json").choice == left


def test_a_resumed_run_takes_what_is_missing() -> None:
    block: Block = next(blocks(choice("nothing", variants=("fast", "prod"), runs=2), VARIANTS))
    taken = [
        sample("fast", 1.0, scenario="nothing", number=1),
        sample("prod", 1.0, scenario="nothing", number=2),
        sample("prod", 1.0, scenario="source", number=1),
        sample("prod", None, scenario="nothing", number=1),
    ]
    left = {(slot.variant.name, slot.round) for slot in remaining(block, taken).slots}
    assert left == {("fast", 2), ("prod", 1)}


# --- figures


def test_the_median_is_of_what_did_not_fail() -> None:
    figures = Figures([*samples("fast", 3.0, 1.0, 2.0), sample("fast", None, number=4)])
    figure = figures.figure(BACKEND, "source", "fast")
    assert figure is not None
    assert (figure.median, figure.failed) == (2.0, 1)
    assert figures.median(BACKEND, "source", "prod") is None
    assert Figures([sample("fast", None)]).median(BACKEND, "source", "fast") is None


def test_ratios_are_taken_round_by_round() -> None:
    """The machine was twice as slow in the second round: the medians' ratio would be 2/6."""
    figures = Figures([*samples("fast", 1.0, 2.0, 3.0), *samples("standard", 4.0, 8.0, 6.0)])
    assert figures.ratio(BACKEND, "source", "fast", "standard") == 0.25


def test_what_keeps_nothing_has_one_figure_for_every_change() -> None:
    figures = Figures(
        [
            *samples("standard", 100.0, 100.0),
            *samples("guide", 5.0),
            *samples("fast", 5.0, scenario="dependency"),
        ]
    )
    assert figures.reference(BACKEND, "dependency", "standard") == 100.0
    assert figures.reference(BACKEND, "layers-lost", "standard") == 100.0
    assert figures.ratio(BACKEND, "dependency", "fast", "standard") == 0.05
    assert figures.reference(BACKEND, "dependency", "guide") is None
    assert figures.reference(BACKEND, "nothing", "standard") is None
    assert figures.reference(BACKEND, "cold", "standard") is None


def test_its_own_figure_wins() -> None:
    figures = Figures([*samples("standard", 100.0), *samples("standard", 80.0, scenario="dependency")])
    assert figures.reference(BACKEND, "dependency", "standard") == 80.0


# --- targets


def of(found: tuple[Judged, ...], scenario: str, variant: str, service: str = BACKEND) -> list[Verdict]:
    wanted = (service, scenario, variant)
    return [j.verdict for j in found if (j.target.service, j.target.scenario, j.target.variant) == wanted]


def test_nothing_measured_is_nothing_met() -> None:
    judged = judge(Figures([]))
    assert len(judged) >= len(TARGETS) > 20
    assert {each.verdict for each in judged} == {Verdict.UNMEASURED}


def test_the_stages_that_ran_are_kept_beside_a_sample() -> None:
    stages = [
        {"name": "base", "seconds": 0, "cached": True},
        {"name": "build", "seconds": 1.26, "cached": False},
    ]
    assert stages_that_ran(json.dumps({"services": [{"stages": stages}]})) == "build 1.3 s"


def test_a_failed_build_meets_nothing() -> None:
    assert of(judge(Figures([sample("fast", None, scenario="nothing")])), "nothing", "fast") == [
        Verdict.UNMEASURED
    ]


@pytest.mark.parametrize(("seconds", "verdict"), [(0.6, Verdict.MET), (0.61, Verdict.MISSED)])
def test_a_limit_in_seconds(seconds: float, verdict: Verdict) -> None:
    assert of(judge(Figures(samples("fast", seconds, scenario="nothing"))), "nothing", "fast") == [verdict]


def test_a_source_edit_has_three_limits_and_each_needs_its_own_reference() -> None:
    fast = samples("fast", 2.0)
    met, missed, unmeasured = Verdict.MET, Verdict.MISSED, Verdict.UNMEASURED
    assert of(judge(Figures(fast)), "source", "fast") == [unmeasured] * 3
    figures = Figures(
        [*fast, *samples("standard", 81.0), *samples("native", 0.7), *samples("guide-debug", 3.0)]
    )
    assert of(judge(figures), "source", "fast") == [met, missed, met]


def test_a_dependency_is_compared_with_the_standards_source_edit() -> None:
    figures = Figures([*samples("standard", 100.0), *samples("fast", 5.9, scenario="dependency")])
    assert of(judge(figures), "dependency", "fast") == [Verdict.MET, Verdict.UNMEASURED]


def test_as_a_source_edit_is_compared_with_the_same_column() -> None:
    rows = [*samples("fast", 2.0), *samples("prod", 9.0), *samples("fast", 2.3, scenario="comment")]
    assert of(judge(Figures(rows)), "comment", "fast") == [Verdict.MET]
    slow = [*samples("fast", 2.0), *samples("prod", 9.0), *samples("fast", 2.5, scenario="comment")]
    assert of(judge(Figures(slow)), "comment", "fast") == [Verdict.MISSED]


def test_cold_is_never_compared_with_a_warm_figure() -> None:
    warm = [*samples("standard", 100.0), *samples("fast", 60.0, scenario="cold")]
    assert of(judge(Figures(warm)), "cold", "fast") == [Verdict.UNMEASURED]
    cold = [*warm, *samples("standard", 79.0, scenario="cold")]
    assert of(judge(Figures(cold)), "cold", "fast") == [Verdict.MISSED]


def test_several_limits_are_met_only_together() -> None:
    target = Target(BACKEND, "source", "fast", ())

    def judged(*verdicts: Verdict) -> tuple[Judged, ...]:
        return tuple(Judged(target, Limit("x"), each, 1.0, 1, 1.0) for each in verdicts)

    assert verdict_of(judged(Verdict.MET, Verdict.MET)) is Verdict.MET
    assert verdict_of(judged(Verdict.MET, Verdict.UNMEASURED)) is Verdict.UNMEASURED
    assert verdict_of(judged(Verdict.UNMEASURED, Verdict.MISSED, Verdict.MET)) is Verdict.MISSED


# --- what is written


def test_a_run_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    run = Run(choice("source", "nothing", variants=("fast",)), {"cores": 2}, samples("fast", 1.0, 2.0))
    run.save(tmp_path / "run.json")
    assert record.load(tmp_path / "run.json") == run
    value = json.loads((tmp_path / "run.json").read_text())
    (row,) = value["medians"]
    assert (row["median"], row["samples"], row["of_standard"]) == (1.5, 2, None)
    assert {each["verdict"] for each in value["targets"]} == {"not measured"}


@pytest.mark.parametrize("text", ["", "[]", '{"choice": {"scenarios": ["no such"]}}', '{"choice": {}}'])
def test_a_file_that_holds_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=r"x\.json: cannot be continued"):
        record.load(tmp_path / "x.json")


def test_the_table_shows_medians_shares_and_verdicts() -> None:
    rows = [*samples("fast", 2.0), *samples("standard", 100.0), *samples("fast", 5.0, scenario="dependency")]
    text = markdown(Figures([*rows, sample("prod", None)]), runs=5)
    assert "| source edit (application) | 2.00 (2.0%) | failed | 100.00 |" in text
    assert "| add one dependency (leaf) | 5.00 (= 5.0%) | - | - |" in text
    assert (
        "| backend | source edit (application) | fast | <= .025 of standard | 2.00 | 1 | 2.50 | met |" in text
    )
    assert "## frontend" not in text
    assert f"Of {len(TARGETS)} targets: 0 met, 0 missed, {len(TARGETS)} not measured." in text


# --- the disk


def test_edits_of_the_disk_benchmark_are_spread_evenly() -> None:
    found = disk.order(20, 50)
    assert Counts(found) == {"dependency": 20, "source": 50}
    assert max(Counts(found[at : at + 7])["dependency"] for at in range(0, 70, 7)) == 2


def test_growth_is_judged_after_the_last_edit_only() -> None:
    first = Reading(0, 10**9)
    assert disk.verdict([], 70) is Verdict.UNMEASURED
    assert disk.verdict([first, Reading(60, 10**9)], 70) is Verdict.UNMEASURED
    assert disk.verdict([first, Reading(70, 4 * 10**9)], 70) is Verdict.MET
    assert disk.verdict([first, Reading(70, 4 * 10**9 + 1)], 70) is Verdict.MISSED


# --- the network


def test_a_free_network_overlaps_none_that_is_routed() -> None:
    taken = ["10.213.0.0/23", "172.17.0.0/16", "10.213.2.7", "fe80::/64"]
    assert network.free_network(taken) == ipaddress.ip_network("10.213.3.0/24")
    with pytest.raises(EngineError, match="no network"):
        network.free_network(["10.0.0.0/8"])


def test_only_its_own_rules_are_removed() -> None:
    listed = [
        "-P FORWARD DROP",
        "-A FORWARD -i kirobaaaa -m comment --comment kirobaaaa -j ACCEPT",
        '-A FORWARD -o kirobaaaa -m comment --comment "kirobaaaa" -j ACCEPT',
        "-A FORWARD -i kirobbbbb -m comment --comment kirobbbbb -j ACCEPT",
        "-A FORWARD -o kirobaaaa -j ACCEPT",
    ]
    assert [words[2] for words in network.rules_of("kirobaaaa", listed)] == ["kirobaaaa", "kirobaaaa"]
    assert [words[1] for words in network.rules_of("kirobaaaa", listed)] == ["-i", "-o"]


def test_a_bridges_name_fits_the_kernel() -> None:
    names = {network.bridge_name(Path(f"/var/tmp/{at}")) for at in range(20)}
    assert len(names) == 20
    assert max(map(len, names)) <= 15
