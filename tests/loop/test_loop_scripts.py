"""The scripts that restart a program and see that it serves, run by this machine's shell."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kiro_invoke.loop import scripts
from tests.support.engine import ROOT, Ran, command, free_port

SUPERVISE = ROOT / "kiro_invoke/templates/kiro-supervise"


def run(text: str, state: Path, **env: str) -> Ran:
    return command("sh", "-c", text, env={"KIRO_STATE": str(state), **env}, timeout=30)


def code(name: str) -> int:
    return int(name)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    file = tmp_path / "state"
    file.write_text("started 1 7\n")
    return file


@pytest.mark.parametrize(
    "health",
    [
        ("CMD", "test", "-e", "it's ready"),
        ("CMD-SHELL", '[ -e "it\'s ready" ] || { echo not yet; false; }'),
    ],
)
def test_it_waits_until_the_health_check_succeeds(state: Path, health: Sequence[str]) -> None:
    text = f"cd '{state.parent}'; {scripts.serving(health, (), 5, supervised=True)}"
    process = subprocess.Popen(["sh", "-c", text], env={**os.environ, "KIRO_STATE": str(state)})
    time.sleep(0.2)
    assert process.poll() is None
    (state.parent / "it's ready").touch()
    assert process.wait(5) == 0


def test_what_the_health_check_says_is_told_when_it_is_given_up(state: Path) -> None:
    ran = run(scripts.serving(("CMD-SHELL", "echo 'not yet'; false"), (), 1, supervised=True), state)
    assert (ran.code, ran.out) == (code(scripts.SILENT), "not yet\n")


def test_a_health_check_that_hangs_is_ended(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "_CHECK_SECONDS", 1)
    begun = time.monotonic()
    ran = run(scripts.serving(("CMD", "sleep", "60"), (), 1, supervised=True), state)
    assert ran.code == code(scripts.SILENT)
    assert time.monotonic() - begun < 10


def test_a_program_that_ended_is_not_waited_for(state: Path) -> None:
    state.write_text("ended 4 101\n")
    for health in (("CMD", "false"), ()):
        ran = run(scripts.serving(health, (), 20, supervised=True), state)
        assert (ran.code, ran.out) == (code(scripts.ENDED), "the program ended with status 101\n")


def test_one_that_nothing_tells_of_may_have_come_to_its_end(state: Path) -> None:
    state.write_text("ended 1 0\n")
    assert run(scripts.serving((), (), 20, supervised=True), state).code == 0
    for health, ports in ((("CMD", "false"), ()), ((), (free_port(),))):  # one that is to serve may not
        assert run(scripts.serving(health, ports, 20, supervised=True), state).code == code(scripts.ENDED)


def test_without_a_health_check_its_ports_are_to_be_open(state: Path) -> None:
    port, other = free_port(), free_port()
    text = scripts.serving((), (port, other), 1, supervised=False)
    with socket.create_server(("127.0.0.1", port)):
        ran = run(text, state)
        assert ran.code == code(scripts.SILENT)
        assert ran.out == f"nothing listens on port {other}\n"
        with socket.create_server(("127.0.0.1", other)):
            assert run(text, state).code == 0


def test_a_port_of_ipv6_counts(state: Path) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        assert run(scripts.serving((), (server.getsockname()[1],), 1, supervised=False), state).code == 0


def test_one_that_nothing_tells_of_is_to_go_on(state: Path) -> None:
    assert run(scripts.serving((), (), 5, supervised=True), state).code == 0


# --- restarts, of a real supervisor that is not process 1 here


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    file = tmp_path / "supervised"
    argv = ["sh", str(SUPERVISE), "sh", "-c", f"[ ! -e {tmp_path}/crash ] || exit 9; exec sleep 60"]
    process = subprocess.Popen(
        argv, env={**os.environ, "KIRO_STATE": str(file)}, stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_for(file, "started 1 ")
    yield process, file
    process.send_signal(signal.SIGTERM)
    process.wait(5)


def wait_for(file: Path, beginning: str) -> None:
    end = time.monotonic() + 5
    while not (file.exists() and file.read_text().startswith(beginning)):
        assert time.monotonic() < end, file.read_text() if file.exists() else "no state"
        time.sleep(0.01)


def as_first(text: str, process: subprocess.Popen[bytes]) -> str:
    return text.replace("kill -HUP 1 ", f"kill -HUP {process.pid} ")


def test_a_restart_is_waited_for(supervised: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, file = supervised
    assert run(as_first(scripts.restart(), process), file).code == 0
    assert file.read_text().startswith("started 2 ")
    before = run(scripts.stands(), file).out.rstrip("\n")
    process.send_signal(signal.SIGHUP)
    assert run(scripts.wait_restarted(before), file).code == 0
    assert file.read_text().startswith("started 3 ")


def test_how_a_program_ended_is_told_and_a_restart_mends_it(
    supervised: tuple[subprocess.Popen[bytes], Path], tmp_path: Path
) -> None:
    process, file = supervised
    (tmp_path / "crash").touch()
    assert run(as_first(scripts.restart(), process), file).code == 0
    wait_for(file, "ended 2 9")
    (tmp_path / "crash").unlink()
    assert run(as_first(scripts.restart(), process), file).code == 0
    wait_for(file, "started 3 ")


def test_a_supervisor_that_tells_nothing_is_told_apart(tmp_path: Path) -> None:
    assert run(scripts.restart().replace("kill -HUP 1 ", "false "), tmp_path / "none").code == code(
        scripts.UNKNOWN
    )


def test_a_first_process_of_somebody_else_is_told_apart(state: Path) -> None:
    assert run(scripts.restart().replace("kill -HUP 1 ", "false "), state).code == code(scripts.REFUSED)


def test_a_program_that_does_not_end_is_given_up(state: Path) -> None:
    text = scripts.wait_restarted("started 1 7").replace("+ 20", "+ 1")
    assert run(text, state).code == code(scripts.STUCK)
