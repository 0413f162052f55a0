"""What can go wrong while `kiro watch` runs, for real: lost events, ended processes, engines that go and come."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engine import command, docker
from tests.support.private_engine import PrivateEngine, private_engine
from tests.support.repository import git
from tests.support.watching import Project, cleared, make_project, small_service, until, watching

pytestmark = [pytest.mark.docker, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path, engine: None) -> Iterator[Project]:
    found = make_project(tmp_path / "a repo")
    yield found
    cleared(found)


def test_more_events_than_the_systems_queue_holds(project: Project) -> None:
    project.write("many/first.txt", "the folder is watched\n")
    with watching(project) as watch:
        watch.process.send_signal(signal.SIGSTOP)
        try:
            for number in range(10_000):
                project.write(f"many/{number}.txt", f"{number}\n")
            for number in range(0, 10_000, 2):
                (project.root / f"app/src/many/{number}.txt").unlink()
            project.write("one.txt", "the last of many\n")
        finally:
            watch.process.send_signal(signal.SIGCONT)
        until(lambda: project.get().get("one.txt") == "the last of many", 60)
        project.until_served(seconds=90)
        assert any("queue" in row["message"] for row in watch.rows if row["event"] == "note")
        mark = watch.now
        shutil.rmtree(project.root / "app/src/many")
        watch.wait("served", mark, seconds=60)
        project.until_served()


def test_folders_that_send_no_events_are_looked_at(project: Project) -> None:
    with watching(project, env={"KIRO_WATCH_POLL": "0.3"}) as watch:
        assert watch.rows[-1]["polling"].startswith("looking every 0.3 s")
        mark = watch.now
        project.write("one.txt", "polled\n")
        watch.wait("served", mark)
        assert project.get() == project.sources()


def test_a_switch_of_branches_is_one_build_and_back_as_well(project: Project) -> None:
    root = project.root
    for number in range(2_000):
        project.write(f"many/{number}.txt", f"{number}\n")
    (root / "app/deps.txt").write_text("one\n")
    (root / ".gitignore").write_text(".kiro\n")
    git("-C", str(root), "init", "--quiet", "--initial-branch=main")
    git("-C", str(root), "add", ".")
    git("-C", str(root), "commit", "--quiet", "-m", "one")
    git("-C", str(root), "checkout", "--quiet", "-b", "other")
    for number in range(2_000):
        project.write(f"many/{number}.txt", f"other {number}\n")
    (root / "app/deps.txt").write_text("two\n")
    git("-C", str(root), "commit", "--quiet", "-am", "two")
    git("-C", str(root), "checkout", "--quiet", "main")
    with watching(project) as watch:
        for branch in ("other", "main"):
            mark = watch.now
            git("-C", str(root), "checkout", "--quiet", branch)
            row = watch.wait("served", mark)
            project.until_served()
            assert (row["kind"], row["path"]) == ("DEPENDENCY", "live, image behind")
            watch.wait("refreshed", mark)
            assert watch.count("served", mark) == 1
            assert watch.count("superseded", mark) == 0
        mark = watch.now
        git("-C", str(root), "checkout", "--quiet", "other")
        git("-C", str(root), "checkout", "--quiet", "main")
        time.sleep(3)
        project.until_served()
        assert watch.count("broken", mark) == 0


def test_a_request_under_way_holds_up_no_restart(project: Project) -> None:
    with watching(project) as watch:
        slow = threading.Thread(target=lambda: project.get(path="/slow"), daemon=True)
        slow.start()
        time.sleep(0.5)
        mark = watch.now
        project.write("one.txt", "meanwhile\n")
        row = watch.wait("served", mark)
        assert row["seconds"]["restart"] < 20  # the request takes 30
        assert project.get() == project.sources()
        slow.join(5)
        assert not slow.is_alive()


def test_a_program_that_ignores_sigterm_is_killed_and_only_then_started_again(
    tmp_path: Path, engine: None
) -> None:
    project = make_project(tmp_path / "stubborn")
    file = project.root / "app/Dockerfile.fast"
    file.write_text(file.read_text().replace("use strict;", "$SIG{TERM} = 'IGNORE'; use strict;"))
    try:
        with watching(project) as watch:
            mark = watch.now
            project.write("one.txt", "after the kill\n")
            row = watch.wait("served", mark)
            assert row["seconds"]["restart"] >= 0.5
            assert project.get() == project.sources()
            docker("exec", project.container(), "sh", "-c", "grep -q started /tmp/kiro-supervise")
    finally:
        cleared(project)


def test_a_full_disk_in_the_container_is_named(tmp_path: Path, engine: None) -> None:
    compose = {"app": "    tmpfs: ['/app/src/small:size=64k,mode=777']\n"}
    project = make_project(tmp_path / "full", compose=compose)
    project.write("small/file.txt", "hidden by the mount\n")
    try:
        with watching(project) as watch:
            mark = watch.now
            project.write("small/large.txt", "x" * 200_000)
            row = watch.wait("served", mark)  # in a new container: its image has the file
            assert row["path"] == "image"
            assert "the container's disk is full" in row["cause"]
            assert "src/small/large.txt" in row["cause"]
            mark = watch.now
            project.write("one.txt", "and on\n")
            assert watch.wait("served", mark)["path"] == "live"
            mark = watch.now
            project.write("small/file.txt", "it cannot be seen there\n")
            row = watch.wait("served", mark)
            assert row["path"] == "image"
            assert "does not have src/small/file.txt where it would be synced to" in row["cause"]
    finally:
        cleared(project)


def test_two_services_that_share_a_library_both_follow_it(tmp_path: Path, engine: None) -> None:
    """Both are built from the whole repository."""
    project = make_project(tmp_path / "sharing", ("one", "two"))
    root = project.root
    for service in ("one", "two"):
        shutil.rmtree(root / service)
    small_service(root)
    (root / "src/shared").mkdir()
    (root / "src/shared/lib.txt").write_text("shared\n")
    text = "Dockerfile*\n*.dockerignore\n*.md\nout\n.kiro\n*.yaml\n.git\n"
    for service in ("one", "two"):
        shutil.copy(root / "Dockerfile.fast", root / f"{service}.Dockerfile")
        (root / f"{service}.Dockerfile.dockerignore").write_text(text)
    for file in ("Dockerfile.fast", ".dockerignore"):
        (root / file).unlink()
    (root / ".dockerignore").write_text(text)
    rows = "".join(
        f"  - name: {service}\n    context: .\n    fast_dockerfile: {service}.Dockerfile\n    ecosystem: other\n"
        "    dependency_inputs: [deps.txt]\n    live: {run: ./build.sh}\n"
        for service in ("one", "two")
    )
    (root / "kiro.yaml").write_text(f"project: {project.name}\nservices:\n{rows}")
    compose = (root / "compose.yaml").read_text()
    for service in ("one", "two"):
        compose = compose.replace(
            f"build: {{context: {service}, dockerfile: Dockerfile.fast}}",
            f"build: {{context: ., dockerfile: {service}.Dockerfile}}",
        )
    (root / "compose.yaml").write_text(compose)

    def expected() -> dict[str, str]:
        folder = root / "src"
        return {str(p.relative_to(folder)): p.read_text().strip() for p in folder.rglob("*") if p.is_file()}

    try:
        with watching(project) as watch:
            mark = watch.now
            (root / "src/shared/lib.txt").write_text("for both\n")
            for service in ("one", "two"):
                watch.wait("served", mark, service=service, path="live")
                assert project.get(service) == expected()
    finally:
        cleared(project)


def test_a_database_a_bind_mount_and_a_profile(tmp_path: Path, engine: None) -> None:
    more = (
        "  db:\n    image: debian:13-slim\n    command: sleep infinity\n    stop_grace_period: 1s\n"
        "  tools:\n    image: debian:13-slim\n    command: sleep infinity\n    profiles: [tools]\n"
    )
    compose = {"app": "    depends_on: [db]\n    volumes: ['./app/src/mounted:/app/src/mounted']\n"}
    project = make_project(tmp_path / "composed", compose=compose, more=more)
    project.write("mounted/file.txt", "from this machine\n")
    try:
        with watching(project) as watch:
            database = project.container("db")
            assert database
            assert project.container("tools") == ""
            file = project.root / "app/src/mounted/file.txt"
            status, mark = file.stat(), watch.now
            project.write("one.txt", "synced\n")
            watch.wait("served", mark, path="live")
            assert file.stat().st_mtime_ns == status.st_mtime_ns
            mark = watch.now
            file.write_text("edited here\n")  # there at once, and built
            watch.wait("served", mark, path="live")
            assert project.get() == project.sources()
            mark = watch.now
            dockerfile = project.root / "app/Dockerfile.fast"
            dockerfile.write_text(dockerfile.read_text().replace("COPY . .", "ENV A=1\nCOPY . ."))
            watch.wait("served", mark, path="image")
            assert project.container("db") == database
            state = docker("inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", database)
            assert state.endswith(" 0\n")
    finally:
        cleared(project)


def test_a_file_deleted_while_the_container_was_stopped_is_gone_from_it(project: Project) -> None:
    project.write("gone.txt", "soon\n")
    with watching(project) as watch:
        docker("stop", "--time", "1", project.container())
        watch.wait("stopped", seconds=10)
        (project.root / "app/src/gone.txt").unlink()
        project.until_served()
        listed = docker("exec", project.container(), "ls", "/app/src").split()
        assert "gone.txt" not in listed


def test_an_engine_that_is_restarted_is_waited_for(tmp_path: Path, engine: None) -> None:
    """A second engine: its containers have no network, so what is served is asked of the container."""
    folder = Path(tempfile.mkdtemp(prefix="kiro-engine-"))  # short: a socket's path has 108 bytes at most
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        private = stack.enter_context(private_engine(folder))
        _load(private, "debian:13-slim")
        project = make_project(tmp_path / "restarted")
        project.env = dict(private.env)
        compose = project.root / "compose.yaml"
        compose.write_text(
            compose.read_text()
            .replace(f'    ports: ["127.0.0.1:{project.ports["app"]}:8080"]\n', "    network_mode: none\n")
            .replace("dockerfile: Dockerfile.fast", "dockerfile: Dockerfile.fast, network: none")
        )

        def page() -> str:
            ran = command("docker", "exec", _container(project), "cat", "/app/out/page", env=project.env)
            return ran.out

        with watching(project) as watch:
            project.write("one.txt", "before\n")
            watch.wait("served", watch.now - 1)
            private.kill()
            watch.wait("error", seconds=20)
            project.write("one.txt", "meanwhile\n")
            mark = watch.now
            private.start()
            until(lambda: "src/one.txt=meanwhile" in page(), 60, page)
            until(lambda: any(row["event"] in {"served", "reconciled"} for row in watch.rows[mark:]), 30)
            mark = watch.now
            project.write("two.txt", "after\n")
            watch.wait("served", mark)
            assert "src/two.txt=after" in page()


def _load(private: PrivateEngine, image: str) -> None:
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
        loaded = subprocess.run(
            ["docker", "load"],
            stdin=saving.stdout,
            env={**os.environ, **private.env},
            capture_output=True,
            check=False,
        )
    assert loaded.returncode == 0, loaded.stderr


def _container(project: Project) -> str:
    ran = command(
        "docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project.name}",
        env=project.env,
    )  # fmt: skip
    return ran.out.strip()


@dataclass
class Chaos:
    """Random edits of a project's sources."""

    src: Path
    dice: random.Random

    def edit(self) -> None:
        place = self.src / self.dice.choice(["one.txt", "two.txt", "a/b.txt", "a/c.txt", "d.txt"])
        match self.dice.randrange(6):
            case 0 if place.exists() and place.name != "one.txt":
                place.unlink()
            case 1:
                self.write(place, "ERROR")
            case 2:
                self.write(place, f"SLEEP {self.dice.random()}")
            case 3:
                shutil.rmtree(self.src / "a", ignore_errors=True)
            case _:
                self.write(place, f"{self.dice.random()}")

    def write(self, place: Path, text: str) -> None:
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"{text}\n")

    def mend(self) -> None:
        """Leave nothing that does not build."""
        for place in self.src.rglob("*.txt"):
            if re.search("ERROR|SLEEP", place.read_text()):
                self.write(place, f"mended {self.dice.random()}")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_in_whatever_order_the_last_state_is_served(
    tmp_path: Path, engine: None, seed: int
) -> None:
    """Random edits, restarts of the container, and ends of the tool itself."""
    dice = random.Random(seed)
    project = make_project(tmp_path / f"random {seed}")
    chaos = Chaos(project.root / "app/src", dice)
    try:
        for _ in range(2):
            with watching(project) as watch:
                for _ in range(12):
                    chaos.edit()
                    time.sleep(dice.choice([0.0, 0.02, 0.1, 0.6]))
                    if dice.randrange(6) == 0:
                        command("docker", "restart", "--time", "1", project.container())
                chaos.mend()
                project.until_served(seconds=60)
                chaos.edit()
                if dice.randrange(2):
                    watch.process.kill()
                    watch.process.wait()
            chaos.mend()
    finally:
        cleared(project)
