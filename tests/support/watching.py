"""`kiro watch` as a test runs it, and small services that it watches: built in a moment, on a base image that is here.

What such a service serves is what its build read: an answer tells exactly which sources are served.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.engine import ROOT, command, docker, free_port, http

SUPERVISE = (ROOT / "kiro_invoke/templates/kiro-supervise").read_text()

#: Reads what the build made when it starts, and serves that. /slow takes its time.
SERVER = """\
#!/usr/bin/perl
use strict; use warnings; use IO::Socket::INET;
open(my $file, '<', '/app/out/page') or die "no page: $!"; local $/; my $page = <$file>;
my $port = $ENV{PORT} || 8080;
my $server = IO::Socket::INET->new(LocalPort => $port, Listen => 50, ReuseAddr => 1) or die "cannot listen: $!";
$| = 1; print "listening\\n";
while (my $client = $server->accept) {
    my $pid = fork; next if $pid;
    $/ = "\\n"; my $first = <$client> // '';
    while (my $line = <$client>) { last if $line =~ /^\\r?\\n$/ }
    sleep 30 if $first =~ m{/slow};
    print $client "HTTP/1.0 200 OK\\r\\nContent-Length: " . length($page) . "\\r\\n\\r\\n$page";
    exit;
}
"""
#: A source with ERROR in it does not build; one with CRASH makes no page; one with SLEEP takes three seconds.
BUILD = """\
#!/bin/sh
set -e
cd /app
if grep -rn ERROR src; then echo 'error: a source says ERROR' >&2; exit 1; fi
if grep -rq SLEEP src; then sleep 3; fi
mkdir -p out
find src -type f -o -type l | LC_ALL=C sort | while read -r path; do echo "$path=$(cat "$path")"; done >out/page.new
mv out/page.new out/page
if grep -rq CRASH src; then rm out/page; fi
"""
DOCKERFILE = f"""\
FROM debian:13-slim
WORKDIR /app
COPY --chmod=0755 <<'KIRO_SUPERVISE' /usr/local/bin/kiro-supervise
{SUPERVISE}KIRO_SUPERVISE
COPY --chmod=0755 <<'SERVER' /usr/local/bin/server
{SERVER}SERVER
COPY . .
RUN --network=none ./build.sh
EXPOSE 8080
ENTRYPOINT ["kiro-supervise"]
CMD ["server"]
"""


def small_service(folder: Path, *, dockerfile: str = DOCKERFILE) -> None:
    """A service whose sources are `src`."""
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile.fast").write_text(dockerfile)
    (folder / ".dockerignore").write_text("Dockerfile*\n.dockerignore\n*.md\nout\n")
    (folder / "build.sh").write_text(BUILD)
    (folder / "build.sh").chmod(0o755)
    (folder / "src/one.txt").write_text("one\n")
    (folder / "src/two.txt").write_text("two\n")


@dataclass
class Project:
    """A repository of such services, each with a port of its own on this machine."""

    root: Path
    name: str
    ports: dict[str, int] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def get(self, service: str = "app", path: str = "/") -> dict[str, str]:
        """What the service serves: source -> what it said when it was built. Empty if it serves nothing."""
        with suppress(OSError):
            status, text, _ = http(f"http://127.0.0.1:{self.ports[service]}{path}")
            if status == 200:
                rows = (line.partition("=") for line in text.splitlines() if "=" in line)
                return {name.removeprefix("src/"): value for name, _, value in rows}
        return {}

    def sources(self, service: str = "app") -> dict[str, str]:
        """What lies on disk, as `get` tells it."""
        folder = self.root / service / "src"
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_text().strip() for path in found}

    def write(self, path: str, text: str, service: str = "app") -> None:
        place = self.root / service / "src" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def until_served(self, service: str = "app", seconds: float = 30) -> None:
        """Wait until exactly what lies on disk is served."""
        until(
            lambda: self.get(service) == self.sources(service),
            seconds,
            lambda: f"served: {self.get(service)}\non disk: {self.sources(service)}",
        )

    def container(self, service: str = "app") -> str:
        """The id of its container."""
        return docker(
            "ps", "--all", "--quiet", "--no-trunc",
            "--filter", f"label=com.docker.compose.project={self.name}",
            "--filter", f"label=com.docker.compose.service={service}",
        ).strip()  # fmt: skip


def until(
    true: Callable[[], bool], seconds: float, otherwise: Callable[[], str] = lambda: "not in time"
) -> None:
    """Wait until something holds; fail the test with what `otherwise` says if it does not in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.03)


def make_project(
    root: Path,
    services: Sequence[str] = ("app",),
    *,
    live: str = "",
    compose: Mapping[str, str] | None = None,
    more: str = "",
) -> Project:
    """Write a repository. `live` are lines for each service's section, `compose` more lines of a service's."""
    name = f"kiro-watch-{os.getpid()}-{abs(hash(str(root))) % 10_000}"
    project = Project(root, name, {service: free_port() for service in services})
    root.mkdir(parents=True, exist_ok=True)
    rows, composed = [], []
    for service in services:
        small_service(root / service)
        wanted = live or "      run: ./build.sh\n"
        rows.append(
            f"  - name: {service}\n    ecosystem: other\n    dependency_inputs: [deps.txt]\n    live:\n{wanted}"
        )
        composed.append(
            f"  {service}:\n    image: {name}/{service}:dev\n"
            f"    build: {{context: {service}, dockerfile: Dockerfile.fast}}\n"
            f'    ports: ["127.0.0.1:{project.ports[service]}:8080"]\n{(compose or {}).get(service, "")}'
        )
    (root / "kiro.yaml").write_text(f"version: 1\nproject: {name}\nservices:\n{''.join(rows)}")
    (root / "compose.yaml").write_text(f"name: {name}\nservices:\n{''.join(composed)}{more}")
    return project


@dataclass
class Watch:
    """A running `kiro watch --format jsonl`, and what it told."""

    process: subprocess.Popen[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def find(self, event: str, since: int = 0, **wanted: object) -> dict[str, Any] | None:
        found = (row for row in self.rows[since:] if row.get("event") == event)
        return next(
            (row for row in found if all(row.get(key) == value for key, value in wanted.items())), None
        )

    def wait(self, event: str, since: int = 0, seconds: float = 60, **wanted: object) -> dict[str, Any]:
        """The first such event after the first `since` of all; fails if it does not come."""
        until(
            lambda: self.find(event, since, **wanted) is not None or self.process.poll() is not None,
            seconds,
            lambda: (
                f"no {event} {wanted} in {json.dumps(self.rows[since:], indent=1)}\n{''.join(self.errors)}"
            ),
        )
        row = self.find(event, since, **wanted)
        assert row is not None, f"ended: {json.dumps(self.rows[since:], indent=1)}\n{''.join(self.errors)}"
        return row

    def settle(self, project: Project, service: str = "app") -> None:
        """Wait until all that was saved is served and told: what is served may be seen before it is told."""
        mark, name = self.now, f"settled-{self.now}.txt"
        project.write(name, "the last save\n", service)
        until(
            lambda: any(
                row.get("event") == "served" and f"{service}/src/{name}" in row["paths"]
                for row in self.rows[mark:]
            ),
            30,
            lambda: f"not settled: {json.dumps(self.rows[mark:], indent=1)}",
        )

    @property
    def now(self) -> int:
        """How many events there are: the mark from which to wait for more."""
        return len(self.rows)

    def count(self, event: str, since: int = 0) -> int:
        return sum(row.get("event") == event for row in self.rows[since:])

    def end(self, sign: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """End it; its exit code."""
        self.process.send_signal(sign)
        return self.process.wait(seconds)


@contextmanager
def watching(
    project: Project, *options: str, env: Mapping[str, str] | None = None, ready: bool = True
) -> Iterator[Watch]:
    """Run `kiro watch` until the block's end. Containers are not removed then: see `cleared`."""
    argv = [sys.executable, "-m", "kiro_invoke.cli", "watch", "--format", "jsonl", *options]
    process = subprocess.Popen(
        argv,
        cwd=project.root,
        env={**os.environ, **project.env, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = Watch(process)
    readers = [
        threading.Thread(target=_read_rows, args=(process, watch.rows), daemon=True),
        threading.Thread(target=lambda: watch.errors.extend(process.stderr or ()), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        if ready:
            watch.wait("ready", seconds=120)
        yield watch
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader in readers:
            reader.join(5)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _read_rows(process: subprocess.Popen[str], rows: list[dict[str, Any]]) -> None:
    for line in process.stdout or ():
        rows.append(json.loads(line))


def cleared(project: Project) -> None:
    """Remove a project's containers, networks, volumes and images."""
    env = {**project.env}
    command("docker", "compose", "down", "--volumes", "--timeout", "1", cwd=project.root, env=env)
    for service in project.ports:
        command("docker", "rmi", "--force", f"{project.name}/{service}:dev", env=env)
