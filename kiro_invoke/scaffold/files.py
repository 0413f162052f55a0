"""The files that services need, as texts: pure, from what was found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch

from kiro_invoke.scaffold.found import Found, Need
from kiro_invoke.scaffold.images import NodeImages, PageImages, RustImages
from kiro_invoke.scaffold.marking import whole_mark, without_block
from kiro_invoke.scaffold.rendering import rendered
from kiro_invoke.scaffold.repository import Repository, placed

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
#: What no build needs, whatever the service is.
_IGNORED = ("**/.git", "**/.*.swp", "**/*~", "**/.DS_Store", "**/.idea", "**/.vscode", "**/.env.local",
            "**/.env.*.local", "**/Dockerfile*", "**/.dockerignore")  # fmt: skip
#: Besides, where the context is the repository's root.
_AT_ROOT = (".kiro", ".github", "kiro.yaml", "Tiltfile", "compose*.yaml", "compose*.yml", "docker-compose*.yaml",
            "docker-compose*.yml")  # fmt: skip


class Form(StrEnum):
    """WHOLE: a file of our own. BLOCK: lines at the end of a person's file, or a file of our own where there is none.
    ADDED: lines at the end of a person's file, where there is one.
    """

    WHOLE = "whole"
    BLOCK = "block"
    ADDED = "added"


@dataclass(frozen=True)
class File:
    """A file that is wanted at `path`, from the root, and why. `comment` begins a comment's line in it."""

    path: str
    text: str
    form: Form
    cause: str
    comment: str = "#"


def files(
    repository: Repository, services: Sequence[Found], project: str, asked: Iterable[str] = ()
) -> tuple[File, ...]:
    """All files for these services. `asked`: what is made on request only (`editor`, `ci`, `tilt`); and `make`, where
    there is something to include.
    """
    return tuple(_files(repository, services, project, frozenset(asked)))


def _files(
    repository: Repository, services: Sequence[Found], project: str, asked: frozenset[str]
) -> Iterator[File]:
    for service in services:
        yield from _dockerfiles(service)
        yield from _configurations(service, services)
    yield from _ignore_files(repository, services)
    yield File("kiro.yaml", _kiro_yaml(services, project), Form.WHOLE, "which services there are")
    if not any(repository.has(name) and name != "compose.yaml" for name in COMPOSE_FILES):
        yield File("compose.yaml", _compose(services, project), Form.WHOLE, "how the services are run")
    if "make" in asked:
        yield File("Makefile", _MAKE, Form.ADDED, "targets: make kiro-warm-cache, make kiro-watch, and so on")
    if "tilt" in asked:
        yield from _tiltfile(repository)
    if "ci" in asked:
        yield File(
            ".github/workflows/kiro.yaml",
            _CI,
            Form.WHOLE,
            "an example of continuous integration, as asked for",
        )
    if "editor" in asked:
        yield File(".vscode/tasks.json", _tasks(), Form.WHOLE, "tasks of the editor, as asked for", "//")
        yield File(".vscode/launch.json", _launch(services), Form.WHOLE, "debuggers, as asked for", "//")


def _dockerfiles(service: Found) -> Iterator[File]:
    kind = {RustImages: "rust", PageImages: "vite", NodeImages: "node"}[type(service.images)]
    for name, cause in (("Dockerfile.fast", "its development image"), ("Dockerfile", "its production image")):
        text = rendered(f"{kind}.{name}", service.images.values)
        yield File(placed(service.folder, name), text, Form.WHOLE, f"{service.name}: {cause}")


def _configurations(service: Found, services: Sequence[Found]) -> Iterator[File]:
    backend = next((one for one in services if one.port and not one.is_page and not one.has_dev_page), None)
    values = {
        "proxied": service.proxied if backend else (),
        "backend": f"{backend.name}:{backend.port}" if backend else "",
        "strict": False,
    }
    for name, wanted in (("nginx.conf", service.is_page), ("nginx.dev.conf", service.has_dev_page)):
        if wanted:
            cause = f"{service.name}: nginx serves its page"
            yield File(placed(service.folder, name), rendered(name, values), Form.WHOLE, cause)


def _ignore_files(repository: Repository, services: Sequence[Found]) -> Iterator[File]:
    for context in dict.fromkeys(service.context for service in services):
        own = [line for one in services if one.context == context for line in one.ignore]
        wanted = dict.fromkeys((*own, *_IGNORED, *(() if context else _AT_ROOT)))
        path = placed(context, ".dockerignore")
        own_text = repository.read(path)
        is_theirs = repository.has(path) and whole_mark(own_text) is None
        there = {line.strip() for line in without_block(own_text).splitlines()} if is_theirs else set[str]()
        known = there | {line.removeprefix("**/") for line in wanted if line.removeprefix("**/") in there}
        asked_for = [part for line in there if line.startswith("!") for part in line[1:].split("/")]
        lines = [
            line
            for line in wanted
            if line not in known
            and line.removeprefix("**/") not in known
            and not any(fnmatch(part, line.rpartition("/")[2]) for part in asked_for)
        ]
        lines += [line for line in _sources_among(repository, context, lines) if line not in there]
        text = "".join(f"{line}\n" for line in lines)
        if not is_theirs:
            text = f"# Only what a build reads goes to the engine: all else would only invalidate layers.\n{text}"
        if lines:
            yield File(path, text, Form.BLOCK, "what no build needs is not sent to the engine")


def _sources_among(repository: Repository, context: str, ignored: Sequence[str]) -> Iterator[str]:
    """Lines that let through again what these leave out and is a source: `src/target/mod.rs`, say."""
    start = f"{context}/" if context else ""
    names = {line.removeprefix("**/") for line in ignored if re.fullmatch(r"\*\*/\w[\w-]*", line)}
    found: dict[str, None] = {}
    for path in sorted(repository.paths):
        parts = path.removeprefix(start).split("/")
        if not path.startswith(start) or "src" not in parts or re.search(r"[*?\[\\]", path):
            continue
        first = parts.index("src") + 1
        named = (at for at in range(first, len(parts)) if parts[at] in names)
        is_file = parts[-1].startswith("Dockerfile") and len(parts) > first
        if end := next(named, len(parts) - 1 if is_file else 0):
            found["/".join(parts[: end + 1])] = None
    yield from (f"!{path}" for path in found)


def _kiro_yaml(services: Sequence[Found], project: str) -> str:
    lines = ["version: 1", f"project: {_word(project)}", "services:"]
    for one in services:
        below = one.folder[len(one.context) + 1 :] if one.context else one.folder
        below = "" if one.folder == one.context else below
        lines += [f"  - name: {_word(one.name)}", f"    context: {_word(one.context or '.')}"]
        if below:
            lines += [
                f"    dockerfile: {_word(placed(below, 'Dockerfile'))}",
                f"    fast_dockerfile: {_word(placed(below, 'Dockerfile.fast'))}",
            ]
    needs = distinct_needs(services)
    if needs:
        lines.append("secrets:")
        for need in needs:
            source = f"    file: {_word(need.file)}" if need.file else f"    env: {need.env}"
            lines += [f"  - id: {need.id}", source]
    return "".join(f"{line}\n" for line in lines)


def distinct_needs(services: Sequence[Found]) -> tuple[Need, ...]:
    """The secrets of all services, each id once."""
    return tuple({need.id: need for one in reversed(services) for need in one.needs}.values())


def _compose(services: Sequence[Found], project: str) -> str:
    taken: set[int] = set()
    lines = ["# The services from their development images, reachable from this machine only.", "services:"]
    for one in services:
        below = one.folder[len(one.context) + 1 :] if one.context else one.folder
        below = "" if one.folder == one.context else below
        lines += [
            f"  {_word(one.name)}:",
            f"    image: {project}/{one.name}:dev",
            "    build:",
            f"      context: {_word(_literal('./' + one.context))}",
            f"      dockerfile: {_word(_literal(placed(below, 'Dockerfile.fast')))}",
        ]
        if one.port:
            port = one.port
            while port in taken:
                port += 1
            taken.add(port)
            variable = re.sub(r"[^A-Z0-9]|^(?=\d)", "_", one.name.upper())
            lines += ["    ports:", f'      - "127.0.0.1:${{{variable}_PORT:-{port}}}:{one.port}"']
        lines.append("    restart: unless-stopped")
    return "".join(f"{line}\n" for line in lines)


def _literal(text: str) -> str:
    """A text in which Compose fills in nothing."""
    return text.replace("$", "$$")


_MAKE = """\
# Targets of kiro, where it is installed: make kiro-help
KIRO_PREFIX := kiro-
-include $(shell kiro make-path 2>/dev/null)
"""
_TILT = """\
kiro = str(local('PATH="$PWD/.venv/bin:$PATH"; "${KIRO:-kiro}" tilt-path || true', quiet=True, echo_off=True)).strip()
if kiro:
    load_dynamic(kiro)['kiro_services']()
else:
    %s
"""
_MISSING = "kiro is not installed here (pip install kiro-invoke, or set KIRO)"
#: A compose file tells how images are built; what else a person's Tiltfile runs may be some other image of that name.
_WITHOUT = {
    "ours": f"warn('{_MISSING}: Compose builds the images, and every change takes the image')",
    "theirs": f"fail('{_MISSING}: it builds the images of these services')",
}
_CI = """\
# Builds all images, the production ones anew from nothing, and starts the services.
name: images
on: [push, pull_request]
jobs:
  images:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install kiro-invoke
      - run: kiro warm-cache
      - run: kiro build --prod --clean
      - run: kiro up
"""


def _tiltfile(repository: Repository) -> Iterator[File]:
    """Lines for Tilt: a file of our own runs the services with Compose, a person's already says how they run."""
    there = repository.read("Tiltfile")
    is_theirs = repository.has("Tiltfile") and whole_mark(there) is None
    if is_theirs:
        text = _TILT % _WITHOUT["theirs"]
    else:
        compose = next((name for name in COMPOSE_FILES if repository.has(name)), COMPOSE_FILES[0])
        text = f"docker_compose('{compose}')\n{_TILT % _WITHOUT['ours']}"
    yield File("Tiltfile", text, Form.BLOCK, "the services' images under Tilt, as asked for")


def _tasks() -> str:
    def task(label: str, command: str) -> dict[str, object]:
        return {
            "label": label,
            "type": "process",
            "command": "kiro",
            "args": command.split(),
            "problemMatcher": [],
        }

    tasks = [task(f"kiro: {name}", name) for name in ("watch", "build", "up", "down")]
    return json.dumps({"version": "2.0.0", "tasks": tasks}, indent=2) + "\n"


def _launch(services: Sequence[Found]) -> str:
    known: list[dict[str, object]] = []
    for one in services:
        folder = "${workspaceFolder}" + (f"/{one.context}" if one.context else "")
        if isinstance(one.images, RustImages):
            known.append(
                {
                    "name": f"{one.name} in its container (kiro watch --debug {one.name})",
                    "type": "cppdbg",
                    "request": "attach",
                    "program": f"{folder}/target/debug/{one.images.binary}",
                    "processId": "${input:pid}",
                    "MIMode": "gdb",
                    "setupCommands": [{"text": "target extended-remote 127.0.0.1:2345"}],
                    "sourceFileMap": {"/app": folder},
                }
            )
        else:
            known.append(
                {
                    "name": f"{one.name} in its container (kiro watch --debug {one.name})",
                    "type": "node",
                    "request": "attach",
                    "port": 9229,
                    "localRoot": folder,
                    "remoteRoot": "/app",
                    "restart": True,
                }
            )
    asks = {
        "id": "pid",
        "type": "promptString",
        "description": "docker compose exec SERVICE pgrep -nx PROGRAM",
    }
    whole: dict[str, object] = {"version": "0.2.0", "configurations": known, "inputs": [asks]}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _word(text: str) -> str:
    """A text as one word of YAML."""
    plain = re.fullmatch(r"[A-Za-z./][\w./-]*", text, re.ASCII)
    reserved = text.lower() in {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "."}
    return text if plain and (not reserved or text == ".") else json.dumps(text, ensure_ascii=False)
