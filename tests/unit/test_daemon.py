"""Starting and stopping our own engine, told apart from everything else that has a process id."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.engine import daemon as room
from kiro_invoke.engine.daemon import Daemon, clear_stale, start, stop
from kiro_invoke.model.errors import EngineError, ExitCode
from tests.unit.fakes import FakeRun

#: Above any pid that Linux gives (2**22).
NOBODY = 2**22 + 1


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "READY_SECONDS", 1.0)
    monkeypatch.setattr(room, "STOP_SECONDS", 0.05)


class Zoo:
    """Real processes with chosen names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def program(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            shutil.copy(shutil.which("bash") or "", path)
        return path

    def process(self, name: str, *words: str, ignores: str = "") -> int:
        script = f"trap '' {ignores}; " if ignores else ""
        argv = [str(self.program(name)), "-c", f"{script}echo up; read -r", *words]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        return child.pid

    def ended(self, pid: int) -> bool:
        """Whether the process was ended, by SIGTERM."""
        child = next(child for child in self.started if child.pid == pid)
        try:
            return child.wait(1) == -signal.SIGTERM
        except subprocess.TimeoutExpired:
            return False


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    (tmp_path / "bin").mkdir()
    made = Zoo(tmp_path / "bin")
    yield made
    for child in made.started:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()


@pytest.fixture
def ours(tmp_path: Path) -> Daemon:
    containerd = tmp_path / "exec" / "containerd"
    containerd.mkdir(parents=True)
    for name in ("containerd.sock", "containerd.sock.ttrpc"):
        (containerd / name).touch()
    return Daemon(log=tmp_path / "log", pid_file=tmp_path / "docker.pid", exec_root=tmp_path / "exec")


def note(daemon: Daemon, pid: int | str, inner: int | str | None = None) -> None:
    daemon.pid_file.write_text(f"{pid}")
    if inner is not None:
        (daemon.exec_root / "containerd" / "containerd.pid").write_text(f"{inner}")


def left(daemon: Daemon) -> set[str]:
    return {path.name for path in daemon.exec_root.rglob("*") if path.is_file()}


ALL_LEFT = {"containerd.pid", "containerd.sock", "containerd.sock.ttrpc"}

# -- stop ---------------------------------------------------------------------------------------------


def test_stop_ends_the_engine(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("dockerd")
    note(ours, f"{pid}\n")
    assert stop(ours, run=FakeRun(), sudo=False)
    assert zoo.ended(pid)


def test_stop_through_sudo(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("dockerd")
    note(ours, pid)
    run = FakeRun().on("sudo", "-n", "kill", do=lambda argv: os.kill(int(argv[-1]), signal.SIGTERM))
    assert stop(ours, run=run, sudo=True)
    assert run.argvs == [("sudo", "-n", "kill", str(pid))]


@pytest.mark.parametrize("name", ["dockerd-rootless", "sshd", "containerd"])
def test_stop_leaves_a_recycled_pid_alone(zoo: Zoo, ours: Daemon, name: str) -> None:
    pid = zoo.process(name)
    note(ours, pid)
    assert not stop(ours, run=FakeRun(), sudo=False)
    assert room._alive(pid)


@pytest.mark.parametrize("text", ["", "abc", "-1", "0", str(NOBODY), "1 2", "9" * 40])
def test_stop_makes_nothing_of_a_pid_file_without_a_process(ours: Daemon, text: str) -> None:
    note(ours, text)
    assert not stop(ours, run=FakeRun(), sudo=False)


def test_stop_without_a_pid_file(ours: Daemon) -> None:
    assert not stop(ours, run=FakeRun(), sudo=False)


def test_stop_says_which_process_does_not_stop(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("dockerd", ignores="TERM")
    note(ours, pid)
    with pytest.raises(EngineError, match=f"process {pid}"):
        stop(ours, run=FakeRun(), sudo=False)


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_stop_of_somebody_elses_process(
    zoo: Zoo, ours: Daemon, error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not ours: said. Ended between look and signal: fine (here it never ends, so the wait runs out)."""

    def kill(_pid: int, _sign: int) -> None:
        raise error

    note(ours, zoo.process("dockerd"))
    said = "not yours" if error is PermissionError else "does not stop"
    with monkeypatch.context() as patched, pytest.raises(EngineError, match=said):
        patched.setattr(os, "kill", kill)
        stop(ours, run=FakeRun(), sudo=False)


# -- what a killed engine left ------------------------------------------------------------------------


def test_a_running_engine_is_not_touched(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("dockerd")
    note(ours, pid, NOBODY)
    clear_stale(ours, run=FakeRun(), sudo=False)
    assert ours.pid_file.exists()
    assert room._alive(pid)


def test_pid_files_of_the_dead_are_removed(ours: Daemon) -> None:
    note(ours, NOBODY, NOBODY)
    clear_stale(ours, run=FakeRun(), sudo=False)
    assert not ours.pid_file.exists()
    assert left(ours) == set()


def test_pid_files_of_a_recycled_pid_are_removed_and_the_process_lives(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("sshd")
    note(ours, pid, pid)
    clear_stale(ours, run=FakeRun(), sudo=False)
    assert not ours.pid_file.exists()
    assert left(ours) == set()
    assert room._alive(pid)


def test_a_zombie_is_dead(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("dockerd")
    os.kill(pid, signal.SIGKILL)
    while room._alive(pid):
        time.sleep(0.01)
    note(ours, pid)
    clear_stale(ours, run=FakeRun(), sudo=False)
    assert not ours.pid_file.exists()


def test_an_orphaned_containerd_is_ended(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("containerd", "--config", f"{ours.exec_root}/containerd/containerd.toml")
    note(ours, NOBODY, pid)
    clear_stale(ours, run=FakeRun(), sudo=False)
    assert zoo.ended(pid)
    assert left(ours) == set()


def test_another_containerd_with_a_recycled_pid_lives(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("containerd", "--config", "/etc/containerd/config.toml")
    note(ours, NOBODY, pid)
    clear_stale(ours, run=FakeRun(), sudo=False)
    assert room._alive(pid)
    assert left(ours) == set()


def test_a_containerd_that_its_engine_still_holds_is_left_alone(zoo: Zoo, ours: Daemon) -> None:
    inner = f"{zoo.program('containerd')} -c 'echo $$; read -r'"
    script = f"{inner} {ours.exec_root}/containerd/containerd.toml <&0 & wait"
    argv = [str(zoo.program("dockerd")), "-c", script]
    parent = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    zoo.started.append(parent)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        note(ours, parent.pid, pid)
        clear_stale(ours, run=FakeRun(), sudo=False)
        assert left(ours) == ALL_LEFT
        assert room._alive(pid)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def test_nothing_left_nothing_to_do(ours: Daemon) -> None:
    run = FakeRun()
    clear_stale(ours, run=run, sudo=True)
    assert run.calls == []


def test_roots_files_are_removed_through_sudo(zoo: Zoo, ours: Daemon) -> None:
    pid = zoo.process("containerd", "--config", f"{ours.exec_root}/containerd/containerd.toml")
    note(ours, NOBODY, pid)
    run = FakeRun().on("sudo", "-n", "kill", do=lambda argv: os.kill(int(argv[-1]), signal.SIGTERM))
    clear_stale(ours, run=run, sudo=True)
    assert zoo.ended(pid)
    assert run.argvs[0] == ("sudo", "-n", "rm", "-f", "--", str(ours.pid_file))
    assert {Path(argv[-1]).name for argv in run.argvs if argv[2] == "rm"} == ALL_LEFT | {"docker.pid"}


# -- start --------------------------------------------------------------------------------------------


def with_program(ours: Daemon, tmp_path: Path, script: str) -> Daemon:
    return Daemon(ours.log, ours.pid_file, ours.exec_root, ("-c", script), "sh")


def test_start_waits_until_the_engine_answers(ours: Daemon, tmp_path: Path) -> None:
    note(ours, NOBODY)
    answers = iter([False, False, True])
    daemon = with_program(ours, tmp_path, f"echo from $0 >&2; touch {tmp_path}/ran; sleep 2")
    start(daemon, answers=lambda: next(answers), systemd=False, run=FakeRun(), sudo=False)
    assert (tmp_path / "ran").exists()
    assert "from" in ours.log.read_text()
    assert not ours.pid_file.exists()


def test_an_engine_that_dies_is_told_with_its_last_line(ours: Daemon, tmp_path: Path) -> None:
    daemon = with_program(ours, tmp_path, "echo first; echo 'failed to mount: no' >&2; echo; exit 1")
    begun = time.monotonic()
    with pytest.raises(EngineError, match="did not start: failed to mount: no") as caught:
        start(daemon, answers=lambda: False, systemd=False, run=FakeRun(), sudo=False)
    assert time.monotonic() - begun < room.READY_SECONDS / 2, "a dead engine is not waited for"
    assert caught.value.code == ExitCode.NO_ENGINE
    assert caught.value.file == str(ours.log)


def test_an_engine_that_is_missing_is_told(ours: Daemon) -> None:
    missing = Daemon(ours.log, ours.pid_file, ours.exec_root, program="kiro-no-dockerd")
    with pytest.raises(EngineError, match="kiro-no-dockerd: No such file"):
        start(missing, answers=lambda: False, systemd=False, run=FakeRun(), sudo=False)


@pytest.mark.parametrize(("sudo", "prefix"), [(False, ()), (True, ("sudo", "-n"))])
def test_systemd_starts_it_where_there_is_systemd(ours: Daemon, sudo: bool, prefix: tuple[str, ...]) -> None:
    run = FakeRun()
    start(ours, answers=lambda: True, systemd=True, run=run, sudo=sudo)
    assert run.argvs == [(*prefix, "systemctl", "start", "docker")]


def test_systemd_that_fails(ours: Daemon) -> None:
    run = FakeRun().on("systemctl", code=1, err="Unit docker.service is masked.\n")
    with pytest.raises(EngineError, match=r"Unit docker\.service is masked"):
        start(ours, answers=lambda: False, systemd=True, run=run, sudo=False)


def test_systemd_says_it_started_but_nothing_answers(ours: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "READY_SECONDS", 0.05)
    with pytest.raises(EngineError, match="does not answer"):
        start(ours, answers=lambda: False, systemd=True, run=FakeRun(), sudo=False)


@pytest.mark.parametrize(
    ("text", "last"),
    [(None, "no log"), ("", "empty log"), ("\n \n", "empty log"), ("a\nb\n\n", "b"), ("x" * 999, "x" * 300)],
)
def test_the_last_line_of_a_log(tmp_path: Path, text: str | None, last: str) -> None:
    if text is not None:
        (tmp_path / "log").write_text(text)
    assert room._last_line(tmp_path / "log") == last


def test_the_command_line() -> None:
    assert Daemon(Path("log"), arguments=("--debug",)).argv == ("dockerd", "--debug")


def test_through_sudo_the_log_lies_in_a_folder_of_the_users_own(
    ours: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:/usr/bin:/bin")
    log = tmp_path / "state" / "kiro-invoke" / "dockerd.log"
    log.parent.mkdir(parents=True, mode=0o777)
    daemon = Daemon(log, ours.pid_file, ours.exec_root, ("-c", "echo sad >&2; exit 1"), "sh")
    with pytest.raises(EngineError, match="did not start: sad") as caught:
        start(daemon, answers=lambda: False, systemd=False, run=FakeRun(), sudo=True)
    assert caught.value.file == str(log)
    assert log.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_for_the_log_that_cannot_be_made_is_told(ours: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    daemon = Daemon(tmp_path / "file" / "log", ours.pid_file, ours.exec_root)
    with pytest.raises(EngineError, match="cannot make a folder for the log"):
        start(daemon, answers=lambda: False, systemd=False, run=FakeRun(), sudo=True)
