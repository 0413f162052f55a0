"""The one place that starts processes: argument lists only, nothing left behind on Ctrl-C."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.protocol import Completed

#: Seconds that an interrupted child may take to clean up before it is killed.
GRACE_SECONDS = 10.0


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run `argv` and capture its output; a missing program is exit status 127, one that
    cannot be started 126, a timeout 124.

    `env` is added to the caller's environment. `timeout` is in seconds.
    """
    child = _start(argv, stdin=stdin is not None, env=env)
    if isinstance(child, Completed):
        return child
    with child, _not_outliving(child):
        try:
            out, err = child.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            _end_group(child)
            out, err = child.communicate()
            return Completed(tuple(argv), 124, out, f"{err}no answer within {timeout:g} s\n")
    return Completed(tuple(argv), child.returncode, out, err)


def stream(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    on_stderr: Callable[[str], None],
    brake: Brake | None = None,
) -> Completed:
    """Run `argv`, hand each line of its standard error to `on_stderr` as it comes, capture the rest.

    The child leads a process group of its own: whatever ends this call early (Ctrl-C, an error in
    `on_stderr`, the `brake`) interrupts the group, waits GRACE_SECONDS and then kills it.
    """
    child = _start(argv, stdin=stdin is not None, env=env)
    if isinstance(child, Completed):
        on_stderr(child.stderr.rstrip("\n"))
        return child
    with child:
        out: list[str] = []
        feeder = threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True)
        reader = threading.Thread(target=_drain, args=(child.stdout, out), daemon=True)
        try:
            with _not_outliving(child), (brake or Brake()).stopping(lambda: _end_beside(child)):
                feeder.start()
                reader.start()
                assert child.stderr is not None
                for line in child.stderr:
                    on_stderr(line.rstrip("\n"))
                child.wait()
        finally:
            for thread in (feeder, reader):
                if thread.ident is not None:
                    thread.join(GRACE_SECONDS)
    return Completed(tuple(argv), child.returncode, "".join(out), "")


def interactive(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run `argv` on this terminal (Compose's own output). Returns its status.

    It gets Ctrl-C from the terminal, as we do, and SIGTERM from us at once. It is then left to end by
    itself: to Compose, a second signal means that containers are killed.
    """
    with subprocess.Popen(list(argv), env=_environment(env)) as child, _handing_on(child) as handed_on:
        try:
            return child.wait()
        except BaseException:
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
            if not handed_on:
                child.terminate()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(GRACE_SECONDS)
            raise
        finally:
            child.kill()
            child.wait()


@contextmanager
def piped(argv: Sequence[str]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Start `argv` to be asked and to answer in bytes, until the block's end: its standard input and output.

    FileNotFoundError if there is no such program. What it says on standard error is dropped.
    """
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield child.stdin, child.stdout
        finally:
            child.kill()
            with suppress(BrokenPipeError):
                child.stdin.close()


@contextmanager
def lines(argv: Sequence[str]) -> Iterator[Iterable[str]]:
    """Start `argv`, until the block's end: the lines of its standard output. What it says on standard error is dropped.

    It is interrupted then, with all that it started, and killed if it does not end within GRACE_SECONDS.
    """
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        try:
            yield child.stdout
        finally:
            _end_group(child)


def spawn_detached(argv: Sequence[str], log: Path) -> int:
    """Start a daemon that outlives us: own session, no inherited standard streams. Returns its pid."""
    with log.open("ab") as sink:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            close_fds=True,
            cwd="/",
        )
    child.returncode = 0  # it is never waited for: without a status, letting go of it would be a warning
    return child.pid


@contextmanager
def _handing_on(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """While inside, SIGTERM reaches the child at once, and then us as before; yields those handed on.

    Only the main thread can do that; elsewhere nothing changes.
    """
    handed_on: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield handed_on
        return

    def hand_on(number: int, frame: FrameType | None) -> None:
        child.terminate()
        handed_on.append(number)
        if callable(before):
            before(number, frame)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, hand_on)
    try:
        yield handed_on
    finally:
        signal.signal(signal.SIGTERM, before)


#: Children that run now. What is left at the interpreter's exit (their threads were not waited for,
#: see side_by_side) is ended then.
_running: set[subprocess.Popen[str]] = set()


@contextmanager
def _not_outliving(child: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever leaves the block early ends the child and its process group."""
    _running.add(child)
    try:
        yield
    except BaseException:
        _end_group(child)
        raise
    finally:
        _running.discard(child)


@atexit.register
def _end_running() -> None:
    for child in tuple(_running):
        _end_group(child)


def _start(
    argv: Sequence[str], *, stdin: bool, env: Mapping[str, str] | None
) -> subprocess.Popen[str] | Completed:
    """The child, or how it ended if it could not be started."""
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(env),
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        status = 127 if isinstance(error, FileNotFoundError) else 126
        return Completed(tuple(argv), status, "", f"{argv[0]}: {error.strerror}\n")


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(added or {})}


def _feed(pipe: IO[str] | None, text: str | None) -> None:
    if pipe is not None:
        with suppress(BrokenPipeError), pipe:
            pipe.write(text or "")


def _drain(pipe: IO[str] | None, into: list[str]) -> None:
    if pipe is not None:
        into.extend(pipe)


def _end_beside(child: subprocess.Popen[str]) -> None:
    threading.Thread(target=_end_group, args=(child,), daemon=True).start()


def _end_group(child: subprocess.Popen[str]) -> None:
    """Interrupt the child's process group; kill what is left after the grace, or at a second Ctrl-C."""
    try:
        _signal_group(child, signal.SIGINT)
        end = time.monotonic() + GRACE_SECONDS
        while _group_lives(child) and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        _signal_group(child, signal.SIGKILL)
        child.wait()


def _group_lives(child: subprocess.Popen[str]) -> bool:
    """Whether a process of the child's group runs; one that only waits to be collected does not."""
    child.poll()
    for process in Path("/proc").iterdir():  # a list: a second Ctrl-C leaves no open folder behind
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            state, _parent, group = (
                (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
            )
            if int(group) == child.pid and state not in {"Z", "X"}:
                return True
    return False


def _signal_group(child: subprocess.Popen[str], sign: signal.Signals) -> None:
    # what runs through sudo is root's: it cannot be signalled, only waited for
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, sign)
