"""What goes wrong ends with its exit code and one message that says what, where and what to do."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from tests.conftest import Stack
from tests.support.engine import ROOT, command, docker, free_port, kiro

pytestmark = pytest.mark.docker

BASE = "FROM debian:13-slim\n"


def error_of(out: str) -> dict[str, object]:
    """The error in a JSON answer that fits the schema."""
    value = json.loads(out)
    jsonschema.validate(value, json.loads((ROOT / "kiro_invoke/schemas/error.json").read_text()))
    error = value["error"]
    assert isinstance(error, dict)
    return error


def test_a_failing_step_is_named_with_its_line_and_its_last_words(tiny: Path) -> None:
    (tiny / "app/Dockerfile.fast").write_text(
        BASE + "RUN true\nRUN for i in $(seq 30); do echo line $i; done; echo '\x1b[2Jgone'; exit 7\n"
    )
    ran = kiro("build", cwd=tiny)
    assert ran.code == 4
    *tail, message = ran.err.strip().splitlines()
    assert message.startswith("kiro build: app/Dockerfile.fast:3: app: ")
    shown = [line.removeprefix("  | ") for line in tail if line.startswith("  | ")]
    assert len(shown) == 20
    assert shown[-2:] == ["line 30", "gone"]
    log = re.search(r"see the whole log in (\S+)", message)
    assert log
    assert "line 1\n" in (tiny / log[1]).read_text()


def test_the_same_in_json(tiny: Path) -> None:
    (tiny / "app/Dockerfile.fast").write_text(BASE + "RUN exit 7\n")
    ran = kiro("build", "--format", "json", cwd=tiny)
    assert ran.code == 4
    error = error_of(ran.out)
    assert (error["code"], error["file"], error["line"]) == (4, "app/Dockerfile.fast", 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [(BASE + "RUNN true\n", 2), (BASE + "COPY nothing-here /\n", 2)],
)
def test_a_broken_dockerfile_is_named(tiny: Path, text: str, line: int) -> None:
    (tiny / "app/Dockerfile.fast").write_text(text)
    ran = kiro("build", cwd=tiny)
    assert ran.code == 4, ran.err
    assert f"app/Dockerfile.fast:{line}: app: " in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


def test_a_base_image_that_cannot_be_had_is_named(tiny: Path) -> None:
    (tiny / "app/Dockerfile.fast").write_text("FROM nobody.invalid/none:1\n")
    ran = kiro("build", cwd=tiny)
    assert ran.code == 4
    assert "base image nobody.invalid/none:1 is not here, no registry answers" in ran.err


def test_a_broken_configuration_is_named_with_its_line(tiny: Path) -> None:
    (tiny / "kiro.yaml").write_text("version: 1\nservics:\n  - name: app\n")
    ran = kiro("build", cwd=tiny)
    assert ran.code == 2
    assert 'kiro.yaml:2: unknown key "servics"; did you mean "services"?' in ran.err


def test_a_stopped_engine_is_said(tiny: Path) -> None:
    (tiny / "app/Dockerfile.fast").write_text(BASE)
    ran = kiro("build", "--format", "json", cwd=tiny, env={"DOCKER_HOST": f"unix://{tiny}/no.sock"})
    assert ran.code == 3
    assert "no Docker engine answers at unix://" in str(error_of(ran.out)["message"])


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_a_build_stops_it_and_leaves_nothing(tiny: Path, sign: signal.Signals) -> None:
    seconds = str(int(time.time() * 1000) % 10**9 + 10**9)
    (tiny / "app/Dockerfile.fast").write_text(BASE + f"RUN echo begun && sleep {seconds}\n")
    child = subprocess.Popen(
        [sys.executable, "-m", "kiro_invoke.cli", "build"],
        cwd=tiny,
        env={**os.environ, "BUILDKIT_PROGRESS": "plain"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.endswith("| begun\n"):
                break
        child.send_signal(sign)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "kiro build: interrupted" in err
    assert _eventually_gone(f"sleep {seconds}"), "the step goes on in the engine"
    mine = [Path(f"/proc/{pid}/cwd") for pid, _ in _processes("buildx bake --progress=rawjson")]
    assert tiny not in [cwd.resolve() for cwd in mine], "a builder client was left behind"


def _processes(text: str) -> list[tuple[str, str]]:
    """Process ids and command lines of what runs on this machine with `text` in its command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(folder.name) != os.getpid():
            found.append((folder.name, line))
    return found


def _eventually_gone(text: str) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not _processes(text):
            return True
        time.sleep(0.2)
    return False


def test_a_taken_port_is_named_with_its_holder_before_anything_is_built(tiny: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tiny / "app/Dockerfile.fast").write_text(BASE + "RUN exit 1\n")
        (tiny / "compose.yaml").write_text(
            f"services:\n  app:\n    image: kiro-test-{os.getpid()}/app:dev\n    ports: ['127.0.0.1:{port}:80']\n"
        )
        ran = kiro("up", cwd=tiny)
    assert ran.code == 1
    assert f"port {port} on 127.0.0.1 is in use by process {os.getpid()} (" in ran.err


def test_a_port_that_a_container_holds_is_named_with_the_container(stack: Stack, tiny: Path) -> None:
    port = stack.backend.rpartition(":")[2]
    (tiny / "app/Dockerfile.fast").write_text(BASE)
    (tiny / "compose.yaml").write_text(
        f"services:\n  app:\n    image: kiro-test-{os.getpid()}/app:dev\n    ports: ['127.0.0.1:{port}:80']\n"
    )
    ran = kiro("up", cwd=tiny)
    assert ran.code == 1
    assert f"in use by container {stack.project}-backend-1" in ran.err


def test_a_service_that_does_not_come_up_is_said(tiny: Path) -> None:
    (tiny / "app/Dockerfile.fast").write_text(BASE + 'CMD ["sh", "-c", "exit 3"]\n')
    name = f"kiro-test-{os.getpid()}"
    (tiny / "compose.yaml").write_text(f"services:\n  app:\n    image: {name}/app:dev\n")
    ran = kiro("up", cwd=tiny, env={"COMPOSE_PROJECT_NAME": name + "-fails"})
    try:
        assert ran.code == 1
        assert "compose up: " in ran.err
        assert "exited (3)" in ran.err
    finally:
        kiro("down", cwd=tiny, env={"COMPOSE_PROJECT_NAME": name + "-fails"})


def test_a_syntax_line_is_no_obstacle_where_no_registry_answers(tiny: Path) -> None:
    """Its frontend image cannot be had: the engine's own frontend builds the same text, line numbers kept."""
    text = "# syntax=nobody.invalid/frontend:9\n" + BASE + "RUN exit 3\n"
    (tiny / "app/Dockerfile.fast").write_text(text)
    plain = command("docker", "build", "-f", "app/Dockerfile.fast", "app", cwd=tiny)
    assert plain.code != 0
    assert "exit code: 3" not in plain.err
    ran = kiro("build", cwd=tiny)
    assert ran.code == 4
    assert "app/Dockerfile.fast:3: app: " in ran.err


def test_paths_and_arguments_with_everything_in_them(tiny: Path) -> None:
    odd = tiny / "söme $HOME ${x} %{y} 'q' \"d\", e"
    odd.mkdir()
    (odd / "file").write_text("content")
    (odd / "Dockerfile.fast").write_text(
        BASE + 'ARG WORD\nCOPY file /\nRUN cat /file && echo "[$WORD]" > /word\n'
    )
    context = odd.name.replace("'", "''")
    (tiny / "kiro.yaml").write_text(
        f"project: kiro-odd-{os.getpid()}\nservices:\n  - name: app\n    context: '{context}'\n"
        "build_args:\n  WORD: 'a ${b} %{c} \"d\" $e'\n"
    )
    ran = kiro("build", cwd=tiny)
    assert ran.code == 0, ran.err
    tag = f"kiro-odd-{os.getpid()}/app:dev"
    try:
        assert docker("run", "--rm", tag, "cat", "/word").strip() == '[a ${b} %{c} "d" $e]'
    finally:
        docker("rmi", tag)


def test_secrets_reach_the_build_and_nothing_else(tiny: Path) -> None:
    token = f"token-{free_port()}-{time.time_ns()}"
    (tiny / "token.txt").write_text(token)
    (tiny / "kiro.yaml").write_text(
        (tiny / "kiro.yaml").read_text() + "secrets:\n  - id: token\n    file: token.txt\n"
    )
    (tiny / "app/Dockerfile.fast").write_text(
        BASE + "RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /length\n"
    )
    ran = kiro("build", cwd=tiny)
    assert ran.code == 0, ran.err
    tag = f"kiro-test-{os.getpid()}/app:dev"
    try:
        assert docker("run", "--rm", tag, "cat", "/length").strip() == str(len(token))
        assert token not in docker("history", "--no-trunc", tag) + docker("image", "inspect", tag)
        assert all(token not in log.read_text() for log in (tiny / ".kiro/logs").iterdir())
    finally:
        docker("rmi", tag)
