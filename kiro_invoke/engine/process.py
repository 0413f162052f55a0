"""The one place that starts processes: argument lists only, nothing left behind on Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

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
    """Run `argv` and capture its output; a missing program is exit status 127, a timeout 124.

    `env` is added to the caller's environment. `timeout` is in seconds.
    """
    try:
        with _start(argv, stdin=stdin is not None, env=env) as child:
            try:
                out, err = child.communicate(stdin, timeout=timeout)
            except subprocess.TimeoutExpired:
                _end_group(child)
                out, err = child.communicate()
                return Completed(tuple(argv), 124, out, f"{err}no answer within {timeout:g} s\n")
            except BaseException:
                _end_group(child)
                raise
    except FileNotFoundError as error:
        return Completed(tuple(argv), 127, "", f"{argv[0]}: {error.strerror}\n")
    return Completed(tuple(argv), child.returncode, out, err)


def stream(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    on_stderr: Callable[[str], None],
) -> Completed:
    """Run `argv`, hand each line of its standard error to `on_stderr` as it comes, capture the rest.

    The child leads a process group of its own: whatever ends this call early (Ctrl-C, an error in
    `on_stderr`) interrupts the group, waits GRACE_SECONDS and then kills it.
    """
    with _start(argv, stdin=stdin is not None, env=env) as child:
        out: list[str] = []
        feeder = threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True)
        reader = threading.Thread(target=_drain, args=(child.stdout, out), daemon=True)
        feeder.start()
        reader.start()
        try:
            assert child.stderr is not None
            for line in child.stderr:
                on_stderr(line.rstrip("\n"))
            child.wait()
        except BaseException:
            _end_group(child)
            raise
        finally:
            feeder.join(GRACE_SECONDS)
            reader.join(GRACE_SECONDS)
    return Completed(tuple(argv), child.returncode, "".join(out), "")


def interactive(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run `argv` on this terminal (Compose's own output); it gets Ctrl-C itself. Returns its status."""
    with subprocess.Popen(list(argv), env=_environment(env)) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(GRACE_SECONDS)
                if child.poll() is None:
                    child.terminate()
                    child.wait()
                raise


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
    _reaped_elsewhere.append(child)
    return child.pid


#: Daemons are never waited for; keeping the handle avoids a ResourceWarning for a child still running.
_reaped_elsewhere: list[subprocess.Popen[bytes]] = []


def _start(argv: Sequence[str], *, stdin: bool, env: Mapping[str, str] | None) -> subprocess.Popen[str]:
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


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(added or {})}


def _feed(pipe: IO[str] | None, text: str | None) -> None:
    if pipe is not None:
        with suppress(BrokenPipeError), pipe:
            pipe.write(text or "")


def _drain(pipe: IO[str] | None, into: list[str]) -> None:
    if pipe is not None:
        into.extend(pipe)


def _end_group(child: subprocess.Popen[str]) -> None:
    """Interrupt the child's process group, then kill whatever is left of it."""
    for sign, wait in ((signal.SIGINT, GRACE_SECONDS), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            child.wait(wait)
            if sign is signal.SIGKILL:
                return
