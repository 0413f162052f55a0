"""How long `kiro show-cache` takes on an engine with thousands of cache records: whole processes, against a stand-in of
an engine that answers with recorded ones.

python -m benchmarks.show_cache --records 5000 --records 20000 --json show_cache.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socketserver
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import gethostname
from typing import Any

from kiro_invoke.engine import process
from kiro_invoke.model.service import Project

TARGET_SECONDS = 2.0
RECORDED = Path(__file__).parents[1] / "tests/unit/data/build_cache.json"
#: What all records hold together: a cache as it is after some weeks of work.
_BYTES = 10_000_000_000
_IMAGES, _LAYERS, _RUNS = 40, 12, 5
_DAY = 86_400.0
_OWNER = re.compile(r'id "[^/"]+/')
_DOCKERFILE = """\
FROM debian:13-slim AS toolchain
WORKDIR /kiro/empty
FROM scratch AS planner
COPY . .
COPY deps.txt /recipe
FROM toolchain AS crates
COPY --from=planner /recipe /recipe
RUN --mount=type=cache,id=app-target,target=target,from=crates head -c 5000000 /dev/urandom >/crates
FROM crates AS dev
COPY . .
RUN --mount=type=cache,id=app-target,target=target,from=crates \\
    head -c 5000000 /dev/urandom >target/program && cp target/program /built
"""


def records(count: int, checkout: str, *, until: float, chained: bool) -> list[dict[str, Any]]:
    """`count` records: the recorded ones again and again, an hour apart, now of `checkout` and now of another one.

    `chained`: each time on the last ones of the time before, so that they stand on each other by the thousand.
    """
    recorded = json.loads(RECORDED.read_text())
    below = {parent for record in recorded for parent in record.get(" Parents") or ()}
    leaf = next(record["ID"] for record in recorded if record["ID"] not in below)
    found: list[dict[str, Any]] = []
    for number in range(count // len(recorded) + 1):
        moment = datetime.fromtimestamp(until - number * _DAY / 24, UTC).isoformat().replace("+00:00", "Z")
        whose = f'id "{checkout if number % 2 else f"shop-{number:010x}"}/'
        for record in recorded:
            parents = [f"{parent}{number}" for parent in record.get(" Parents") or ()]
            if chained and number and not parents:
                parents = [f"{leaf}{number - 1}"]
            found.append(
                record
                | {
                    "ID": f"{record['ID']}{number}",
                    " Parents": parents,
                    "Description": _OWNER.sub(whose, record["Description"]),
                    "Size": _BYTES // count,
                    "CreatedAt": moment,
                    "LastUsedAt": moment,
                }
            )
    return found[:count]


@dataclass(frozen=True)
class Told:
    """What the stand-in answers to each path of the engine's API."""

    records: list[dict[str, Any]]

    @cached_property
    def answers(self) -> dict[str, bytes]:
        ids = [f"sha256:{number:064x}" for number in range(_IMAGES)]
        images = [
            {"Id": id, "RepoTags": [f"image:{number}"], "Created": 1, "Size": _LAYERS}
            for number, id in enumerate(ids)
        ]
        layers = [f"sha256:{number:064x}" for number in range(_LAYERS)]
        history = [{"Size": 1, "CreatedBy": "COPY . ."} for _ in layers]
        raw: dict[str, object] = {
            "/version": {"Version": "28.3.0", "ApiVersion": "1.51", "Arch": "amd64"},
            "/info": {"Driver": "overlay2", "DockerRootDir": "/", "Name": gethostname()},
            "/containers/json": [],
            "/images/json": images,
            "/system/df": {"BuildCache": self.records},
        }
        for id in ids:
            raw[f"/images/{id}/json"] = {"Id": id, "Size": _LAYERS, "RootFS": {"Layers": layers}}
            raw[f"/images/{id}/history"] = history
        return {path: json.dumps(answer).encode() for path, answer in raw.items()}


@contextmanager
def standing_in(told: Told, socket: Path) -> Iterator[None]:
    """While inside, something answers at a socket as an engine does."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = told.answers.get(path) or told.answers.get(f"/{path[1:].partition('/')[2]}")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body or b"{}")))
            self.end_headers()
            self.wfile.write(body or b"{}")

        def address_string(self) -> str:
            return "client"  # a socket of this kind has no addresses

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(str(socket), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def measure(root: Path, socket: Path) -> list[float]:
    """Seconds of whole processes, the first of which looks buildx up and is left out."""
    argv = ["env", "--chdir", str(root), sys.executable, "-m", "kiro_invoke.cli", "show-cache"]
    env = {"PYTHONPATH": str(Path(__file__).parents[1]), "DOCKER_HOST": f"unix://{socket}"}
    taken = []
    for _ in range(_RUNS + 1):
        begun = time.perf_counter()
        done = process.run(argv, env=env)
        taken.append(round(time.perf_counter() - begun, 3))
        if not done.ok:
            raise SystemExit(done.stderr)
    return taken[1:]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, action="append")
    arguments.add_argument("--json", type=Path)
    wished = arguments.parse_args()
    found: dict[str, list[float]] = {}
    for count in wished.records or [5_000]:
        for chained in (False, True):
            name = f"{count:,} records{', on each other' if chained else ''}"
            with tempfile.TemporaryDirectory() as folder:
                root, socket = Path(folder), Path(folder, "engine.sock")
                (root / "app").mkdir()
                (root / ".kiro").mkdir()
                (root / "app/Dockerfile.fast").write_text(_DOCKERFILE)
                (root / "kiro.yaml").write_text("project: shop\nservices:\n  - name: app\n")
                checkout = Project(root, "shop", ()).checkout
                told = Told(records(count, checkout, until=time.time(), chained=chained))
                with standing_in(told, socket):
                    found[name] = measure(root, socket)
            middle = statistics.median(found[name])
            share = f"{middle / TARGET_SECONDS:.0%} of {TARGET_SECONDS:.0f} s"
            print(f"  {name:<32} {middle:6.2f} s  ({share}; load {os.getloadavg()[0]:.1f})")
    if wished.json:
        wished.json.write_text(json.dumps({"seconds": found}, indent=2))


if __name__ == "__main__":
    main()
