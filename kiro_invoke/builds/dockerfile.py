"""Read a Dockerfile: its stages, instructions with line numbers, and the images it stands on.

Small on purpose. No maintained parser was found that knows heredocs, `--mount=from=` and stage names
together; BuildKit stays the judge of what a Dockerfile means (docs/guide.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"^#\s*(\w+)\s*=\s*(.*?)\s*$")
_HEREDOC = re.compile(r"<<(-?)\s*([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2")
_HAS_HEREDOC = frozenset({"RUN", "COPY", "ADD"})
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?:(:?[-+])([^}]*))?\}|(\w+))")
_FROM = re.compile(r"^(?:--\S+\s+)*(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?\s*$", re.IGNORECASE)
_MOUNT = re.compile(r"--mount=(\S+)")
_COPY_FROM = re.compile(r"^(?:--\S+\s+)*?--from=(\S+)")


@dataclass(frozen=True)
class Instruction:
    """One instruction: upper-case keyword, the rest on one line, 1-based first and last line."""

    keyword: str
    rest: str
    line: int
    last_line: int
    heredoc: str = ""

    @property
    def mounts(self) -> tuple[dict[str, str], ...]:
        """The `--mount` options of a RUN, each as key -> value."""
        head = self.rest if self.keyword == "RUN" else ""
        return tuple(
            {pair.partition("=")[0]: pair.partition("=")[2] for pair in found.split(",")}
            for found in _MOUNT.findall(head)
        )


@dataclass(frozen=True)
class Stage:
    """A build stage: lower-case name (or its index as text), what FROM names, its instructions."""

    name: str
    base: str
    line: int
    instructions: tuple[Instruction, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Stages and images that this one takes from: FROM, COPY --from, RUN --mount=from."""
        found = [self.base]
        for instruction in self.instructions:
            if instruction.keyword in {"COPY", "ADD"} and (match := _COPY_FROM.match(instruction.rest)):
                found.append(match[1])
            found += [mount["from"] for mount in instruction.mounts if mount.get("from")]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Dockerfile:
    """A whole Dockerfile. `arguments` are the global ARGs with their defaults (None: without)."""

    stages: tuple[Stage, ...]
    arguments: Mapping[str, str | None]
    directives: Mapping[str, str]

    def stage(self, name: str) -> Stage | None:
        """The stage a reference means: its name, or its index."""
        wanted = name.lower()
        named = next((stage for stage in self.stages if stage.name == wanted), None)
        if named is None and wanted.isdigit() and int(wanted) < len(self.stages):
            return self.stages[int(wanted)]
        return named

    def reachable(self, *targets: str) -> frozenset[str]:
        """Names of the stages that building `targets` needs, themselves included."""
        seen: set[str] = set()
        todo = list(targets)
        while todo:
            stage = self.stage(todo.pop())
            if stage is not None and stage.name not in seen:
                seen.add(stage.name)
                todo += stage.sources
        return frozenset(seen)

    def leaves(self) -> tuple[str, ...]:
        """Stages that no other stage takes from, in file order: building them builds every stage."""
        taken = {found.name for stage in self.stages for s in stage.sources if (found := self.stage(s))}
        return tuple(stage.name for stage in self.stages if stage.name not in taken)

    def bases(self, build_args: Mapping[str, str]) -> tuple[str, ...]:
        """The images from outside that its stages take from, with build arguments filled in."""
        values = {**{k: v for k, v in self.arguments.items() if v is not None}}
        values |= {key: value for key, value in build_args.items() if key in self.arguments}
        refs = [expand(source, values) for stage in self.stages for source in stage.sources]
        return tuple(dict.fromkeys(r for r in refs if r and r != "scratch" and self.stage(r) is None))


def parse(text: str) -> Dockerfile:
    """Parse a Dockerfile's text. Lines that make no sense are left to BuildKit to refuse."""
    directives = _directives(text)
    arguments: dict[str, str | None] = {}
    stages: list[tuple[str, str, int, list[Instruction]]] = []
    for instruction in _instructions(text, directives.get("escape", "\\")):
        if instruction.keyword == "FROM":
            match = _FROM.match(instruction.rest)
            base, name = (match["base"], match["name"]) if match else (instruction.rest, None)
            stages.append(((name or str(len(stages))).lower(), base, instruction.line, []))
        elif stages:
            stages[-1][3].append(instruction)
        elif instruction.keyword == "ARG":
            for name, equals, value in (word.partition("=") for word in instruction.rest.split()):
                arguments[name] = _unquote(value) if equals else None
    values = {key: value for key, value in arguments.items() if value is not None}
    expanded = {key: None if value is None else expand(value, values) for key, value in arguments.items()}
    return Dockerfile(
        stages=tuple(Stage(name, base, line, tuple(body)) for name, base, line, body in stages),
        arguments=expanded,
        directives=directives,
    )


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}` filled in."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match[1] or match[4], match[2] or "", match[3] or ""
        found = values.get(name)
        present = bool(found) if operator.startswith(":") else found is not None
        if operator.endswith("+"):
            return expand(word, values) if present else ""
        if operator.endswith("-") and not present:
            return expand(word, values)
        return found or ""

    return _VARIABLE.sub(value, _unquote(text))


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _directives(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.lstrip("\ufeff").splitlines():
        match = _DIRECTIVE.match(line)
        if match is None:
            break
        found[match[1].lower()] = match[2]
    return found


def _instructions(text: str, escape: str) -> Iterator[Instruction]:
    lines = text.lstrip("\ufeff").splitlines()
    at = 0
    while at < len(lines):
        first = at
        if _is_blank(lines[at]):
            at += 1
            continue
        logical, at = _logical_line(lines, at, escape)
        keyword, _, rest = logical.strip().partition(" ")
        keyword = keyword.upper()
        body: list[str] = []
        if keyword in _HAS_HEREDOC:
            for match in _HEREDOC.finditer(rest):
                chunk, at = _heredoc_body(lines, at, match[3], strip=bool(match[1]))
                body += chunk
        yield Instruction(keyword, " ".join(rest.split()), first + 1, at, "\n".join(body))


def _logical_line(lines: list[str], at: int, escape: str) -> tuple[str, int]:
    """The instruction that starts at line `at`, continuation lines joined, and the next line's index."""
    parts: list[str] = []
    while at < len(lines):
        line = lines[at]
        at += 1
        if parts and _is_blank(line):
            continue
        stripped = line.rstrip()
        if stripped.endswith(escape):
            parts.append(stripped[:-1])
            continue
        parts.append(stripped)
        break
    return " ".join(parts), at


def _heredoc_body(lines: list[str], at: int, end: str, *, strip: bool) -> tuple[list[str], int]:
    body: list[str] = []
    while at < len(lines):
        line = lines[at].lstrip("\t") if strip else lines[at]
        at += 1
        if line == end:
            break
        body.append(line)
    return body, at


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")
