"""What the tool's own door adds: its mirror, its locks, its proof, its clean builds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kiro_invoke import config
from tests.support.engine import ROOT, build_steps, docker, kiro

pytestmark = pytest.mark.docker

BASE = "FROM debian:13-slim\n"
#: Shows what the image was built from.
SHOWING = BASE + 'COPY . /app\nCMD ["cat", "/app/text"]\n'
IMAGE = f"kiro-test-{os.getpid()}/app:dev"


@pytest.fixture(autouse=True)
def no_image_left(engine: None) -> Iterator[None]:
    yield
    found = docker("image", "ls", "--quiet", "--filter", f"label=dev.kiro.project=kiro-test-{os.getpid()}")
    if found:
        docker("rmi", "--force", *set(found.split()))


def write(tiny: Path, text: str, *, dockerfile: str = SHOWING) -> Path:
    """A service that shows `text`; the Dockerfile is no part of its context."""
    (tiny / "app/.dockerignore").write_text(".dockerignore\nDockerfile*\n")
    (tiny / "app/Dockerfile.fast").write_text(dockerfile)
    (tiny / "app/text").write_text(text)
    return tiny / "app/text"


def built(root: Path, *arguments: str) -> str:
    """What the image says once it is built."""
    ran = kiro("build", *arguments, cwd=root)
    assert ran.code == 0, ran.err
    return docker("run", "--rm", "--network=none", IMAGE)


def edit_unseen(path: Path, text: str) -> None:
    """An edit that leaves size and time as they were, as checkouts and sync tools can."""
    before = path.stat()
    assert before.st_size == len(text)
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_edit_of_the_same_size_and_time_is_built(tiny: Path) -> None:
    text = write(tiny, "one")
    assert built(tiny) == "one"
    edit_unseen(text, "two")
    assert built(tiny) == "two"


def test_a_dockerfile_edit_of_the_same_size_and_time_is_built(tiny: Path) -> None:
    write(tiny, "text", dockerfile=BASE + "COPY . /app\nCMD echo one\n")
    assert built(tiny) == "one\n"
    edit_unseen(tiny / "app/Dockerfile.fast", BASE + "COPY . /app\nCMD echo two\n")
    assert built(tiny) == "two\n"


def test_two_checkouts_with_the_same_folder_names_do_not_mix(tiny: Path) -> None:
    """Each builds first what the engine then takes for the other's: same size, same time, same folder name."""
    others = tiny.parent / "other"
    tiny.rename(tiny.parent / "first")
    first = tiny.parent / "first"
    write(first, "one")
    os.utime(first / "app/text", (1_600_000_000, 1_600_000_000))
    (others / "app").mkdir(parents=True)
    (others / "kiro.yaml").write_text((first / "kiro.yaml").read_text())
    write(others, "two")
    os.utime(others / "app/text", (1_600_000_000, 1_600_000_000))
    assert [built(first), built(others), built(first), built(others)] == ["one", "two", "one", "two"]


def test_a_plain_docker_build_afterwards_finds_every_step_cached(tiny: Path) -> None:
    write(tiny, str(time.time_ns()))
    built(tiny)
    steps = build_steps("-f", "app/Dockerfile.fast", "app", cwd=tiny)
    copies = [step for step in steps if "COPY" in step["name"]]
    assert copies
    assert all(step.get("cached") for step in copies)


def test_the_persons_folder_is_left_as_it_is(tiny: Path) -> None:
    write(tiny, "text")
    before = {path: path.stat() for path in sorted(tiny.rglob("*"))}
    built(tiny)
    after = {path: path.stat() for path in sorted(tiny.rglob("*")) if ".kiro" not in path.parts}
    assert {p: (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for p, s in after.items() if p != tiny} == {
        p: (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for p, s in before.items() if p != tiny
    }


def test_an_edit_during_a_build_waits_for_the_next_one(tiny: Path) -> None:
    """What is built is what was hashed when it began."""
    marker, slow = slow_build()
    text = write(tiny, "one", dockerfile=slow)
    building = start(tiny)
    wait_for_step(marker)
    text.write_text("two")
    assert building.wait(60) == 0
    assert docker("run", "--rm", IMAGE) == "one"
    assert built(tiny) == "two"


def test_a_second_build_of_one_checkout_waits_and_says_so(tiny: Path) -> None:
    marker, slow = slow_build()
    write(tiny, "one", dockerfile=slow)
    building = start(tiny)
    wait_for_step(marker)
    second = kiro("build", cwd=tiny)
    assert second.code == 0, second.err
    assert "waiting for another build of app to end" in second.err
    assert building.wait(60) == 0


def start(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kiro_invoke.cli", "build"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def slow_build() -> tuple[str, str]:
    """A marker by which its slow step is known among the processes, and a Dockerfile."""
    marker = f"slow-{time.time_ns()}"
    return marker, BASE + f'RUN : {marker} && sleep 4\nCOPY . /app\nCMD ["cat", "/app/text"]\n'


def wait_for_step(marker: str) -> None:
    """Until the slow step runs: the builds' processes are processes of this machine."""
    end = time.monotonic() + 30
    while not any(f": {marker} && sleep".encode() in line for line in command_lines()):
        assert time.monotonic() < end, "the build did not begin"
        time.sleep(0.05)


def command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield process.read_bytes()


# --- the proof


def test_an_image_that_holds_another_revision_is_not_called_a_success(tiny: Path) -> None:
    """As if a step had been skipped, or sources not sent."""
    wrong = f"kiro-revision-{'0' * 64}"
    proving = BASE + f"COPY . /app\nRUN echo {wrong} > /revision\nLABEL dev.kiro.proof=/revision\n"
    write(tiny, "one", dockerfile=proving)
    ran = kiro("build", "--format", "json", cwd=tiny)
    assert ran.code == 4
    message = ran.json["error"]["message"]
    assert wrong in message
    assert IMAGE in message
    assert "--clean" in ran.json["error"]["fix"]
    assert kiro("build", cwd=tiny).code == 4, "a second build must not pass either"


@pytest.mark.parametrize("proof", ["/not-there", "/link", "/app"])
def test_an_image_without_the_file_that_is_to_prove_it_is_not_called_a_success(
    tiny: Path, proof: str
) -> None:
    """Its label says what was sent: it would prove whatever was built."""
    write(
        tiny,
        "one",
        dockerfile=BASE + f"COPY . /app\nRUN ln -s /app/text /link\nLABEL dev.kiro.proof={proof}\n",
    )
    ran = kiro("build", "--format", "json", cwd=tiny)
    assert ran.code == 4
    assert f"no regular file {proof}" in ran.json["error"]["message"]


def test_a_proof_that_the_base_image_names_proves_nothing_of_what_stands_on_it(tiny: Path) -> None:
    base = f"kiro-test-{os.getpid()}/base:1"
    text = f"{BASE}RUN echo kiro-revision-{'0' * 64} > /revision\nLABEL dev.kiro.proof=/revision\n"
    folder = tiny.parent / "base"
    folder.mkdir()
    (folder / "Dockerfile").write_text(text)
    build_steps("-t", base, ".", cwd=folder)
    try:
        write(tiny, "one", dockerfile=f"FROM {base}\nCOPY . /app\n")
        ran = kiro("build", cwd=tiny)
        assert ran.code == 0, ran.err
    finally:
        docker("rmi", "--force", IMAGE, base)


def test_an_image_that_embeds_no_revision_is_known_by_its_label(tiny: Path) -> None:
    write(
        tiny,
        "one",
        dockerfile=BASE + "COPY . /app\nRUN echo none > /revision\nLABEL dev.kiro.proof=/revision\n",
    )
    ran = kiro("build", cwd=tiny)
    assert ran.code == 0
    assert f"{IMAGE}: /revision embeds no revision: checked by label only" in ran.err
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", IMAGE))
    assert re.fullmatch(r"kiro-revision-[0-9a-f]{64}", labels["dev.kiro.revision"])


# --- clean builds

#: Reads the mount's past into the image, as no build step should.
TAINTED = (
    BASE.replace("\n", " AS build\n")
    + "COPY . /app\n"
    + "RUN --mount=type=cache,id=kiro-test-taint,target=/kept "
    + "cp /kept/past /seen 2>/dev/null || echo nothing > /seen; cp /app/text /kept/past\n"
    + BASE
    + 'COPY --from=build /seen /seen\nCMD ["cat", "/seen"]\n'
)


def test_a_clean_build_takes_nothing_from_cache_mounts_and_leaves_them_alone(tiny: Path) -> None:
    first, second, third = (f"{time.time_ns()}-{number}" for number in range(3))
    write(tiny, first, dockerfile=TAINTED)
    assert built(tiny) == "nothing\n"
    write(tiny, second, dockerfile=TAINTED)
    assert built(tiny) == first
    assert built(tiny, "--clean") == "nothing\n"
    assert built(tiny, "--clean") == "nothing\n", "a clean build is clean each time"
    write(tiny, third, dockerfile=TAINTED)
    assert built(tiny) == second


def test_a_clean_build_leaves_no_cache_mount_behind(tiny: Path) -> None:
    write(tiny, str(time.time_ns()), dockerfile=TAINTED)
    built(tiny, "--clean")
    assert f"{config.load(tiny, {}).checkout}-clean-" not in docker("buildx", "du", "--verbose")
