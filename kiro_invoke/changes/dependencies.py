"""What a service's dependency layer is made from: what its ecosystem knows, and what its configuration adds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kiro_invoke.changes.context import Rules
from kiro_invoke.changes.links import following
from kiro_invoke.changes.litter import build_output, litter
from kiro_invoke.changes.patterns import read_patterns
from kiro_invoke.changes.snapshot import Entry
from kiro_invoke.ecosystems.registry import ECOSYSTEMS, Inputs
from kiro_invoke.model.fingerprint import Fingerprint, Part, Tree
from kiro_invoke.model.service import PathRule, Service


class PathRules:
    """Rules of kiro.yaml over a service's paths."""

    def __init__(self, rules: Sequence[PathRule]) -> None:
        self._rules = rules
        self._matching = [Rules(read_patterns(each.pattern.encode())) for each in rules]

    def matching(self, path: str) -> PathRule | None:
        """The first rule that matches a path or a folder that it lies in."""
        found = zip(self._rules, self._matching, strict=True)
        return next((rule for rule, matcher in found if not matcher.lets_through(path)), None)


class ServiceInputs:
    """The inputs of one service, as an ecosystem's module offers them.

    Of an ecosystem that nobody knows, only what kiro.yaml lists is known; where it lists nothing, all is in doubt.
    """

    def __init__(self, service: Service) -> None:
        known = ECOSYSTEMS.get(service.ecosystem)
        self._known: Inputs | None = known.inputs if known else None
        self._rules = service.dependency_inputs
        self._declared = PathRules(self._rules)
        self._is_declared = bool(service.dependency_inputs)
        self._doubt = f"it is not known what {service.name} depends on: list dependency_inputs in kiro.yaml"

    def reads(self, path: str) -> bool:
        """Whether the dependency layer can depend on the content of a file at this path."""
        if self._known is None and not self._is_declared:
            return True
        return bool(self._known and self._known.reads(path)) or self.declared(path)

    def declared(self, path: str) -> bool:
        """Whether kiro.yaml makes a file an input."""
        return self._is_declared and self._declared.matching(path) is not None

    def unmatched(self, names: Collection[str]) -> list[PathRule]:
        """The declared inputs that no file is."""
        alone = [(rule, PathRules([rule])) for rule in self._rules]
        return [rule for rule, one in alone if all(one.matching(name) is None for name in names)]

    def fingerprint(self, tree: Tree) -> Fingerprint:
        """The ecosystem's own, with the declared files by their content."""
        if self._known is None and not self._is_declared:
            return Fingerprint(doubt=self._doubt)
        own = self._known.fingerprint(tree) if self._known else Fingerprint()
        if not self._is_declared:
            return own
        added = {
            Part(path, "dependency input"): _held(tree, path) for path in tree.names if self.declared(path)
        }
        return replace(own, parts={**own.parts, **added})


def _held(tree: Tree, path: str) -> str:
    held = tree.read(path)
    return "what it leads to is not known" if held is None else hashlib.sha256(held).hexdigest()


class Ignored:
    """Why no change of a path is a reason to build, in words; "" where one is.

    `before` and `after` are the service's files; `is_named` tells whether its Dockerfile takes a folder by its name.
    """

    def __init__(
        self,
        service: Service,
        before: Collection[str],
        after: Collection[str],
        is_named: Callable[[str], bool],
    ) -> None:
        self._rules = PathRules(service.ignore)
        self._before, self._after = before, after
        self._is_named = is_named

    def __call__(self, path: str) -> str:
        if why := litter(path):
            return f"{why}, no build depends on it (it is sent all the same: name it in .dockerignore)"
        folder = build_output(path, self._after if path in self._after else self._before)
        if folder and not self._is_named(folder):
            return f"{folder} is build output (it is sent all the same: name it in .dockerignore)"
        rule = self._rules.matching(path)
        return f"{rule.where} ignores `{rule.pattern}`" if rule else ""


def tree_of(folder: Path, entries: Mapping[str, Entry]) -> Tree:
    """A snapshot's files, read where they lie; links are followed within it."""

    def link(path: str) -> str | None:
        entry = entries.get(path)
        is_link = entry is not None and entry.kind == "l"
        return os.fsdecode(entry.value) if entry is not None and is_link else None

    def read(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except OSError:  # gone since it was looked at, or a folder by now
            return None

    return following(entries, link, read)
