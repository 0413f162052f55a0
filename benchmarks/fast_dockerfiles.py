"""Measures the Dockerfiles against the standard ones, the guide's recipe and cargo itself.

python -m benchmarks.fast_dockerfiles --runs 5 --json run.json --markdown run.md (see README.md).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import FrameType

from benchmarks import machine, record
from benchmarks.doors import Builder, make_apart
from benchmarks.engine import bench_engine
from benchmarks.figures import Sample
from benchmarks.record import Run
from benchmarks.runner import REPOSITORY, Place, Runner, all_bases
from benchmarks.scenarios import BY_NAME, SCENARIOS, Loss
from benchmarks.schedule import Block, Choice, blocks, remaining
from benchmarks.table import markdown
from benchmarks.targets import Verdict, judge
from benchmarks.trees import Tree
from benchmarks.variants import SERVICES, VARIANTS
from kiro_invoke.benchmark.numbers import Counter
from kiro_invoke.engine.certificates import host_bundle
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import ExitCode, KiroError

ROOT = Path("/var/tmp/kiro-bench")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where a target was missed."""
    options = _parser().parse_args(arguments)
    stop_on_signals()
    try:
        return _measure(options)
    except KiroError as error:
        say(f"fast_dockerfiles: {error}")
        return int(error.code)
    except KeyboardInterrupt:
        say("interrupted; --resume takes the samples that are missing")
        return int(ExitCode.INTERRUPTED)


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def place_in(folder: Path, *, keep: bool, fresh: bool) -> Iterator[Place]:
    """An engine in `folder` with the base images and a fresh copy of the services."""
    bases = all_bases(VARIANTS)
    ca_bundle = host_bundle(os.environ)
    with bench_engine(folder, keep=keep, fresh=fresh) as engine:
        engine.load(bases)
        kept = (*bases, *make_apart(engine, bases))
        tree = Tree(engine.folder / "tree")
        tree.copy_from(REPOSITORY)
        builder = Builder(engine, tree, REPOSITORY, bases, ca_bundle)
        yield Place(engine, tree, builder, Counter(engine.folder / "numbers.json"), kept, ca_bundle)


def _measure(options: argparse.Namespace) -> int:
    output = options.json or ROOT / "results" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    run = record.load(output) if options.resume else Run(_choice(options))

    def taken(sample: Sample) -> None:
        run.samples.append(sample)
        run.machine["load_after"] = machine.load()
        run.save(output)

    left = [remaining(block, run.samples) for block in blocks(run.choice, VARIANTS)]
    for name, group in groupby((block for block in left if block.slots), key=_engine_name):
        with place_in(options.root / name, keep=options.keep, fresh=options.fresh) as place:
            if not run.machine:
                run.machine = machine.facts(place.engine, REPOSITORY, all_bases(VARIANTS))
                run.machine["load_before"] = machine.load()
            runner = Runner(place, taken, say)
            for block in group:
                runner.measure(block)
    run.save(output)
    text = markdown(run.figures, run.choice.runs)
    if options.markdown:
        write_whole(options.markdown, text)
    print(text)
    say(f"samples: {output}")
    missed = any(each.verdict is Verdict.MISSED for each in judge(run.figures))
    return int(ExitCode.MISSED if missed else ExitCode.DONE)


def _engine_name(block: Block) -> str:
    """Cold builds have an engine of their own: the other's warm state is what most rows are measured on."""
    return "cold" if block.scenario.loss is Loss.ALL else "warm"


def _choice(options: argparse.Namespace) -> Choice:
    wanted = options.scenario or [scenario.name for scenario in SCENARIOS]
    return Choice(
        scenarios=tuple(scenario for scenario in SCENARIOS if scenario.name in wanted),
        services=tuple(service for service in SERVICES if service in (options.service or SERVICES)),
        variants=tuple(options.variant or ()),
        without=tuple(options.without or ()),
        runs=options.runs,
        slow_runs=options.runs if options.slow_runs is None else options.slow_runs,
        seed=random.randrange(10**6) if options.seed is None else options.seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fast_dockerfiles", description=__doc__)
    add = parser.add_argument
    add("--scenario", action="append", choices=list(BY_NAME), help="repeatable; all of them without it")
    add("--service", action="append", choices=SERVICES, help="repeatable; both without it")
    variants = sorted({variant.name for variant in VARIANTS})
    add("--variant", action="append", choices=variants, help="repeatable; those that make sense without it")
    add("--without", action="append", choices=variants, help="repeatable; variants to leave out")
    add("--runs", type=int, default=5, help="samples of each (5)")
    add("--slow-runs", type=int, help="samples of what takes minutes (as --runs)")
    add("--seed", type=int, help="of the order")
    add("--json", type=Path, help="samples, medians and verdicts; written after each sample")
    add(
        "--resume", action="store_true", help="continue the run in the --json file; other choices are its own"
    )
    add("--markdown", type=Path, help="the tables")
    add("--root", type=Path, default=ROOT, help=f"where the engines' data lie ({ROOT})")
    add("--keep", action="store_true", help="keep the engines' data for a next run")
    add("--fresh", action="store_true", help="remove what an earlier run kept first")
    return parser


def stop_on_signals() -> None:
    """SIGTERM ends a run as Ctrl-C does, and Ctrl-C does even where a shell started it in the background."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)


if __name__ == "__main__":
    sys.exit(main())
