"""Read a Dockerfile: its stages, instructions with line numbers, and the images it stands on.

Small on purpose. No maintained parser was found that knows heredocs, `--mount=from=` and stage names
together; BuildKit stays the judge of what a Dockerfile means (docs/guide.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import takewhile

DIRECTIVE = re.compile(r"^#\s*(\w+)\s*=\s*(.*?)\s*$")
#: The frontend is found in this form too.
_SLASHED = re.compile(r"^//\s*(syntax)\s*=\s*(.*?)\s*$")
#: A word as the shell would see it, its quotes kept.
_WORD = re.compile(r"(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.|[^\s\"'\\]|[\"'\\])+")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_HAS_HEREDOC = frozenset({"RUN", "COPY", "ADD"})
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?:(:?[-+])((?:\$\{[^{}]*\}|[^{}])*+))?\}|(\w+))")
_FROM = re.compile(r"^(?:--\S+\s+)*(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?\s*$", re.IGNORECASE)
_OPTION = re.compile(r"--([\w-]+)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Instruction:
    """One instruction: upper-case keyword, the rest on one line, 1-based first and last line.

    `raw` is all of it as written, without comments and blank lines between its lines: two of the same are the same.
    """

    keyword: str
    rest: str
    line: int
    last_line: int
    heredoc: str = ""
    raw: str = ""

    @cached_property
    def mounts(self) -> tuple[dict[str, str], ...]:
        """The `--mount` options of a RUN, each as key -> value."""
        found = self._options("mount") if self.keyword == "RUN" else ()
        pairs = ([field.partition("=") for field in mount.split(",")] for mount in found)
        return tuple({key.lower(): value for key, _, value in mount} for mount in pairs)

    @property
    def sources(self) -> tuple[str, ...]:
        """Stages and images that it takes files from."""
        if self.keyword in {"COPY", "ADD"}:
            return self._options("from")
        return tuple(mount["from"] for mount in self.mounts if mount.get("from"))

    def _options(self, name: str) -> tuple[str, ...]:
        """The values of an option; options come before all else."""
        words = takewhile(lambda word: word.startswith("--"), (word[0] for word in _WORD.finditer(self.rest)))
        found = (_OPTION.fullmatch(_unquoted(word)) for word in words)
        return tuple(match[2] for match in found if match and match[1] == name)


@dataclass(frozen=True)
class Stage:
    """A build stage: lower-case name (or its index as text), what FROM names, its instructions, its FROM as written."""

    name: str
    base: str
    line: int
    instructions: tuple[Instruction, ...]
    raw: str = ""

    @property
    def is_named(self) -> bool:
        """Whether a build can ask for it: BuildKit does not take an index as a target."""
        return not self.name.isdigit()

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Stages and images that this one takes from: FROM, COPY --from, RUN --mount=from."""
        found = (source for instruction in self.instructions for source in instruction.sources)
        return tuple(dict.fromkeys((self.base, *found)))


@dataclass(frozen=True)
class Dockerfile:
    """A whole Dockerfile. `arguments` are the global ARGs with their defaults (None: without).

    `preamble` are the instructions before the first stage, as written.
    """

    stages: tuple[Stage, ...]
    arguments: Mapping[str, str | None]
    directives: Mapping[str, str]
    preamble: tuple[str, ...] = ()

    def given(self, build_args: Mapping[str, str]) -> Dockerfile:
        """The same with these values for its global arguments."""
        return replace(
            self, arguments={n: build_args.get(n, default) for n, default in self.arguments.items()}
        )

    def stage(self, name: str) -> Stage | None:
        """The stage a reference means: its name, or its index."""
        return _last_named(self.stages, name)

    def reachable(self, *targets: str) -> frozenset[str]:
        """Names of the stages that building `targets` needs, themselves included."""
        seen: set[str] = set()
        todo = list(targets)
        while todo:
            stage = self.stage(todo.pop())
            if stage is not None and stage.name not in seen:
                seen.add(stage.name)
                todo += [needed.name for needed in self._needs(stage)]
        return frozenset(seen)

    def leaves(self) -> tuple[str, ...]:
        """Named stages that no other stage takes from, and the last one: building them builds every stage.

        All but a stage without a name that nothing takes from: no build can reach one.
        """
        taken = {needed.name for stage in self.stages for needed in self._needs(stage)}
        last = self.stages[-1].name
        return tuple(s.name for s in self.stages if s.name == last or (s.is_named and s.name not in taken))

    def bases(self, build_args: Mapping[str, str]) -> tuple[str, ...]:
        """The images from outside that its stages take from, with build arguments filled in.

        Without those that depend on what only the engine knows, such as `$TARGETARCH`.
        """
        return tuple(dict.fromkeys(ref for ref, _ in self.base_lines(build_args)))

    def base_lines(self, build_args: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
        """Each image of `bases` with the line of the stage that takes from it."""
        values = self.values(build_args)
        refs = (
            (expand(source, values), stage.line)
            for stage in self.stages
            for source in stage.sources
            if self.source(stage, source) is None and names_in(source) <= values.keys()
        )
        return tuple((ref, line) for ref, line in refs if ref and ref != "scratch" and "$" not in ref)

    def values(self, build_args: Mapping[str, str]) -> dict[str, str]:
        """The global arguments' values, each default filled in from the arguments before it."""
        values: dict[str, str] = {}
        for name, default in self.arguments.items():
            if name in build_args:
                values[name] = build_args[name]
            elif default is not None:
                values[name] = expand(default, values)
        return values

    def _needs(self, stage: Stage) -> tuple[Stage, ...]:
        """The stages that one takes from directly."""
        found = (self.source(stage, source) for source in stage.sources)
        return tuple(needed for needed in found if needed is not None and needed is not stage)

    def source(self, stage: Stage, source: str) -> Stage | None:
        """The stage that `source` means in `stage`; None: an image. FROM knows earlier ones only: `FROM a AS a`."""
        name = expand(source, self.values({}))
        if source == stage.base:
            return _last_named(self.stages[: self.stages.index(stage)], name)
        return self.stage(name)


@lru_cache(maxsize=1 << 10)
def parse(text: str) -> Dockerfile:
    """Parse a Dockerfile's text, equal texts once. Lines that make no sense are left to BuildKit to refuse."""
    directives = _directives(text)
    arguments: dict[str, str | None] = {}
    stages: list[tuple[str, str, Instruction, list[Instruction]]] = []
    preamble: list[str] = []
    for instruction in _instructions(text, directives.get("escape", "\\")):
        if instruction.keyword == "FROM":
            match = _FROM.match(instruction.rest)
            base, name = (match["base"], match["name"]) if match else (instruction.rest, None)
            stages.append(((name or str(len(stages))).lower(), base, instruction, []))
        elif stages:
            stages[-1][3].append(instruction)
        else:
            preamble.append(instruction.raw)
        if not stages and instruction.keyword == "ARG":
            for name, equals, value in (word.partition("=") for word in _WORD.findall(instruction.rest)):
                arguments[name] = _unquoted(value) if equals else None
    return Dockerfile(
        stages=tuple(
            Stage(name, base, first.line, tuple(body), first.raw) for name, base, first, body in stages
        ),
        arguments=arguments,
        directives=directives,
        preamble=tuple(preamble),
    )


def instructions(text: str) -> Iterator[Instruction]:
    """All instructions of a Dockerfile's text, in order."""
    return _instructions(text, _directives(text).get("escape", "\\"))


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

    return _VARIABLE.sub(value, _unquoted(text))


def words_of(text: str) -> list[str]:
    """The words of an instruction's rest as the shell would see them, without quotes."""
    return [_unquoted(word) for word in _WORD.findall(text)]


def names_in(text: str) -> set[str]:
    """The variables that `text` cannot do without."""
    found = _VARIABLE.finditer(text)
    return {match[1] or match[4] for match in found if not (match[2] or "").endswith(("-", "+"))}


def _last_named(stages: Sequence[Stage], name: str) -> Stage | None:
    """The stage of that name, the last of several; else the one with that index."""
    wanted = name.lower()
    if wanted.isdigit():
        return stages[int(wanted)] if int(wanted) < len(stages) else None
    return next((stage for stage in reversed(stages) if stage.name == wanted), None)


def _unquoted(word: str) -> str:
    return word.replace('"', "").replace("'", "")


def _directives(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    lines = _lines(text)
    for line in lines[1:] if lines[0].startswith("#!") else lines:
        match = DIRECTIVE.match(line) or _SLASHED.match(line)
        if match is None:
            break
        found[match[1].lower()] = match[2]
    return found


def _instructions(text: str, escape: str) -> Iterator[Instruction]:
    lines = _lines(text)
    at = 0
    while at < len(lines):
        first = at
        if _is_blank(lines[at]):
            at += 1
            continue
        logical, at = _logical_line(lines, at, escape)
        keyword, rest = _keyword(logical)
        own = [line for line in lines[first:at] if not _is_blank(line)]
        behind = at
        body: list[str] = []
        for end, strip in _heredocs(keyword, rest):
            chunk, at = _heredoc_body(lines, at, end, strip=strip)
            body += chunk
        raw = "\n".join((*own, *lines[behind:at]))
        yield Instruction(keyword, " ".join(rest.split()), first + 1, at, "\n".join(body), raw)


def _keyword(line: str) -> tuple[str, str]:
    """An instruction's keyword in upper case, and what follows it."""
    keyword, *rest = line.split(None, 1) or [""]
    return keyword.upper(), rest[0] if rest else ""


def _heredocs(keyword: str, rest: str) -> Iterator[tuple[str, bool]]:
    """The end marks of an instruction's heredocs, and whether each strips leading tabs.

    A heredoc is a word of its own that starts with `<<`, as BuildKit has it: `x<<1` and `<<<x` are none.
    """
    if keyword == "ONBUILD":
        keyword, rest = _keyword(rest)
    if keyword in _HAS_HEREDOC:
        for word in _WORD.findall(rest):
            if match := _HEREDOC.fullmatch(word):
                yield _unquoted(match[2]), bool(match[1])


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
    return "".join(parts), at


def _heredoc_body(lines: list[str], at: int, end: str, *, strip: bool) -> tuple[list[str], int]:
    body: list[str] = []
    while at < len(lines):
        line = lines[at].lstrip("\t") if strip else lines[at]
        at += 1
        if line == end:
            break
        body.append(line)
    return body, at


def _lines(text: str) -> list[str]:
    """The lines of a file, as editors number them."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#") or _SLASHED.match(line) is not None
