"""A second engine of the tests' own: data root, socket and pid file apart from the shared one's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.engine import daemon, docker, process
from kiro_invoke.engine.daemon import Daemon
from kiro_invoke.engine.locate import Address


@dataclass(frozen=True)
class PrivateEngine:
    """`config`: the text of its daemon.json, read anew at each start; "" for none."""

    folder: Path
    config: str = ""

    @property
    def address(self) -> Address:
        return Address(f"unix://{self.folder}/engine.sock", "DOCKER_HOST")

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.address.url}

    @property
    def daemon(self) -> Daemon:
        return Daemon(
            log=self.folder / "engine.log",
            pid_file=self.folder / "engine.pid",
            exec_root=self.folder / "exec",
            # without a network of its own, an engine without a bridge takes the shared engine's bridge away
            program="unshare",
            arguments=(
                "--net",
                "dockerd",
                f"--host={self.address.url}",
                f"--data-root={self.folder}/data",
                f"--exec-root={self.folder}/exec",
                f"--pidfile={self.folder}/engine.pid",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                *([f"--config-file={self.folder}/daemon.json"] if self.config else ()),
            ),
        )

    def start(self) -> None:
        if self.config:
            (self.folder / "daemon.json").write_text(self.config)
        daemon.start(
            self.daemon,
            answers=lambda: docker.answers(self.address),
            systemd=False,
            run=process.run,
            sudo=False,
        )

    def stop(self) -> None:
        daemon.stop(self.daemon, run=process.run, sudo=False)

    def pid(self) -> int:
        return int((self.folder / "engine.pid").read_text())

    def kill(self) -> None:
        """End the daemon as a power cut would: no clean-up, its containerd left behind."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < end:
            time.sleep(0.05)


@contextmanager
def private_engine(folder: Path, config: str = "") -> Iterator[PrivateEngine]:
    """A running engine that is gone, with all it holds, at the end."""
    engine = PrivateEngine(folder, config)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()
        daemon.clear_stale(engine.daemon, run=process.run, sudo=False)
        for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            target = mount.split()[1]
            if target.startswith(f"{folder}/"):
                with suppress(subprocess.CalledProcessError):
                    subprocess.run(["umount", "-l", target], check=True, capture_output=True)
