"""An engine of the benchmark's own: data root, socket, pid file and bridge apart from the shared one's.

Only here may cache be pruned by type.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks import network
from kiro_invoke.engine import daemon, docker, process
from kiro_invoke.engine.daemon import Daemon
from kiro_invoke.engine.locate import Address
from kiro_invoke.engine.protocol import Completed
from kiro_invoke.model.errors import EngineError, UsageError

_LOCK = "lock"
#: The engine's own garbage collection would drop what is measured.
_SETTINGS = '{"builder": {"gc": {"enabled": false}}}\n'


@dataclass(frozen=True)
class BenchEngine:
    """A running engine whose files all lie in `folder`."""

    folder: Path

    @property
    def address(self) -> Address:
        return Address(f"unix://{self.folder}/engine.sock", "DOCKER_HOST")

    @property
    def env(self) -> dict[str, str]:
        """What makes the docker CLI and the tool speak to this engine and no other."""
        return {"DOCKER_HOST": self.address.url, "DOCKER_CONTEXT": "", "BUILDX_BUILDER": ""}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def bridge(self) -> str:
        return network.bridge_name(self.folder)

    @property
    def daemon(self) -> Daemon:
        return Daemon(
            log=self.folder / "engine.log",
            pid_file=self.folder / "engine.pid",
            exec_root=self.folder / "exec",
            arguments=(
                f"--host={self.address.url}",
                f"--config-file={self.folder}/engine.json",
                f"--data-root={self.data}",
                f"--exec-root={self.folder}/exec",
                f"--pidfile={self.folder}/engine.pid",
                f"--bridge={self.bridge}",
                "--iptables=false",
                "--ip6tables=false",
            ),
        )

    def docker(self, *arguments: str, env: Mapping[str, str] | None = None) -> Completed:
        """Run the docker CLI on this engine."""
        return process.run(["docker", *arguments], env={**self.env, **(env or {})})

    def must(self, *arguments: str) -> str:
        """The docker CLI's standard output; EngineError with its last words if it fails."""
        done = self.docker(*arguments)
        if not done.ok:
            words = " ".join(done.stderr.split())[-500:]
            raise EngineError(f"docker {' '.join(arguments)}: {words}", fix="look into the engine's log")
        return done.stdout

    def load(self, refs: Sequence[str]) -> None:
        """Copy the images `refs` from the engine that commands use otherwise; those that are here stay."""
        wanted = [ref for ref in refs if self._missing(ref)]
        if not wanted:
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            archive = str(Path(folder) / "images.tar")
            saved = process.run(["docker", "save", "--output", archive, *wanted])
            if not saved.ok:
                words = f"docker save {' '.join(wanted)}: {saved.stderr.strip()}"
                raise EngineError(words, fix="run `kiro warm-cache` first")
            self.must("load", "--input", archive)

    def _missing(self, ref: str) -> bool:
        """Whether this engine lacks the image, or the other has another one under that name."""
        argv = ("image", "inspect", "--format", "{{.Id}}", ref)
        here, there = self.docker(*argv), process.run(["docker", *argv])
        return not here.ok or (there.ok and here.stdout != there.stdout)

    def data_bytes(self) -> int:
        """What all it holds takes on the disk: blocks, not lengths; a file with several names once."""
        done = process.run(["du", "--summarize", "--one-file-system", "--block-size=1", str(self.data)])
        if not done.stdout:
            raise EngineError(f"du {self.data}: {done.stderr.strip()}", fix="see whether it can be read")
        return int(done.stdout.split()[0])

    def prune(self, kind: str) -> None:
        """Drop the build cache of one type ("regular", "exec.cachemount"), or "all" of it."""
        chosen = ("--all",) if kind == "all" else ("--all", "--filter", f"type={kind}")
        self.must("buildx", "prune", "--builder", "default", "--force", *chosen)

    def remove_images(self, keep: Sequence[str]) -> None:
        """Remove every image but `keep` and what they stand on."""
        ids = set(self.must("image", "ls", "--quiet", "--no-trunc").split())
        kept = set(self.must("image", "inspect", "--format", "{{.Id}}", *keep).split()) if keep else set()
        for each in sorted(ids - kept):
            self.docker("image", "rm", "--force", each)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stop()
        (self.folder / "engine.json").write_text(_SETTINGS)
        network.set_up(self.bridge, process.run)
        daemon.start(
            self.daemon,
            answers=lambda: docker.answers(self.address),
            systemd=False,
            run=process.run,
            sudo=False,
        )

    def stop(self) -> None:
        """Stop it, whether it runs or was killed, and take its mounts and its bridge away."""
        daemon.stop(self.daemon, run=process.run, sudo=False)
        daemon.clear_stale(self.daemon, run=process.run, sudo=False)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            target = line.split()[1]
            if target.startswith(f"{self.folder}/"):
                process.run(["umount", "--lazy", target])
        network.take_down(self.bridge, process.run)

    def remove(self) -> None:
        """Remove all that a stopped engine left, and what others put beside it."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()


@contextmanager
def bench_engine(folder: Path, *, keep: bool, fresh: bool = False) -> Iterator[BenchEngine]:
    """A running engine in `folder`; it is stopped at the end, and the folder removed unless `keep`.

    With `fresh`, what an earlier one left in the folder is removed first.
    """
    if os.geteuid() != 0:
        raise UsageError("an engine of its own needs root", fix="run it as root, or with sudo")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another benchmark uses {folder}", fix="wait for it, or name another --root"
        ) from None
    engine = BenchEngine(folder)
    try:
        if fresh:
            engine.stop()
            engine.remove()
        engine.start()
        yield engine
    finally:
        with _undisturbed():
            engine.stop()
            if not keep:
                engine.remove()
            lock.release()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While inside, a second Ctrl-C does not keep an engine from being stopped."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
