"""Start and stop the engine that `kiro setup` installed, and no other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.engine.process import spawn_detached
from kiro_invoke.engine.protocol import Run
from kiro_invoke.model.errors import EngineError

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Daemon:
    """Where an engine lives. Tests give a second one a data root, socket and pid file of its own."""

    log: Path
    pid_file: Path = Path("/var/run/docker.pid")
    exec_root: Path = Path("/var/run/docker")
    arguments: tuple[str, ...] = ()
    program: str = "dockerd"

    @property
    def argv(self) -> tuple[str, ...]:
        return (self.program, *self.arguments)


def start(daemon: Daemon, *, answers: Callable[[], bool], systemd: bool, run: Run, sudo: bool) -> None:
    """Start the daemon and wait until it answers; EngineError with the log's last line if it does not."""
    prefix = ("sudo", "-n") if sudo else ()
    if systemd:
        done = run([*prefix, "systemctl", "start", "docker"], timeout=READY_SECONDS)
        if not done.ok:
            raise EngineError(
                f"systemctl start docker: {done.stderr.strip()}", fix="see `journalctl -u docker`"
            )
        if not _wait_until(answers, READY_SECONDS):
            raise EngineError("the engine started, but does not answer", fix="see `journalctl -u docker`")
        return
    clear_stale(daemon, run=run, sudo=sudo)
    if sudo:
        _make_private(daemon.log.parent)
    try:
        pid = spawn_detached([*prefix, *daemon.argv], daemon.log)
    except OSError as error:
        raise EngineError(
            f"cannot start {error.filename or daemon.program}: {error.strerror}",
            fix="see whether it is on PATH (dockerd lies in /usr/sbin), and whether you may",
        ) from None
    if _wait_until(answers, READY_SECONDS, alive=lambda: _alive(pid)):
        return
    raise EngineError(
        f"the engine did not start: {_last_line(daemon.log)}", file=str(daemon.log), fix="read that log"
    )


def stop(daemon: Daemon, *, run: Run, sudo: bool) -> bool:
    """Stop the daemon named in its pid file, if that process really is one. Returns whether it ran."""
    pid = _pid_in(daemon.pid_file)
    if pid is None or not _is(pid, "dockerd"):
        return False
    _terminate(pid, run=run, sudo=sudo)
    if not _wait_until(lambda: not _alive(pid), STOP_SECONDS):
        raise EngineError(f"the engine (process {pid}) does not stop", fix=f"look at it: ps -fp {pid}")
    return True


def clear_stale(daemon: Daemon, *, run: Run, sudo: bool) -> None:
    """Remove what a killed engine left: pid files of dead or other processes, an orphaned containerd."""
    if (pid := _pid_in(daemon.pid_file)) is not None and not _is(pid, "dockerd"):
        _remove(daemon.pid_file, run=run, sudo=sudo)
    inner = daemon.exec_root / "containerd" / "containerd.pid"
    pid = _pid_in(inner)
    if pid is None:
        return
    if _serves(pid, inner.parent) and _orphaned(pid):
        _terminate(pid, run=run, sudo=sudo)
        _wait_until(lambda: not _alive(pid), 10.0)
    if not _serves(pid, inner.parent):
        for left in (inner, inner.with_name("containerd.sock"), inner.with_name("containerd.sock.ttrpc")):
            _remove(left, run=run, sudo=sudo)


def _make_private(folder: Path) -> None:
    """A folder for the user's own log, which nobody else can put a file or a link into."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise EngineError(f"cannot make a folder for the log: {error.strerror}", file=str(folder)) from None


def _terminate(pid: int, *, run: Run, sudo: bool) -> None:
    if sudo:
        run(["sudo", "-n", "kill", str(pid)])
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise EngineError(f"process {pid} is not yours to stop", fix="run the command as root") from None


def _remove(path: Path, *, run: Run, sudo: bool) -> None:
    if sudo:
        run(["sudo", "-n", "rm", "-f", "--", str(path)])
        return
    with suppress(FileNotFoundError, PermissionError):
        path.unlink()


def _wait_until(
    true: Callable[[], bool], seconds: float, *, alive: Callable[[], bool] = lambda: True
) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        if not alive():
            break
        time.sleep(0.1)
    return true()


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text().strip())
    except (OSError, ValueError):
        return None


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the program's name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _alive(pid: int) -> bool:
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] != "Z"


def _is(pid: int, program: str) -> bool:
    try:
        return _alive(pid) and Path(f"/proc/{pid}/comm").read_text().strip() == program
    except OSError:
        return False


def _serves(pid: int, folder: Path) -> bool:
    """Whether the process is the containerd whose settings lie in `folder`, and no other containerd."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return _is(pid, "containerd") and any(os.fsencode(folder) in word for word in words)


def _orphaned(pid: int) -> bool:
    fields = _stat_fields(pid)
    return len(fields) > 1 and not _is(int(fields[1]), "dockerd")


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "no log"
    return next((line for line in reversed(lines) if line.strip()), "empty log")[-300:]
