"""BuildKit daemons of the tests' own: made of the Go module proxy's sources once, kept, each with an empty root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engine import command, free_port

VERSION = "v0.25.2"
_MODULE = "module kept\n\ngo 1.24\n"
_TOOLS = '//go:build tools\n\npackage kept\n\nimport _ "github.com/moby/buildkit/cmd/buildkitd"\n'
_PACKAGE = "github.com/moby/buildkit/cmd/buildkitd"


def buildkitd() -> Path:
    """The program, made where it is not kept from another time; the test is skipped where Go or root is missing."""
    if os.geteuid() != 0:
        pytest.skip("buildkitd starts containers: only root may")
    kept = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / f"kiro-invoke-tests/buildkitd-{VERSION}"
    )
    if kept.is_file():
        return kept
    if shutil.which("go") is None:
        pytest.skip(f"buildkitd {VERSION} is not kept in {kept.parent}, and there is no Go to make it")
    place = kept.with_suffix(".making")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "go.mod").write_text(_MODULE)
    (place / "tools.go").write_text(_TOOLS)
    for argv in (
        ["go", "get", f"github.com/moby/buildkit@{VERSION}"],
        ["go", "build", "-mod=mod", "-o", "buildkitd", _PACKAGE],
    ):
        ran = command(*argv, cwd=place, env={"GOFLAGS": "", "CGO_ENABLED": "0"}, timeout=1500)
        assert ran.code == 0, ran.err[-3000:]
    (place / "buildkitd").replace(kept)
    shutil.rmtree(place)
    return kept


@dataclass
class Builder:
    """A daemon that runs, and buildx's name for it."""

    folder: Path
    name: str
    port: int
    registry: str
    process: subprocess.Popen[bytes] | None = None
    is_halted: bool = False

    def halt(self) -> None:
        """Let it hang."""
        assert self.process is not None
        self.is_halted = True
        for pid in (*_below(self.process.pid), self.process.pid):
            os.kill(pid, signal.SIGSTOP)

    def start(self) -> None:
        self.is_halted = False
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.toml").write_text(f'[registry."{self.registry}"]\nhttp = true\n')
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                # in a mount namespace of its own: what it mounts goes with it
                ["unshare", "--mount", "--", str(buildkitd()), f"--root={self.folder}/root",
                 f"--addr=tcp://127.0.0.1:{self.port}", "--containerd-worker=false", "--oci-worker=true",
                 f"--config={self.folder}/config.toml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 60
        while "running" not in command("docker", "buildx", "inspect", self.name).out:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, "buildkitd does not answer"
            time.sleep(0.2)

    def kill(self) -> None:
        """It and what it started, at once."""
        if self.process is None:
            return
        for pid in (*_below(self.process.pid), self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def _below(pid: int) -> list[int]:
    """A process's descendants: containers lead groups of their own."""
    found: list[int] = []
    for child in command("ps", "-o", "pid=", "--ppid", str(pid)).out.split():
        found += [*_below(int(child)), int(child)]
    return found


@contextmanager
def builder(folder: Path, name: str, registry: str) -> Iterator[Builder]:
    """A daemon with an empty root that trusts a registry without TLS; gone with all that it holds afterwards."""
    one = Builder(folder, name, free_port(), registry)
    made = command(
        "docker", "buildx", "create", "--name", name, "--driver", "remote", f"tcp://127.0.0.1:{one.port}"
    )
    assert made.code == 0, made.err
    try:
        one.start()
        yield one
    finally:
        one.kill()
        command("docker", "buildx", "rm", "--force", name)
        shutil.rmtree(folder, ignore_errors=True)
