"""What is measured of the loop, each with the targets that it is held to."""

from __future__ import annotations

import json
import re
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loops import (
    KiroWatch,
    cargo_seconds,
    compose_watch,
    container,
    docker,
    fetched,
    kiro_watch,
    seconds_until,
)
from kiro_invoke.engine import process
from kiro_invoke.model.errors import KiroError

#: What, its target, what was measured, whether it was met.
Measured = tuple[str, str, str, bool | None]
_LIB = "backend/crates/kiro-domain/src/lib.rs"
_TITLE = "frontend/src/title.tsx"
_CARGO = ("cargo", "build", "--workspace", "--bins", "--locked", "--offline")
_MANY, _SWITCHED = 50_000, 2_000
_IDLE_SECONDS = 120
#: Until what was just started is at rest.
_SETTLING = 5


@dataclass
class Bench:
    """Where it is measured: `folder` is its own, `source` the repository whose services are copied there."""

    folder: Path
    source: Path
    runs: int
    take: Callable[[str, float], None]
    median: Callable[[str], float]

    def copy(self, name: str) -> tuple[Path, dict[str, str]]:
        """A checkout of the services, and the environment that gives it a project and ports of its own."""
        root = self.folder / name
        root.mkdir()
        for part in ("backend", "frontend", "compose.yaml", "kiro.yaml"):
            place = self.source / part
            copier = shutil.copytree if place.is_dir() else shutil.copy2
            copier(place, root / part)
        env = {
            "COMPOSE_PROJECT_NAME": f"kiro-loop-{name}",
            "BACKEND_PORT": str(_free_port()),
            "FRONTEND_PORT": str(_free_port()),
        }
        return root, env


def source_backend(bench: Bench) -> Iterator[Measured]:
    """A source of the backend: `kiro watch`, Compose's watch and cargo in turns, with the same texts."""
    root, env = bench.copy("source")
    text = (root / _LIB).read_text()

    def edited(number: int, who: str) -> str:
        return re.sub(r'(GREETING_TEXT: &str = ").*(")', rf"\g<1>{who} {number}\g<2>", text)

    other = bench.folder / "source-compose"
    shutil.copytree(root, other)
    (other / "watch.yaml").write_text(_COMPOSE_WATCH)
    other_env = {**env, "BACKEND_PORT": str(_free_port()), "FRONTEND_PORT": str(_free_port())}
    with kiro_watch(root, "--service", "backend", env=env) as watch:
        ours = f"http://127.0.0.1:{env['BACKEND_PORT']}/api/greeting"
        theirs = f"http://127.0.0.1:{other_env['BACKEND_PORT']}/api/greeting"
        files = ("compose.yaml", "watch.yaml")
        with (
            container("kiro/backend:dev", "kiro-loop-cargo") as alone,
            compose_watch(other, files, "kiro-loop-compose", other_env),
        ):
            time.sleep(_SETTLING)
            for number in range(bench.runs + 1):
                first = " (first after the container's creation)" if number == 0 else ""
                mark, began = len(watch.rows), time.monotonic()
                (root / _LIB).write_text(edited(number, "kiro"))
                bench.take(f"kiro watch, backend{first}", seconds_until(ours, f"kiro {number}", began))
                served = watch.wait("served", mark)["seconds"]
                for part in ("detect", "sync", "build", "restart"):
                    bench.take(f"kiro watch, backend: {part}{first}", served[part])
                began = time.monotonic()
                (other / _LIB).write_text(edited(number, "compose"))
                bench.take(
                    f"Compose watch, backend{first}", seconds_until(theirs, f"compose {number}", began)
                )
                place = f"/app/{_LIB.removeprefix('backend/')}"
                spent = cargo_seconds(alone, place, edited(number, "cargo"), _CARGO)
                bench.take(f"cargo build alone{first}", spent)
    cargo, kiro = bench.median("cargo build alone"), bench.median("kiro watch, backend")
    compose = bench.median("Compose watch, backend")
    most = 1.25 * cargo + 0.15
    yield (
        "backend source edit: save -> new answer over HTTP",
        "<= 1.25 x cargo build + 0.15 s",
        f"{kiro:.2f} s; cargo alone {cargo:.2f} s, so {most:.2f} s",
        kiro <= most,
    )
    share = (kiro - cargo) / (compose - cargo)
    yield (
        "its overhead beyond cargo, of Compose watch's",
        "<= 40%",
        f"{kiro - cargo:.2f} s of {compose - cargo:.2f} s: {share:.0%}",
        share <= 0.4,
    )
    kiro_first = bench.median("kiro watch, backend (first after the container's creation)")
    cargo_first = bench.median("cargo build alone (first after the container's creation)")
    yield (
        "the first edit after a container's creation", "reported apart",
        f"{kiro_first:.2f} s; cargo alone {cargo_first:.2f} s", None,
    )  # fmt: skip
    decided = bench.median("kiro watch, backend: detect") - 0.05
    yield "event -> decision after the quiet period", "<= 20 ms", f"{1000 * decided:.0f} ms", decided <= 0.02


def source_frontend(bench: Bench) -> Iterator[Measured]:
    """A source of the front end, seen by a real browser."""
    from playwright.sync_api import sync_playwright

    root, env = bench.copy("page")
    docker("build", "--quiet", "--tag", "kiro-test/chromium", str(bench.source / "tests/browser"))
    port, name = _free_port(), "kiro-loop-chromium"
    docker(
        "run", "--rm", "--detach", "--init", "--name", name, "--network=host", "kiro-test/chromium",
        f"--remote-debugging-port={port}", "about:blank",
    )  # fmt: skip
    try:
        seconds_until(f"http://127.0.0.1:{port}/json/version", "Chrome", time.monotonic())
        with kiro_watch(root, env=env) as watch, sync_playwright() as playwright:
            page = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}").new_page()
            page.goto(f"http://127.0.0.1:{env['FRONTEND_PORT']}")
            page.wait_for_selector("h1")
            for number in range(bench.runs + 1):
                mark, began = len(watch.rows), time.monotonic()
                text = f'export const TITLE = "Title {number}";\n'
                (root / _TITLE).write_text(text)
                page.wait_for_function(f"document.querySelector('h1')?.textContent === 'Title {number}'")
                first = " (first)" if number == 0 else ""
                bench.take(f"kiro watch, front end in a browser{first}", time.monotonic() - began)
                watch.wait("served", mark)
            scripts = _script_edit(root, watch)
    finally:
        process.run(["docker", "rm", "--force", name])
    seconds = bench.median("kiro watch, front end in a browser")
    yield (
        "front end source edit: save -> changed text in a real browser",
        "<= 0.4 s",
        f"{seconds:.2f} s",
        seconds <= 0.4,
    )
    yield (
        "a script in package.json",
        "live, no image build",
        f"{scripts['path']}, {_total(scripts)}",
        _live(scripts),
    )


def _script_edit(root: Path, watch: KiroWatch) -> dict[str, object]:
    file, mark = root / "frontend/package.json", len(watch.rows)
    file.write_text(file.read_text().replace('"test": "vitest run"', '"test": "vitest run --silent"'))
    return watch.wait("served", mark)


def dependencies(bench: Bench) -> Iterator[Measured]:
    """A version bump, crates that are added, and the same by the image."""
    root, env = bench.copy("dependencies")
    runs = max(2, bench.runs // 3)
    warming, *added = _added_crates(root, 1 + runs * 2)
    with kiro_watch(root, "--service", "backend", env=env) as watch:
        _save(root, _bumped(root))
        bump = watch.wait("served", 0)
        # a checkout's first one compiles all dependencies: its mounts are its own
        mark = len(watch.rows)
        _save(root, warming)
        watch.wait("refreshed", mark)
        for number in range(runs):
            mark = len(watch.rows)
            _save(root, added[number])
            served = watch.wait("served", mark)
            bench.take("leaf crate, live", _seconds(served))
            refreshed = watch.wait("refreshed", mark)["seconds"]["total"]
            bench.take("leaf crate, image behind", float(refreshed))
            if served["path"] != "live, image behind":
                raise KiroError(f"not live: {served}")
    with kiro_watch(root, "--service", "backend", "--no-live", env=env) as watch:
        for number in range(runs, 2 * runs):
            mark = len(watch.rows)
            _save(root, added[number])
            bench.take("leaf crate, by the image", _seconds(watch.wait("served", mark)))
    with container("kiro/backend:dev", "kiro-loop-cargo") as alone:
        command = ("cargo", "build", "--workspace", "--bins", "--locked")
        for number, texts in enumerate([warming, *added[:runs]]):
            manifest, lock = texts.values()
            cargo_seconds(alone, "/app/crates/kiro-backend/Cargo.toml", manifest, ("true",))
            spent = cargo_seconds(alone, "/app/Cargo.lock", lock, command)
            if number:
                bench.take("leaf crate, cargo build alone", spent)
    yield (
        "local version bump in Cargo.toml",
        "live, no image build",
        f"{bump['path']}, {_total(bump)}",
        _live(bump),
    )
    live, behind = bench.median("leaf crate, live"), bench.median("leaf crate, image behind")
    image, cargo = bench.median("leaf crate, by the image"), bench.median("leaf crate, cargo build alone")
    yield "add a leaf crate: save -> serving", "<= 4 s", f"{live:.2f} s; cargo alone {cargo:.2f} s", live <= 4
    yield "its image refreshed behind", "<= 15 s", f"{behind:.2f} s", behind <= 15
    yield "add a leaf crate, on the image path", "<= 9 s", f"{image:.2f} s", image <= 9


def _bumped(root: Path) -> dict[str, str]:
    manifest, lock = (root / "backend/Cargo.toml").read_text(), (root / "backend/Cargo.lock").read_text()
    return {
        "backend/Cargo.lock": re.sub(r'(name = "kiro-\w+"\nversion = ")0\.1\.0', r"\g<1>0.1.1", lock),
        "backend/Cargo.toml": manifest.replace('version = "0.1.0"\nedition', 'version = "0.1.1"\nedition'),
    }


def _save(root: Path, texts: Mapping[str, str]) -> None:
    for path, text in texts.items():
        (root / path).write_text(text)


def _added_crates(root: Path, count: int) -> list[dict[str, str]]:
    """Manifest and lockfile with one small crate more each time, made by cargo."""
    crates = (
        "hex",
        "either",
        "semver",
        "arrayvec",
        "humantime",
        "subtle",
        "dyn-clone",
        "data-encoding",
        "fnv",
        "bytemuck",
    )
    place, found = root / "made", []
    shutil.copytree(root / "backend", place)
    _save(root, {path.replace("backend/", "made/"): text for path, text in _bumped(root).items()})
    for name in crates[:count]:
        docker(
            "run", "--rm", "--volume", f"{place}:/w", "--workdir", "/w", "--entrypoint", "cargo",
            "kiro/backend:dev", "add", "--quiet", "--package", "kiro-backend", name,
        )  # fmt: skip
        docker(
            "run", "--rm", "--volume", f"{place}:/w", "--workdir", "/w", "--entrypoint", "cargo",
            "kiro/backend:dev", "update", "--quiet", "--workspace",
        )  # fmt: skip
        manifest = "crates/kiro-backend/Cargo.toml"
        # no engine has seen this dependency layer before
        text, fresh = (place / manifest).read_text(), f'description = "{name} at {time.time_ns()}"'
        (place / manifest).write_text(re.sub(r'(?m)^description = ".*"$', fresh, text, count=1))
        found.append({f"backend/{file}": (place / file).read_text() for file in (manifest, "Cargo.lock")})
    shutil.rmtree(place)
    return found


def nothing(bench: Bench) -> Iterator[Measured]:
    """Touches, a checkout and back, editors' litter: no call of Docker."""
    root, env = bench.copy("nothing")
    with kiro_watch(root, "--service", "frontend", env=env) as watch:
        before, mark = _execs(env), len(watch.rows)
        file = root / "frontend/src/App.tsx"
        text = file.read_text()
        for _ in range(bench.runs):
            file.touch()
            file.write_text("// another branch\n")
            file.write_text(text)
            for name in (".App.tsx.swp", "4913", "App.tsx~", "App.tsx___jb_tmp___", ".#App.tsx"):
                (file.parent / name).write_text("litter")
                (file.parent / name).unlink()
            time.sleep(0.3)
        time.sleep(1)
        told = {row["event"] for row in watch.rows[mark:]}
        calls = _execs(env) - before
    measured = f"{calls} calls; told: {', '.join(sorted(told))}"
    is_met = calls == 0 and told <= {"ignored"}
    yield "touch, checkout and back, editors' litter", "no Docker call", measured, is_met


def _execs(env: Mapping[str, str]) -> int:
    """How often something was done in the project's containers, as the engine tells."""
    since = str(int(time.time()) - 3600)
    filters = f"label=com.docker.compose.project={env['COMPOSE_PROJECT_NAME']}"
    events = docker(
        "events",
        "--since",
        since,
        "--until",
        str(int(time.time()) + 1),
        "--filter",
        filters,
        "--format",
        "{{.Action}}",
    )
    health = re.compile(r"exec_(create|start): .*(curl|healthcheck)|exec_die|health_status")
    return sum(not health.match(line) for line in events.splitlines())


def large(bench: Bench) -> Iterator[Measured]:
    """A tree of 50,000 files: what it costs to watch it, and a switch of 2,000 of them."""
    root = _large_project(bench.folder / "large")
    git = ["git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "one"], ["branch", "other"]):
        process.run([*git, *words])
    for number in range(_SWITCHED):
        _numbered(root, number).write_text(f"switched {number}\n")
    (root / "app/deps.txt").write_text("more\n")
    process.run([*git, "commit", "--quiet", "-am", "two"])
    process.run([*git, "checkout", "--quiet", "other"])
    with kiro_watch(root, env={}) as watch:
        time.sleep(35)
        before, _ = watch.usage()
        time.sleep(_IDLE_SECONDS)
        after, memory = watch.usage()
        share = (after - before) / _IDLE_SECONDS
        bench.take("idle with 50,000 files: processor", share)
        for branch in ("master", "other") * max(1, bench.runs // 4):
            mark = len(watch.rows)
            process.run([*git, "checkout", "--quiet", branch])
            row = watch.wait("served", mark)
            time.sleep(3)
            builds = sum(row["event"] in {"served", "superseded", "broken"} for row in watch.rows[mark:])
            bench.take("branch switch: builds", float(builds))
            bench.take("branch switch, 2,000 files and a lockfile", _seconds(row))
        for number in range(bench.runs):
            mark = len(watch.rows)
            _numbered(root, 0).write_text(f"edit {number}\n")
            bench.take(
                "event -> decision in 50,000 files", watch.wait("served", mark)["seconds"]["detect"] - 0.05
            )
            time.sleep(0.2)
    docker("compose", "down", "--timeout", "1", folder=root)
    yield (
        "idle cost with 50,000 files",
        "< 1% of a core, < 150 MB",
        f"{share:.2%}, {memory / 1e6:.0f} MB",
        share < 0.01 and memory < 150e6,
    )
    most = bench.median("branch switch: builds")
    yield "branch switch of 2,000 files and a lockfile", "exactly one build", f"{most:.0f}", most == 1
    yield (
        "event -> decision in a tree of 50,000 files",
        "(20 ms)",
        f"{1000 * bench.median('event -> decision in 50,000 files'):.0f} ms",
        None,
    )


def _numbered(root: Path, number: int) -> Path:
    return root / f"app/data/{number // 100:03}/{number:05}.txt"


def _large_project(root: Path) -> Path:
    supervise = (Path(__file__).resolve().parents[1] / "kiro_invoke/templates/kiro-supervise").read_text()
    (root / "app").mkdir(parents=True)
    for number in range(_MANY):
        file = _numbered(root, number)
        if number % 100 == 0:
            file.parent.mkdir(parents=True)
        file.write_text(f"{number}\n")
    (root / "app/deps.txt").write_text("one\n")
    (root / "app/.dockerignore").write_text("Dockerfile*\n.dockerignore\n")
    (root / "app/Dockerfile.fast").write_text(
        "FROM debian:13-slim\nWORKDIR /app\n"
        f"COPY --chmod=0755 <<'SUPERVISE' /usr/local/bin/kiro-supervise\n{supervise}SUPERVISE\n"
        'COPY . .\nENTRYPOINT ["kiro-supervise"]\nCMD ["sleep", "infinity"]\n'
    )
    name = "kiro-loop-large"
    (root / "kiro.yaml").write_text(
        f"project: {name}\nservices:\n  - name: app\n    ecosystem: other\n    dependency_inputs: [deps.txt]\n"
        '    live: {run: "true"}\n'
    )
    (root / "compose.yaml").write_text(f"name: {name}\nservices:\n  app:\n    image: {name}/app:dev\n")
    return root


def _live(row: Mapping[str, object]) -> bool:
    return row["path"] == "live"


def _seconds(row: Mapping[str, object]) -> float:
    seconds = row["seconds"]
    assert isinstance(seconds, dict)
    return float(seconds["total"])


def _total(row: Mapping[str, object]) -> str:
    return f"{_seconds(row):.2f} s"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


#: The same image under Compose's watch: it syncs and restarts, so the container builds when it starts.
_COMPOSE_WATCH = json.dumps(
    {
        "services": {
            "backend": {
                "entrypoint": ["sh", "-c", f"{' '.join(_CARGO)} && exec /app/target/debug/kiro-backend"],
                "develop": {
                    "watch": [{"action": "sync+restart", "path": "./backend/crates", "target": "/app/crates"}]
                },
            },
            "frontend": {"profiles": ["not"]},
        }
    }
)

#: By the name that the command line has.
SCENARIOS: Mapping[str, Callable[[Bench], Iterator[Measured]]] = {
    "backend": source_backend,
    "frontend": source_frontend,
    "dependencies": dependencies,
    "nothing": nothing,
    "large": large,
}
__all__ = ["SCENARIOS", "Bench", "fetched", "statistics"]
