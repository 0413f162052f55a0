"""`kiro test-build-performance` on a real engine, with services that build in a moment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from tests.support.engine import ROOT, docker, kiro
from tests.support.watching import Project, make_project, until

pytestmark = [pytest.mark.docker, pytest.mark.long]

SCHEMA = json.loads((ROOT / "kiro_invoke/schemas/test-build-performance.json").read_text())
#: Takes as long as it takes to be told from what is warm, whatever else the machine does.
STANDARD = "FROM debian:13-slim\nWORKDIR /app\nCOPY . .\nRUN sleep 6 && ./build.sh\n"
#: Counts, in a cache mount, how often it ran.
COUNTED = (
    "RUN --mount=type=cache,id=counted,target=/counted "
    "echo x >>/counted/log && wc -l </counted/log >/app/count && ./build.sh"
)
MEASURE = ("test-build-performance", "--format", "json")


def measured(root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    ran = kiro(*MEASURE, *options, cwd=root)
    value = ran.json
    if "error" not in value:
        jsonschema.validate(value, SCHEMA)
    return ran.code, value


def make(root: Path, services: tuple[str, ...] = ("app",)) -> Project:
    """Services that have an unoptimized Dockerfile, a source that is edited, and a production image."""
    project = make_project(root, services)
    rows = (root / "kiro.yaml").read_text().splitlines()
    for service in services:
        at = next(at for at, row in enumerate(rows) if row == f"  - name: {service}") + 1
        rows[at:at] = [f"    benchmark: {{standard: {service}/standard.Dockerfile, source: src/one.txt}}"]
        (root / service / "standard.Dockerfile").write_text(STANDARD)
        file = root / service / "Dockerfile.fast"
        counted = COUNTED.replace("id=counted", f"id=counted-{service}")
        file.write_text(file.read_text().replace("RUN --network=none ./build.sh", counted))
        # no layer of an earlier run of these tests is one of this run's
        (root / service / "src/two.txt").write_text(f"{time.time_ns()}\n")
        (root / service / "Dockerfile").write_text(file.read_text())
    (root / "kiro.yaml").write_text("\n".join(rows) + "\n")
    return project


def removed(project: Project) -> None:
    """Take away what the measurements of a project left in the engine."""
    for name in (f"kiro-benchmark/{project.name}-*/*", f"{project.name}/*"):
        found = docker("images", "--quiet", "--filter", f"reference={name}").split()
        if found:
            docker("rmi", "--force", *dict.fromkeys(found))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Project]:
    project = make(tmp_path_factory.mktemp("measured") / "a repo", ("app", "web"))
    yield project
    removed(project)


def tree_of(root: Path) -> dict[str, tuple[str, int]]:
    """Every file of a person's with its content's hash and time."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".kiro" not in path.relative_to(root).parts
    }


def kept(project: Project) -> int:
    """How often an image of the person's was built on their own cache mount: it is built once more now."""
    file = project.root / "app/src/two.txt"
    before = file.read_text()
    file.write_text(f"{before}{time.time_ns()}\n")
    try:
        assert kiro("build", "--service", "app", cwd=project.root).code == 0
        return int(docker("run", "--rm", "--entrypoint", "cat", f"{project.name}/app:dev", "/app/count"))
    finally:
        file.write_text(before)
        os.utime(file, ns=(1, 1))


def is_cached(project: Project) -> bool:
    """Whether nothing of the person's images has to be built."""
    built = kiro("build", "--format", "json", cwd=project.root).json
    return all(stage["cached"] for service in built["services"] for stage in service["stages"])


def figure(value: dict[str, Any], service: str, scenario: str, variant: str) -> dict[str, Any]:
    keys = {"service": service, "scenario": scenario, "variant": variant}
    return next(one for one in value["samples"] if all(one[name] == key for name, key in keys.items()))


def test_a_quick_run_measures_judges_and_writes_what_was_asked(shared: Project) -> None:
    root = shared.root
    before = tree_of(root)
    files = [f"--output=out/r{end}" for end in (".md", ".xml", ".txt", ".json")]
    code, value = measured(root, "--quick", "--runs", "2", *files)
    assert code == 0, value
    assert value["ok"]
    assert value["failures"] == []
    for service in ("app", "web"):
        assert len(figure(value, service, "source", "fast")["seconds"]) == 2
        assert len(figure(value, service, "source", "standard")["seconds"]) == 1
        assert figure(value, service, "source", "standard")["median"] > 6
        assert 0 < figure(value, service, "source", "live")["median"] < 6
        assert figure(value, service, "warm", "standard")["median"] < 6  # nothing changed: Docker's own cache
    assert {one["scenario"] for one in value["samples"]} == {"source", "warm"}
    assert (root / "out/r.md").read_text().startswith("## Build performance: all that was measured is met")
    assert ET.parse(root / "out/r.xml").getroot().attrib["failures"] == "0"
    assert json.loads((root / "out/r.json").read_text()) == value
    assert "met          app" in (root / "out/r.txt").read_text()
    left = {path: what for path, what in tree_of(root).items() if not path.startswith("out/")}
    assert left == before
    assert docker("ps", "--all", "--quiet", "--filter", "name=kiro-benchmark").split() == []


def test_cold_and_lost_caches_are_really_lost_and_only_those_of_the_measurement(shared: Project) -> None:
    root = shared.root
    before = kept(shared)
    assert kiro("build", cwd=root).code == 0
    image = docker("images", "--quiet", f"{shared.name}/app:dev")
    code, value = measured(
        root, "--service", "app", "--runs", "1", "--scenario", "layers-lost", "--scenario", "cold",
        "--scenario", "mounts-lost", "--scenario", "dependency", "--variant", "fast", "--variant", "standard",
    )  # fmt: skip
    assert any("how a package is added is not known" in line for line in value["not_measured"])
    assert figure(value, "app", "mounts-lost", "fast")["median"] > 0
    assert code == 0, value
    assert docker("images", "--quiet", f"{shared.name}/app:dev") == image
    assert figure(value, "app", "cold", "standard")["median"] > 6
    left = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert [name for name in left if "cold-" in name] == []
    assert list((root / ".kiro/benchmark").glob("cold-*")) == []
    assert is_cached(shared)
    assert kept(shared) == before + 2


def test_what_was_lost_runs_again(shared: Project) -> None:
    """By the store: each cold sample ran every step, each sample after lost layers those that are not the seed."""
    with sqlite3.connect(shared.root / ".kiro/metrics.sqlite") as db:
        rows = db.execute("SELECT scenario, cached, ran FROM images WHERE variant = 'fast'").fetchall()
    of = {name: [(cached, ran) for scenario, cached, ran in rows if scenario == name] for name, _, _ in rows}
    assert of["warm"]
    assert all(ran == 0 or cached > ran for cached, ran in of["warm"])
    assert all(cached == 0 and ran > 3 for cached, ran in of["cold"])
    assert all(ran >= 1 for _, ran in of["layers-lost"])


def test_a_slow_dockerfile_misses_its_target_by_name(tmp_path: Path, engine: None) -> None:
    project = make(tmp_path / "slow")
    file = project.root / "app/Dockerfile.fast"
    file.write_text(file.read_text().replace("&& ./build.sh", "&& sleep 5 && ./build.sh"))
    try:
        ran = kiro(
            "test-build-performance", "--runs", "1", "--scenario", "source", "--variant", "fast",
            "--variant", "standard", cwd=project.root,
        )  # fmt: skip
        assert ran.code == 1, ran.err
        assert "missed       app  source: fast saves 80% of standard:" in ran.out
    finally:
        removed(project)


def test_a_broken_dockerfile_is_a_failed_build_by_name(tmp_path: Path, engine: None) -> None:
    project = make(tmp_path / "broken")
    file = project.root / "app/Dockerfile.fast"
    file.write_text(file.read_text().replace("&& ./build.sh", "&& echo no rule && exit 3"))
    try:
        code, value = measured(
            project.root, "--runs", "2", "--scenario", "source", "--variant", "fast", "--variant", "standard"
        )
        assert code == 4
        (failed,) = value["failures"]
        assert (failed["service"], failed["scenario"], failed["variant"]) == ("app", "source", "fast")
        assert "Dockerfile.fast:" in failed["message"]
        assert len(figure(value, "app", "source", "standard")["seconds"]) == 2
    finally:
        removed(project)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_all_as_it_was_and_goes_on(
    tmp_path: Path, engine: None, sign: signal.Signals
) -> None:
    project = make(tmp_path / "interrupted")
    root = project.root
    try:
        before = kept(project)
        assert kiro("build", cwd=root).code == 0
        tree = tree_of(root)
        options = ("--runs", "2", "--scenario", "cold", "--variant", "fast", "--variant", "standard")
        process = subprocess.Popen(
            [sys.executable, "-m", "kiro_invoke.cli", *MEASURE, *options],
            cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        run = root / ".kiro/benchmark/run.json"
        until(lambda: run.exists() and bool(json.loads(run.read_text())["samples"]), 120)
        until(lambda: bool(list((root / ".kiro/benchmark").glob("cold-*"))), 60)
        time.sleep(0.5)
        process.send_signal(sign)
        assert process.wait(60) == (130 if sign is signal.SIGINT else -sign)
        assert tree_of(root) == tree
        assert is_cached(project)
        taken = json.loads(run.read_text())["samples"]
        ran = kiro(*MEASURE, "--resume", cwd=root)
        assert ran.code == 0, ran.err
        after = json.loads(run.read_text())["samples"]
        assert after[: len(taken)] == taken
        assert len(after) == 4
        assert list((root / ".kiro/benchmark").glob("cold-*")) == []
        assert tree_of(root) == tree
        assert kept(project) == before + 2
        (root / "app/src/one.txt").write_text("other sources\n")
        ran = kiro(*MEASURE, "--resume", cwd=root)
        assert (ran.code, ran.json["error"]["message"]) == (
            2, "the sources, settings or images are not those that the run was begun with",
        )  # fmt: skip
    finally:
        removed(project)


def test_a_second_measurement_of_a_checkout_is_refused(shared: Project) -> None:
    lock = shared.root / ".kiro/benchmark/lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(f"{os.getpid()}\n")
        held.flush()
        code, value = measured(shared.root, "--quick")
    assert code == 1
    assert f"by process {os.getpid()}" in value["error"]["message"]
