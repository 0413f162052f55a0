"""Read kiro.yaml as YAML nodes that know their lines. Nothing in it is ever constructed or executed."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kiro_invoke.config.names import nearest, shown
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.service import Origin, Setting

FILE = "kiro.yaml"
MAX_BYTES = 256 * 1024
MAX_VALUES = 10_000
MAX_DEPTH = 32

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CORE = "tag:yaml.org,2002:"
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a decimal number",
    "bool": "true or false",
    "null": "empty",
    "timestamp": "a date",
    "seq": "a list",
    "map": "a mapping",
}
_KNOWN_TAGS = frozenset(_CORE + kind for kind in _KINDS)


@dataclass(frozen=True)
class Given:
    """A text of the configuration, and who gave it. `file` is kiro.yaml, a variable, or a file found."""

    text: str
    origin: Origin
    file: str = ""
    line: int | None = None

    @property
    def where(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def refused(self, message: str, fix: str) -> ConfigError:
        """The error that says what is wrong with it."""
        return ConfigError(message, file=self.file or None, line=self.line, fix=fix)

    def setting(self, key: str, value: str | None = None) -> Setting:
        """It as a line of `kiro config`, with `value` where the effective value reads otherwise."""
        return Setting(key, self.text if value is None else value, self.origin, self.where)


@dataclass(frozen=True)
class Value:
    """A value of kiro.yaml: its key as messages name it, the line where that stands, and its node."""

    key: str
    line: int
    node: yaml.Node

    @property
    def kind(self) -> str:
        """What it is, in words that fit after "not" or "is"."""
        if isinstance(self.node, yaml.MappingNode):
            return _KINDS["map"]
        if isinstance(self.node, yaml.SequenceNode):
            return _KINDS["seq"]
        return _KINDS.get(self.node.tag.removeprefix(_CORE), "text")

    @property
    def where(self) -> str:
        return f"{FILE}:{self.line}"

    def refused(self, message: str, fix: str) -> ConfigError:
        """The error that says what is wrong with it."""
        return ConfigError(message, file=FILE, line=self.line, fix=fix)

    def text(self) -> Given:
        """It as text that is not empty."""
        if self.kind != "text" or not isinstance(self.node, yaml.ScalarNode):
            raise self._mistyped("text")
        if not self.node.value:
            raise self.refused(f"{self.key} must not be empty text", "give it a value, or delete the key")
        return Given(self.node.value, Origin.FILE, FILE, self.line)

    def whole_number(self) -> Given:
        """It as a whole number, as written."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != f"{_CORE}int":
            raise self._mistyped("a whole number")
        return Given(self.node.value, Origin.FILE, FILE, self.line)

    def scalar(self) -> Given:
        """It as text, as written: text, a number, a date, true or false."""
        if not isinstance(self.node, yaml.ScalarNode) or self.kind == "empty":
            raise self._mistyped("text, a number, or true or false")
        return Given(self.node.value, Origin.FILE, FILE, self.line)

    def items(self) -> tuple[Value, ...]:
        """The items of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._mistyped("a list")
        return tuple(
            Value(f"{self.key}[{at}]", node.start_mark.line + 1, node)
            for at, node in enumerate(self.node.value)
        )

    def fields(self) -> dict[str, Value]:
        """The entries of a mapping, whatever their keys; no key may come twice."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self._mistyped("a mapping")
        found: dict[str, Value] = {}
        for key, node in self.node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise Value("", line, key).refused("a key must be text", "write it as KEY: VALUE")
            name = key.value
            value = Value(f"{self.key}.{shown(name)}" if self.key else shown(name), line, node)
            if name in found:
                first = f"it stands on line {found[name].line} too"
                raise value.refused(f'duplicate key "{shown(name)}": {first}', "delete one of the two")
            found[name] = value
        return found

    def known_fields(self, known: tuple[str, ...]) -> dict[str, Value]:
        """The entries of a mapping that may hold only these keys."""
        found = self.fields()
        for name, value in found.items():
            if name not in known:
                near = nearest(name, known)
                hint = f'; did you mean "{near}"?' if near else ""
                fix = f'write "{near}"' if near else f"use one of: {', '.join(known)}"
                raise value.refused(f'unknown key "{shown(name)}"{hint}', fix)
        return found

    def _mistyped(self, wanted: str) -> ConfigError:
        key = self.key or FILE
        if self.kind == "empty":
            return self.refused(f"{key} must be {wanted}, but is empty", "give it a value, or delete the key")
        quotable = wanted == "text" and isinstance(self.node, yaml.ScalarNode)
        fix = f'put quotes around it: "{shown(self.node.value)}"' if quotable else f"write {wanted}"
        return self.refused(f"{key} must be {wanted}, not {self.kind}", fix)


def outranked(
    value: Value | None, variable: str, environ: Mapping[str, str], read: Callable[[Value], Given]
) -> Given | None:
    """What a variable says, else what kiro.yaml says, as `read` takes it; an empty variable says nothing."""
    if text := environ.get(variable):
        return Given(text, Origin.ENVIRONMENT, variable)
    return read(value) if value else None


def read(path: Path) -> Value:
    """All of kiro.yaml, one document that is safe to walk; ConfigError when it is anything else."""
    return parsed(_bytes(path))


def parsed(data: bytes) -> Value:
    """The same of a kiro.yaml's content."""
    if len(data) > MAX_BYTES:
        size = f"more than {MAX_BYTES // 1024} KiB"
        raise ConfigError(f"{FILE} is too large: {size}", file=FILE, fix="keep only its own keys in it")
    text = _text(data)
    loader: Any = yaml.SafeLoader(text)
    guard = _Guard()
    try:
        while loader.check_event():
            guard.see(loader.get_event())
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as trouble:
        raise _invalid(trouble, loader.line + 1) from None
    finally:
        loader.dispose()
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value and node.style is None):
        raise ConfigError(f"{FILE} is empty", file=FILE, line=1, fix="delete it, or write `version: 1`")
    return Value("", node.start_mark.line + 1, node)


def _bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{FILE} is not a file", file=FILE, fix="rename what is there")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as trouble:
        reason = trouble.strerror or "unknown trouble"
        raise ConfigError(f"{FILE} cannot be read: {reason}", file=FILE, fix="make it readable") from None


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as trouble:
        line = trouble.object[: trouble.start].count(b"\n") + 1
        raise ConfigError(f"{FILE} is not UTF-8", file=FILE, line=line, fix="save it as UTF-8") from None
    if bad := _FORBIDDEN.search(text):
        raise _forbidden(bad[0], len(f"{text[: bad.start()]}.".splitlines()))
    return text


def _forbidden(character: str, line: int) -> ConfigError:
    name = f"U+{ord(character):04X}"
    return ConfigError(f"control character {name} is not allowed", file=FILE, line=line, fix="delete it")


def _invalid(trouble: Exception, line: int) -> ConfigError:
    problem = "it is nested too deeply" if isinstance(trouble, RecursionError) else str(trouble)
    if isinstance(trouble, yaml.MarkedYAMLError):
        mark = trouble.problem_mark or trouble.context_mark
        line = mark.line + 1 if mark else line
        problem = ", ".join(part for part in (trouble.context, trouble.problem) if part)
    tab = "\\t" in problem
    fix = "indent with spaces, not tabs" if tab else "correct the YAML on this line or just above it"
    return ConfigError(f"not valid YAML: {shown(problem, 160)}", file=FILE, line=line, fix=fix)


@dataclass
class _Guard:
    """Looks at YAML's events, before any node is made, for what could not be walked safely.

    `values` counts what a walk would visit, aliases followed; `opened` holds the anchor of each open
    collection and what `values` was before it; `sizes` how many values each closed anchor stands for.
    """

    values: int = 0
    documents: int = 0
    opened: list[tuple[str | None, int]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def see(self, event: yaml.Event) -> None:
        """ConfigError when this event makes the document unsafe."""
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._document(line)
        elif isinstance(event, yaml.AliasEvent) and event.anchor:
            self._alias(event.anchor, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.opened.pop()
            self._close(anchor, before)
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self._node(event, line)

    def _document(self, line: int) -> None:
        self.documents += 1
        if self.documents > 1:
            fix = "delete the line `---` and what follows"
            raise ConfigError(f"{FILE} holds more than one document", file=FILE, line=line, fix=fix)

    def _alias(self, anchor: str, line: int) -> None:
        if any(anchor == name for name, _ in self.opened):
            message = f'the alias "*{shown(anchor)}" stands inside what it refers to'
            raise ConfigError(message, file=FILE, line=line, fix="write the value out")
        self._count(self.sizes.get(anchor, 1), line)

    def _node(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        if event.tag is not None and event.tag not in _KNOWN_TAGS:
            tag = shown(event.tag.replace(_CORE, "!!"))
            raise ConfigError(f'unknown tag "{tag}"', file=FILE, line=line, fix="delete the tag")
        before = self.values
        self._count(1, line)
        if isinstance(event, yaml.CollectionStartEvent):
            self.opened.append((event.anchor, before))
            if len(self.opened) > MAX_DEPTH:
                message = f"nested too deeply: more than {MAX_DEPTH} levels"
                raise ConfigError(message, file=FILE, line=line, fix="write it flatter")
            return
        self._close(event.anchor, before)
        if bad := _FORBIDDEN.search(event.value):
            raise _forbidden(bad[0], line)

    def _close(self, anchor: str | None, before: int) -> None:
        if anchor is not None:
            self.sizes[anchor] = self.values - before

    def _count(self, more: int, line: int) -> None:
        self.values += more
        if self.values > MAX_VALUES:
            message = f"too many values: more than {MAX_VALUES:,}, aliases followed"
            raise ConfigError(message, file=FILE, line=line, fix="keep only its own keys in it")
