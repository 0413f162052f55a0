"""An image registry of the tests' own on loopback: Debian's docker-registry, taken out of its package where it is not
installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engine import command, free_port

_CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {data}}}, maintenance: {{readonly: {{enabled: {readonly}}}}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}"""


def program() -> str:
    """The registry's program; the test is skipped where it can neither be found nor taken from the package."""
    if found := shutil.which("docker-registry"):
        return found
    kept = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kiro-invoke-tests/docker-registry"
    )
    file = kept / "usr/bin/docker-registry"
    if not file.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        taken = command(
            "sh", "-ec", "apt-get download docker-registry && dpkg -x docker-registry_*.deb .", cwd=kept
        )
        if taken.code != 0:
            pytest.skip(f"there is no docker-registry, and its package cannot be had: {taken.err[-300:]}")
    return str(file)


@dataclass
class Registry:
    """A registry: its data folder and its port. `users`: the text of a file that htpasswd wrote ("": anybody)."""

    folder: Path
    port: int
    users: str = ""
    readonly: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        auth = ""
        if self.users:
            (self.folder / "users").write_text(self.users)
            auth = f"auth: {{htpasswd: {{realm: tests, path: {self.folder}/users}}}}\n"
        (self.folder / "config.yml").write_text(
            _CONFIG.format(data=self.data, readonly=str(self.readonly).lower(), port=self.port, auth=auth)
        )
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program(), "serve", str(self.folder / "config.yml")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 30
        while command("curl", "-s", "-o", "/dev/null", f"http://{self.host}/v2/").code != 0:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < end
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def content(self) -> frozenset[str]:
        """All that it holds, by its files' names."""
        return frozenset(str(path.relative_to(self.data)) for path in self.data.rglob("*") if path.is_file())


@contextmanager
def registry(folder: Path, *, users: str = "") -> Iterator[Registry]:
    one = Registry(folder, free_port(), users)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)
