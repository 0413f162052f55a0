"""The images at work: they answer, keep what they must keep, and hold only what they need."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke import config
from tests.conftest import Stack
from tests.support.crates import forget, mounts_of
from tests.support.engine import ROOT, Ran, docker, free_port, http, kiro, wait_for

pytestmark = pytest.mark.docker

GREETING = {"message": "Hello from Kiro"}


def test_the_backend_greets(stack: Stack) -> None:
    assert json.loads(wait_for(f"{stack.backend}/api/greeting")) == GREETING
    assert json.loads(wait_for(f"{stack.backend}/health")) == {"status": "ok"}


def test_the_front_end_passes_the_backend_on_and_forbids_caching(stack: Stack) -> None:
    assert json.loads(wait_for(f"{stack.frontend}/api/greeting")) == GREETING
    status, page, headers = http(f"{stack.frontend}/")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert '<div id="root">' in page


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": ""}, 422),
        ({}, 422),
        ("{", 400),
        ({"text": "x" * 2001}, 422),
    ],
)
def test_bad_notes_are_refused_in_json(stack: Stack, body: object, status: int) -> None:
    got, text, _ = http(f"{stack.backend}/api/notes", method="POST", body=body)
    assert got == status
    assert set(json.loads(text)["error"]) >= {"code", "message"}


def test_notes_survive_a_restart_of_the_container(stack: Stack) -> None:
    status, text, _ = http(f"{stack.backend}/api/notes", method="POST", body={"text": "kept"})
    assert status == 201, text
    note = json.loads(text)
    docker("restart", stack.container("backend"))
    assert note in json.loads(wait_for(f"{stack.backend}/api/notes"))
    assert http(f"{stack.backend}/api/notes/{note['id']}", method="DELETE")[0] == 204
    assert note not in json.loads(wait_for(f"{stack.backend}/api/notes"))


def test_the_supervisor_restarts_the_program_and_not_the_container(stack: Stack) -> None:
    container = stack.container("backend")
    before = docker("inspect", "--format", "{{.State.StartedAt}}", container)
    pid = docker("exec", container, "pidof", "kiro-backend")
    docker("kill", "--signal", "HUP", container)
    end = time.monotonic() + 10
    while _pid(container) in {"", pid}:
        assert time.monotonic() < end, "the program was not restarted"
        time.sleep(0.05)
    wait_for(f"{stack.backend}/health")
    assert docker("inspect", "--format", "{{.State.StartedAt}}", container) == before


def _pid(container: str) -> str:
    return docker("exec", container, "sh", "-c", "pidof kiro-backend || true")


def test_a_debugger_stops_in_the_development_image(warmed: Ran) -> None:
    """gdb breaks in a function of ours, deep below the handler, and prints its argument."""
    script = """
        set -eu
        (for try in $(seq 100); do sleep 0.2; curl -fs -m 20 http://127.0.0.1:8080/api/greeting && break; done) &
        gdb -batch -ex 'set debuginfod enabled off' -ex 'break kiro_domain::greeting' -ex run \
            -ex 'print visits' -ex 'info source' -ex kill /app/target/debug/kiro-backend
    """
    printed = docker(
        "run", "--rm", "--cap-add=SYS_PTRACE", "--security-opt=seccomp=unconfined", "--entrypoint=sh",
        "kiro/backend:dev", "-c", script,
    )  # fmt: skip
    assert re.search(r"Breakpoint 1, kiro_domain::greeting \(visits=1\)", printed), printed[-2000:]
    assert re.search(r"^\$1 = 1$", printed, re.MULTILINE)


def test_the_development_image_builds_without_a_network_and_has_nothing_to_do(warmed: Ran) -> None:
    ran = docker(
        "run", "--rm", "--network=none", "--entrypoint=sh", "kiro/backend:dev", "-c",
        "kiro-fresh build cargo build --workspace --bins --locked 2>&1",
    )  # fmt: skip
    assert "Finished" in ran
    assert "Compiling" not in ran, ran


@pytest.mark.parametrize(
    ("service", "proof"),
    [("backend", r"test result: ok\. [1-9]\d* passed; 0 failed"), ("frontend", r"Tests +[1-9]\d* passed")],
)
def test_the_services_own_tests_pass_in_their_test_stage(warmed: Ran, service: str, proof: str) -> None:
    tag = f"kiro-test/{service}:test"
    docker("build", "--quiet", "--target=test", "-f", f"{service}/Dockerfile.fast", "-t", tag, service)
    try:
        printed = docker("run", "--rm", "--env=NO_COLOR=1", tag)
    finally:
        docker("rmi", tag)
    assert re.search(proof, printed), printed[-3000:]


@pytest.fixture(scope="module")
def production(warmed: Ran) -> Iterator[str]:
    """Both production images on a network of their own; the front end's address."""
    name, port = f"kiro-prod-{os.getpid()}", free_port()
    docker("network", "create", name)
    try:
        docker(
            "run", "--detach", "--name", f"{name}-backend", "--network", name, "--network-alias=backend",
            "--read-only", "--tmpfs=/tmp", "--health-interval=1s", "kiro/backend:prod",
        )  # fmt: skip
        docker(
            "run", "--detach", "--name", f"{name}-frontend", "--network", name, "--publish", f"127.0.0.1:{port}:8080",
            "--read-only", "--tmpfs=/tmp:mode=1777", "--health-interval=1s", "kiro/frontend:prod",
        )  # fmt: skip
        yield f"http://127.0.0.1:{port}"
    finally:
        docker("rm", "--force", "--volumes", f"{name}-backend", f"{name}-frontend")
        docker("network", "rm", name)


def test_production_serves_the_page_and_the_backend(production: str) -> None:
    page = wait_for(f"{production}/")
    assert json.loads(wait_for(f"{production}/api/greeting")) == GREETING
    asset = re.search(r'src="(/assets/[^"]+\.js)"', page)
    assert asset
    _, _, headers = http(f"{production}{asset[1]}", headers={"Accept-Encoding": "gzip"})
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Encoding"] == "gzip"
    status, text, headers = http(f"{production}/some/place")
    assert (status, text) == (200, page)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src" in headers["Content-Security-Policy"]
    assert http(f"{production}/assets/none.js")[0] == 404


@pytest.mark.parametrize("service", ["backend", "frontend"])
def test_production_containers_become_healthy(production: str, service: str) -> None:
    end = time.monotonic() + 30
    name = f"kiro-prod-{os.getpid()}-{service}"
    while (state := docker("inspect", "--format", "{{.State.Health.Status}}", name).strip()) != "healthy":
        assert time.monotonic() < end, state
        time.sleep(0.2)


@pytest.mark.parametrize("service", ["backend", "frontend"])
def test_production_images_run_without_rights_and_hold_no_toolchain(warmed: Ran, service: str) -> None:
    image = f"kiro/{service}:prod"
    tools = "cargo rustc gcc cc node npm git gdb mold"
    script = f"id -u; for t in {tools}; do command -v $t; done; ls -A /app 2>/dev/null; true"
    uid, *found = docker("run", "--rm", "--entrypoint=sh", image, "-c", script).split()
    assert int(uid) != 0
    assert found == []


def test_an_edit_with_an_old_date_is_never_missed(warmed: Ran, tmp_path: Path) -> None:
    """Cargo trusts dates; checkouts, archives and rsync do not keep them in order."""
    copy_backend(tmp_path)
    assert kiro("build", cwd=tmp_path).code == 0
    source = next(
        path
        for path in (tmp_path / "backend/crates").rglob("*.rs")
        if GREETING["message"] in path.read_text()
    )
    source.write_text(source.read_text().replace(GREETING["message"], "Hello from the past"))
    os.utime(source, (0, 946684800))
    try:
        ran = kiro("build", cwd=tmp_path)
        assert ran.code == 0, ran.err[-3000:]
        port = free_port()
        name = docker(
            "run", "--rm", "--detach", "--publish", f"127.0.0.1:{port}:8080", "kiro-copy/backend:dev"
        ).strip()
        try:
            assert json.loads(wait_for(f"http://127.0.0.1:{port}/api/greeting")) == {
                "message": "Hello from the past"
            }
        finally:
            docker("rm", "--force", "--volumes", name)
    finally:
        docker("rmi", "kiro-copy/backend:dev")
        forget(mounts_of(config.load(tmp_path, {}).checkout))


def copy_backend(folder: Path) -> None:
    """A repository with the real backend alone, as a project of its own."""
    shutil.copytree(ROOT / "backend", folder / "backend", ignore=shutil.ignore_patterns("target", "data"))
    (folder / "kiro.yaml").write_text("project: kiro-copy\nservices:\n  - name: backend\n")
