"""The real engine for tests: set up through the tool itself, shared by all of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """A command that came to its end."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def kiro(
    *arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, timeout: float = 1500
) -> Ran:
    """Run the `kiro` program in a folder."""
    return command(sys.executable, "-m", "kiro_invoke.cli", *arguments, cwd=cwd, env=env, timeout=timeout)


def docker(*arguments: str, cwd: Path = ROOT, stdin: str | None = None, timeout: float = 600) -> str:
    """Run the docker CLI; its standard output. Fails the test with its words if it fails."""
    ran = command("docker", *arguments, cwd=cwd, stdin=stdin, timeout=timeout)
    assert ran.code == 0, f"docker {' '.join(arguments)}\n{ran.out}\n{ran.err}"
    return ran.out


def command(
    *argv: str,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 600,
) -> Ran:
    """Run a command to its end and capture what it prints."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def build_steps(*arguments: str, cwd: Path = ROOT) -> list[dict[str, Any]]:
    """The steps of a plain `docker build`, as BuildKit reports them: name, cached."""
    ran = command("docker", "buildx", "build", "--progress=rawjson", *arguments, cwd=cwd, timeout=1200)
    assert ran.code == 0, ran.err[-3000:]
    steps: dict[str, dict[str, Any]] = {}
    decoder, at = json.JSONDecoder(), 0
    text = ran.err.strip()
    while at < len(text):
        event, at = decoder.raw_decode(text, at)
        while at < len(text) and text[at].isspace():
            at += 1
        for vertex in event.get("vertexes") or ():
            steps[vertex["digest"]] = vertex
    return [step for step in steps.values() if not step["name"].startswith("[internal]")]


def http(
    url: str, *, method: str = "GET", body: object | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str, Message]:
    """Status, text and headers of an answer; an error status is an answer too."""
    data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    if data is not None and "Content-Type" not in (headers or {}):
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(errors="replace"), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace"), error.headers


def wait_for(url: str, seconds: float = 60) -> str:
    """The text at `url` as soon as it answers with 200."""
    end = time.monotonic() + seconds
    while True:
        try:
            status, text, _ = http(url)
            if status == 200:
                return text
            trouble = f"status {status}: {text[:200]}"
        except OSError as error:
            trouble = str(error)
        assert time.monotonic() < end, f"{url}: {trouble}"
        time.sleep(0.1)


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
