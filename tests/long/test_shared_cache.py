"""What one machine built, another takes from a registry: with a real registry and two real BuildKit daemons."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import secrets
import shutil
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.support.buildkitd import Builder, builder
from tests.support.engine import ROOT, Ran, command, docker, free_port, kiro
from tests.support.registry import Registry, registry
from tests.support.repository import git, write_texts

pytestmark = [pytest.mark.docker, pytest.mark.long]

#: A layer of dependencies that takes a while, a build in a mount that is seeded from it, a program.
DOCKERFILE = """\
FROM kiro-base AS cook
COPY deps /deps
RUN --mount=type=secret,id=token test -s /run/secrets/token && mkdir /cooked && sleep 3 \\
    && head -c 3000000 /dev/urandom >/cooked/deps
FROM cook AS build
COPY src /src
RUN --mount=type=cache,id=target,target=/target,from=cook,source=/cooked,sharing=locked \\
    test -s /target/deps && cat /src/* /deps/* >/program && sleep {pause}
FROM kiro-base
COPY --from=build /program /program
CMD ["cat", "/program"]
"""


@dataclass
class Project:
    """A checkout of one project; another one stands for another machine."""

    root: Path
    registry: Registry
    builder: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    token: str = "a token"

    def write(self, *, source: str = "one", deps: str = "one", pause: str = "0") -> None:
        shared = {
            "to": f"{self.registry.host}/team/cache:{{service}}-{{branch}}",
            "patience": "5s",
            **self.settings,
        }
        text = {
            "project": "kiro-shared",
            "services": [{"name": "app"}],
            "base_images": {"kiro-base": f"{self.registry.host}/kiro-base:latest"},
            "secrets": [{"id": "token", "env": "APP_TOKEN"}],
            "cache": shared,
            **({"builder": {"name": self.builder, "patience": "6s"}} if self.builder else {}),
        }
        write_texts(
            self.root,
            {
                "kiro.yaml": yaml.safe_dump(text),
                "app/Dockerfile.fast": DOCKERFILE.format(pause=pause),
                "app/src/main": source,
                "app/deps/lock": deps,
            },
        )

    def kiro(self, *words: str, code: int = 0) -> Ran:
        ran = kiro(
            *words, cwd=self.root, env={"GITHUB_REF_NAME": "main", "APP_TOKEN": self.token, **self.env}
        )
        assert ran.code == code, ran.out + ran.err[-4000:]
        return ran

    def ran(self, *words: str, code: int = 0) -> set[str]:
        """The stages that were not cached."""
        told = self.kiro(*words, "--format", "json", code=code).json
        return {
            stage["name"] for image in told["services"] for stage in image["stages"] if not stage["cached"]
        }

    @property
    def serves(self) -> str:
        return docker("run", "--rm", "--network=none", "kiro-shared/app:dev")


@dataclass(frozen=True)
class World:
    registry: Registry
    a: Builder
    b: Builder

    def project(self, root: Path, builder: str = "", **settings: object) -> Project:
        one = Project(root, self.registry, builder, settings)
        one.write()
        return one


@pytest.fixture(scope="module")
def bed(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    own, folder = f"kiro-test-{os.getpid()}", tmp_path_factory.mktemp("bed")
    with registry(folder / "registry") as shared:
        # a name of its own, and no label that says what it is made from: it is this team's base image
        base = f"{shared.host}/kiro-base:latest"
        docker("build", "--tag", base, "-", stdin="FROM debian:13-slim\nLABEL dev.kiro.standin=\n")
        docker("push", "--quiet", base)
        docker("image", "rm", base)
        with (
            builder(folder / "a", f"{own}-a", shared.host) as a,
            builder(folder / "b", f"{own}-b", shared.host) as b,
        ):
            yield World(shared, a, b)
    command("docker", "image", "rm", "--force", "kiro-shared/app:dev", base)


@pytest.fixture
def world(bed: World) -> World:
    """Nothing is shared yet, and both builders run; what they built for other tests, they have."""
    shutil.rmtree(bed.registry.data / "docker/registry/v2/repositories/team", ignore_errors=True)
    for one in (bed.a, bed.b):
        if one.process is None or one.is_halted:
            one.kill()
            one.start()
    return bed


def test_what_one_machine_built_nobody_builds_again(world: World, tmp_path: Path) -> None:
    a, b = (
        world.project(tmp_path / "a checkout", world.a.name),
        world.project(tmp_path / "b checkout", world.b.name),
    )
    assert {"cook", "build"} <= a.ran("warm-cache", "--push")
    assert b.ran("build") == set()
    assert b.serves == "oneone"
    # its first edit costs the source layer, in a mount that is seeded from the cooked one
    b.write(source="two")
    assert "cook" not in b.ran("build")
    assert b.serves == "twoone"
    # another dependency is nobody's yet
    b.write(source="two", deps="two")
    assert "cook" in b.ran("build")
    # another BuildKit than the one that filled it may key steps with mounts otherwise: it builds those
    here = world.project(tmp_path / "here")
    assert "was not read" not in here.kiro("build").err
    assert here.serves == "oneone"
    # what is pushed for a branch, others of that branch read, and else the default one's
    topic = world.project(tmp_path / "topic", world.b.name)
    topic.env["GITHUB_REF_NAME"] = "topic/x"
    assert topic.ran("build") == set()


def test_two_may_fill_it_at_once_and_a_pull_request_writes_nothing(world: World, tmp_path: Path) -> None:
    both = [world.project(tmp_path / name, one.name) for name, one in (("a", world.a), ("b", world.b))]
    threads = [threading.Thread(target=one.kiro, args=("warm-cache", "--push")) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = world.registry.content()
    assert any("team/cache" in name for name in before)
    pull = world.project(tmp_path / "pull", world.b.name)
    pull.env |= {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_HEAD_REF": "topic"}
    pull.write(source="theirs")
    assert "nothing is pushed" in pull.kiro("warm-cache", "--push").err
    assert pull.serves == "theirsone"
    assert world.registry.content() == before
    pull.env = {"KIRO_CACHE_READONLY": "1"}
    pull.kiro("warm-cache", "--push")
    assert world.registry.content() == before


def test_no_secret_is_in_what_is_shared(world: World, tmp_path: Path) -> None:
    project = world.project(tmp_path / "a", world.a.name, compression="gzip")
    project.token = secrets.token_hex(20)
    project.write(deps=secrets.token_hex(4))  # nobody has built that: the step with the secret runs
    before = set(world.registry.data.rglob("data"))
    ran = project.kiro("warm-cache", "--push")
    assert project.token not in ran.out + ran.err
    kept = set(world.registry.data.rglob("data")) - before
    assert len(kept) > 3
    assert not [path for path in kept if project.token.encode() in _unpacked(path.read_bytes())]
    state = [path for path in project.root.rglob("*") if path.is_file()]
    assert not [path for path in state if project.token.encode() in path.read_bytes()]


def _unpacked(blob: bytes) -> bytes:
    assert not blob.startswith(b"\x28\xb5\x2f\xfd"), "this is zstd, and would hide what it holds"
    return gzip.decompress(blob) if blob.startswith(b"\x1f\x8b") else blob


def test_nothing_made_from_stand_ins_is_pushed(world: World, tmp_path: Path) -> None:
    project = world.project(tmp_path / "here")
    text = (project.root / "kiro.yaml").read_text()
    (project.root / "kiro.yaml").write_text(
        text.replace(f"{world.registry.host}/kiro-base:latest", "debian:13-slim")
    )
    standin = docker(
        "image", "inspect", "--format", '{{index .Config.Labels "dev.kiro.standin"}}', "debian:13-slim"
    )
    if not standin.strip():
        pytest.skip("a registry answers here: no base image is a stand-in")
    before = world.registry.content()
    ran = project.kiro("warm-cache", "--push", code=1)
    assert "nothing made from stand-ins is pushed" in ran.err
    assert world.registry.content() == before


def test_a_cache_that_cannot_be_had_or_filled_costs_no_build(world: World, tmp_path: Path) -> None:
    """Down, read-only, wanting a password, full, silent: each is told, and each image is built."""
    project = world.project(tmp_path / "a", world.a.name)
    project.kiro("build")  # its base image is there, then

    def filled(source: str, told: str) -> None:
        project.write(source=source)
        begun = time.monotonic()
        ran = project.kiro("warm-cache", "--push", code=1)
        assert "the shared cache was not filled" in ran.err
        assert told in ran.err, ran.err
        assert project.serves == f"{source}one"
        assert time.monotonic() - begun < 120

    project.settings = {"to": f"127.0.0.1:{free_port()}/team/cache:{{service}}"}
    filled("down", "connection refused")
    password = secrets.token_hex(20)
    with registry(tmp_path / "locked", users=f"me:{_bcrypt(password)}\n") as locked:
        project.settings = {"to": f"{locked.host}/team/cache:{{service}}"}
        filled("locked", "401")
        project.env = _logged_in(tmp_path / "docker", locked.host, password)
        ran = project.kiro("warm-cache", "--push")
        assert password not in ran.out + ran.err
        assert not [
            path
            for path in project.root.rglob("*")
            if path.is_file() and password.encode() in path.read_bytes()
        ]
        project.env = {}
        locked.stop()
        locked.users, locked.readonly = "", True
        locked.start()
        filled("readonly", "405")
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    assert command("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tiny)).code == 0
    try:
        with registry(tiny / "registry") as full:
            project.settings = {"to": f"{full.host}/team/cache:{{service}}"}
            filled("full", "error writing layer blob")
    finally:
        command("umount", "--lazy", str(tiny))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        project.settings = {"to": f"127.0.0.1:{silent.getsockname()[1]}/team/cache:{{service}}"}
        filled("silent", "did not answer for 5 s")


def _bcrypt(password: str) -> str:
    """A password as htpasswd writes it."""
    return command("perl", "-e", "print crypt(shift, q{$2y$05$abcdefghijklmnopqrstuu})", password).out


def _logged_in(folder: Path, host: str, password: str) -> dict[str, str]:
    """The environment of somebody who ran `docker login`, with the builders that there are."""
    auth = base64.b64encode(f"me:{password}".encode()).decode()
    write_texts(folder, {"config.json": json.dumps({"auths": {host: {"auth": auth}}})})
    builders = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    return {"DOCKER_CONFIG": str(folder), "BUILDX_CONFIG": f"{builders}/buildx"}


def test_a_builder_that_dies_or_hangs_is_left_for_the_engine_here(world: World, tmp_path: Path) -> None:
    project = world.project(tmp_path / "a", world.a.name)
    process = world.a.process
    assert process is not None
    for at, lose in enumerate((world.a.kill, world.b.halt)):
        project.builder = (world.a, world.b)[at].name
        project.write(source=f"lost {at}", pause="12")
        losing = threading.Timer(8, lose)
        losing.start()
        ran = project.kiro("build")
        losing.join()
        assert "cannot be used" in ran.err
        assert "built on the engine here instead" in ran.err
        assert project.serves == f"lost {at}one"
    with sqlite3.connect(project.root / ".kiro/metrics.sqlite") as store:
        engines = [row[0] for row in store.execute("SELECT engine FROM builds")]
    assert engines
    assert not [name for name in engines if name.startswith("builder")]  # the local engine made them
    # a dead one is told at once, before anything is sent
    project.builder = world.a.name
    project.write(source="dead")
    assert "cannot be used" in project.kiro("build").err
    assert project.serves == "deadone"


#: Shell steps of docs/ci.md that are not run, and why: what a CI's machine or registry is made ready with.
_PREPARING = {
    "pip install kiro-invoke": "this kiro is used",
    'echo "$REGISTRY_TOKEN" | docker login --username ci --password-stdin registry.example': "nobody is asked here",
    "docker buildx create --name ci --driver docker-container": "the builder is a BuildKit of the tests' own",
}


def test_the_documented_jobs_work(world: World, tmp_path: Path) -> None:
    """Each shell step of each job in docs/ci.md, in order, as it stands there."""
    project = world.project(tmp_path / "a checkout")
    (project.root / "app/Dockerfile").write_text("FROM kiro-base\nCOPY src /src\n")
    git("init", "-q", str(project.root))
    for source in ("one", "two"):
        project.write(source=source)
        git("-C", str(project.root), "add", "--all")
        git("-C", str(project.root), "commit", "-qm", source)
    since = git("-C", str(project.root), "rev-parse", "HEAD~1").strip()
    program = Path(sys.executable).parent
    env = {
        "PATH": f"{program}:{os.environ['PATH']}", "KIRO_BUILDER": world.b.name, "SINCE": since, "SERVICE": "app",
        "APP_TOKEN": "a token", "GITHUB_REF_NAME": "main", "CI": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "GITHUB_OUTPUT": str(tmp_path / "output"),
    }  # fmt: skip
    steps = _shell_steps((ROOT / "docs/ci.md").read_text())
    assert len(steps) > 10
    for step in steps:
        if step not in _PREPARING:
            ran = command("bash", "-ec", step, cwd=project.root, env=env, timeout=300)
            assert ran.code == 0, f"{step}\n{ran.out[-2000:]}\n{ran.err[-3000:]}"
    assert (tmp_path / "output").read_text() == 'services=["app"]\n'
    summary = (tmp_path / "summary").read_text()
    assert "## Build times" in summary
    assert "app" in summary
    assert {one.name for one in project.root.glob("report.*")} == {"report.md", "report.xml"}


def _shell_steps(document: str) -> list[str]:
    """What the jobs of GitHub's and GitLab's kind run."""
    found: list[str] = []
    for text in re.findall(r"```yaml\n(.*?)```", document, re.DOTALL):
        for job in yaml.safe_load(text).get("jobs", yaml.safe_load(text)).values():
            if not isinstance(job, dict):
                continue
            found += [step["run"].strip() for step in job.get("steps", ()) if "run" in step]
            for part in ("before_script", "script", "after_script"):
                found += job.get(part, ())
    return found
