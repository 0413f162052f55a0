"""Settings in YAML, as plain values. No tag is obeyed; an alias, which may stand for gigabytes, is a doubt."""

from __future__ import annotations

from typing import Any

import yaml

from kiro_invoke.ecosystems.node_parts import (
    FORMATTING,
    Doubt,
    Project,
    check_conflicts,
    hashed,
    quoted,
)

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"


def yaml_settings(project: Project, file: str) -> dict[str, Any]:
    """The settings that a file holds; none if it is empty or not there. What is not a text keeps its tag."""
    text = project.text(file)
    if text is None:
        return {}
    check_conflicts(file, text)
    try:
        value = _plain(file, _composed(file, text), set())
    except RecursionError:
        raise Doubt(file, "nested too deeply") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise Doubt(file, "not a mapping", 1)
    project.tells(file, FORMATTING, hashed(text))
    return value


def _composed(file: str, text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise Doubt(file, f"no YAML: {error.problem or error.context}", line) from None
    except yaml.YAMLError:
        raise Doubt(file, "no YAML: a character that it may not hold") from None
    return node


def _plain(file: str, node: yaml.Node | None, known: set[int]) -> object:
    """A node's value; `known`: the nodes that were met, of which an alias is one."""
    if node is None:
        return None
    if id(node) in known:
        raise Doubt(file, "an anchor that an alias repeats", node.start_mark.line + 1)
    known.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(file, each, known) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or id(key) in known:
                raise Doubt(file, "a key that is no text", key.start_mark.line + 1)
            if key.value in found:
                raise Doubt(file, f"the key {quoted(key.value)} is there twice", key.start_mark.line + 1)
            found[key.value] = _plain(file, value, known)
        return found
    if node.tag == _TEXT:
        return node.value
    return None if node.tag == _NULL else {node.tag: node.value}
