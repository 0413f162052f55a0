"""The loops that are compared: `kiro watch`, Compose's watch, and cargo alone in a container of the same image."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kiro_invoke.engine import process
from kiro_invoke.model.errors import KiroError

#: As long as anything is waited for.
PATIENCE = 300.0
_POLL = 0.004
#: Between two requests: more of them would take the processors from what is measured.
_ASK = 0.02


def docker(*arguments: str, folder: Path | None = None) -> str:
    """The docker CLI's standard output; KiroError if it fails."""
    prefix = () if folder is None else ("env", "-C", str(folder))
    done = process.run([*prefix, "docker", *arguments])
    if not done.ok:
        raise KiroError(f"docker {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def fetched(url: str) -> str:
    """What a service answers, "" while it does not."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return str(answer.read().decode(errors="replace"))
    return ""


def seconds_until(url: str, word: str, since: float) -> float:
    """Seconds from a time on until a service's answer holds a word."""
    while word not in fetched(url):
        if time.monotonic() - since > PATIENCE:
            raise KiroError(f"{url} never answered with {word}")
        time.sleep(_ASK)
    return time.monotonic() - since


@dataclass
class KiroWatch:
    """`kiro watch --format jsonl` in a folder."""

    folder: Path
    process: subprocess.Popen[str]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def wait(self, event: str, since: int = 0) -> dict[str, Any]:
        """The first such event after the first `since`."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = next((row for row in self.rows[since:] if row.get("event") == event), None)
            if found is not None:
                return found
            if self.process.poll() is not None:
                raise KiroError(f"kiro watch ended: {self.rows[-3:]}")
            time.sleep(_POLL)
        raise KiroError(f"kiro watch told no {event}: {self.rows[since:]}")

    def usage(self) -> tuple[float, int]:
        """Processor seconds so far, and resident bytes."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return (int(fields[11]) + int(fields[12])) / ticks, pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def kiro_watch(folder: Path, *options: str, env: dict[str, str]) -> Iterator[KiroWatch]:
    """Run it until the block's end; it is ready when the block begins."""
    argv = [sys.executable, "-m", "kiro_invoke.cli", "watch", "--format", "jsonl", *options]
    started = subprocess.Popen(
        argv,
        cwd=folder,
        env={**os.environ, **env, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watch = KiroWatch(folder, started)
    reader = threading.Thread(target=_read, args=(watch,), daemon=True)
    reader.start()
    try:
        watch.wait("ready")
        yield watch
    finally:
        _ended(started)
        _down(folder, env)
        reader.join(5)
        if started.stdout is not None:
            started.stdout.close()


def _down(folder: Path, env: dict[str, str]) -> None:
    """Remove what is left of a project: another run is another folder."""
    given = [f"{name}={value}" for name, value in env.items()]
    process.run(
        ["env", "-C", str(folder), *given, "docker", "compose", "down", "--volumes", "--timeout", "1"]
    )


def _read(watch: KiroWatch) -> None:
    for line in watch.process.stdout or ():
        watch.rows.append(json.loads(line))


@contextmanager
def compose_watch(folder: Path, files: Sequence[str], project: str, env: dict[str, str]) -> Iterator[None]:
    """Compose's own loop, from files that say `develop: watch:`; its containers are gone at the end."""
    options = [word for file in files for word in ("--file", file)]
    argv = ["docker", "compose", "--project-name", project, *options, "watch", "--no-up"]
    up = ["docker", "compose", "--project-name", project, *options, "up", "--detach", "--no-build"]
    done = process.run(["env", "-C", str(folder), *(f"{k}={v}" for k, v in env.items()), *up])
    if not done.ok:
        raise KiroError(f"compose up: {done.stderr.strip()[-500:]}")
    log = (folder / "compose-watch.log").open("w")
    started = subprocess.Popen(
        argv, cwd=folder, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        time.sleep(2)
        yield
    finally:
        _ended(started)
        log.close()
        down = ["docker", "compose", "--project-name", project, *options, "down", "--timeout", "1"]
        process.run(["env", "-C", str(folder), *(f"{k}={v}" for k, v in env.items()), *down])


def _ended(started: subprocess.Popen[Any]) -> None:
    if started.poll() is None:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def container(image: str, name: str) -> Iterator[str]:
    """A container of an image in which nothing runs."""
    docker("run", "--detach", "--rm", "--init", "--name", name, "--entrypoint", "sleep", image, "infinity")
    try:
        yield name
    finally:
        process.run(["docker", "rm", "--force", name])


#: Edits a file in a container, and tells how many milliseconds a command takes then.
_TIMED = """cat >"$1" && began=$(date +%s%N) && shift && "$@" >/dev/null 2>&1 && ended=$(date +%s%N) \
 && echo $(((ended - began) / 1000))"""


def cargo_seconds(name: str, place: str, text: str, command: Sequence[str]) -> float:
    """What a build takes in a container after an edit, without the way into it."""
    argv = ["docker", "exec", "--interactive", "--workdir", "/app", name, "sh", "-c", _TIMED, "sh", place]
    done = process.run([*argv, *command], stdin=text)
    if not done.ok:
        raise KiroError(f"{' '.join(command)} failed: {done.stderr[-300:]}")
    return int(done.stdout) / 1_000_000
