"""Fixtures that need a real engine. KIRO_TEST_DOCKER=0 is the only way to skip them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engine import Ran, docker, free_port, kiro

# A shell that starts the tests in the background makes them ignore Ctrl-C, and every process they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# So does `nohup` with SIGHUP, by which programs are told to start anew.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def engine() -> None:
    """A reachable engine, brought by the project's own setup where there is none."""
    if os.environ.get("KIRO_TEST_DOCKER") == "0":
        pytest.skip("KIRO_TEST_DOCKER=0")
    ran = kiro("setup")
    assert ran.code == 0, ran.err


@pytest.fixture(scope="session")
def warmed(engine: None) -> Ran:
    """The repository's own `warm-cache`, run once: every image of both services is built."""
    ran = kiro("warm-cache", "--format", "json")
    assert ran.code == 0, ran.err[-4000:]
    return ran


@dataclass(frozen=True)
class Stack:
    """The development services, running as Compose project `project`."""

    project: str
    backend: str
    frontend: str

    def container(self, service: str) -> str:
        return docker("compose", "-p", self.project, "ps", "--all", "--quiet", service).strip()


@pytest.fixture(scope="session")
def stack(warmed: Ran) -> Iterator[Stack]:
    """`kiro up` on ports of its own; taken down, volumes included, at the end."""
    backend, frontend = free_port(), free_port()
    project = f"kiro-test-{os.getpid()}"
    env = {
        "COMPOSE_PROJECT_NAME": project,
        "BACKEND_PORT": str(backend),
        "FRONTEND_PORT": str(frontend),
    }
    try:
        ran = kiro("up", "--format", "json", env=env)
        assert ran.code == 0, ran.err[-4000:]
        yield Stack(project, f"http://127.0.0.1:{backend}", f"http://127.0.0.1:{frontend}")
    finally:
        ran = kiro("down", "--volumes", env=env)
        assert ran.code == 0, ran.err


@pytest.fixture
def tiny(tmp_path: Path, engine: None) -> Path:
    """A repository with one service, `app`, whose Dockerfile.fast the test writes; a base that is here."""
    root = tmp_path / "tiny repo"
    (root / "app").mkdir(parents=True)
    (root / "kiro.yaml").write_text(f"project: kiro-test-{os.getpid()}\nservices:\n  - name: app\n")
    return root
