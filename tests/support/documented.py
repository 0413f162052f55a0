"""The commands that the documentation tells a person to type, as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.engine import ROOT

FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "kiro_invoke/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
)
#: What a line of a block begins with, settings of variables aside, if it is to be typed.
_PROGRAMS = frozenset(
    {"kiro", "invoke", "make", "docker", "git", "pip", "pipx", "python3", "tilt", "cargo", "npm", "npx", "pnpm", "yarn",
     "sudo", "apt-get", "source", "cd", "ls", "printf", ".venv/bin/kiro", ".venv/bin/invoke", ".venv/bin/python",
     "scripts/warm-cache.sh", "scripts/refresh-cache.sh", "scripts/test-docker-build.sh"}
)  # fmt: skip
_SETTING = re.compile(r"[A-Za-z_]\w*=")
#: `kiro build: kiro.yaml:4: …` is an answer, `kiro = …` is Python.
_ANSWER = re.compile(r"kiro ([\w-]+:|on|=) ")
_FENCE = re.compile(r"```\s*(\w*)\s*$")
_SEPARATORS = frozenset({"&&", "||", "|", ";", "|&"})


@dataclass(frozen=True)
class Documented:
    """A command of a document, whole: lines that end with a backslash or a pipe go on with the next."""

    file: str
    line: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def typed(self) -> str:
        """The command without the remark behind it."""
        return re.split(r"\s+#\s", self.text)[0]

    @property
    def simple(self) -> tuple[tuple[str, ...], ...]:
        """The words of each simple command in it, settings of variables and redirections left out."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars="&|;<>()")
        lexer.whitespace_split = True
        commands: list[list[str]] = [[]]
        skipped = False
        for word in lexer:
            if skipped:
                skipped = False
            elif word in _SEPARATORS:
                commands.append([])
            elif set(word) <= set("<>&()"):
                if word == "<(":
                    commands.append([])
                skipped = set(word) <= set("<>&")
            elif commands[-1] or not _SETTING.match(word):
                commands[-1].append(word)
        return tuple(tuple(words) for words in commands if words)


def documented(file: str) -> tuple[Documented, ...]:
    """The commands of a document, in order."""
    return tuple(_commands(file, (ROOT / file).read_text(encoding="utf-8")))


def _commands(file: str, text: str) -> Iterator[Documented]:
    for block in _blocks(text):
        prompted = [(number, line[2:]) for number, line in block if line.startswith("$ ")]
        begun: tuple[int, str] | None = None
        for number, line in prompted or block:
            if begun:
                begun = begun[0], f"{begun[1].removesuffix(chr(92))} {line.strip()}"
            elif prompted or _is_typed(line):
                begun = number, line.strip()
            else:
                continue
            if not begun[1].endswith(("\\", "|", "&&")):
                yield Documented(file, *begun)
                begun = None


def _blocks(text: str) -> Iterator[list[tuple[int, str]]]:
    """The indented and the fenced blocks of a document: lines with their numbers."""
    block: list[tuple[int, str]] = []
    fence: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if fence is not None:
            if match:
                if fence in {"", "sh", "bash", "console"}:
                    yield block
                block, fence = [], None
            else:
                block.append((number, line))
        elif match:
            fence = match[1]
        elif line.startswith("    "):
            block.append((number, line[4:]))
        elif block and line.strip():
            yield block
            block = []
    if block:
        yield block


def _is_typed(line: str) -> bool:
    words = line.split()
    while words and _SETTING.match(words[0]):
        words = words[1:]
    return bool(words) and words[0] in _PROGRAMS and not line.startswith(" ") and not _ANSWER.match(line)


#: Commands that no test runs as they stand, and why. What runs them otherwise is named.
NOT_RUN = {
    **dict.fromkeys(
        ("make test", "make test-unit", "make test-loop", "make test-docker", "make test-long", "make lint",
         "make test-unit ARGS='-k config -x'"),
        "the suites themselves",
    ),
    "make test-build-performance": "takes an hour: tests/long/test_benchmark.py",
    **dict.fromkeys(
        ("make refresh-cache", "kiro refresh-cache"), "builds everything again: tests/long/test_refresh.py"
    ),
    **dict.fromkeys(
        ("kiro build --prod --clean", "docker build --no-cache -f backend/Dockerfile.fast backend/",
         "BUILDKIT_PROGRESS=plain docker build --no-cache -f backend/Dockerfile.fast backend/"),
        "compiles everything again: tests/docker/test_clean_build.py",
    ),
    **dict.fromkeys(
        ("kiro clean-cache --older-than 7d", "kiro clean-cache --max-size 5GB", "kiro clean-cache --what build",
         "kiro clean-cache"),
        "asks a person: tests/long/test_clean_cache.py",
    ),
    "kiro doctor --fix": "asks a person, and may write the engine's settings: tests/long/test_doctor.py",
    "docker builder prune --filter until=168h": "takes what is others', after asking",
    "docker image prune": "takes what is others', after asking",
    "docker build --target cook -t look -f backend/Dockerfile.fast backend/ && docker run --rm -it look sh":
        "a shell for a person",
    "pip install kiro-invoke": "of a package index; a wheel: tests/long/test_packaging.py",
    "cd your-repository": "a place of the reader's",
    "sudo apt-get update": "of Docker's own packages",
    "sudo apt-get install docker-ce docker-ce-cli docker-buildx-plugin docker-compose-plugin":
        "of Docker's own packages",
    "kiro warm-cache --pull": "asks registries, and may replace the base images of other tests",
    "kiro pin-images": "asks registries, and writes into Dockerfiles: tests/docker/test_registry.py",
    "kiro build --prod --push": "leaves this machine: tests/docker/test_production.py",
    "kiro build --prod --archive DIST": "leaves this machine: tests/docker/test_production.py",
    "BACKEND_PORT=9080 FRONTEND_PORT=9081 make up": "these ports may be taken; `make up` runs on others",
    'make warm-cache SERVICE="api web"': "services of the reader's: tests/unit/test_kiro_mk.py",
    'make watch SERVICE=api ARGS="--no-live --debug api"': "services of the reader's: tests/unit/test_kiro_mk.py",
}  # fmt: skip
