"""What the steps of a Dockerfile do: which install or compile, which take the whole context. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kiro_invoke.builds.dockerfile import Dockerfile, Instruction, Stage, words_of
from kiro_invoke.builds.proof import lineage

_OPTIONS = re.compile(r"^(?:--[\w-]+(?:=(?:\"[^\"]*\"|'[^']*'|\S)*)?\s+)*")
#: What begins a command in a shell's line.
_START = r"(?:^|[;&|(\n]|\bthen|\bdo|\belse)\s*(?:(?:exec|time|env|sudo|command)\s+)*(?:\w+=\S*\s+)*"
_NODE = re.compile(
    _START
    + r"(?:corepack\s+)?(?:(npm)\s+(?:ci|install|i|clean-install)|(pnpm)\s+(?:install|i)|(bun)\s+install"
    r"|(yarn)(?:\s+install)?(?=\s+-|\s*(?:$|[;&|)\n])))(?![\w-])(?P<rest>[^;&|\n]*)",
)
_PYTHON = re.compile(
    _START + r"(?:python3?\s+-m\s+)?(?:(?:uv\s+)?(pip3?)\s+install\b(?=[^;&|\n]*(?:\s-r|\s--requirement))"
    r"|(poetry)\s+install\b|(uv)\s+sync\b|(pipenv)\s+(?:install|sync)\b)"
)
_SYSTEM = re.compile(
    _START + r"(?:(apt-get|apt|dnf|yum|microdnf|zypper)\s+(?:-\S+\s+)*install\b|(apk)\s+(?:-\S+\s+)*add\b)"
)
_OTHER = re.compile(
    _START
    + r"(?:(go)\s+mod\s+download\b|(bundle)\s+install\b|(composer)\s+install\b|(mvn)\s[^;&|\n]*dependency:)"
)
CARGO_BUILD = re.compile(
    r"(?:^|[\s;&|(])(?:cargo(?:\s+\+\S+)?\s+(?:b|build|rustc)|cargo\s+install\s[^;&|\n]*--path)(?=\s|$)"
)
CHEF_COOK = re.compile(r"\bcargo(?:\s+|-)chef\s+cook\b(?![^;&|\n]*--no-build)")
_COMPILE = re.compile(
    r"(?:^|[\s;&|(])(?:cargo\s+(?:\+\S+\s+)?(?:b|build|install|test|t|rustc|chef\s+cook)|go\s+(?:build|install)|make|ninja"
    r"|cmake\s+--build|mvn|gradle|\./gradlew|\./mvnw|dotnet\s+(?:build|publish|restore)|gcc|g\+\+|rustc|meson\s+compile)(?=\s|$)"
)
FRONT_BUILD = re.compile(
    _START + r"(?:(?:npm|pnpm|bun)\s+(?:run(?:-script)?\s+)?build|yarn\s+(?:run\s+)?build"
    r"|(?:npx\s+|pnpm\s+(?:exec\s+)?|yarn\s+)?(?:vite\s+build|tsc|webpack|next\s+build|rollup|ng\s+build|vue-cli-service\s+build"
    r"|react-scripts\s+build))(?=[:\s;&|)]|$)"
)
_WHOLE = frozenset({"", ".", "/", "./", "*", "./*"})


@dataclass(frozen=True)
class File:
    """A Dockerfile with its place in the repository, as a person wrote it, and the build arguments it is given."""

    place: str
    parsed: Dockerfile
    build_args: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """An instruction in a stage's history: `own` where it stands in that stage, not in one that it is FROM."""

    instruction: Instruction
    own: bool

    @property
    def text(self) -> str:
        """What a RUN runs."""
        return command(self.instruction)


def history(file: File, stage: Stage) -> Iterator[Step]:
    """All instructions that a stage's result comes from, in order, those of the stages that it is FROM included."""
    for one in reversed([*lineage(file.parsed, stage)]):
        for instruction in one.instructions:
            yield Step(instruction, one is stage)


def command(instruction: Instruction) -> str:
    """The shell text of a RUN, its heredocs included; "" of all else. The exec form as the words that it has."""
    if instruction.keyword != "RUN":
        return ""
    text = _OPTIONS.sub("", instruction.rest)
    text = " ".join(_listed(text) or [text])
    return "\n".join(filter(None, (text, instruction.heredoc)))


def installs(text: str) -> str:
    """The words with which a command installs: `npm ci`, `apt-get install`; "" if it does not."""
    for pattern in (_NODE, _PYTHON, _SYSTEM, _OTHER):
        for match in pattern.finditer(text):
            rest = match.groupdict().get("rest") or ""
            if not re.search(r"\s(?:-g|--global|--location[= ]global)\b", rest):
                return _words(match)
    return ""


def system_install(text: str) -> str:
    """The words with which a command installs with the system's package manager, or ""."""
    match = _SYSTEM.search(text)
    return _words(match) if match else ""


def _words(match: re.Match[str]) -> str:
    """The tool and what it is told to do, without options."""
    tools = (number for number, tool in enumerate(match.groups(), 1) if tool)
    begin = match.start(next(tools))
    end = match.start("rest") if "rest" in match.groupdict() else match.end()
    return " ".join(word for word in match.string[begin:end].split() if not word.startswith("-"))


def node_install(text: str) -> re.Match[str] | None:
    """An install of a project's own dependencies with npm, pnpm, yarn or bun."""
    found = (match for match in _NODE.finditer(text) if installs(match[0]))
    return next(found, None)


def is_expensive(text: str) -> bool:
    """Whether a command installs or compiles."""
    return bool(installs(text) or _COMPILE.search(text) or FRONT_BUILD.search(text))


def taken(instruction: Instruction) -> tuple[str, ...]:
    """The places of the build context that an instruction reads, relative to it, patterns as they are: "" is all."""
    if instruction.keyword in {"COPY", "ADD"} and not instruction.sources:
        return tuple(map(_place, _copied(instruction)))
    if instruction.keyword == "RUN":
        binds = (mount for mount in instruction.mounts if mount.get("type", "bind") == "bind")
        return tuple(
            _place(mount.get("source") or mount.get("src") or "") for mount in binds if not mount.get("from")
        )
    return ()


def is_in(path: str, place: str) -> bool:
    """Whether a file of the context lies at a place as `taken` gives it, or below."""
    parts = place.split("/") if place else []
    whole = path.split("/")
    return len(whole) >= len(parts) and all(
        fnmatchcase(one, part) for one, part in zip(whole, parts, strict=False)
    )


def takes_all(instruction: Instruction) -> bool:
    """Whether it takes the whole context: any change of any file makes it, and what follows, run again."""
    if instruction.keyword in {"COPY", "ADD"}:
        return not instruction.sources and any(word in _WHOLE for word in _copied(instruction))
    return instruction.keyword == "RUN" and "" in taken(instruction)


def cache_mounts(instruction: Instruction) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """The targets of its cache mounts, with the mounts."""
    found = (
        (mount.get("target") or mount.get("dst") or mount.get("destination") or "", mount)
        for mount in instruction.mounts
    )
    return tuple(
        (target.rstrip("/"), mount) for target, mount in found if mount.get("type") == "cache" and target
    )


def _listed(text: str) -> list[str]:
    """The words of an instruction's exec form, a JSON list; none of the shell's form, even if it begins with `[`."""
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return [str(word) for word in found] if isinstance(found, list) else []
    return []


def _copied(instruction: Instruction) -> Sequence[str]:
    """The sources of a COPY or ADD that lie in the context."""
    rest = _OPTIONS.sub("", f"{instruction.rest} ").strip()
    words = _listed(rest) or words_of(rest)
    local = [word for word in words[:-1] if not word.startswith("<<")]
    return [word for word in local if instruction.keyword == "COPY" or "://" not in word]


def _place(source: str) -> str:
    return "" if "$" in source else posixpath.normpath(f"/{source}").strip("/")
