"""`clean-cache` while `kiro watch` runs, on the shared engine: of a tiny project of its own, which nobody else has."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import docker, kiro
from tests.support.watching import Project, cleared, make_project, watching

pytestmark = [pytest.mark.docker, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path, engine: None) -> Iterator[Project]:
    found = make_project(tmp_path / "a repo")
    yield found
    cleared(found)


def clean(project: Project, *options: str) -> dict[str, Any]:
    ran = kiro("clean-cache", "--format", "json", *options, cwd=project.root)
    assert ran.code == 0, ran.err
    return ran.json


def test_what_is_watched_is_kept_and_the_next_saves_are_served(project: Project) -> None:
    image = f"{project.name}/app:dev"
    with watching(project) as watch:
        foretold = clean(project, "--dry-run")
        # the engine is everybody's: its stand-ins stay
        assert {row["kind"] for row in (*foretold["images"], *foretold["records"])} <= {"layers", "images"}
        before, container = docker("image", "inspect", "--format", "{{.Id}}", image), project.container()
        done = clean(project, "--yes")
        (kept,) = [row for row in done["kept"] if row["kind"] == "images"]
        assert kept["what"] == image
        assert kept["cause"].startswith("container ")
        assert docker("image", "inspect", "--format", "{{.Id}}", image) == before
        mark = watch.now
        project.write("one.txt", "saved after a cleaning\n")
        row = watch.wait("served", mark)
        assert (row["path"], project.get(), project.container()) == ("live", project.sources(), container)
        mark = watch.now
        (project.root / "app/deps.txt").write_text("other dependencies\n")
        watch.wait("served", mark)
        project.until_served()
        with ThreadPoolExecutor() as pool:
            cleaning = [pool.submit(clean, project, "--yes")]
            for number in range(6):
                project.write("two.txt", f"saved during a cleaning: {number}\n")
                if number == 3:
                    (project.root / "app/deps.txt").write_text("and others again\n")
                    cleaning.append(pool.submit(clean, project, "--yes"))
                watch.settle(project)
            for one in cleaning:
                one.result()
        project.until_served()
        assert watch.find("error") is None, watch.rows
