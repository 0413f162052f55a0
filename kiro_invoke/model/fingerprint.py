"""What a dependency layer is made from, part by part, so that a change of it can be told in words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Part(NamedTuple):
    """What an install or a cook can depend on: the file that says it, and what it is ("dependency `semver`")."""

    file: str
    what: str


class Difference(NamedTuple):
    """A part that two fingerprints do not have in common. None: not there."""

    part: Part
    before: str | None
    after: str | None

    def __str__(self) -> str:
        verb = "added" if self.before is None else "removed" if self.after is None else "changed"
        return f"{self.part.file}: {self.part.what} {verb}"


@dataclass(frozen=True)
class Fingerprint:
    """A dependency layer's inputs. Two trees with equal `parts` have equal layers, others have not.

    `parts` are values in a canonical form; `unseen` are those that manifests say as well and no install can see: they
    only explain. `doubt` tells what could not be read ("package.json:3: ..."): then nothing can be said of the layer,
    and the slower path is the right one.
    """

    parts: Mapping[Part, str] = field(default_factory=dict)
    unseen: Mapping[Part, str] = field(default_factory=dict)
    doubt: str = ""

    @property
    def hashed(self) -> Fingerprint:
        """The same with hashes for values: manifests may say what nobody else should read."""
        return Fingerprint(_hashed(self.parts), _hashed(self.unseen), self.doubt)


def _hashed(parts: Mapping[Part, str]) -> dict[Part, str]:
    return {_without_login(part): _hash(value) for part, value in parts.items()}


def _without_login(part: Part) -> Part:
    """The part without a name and password in an address; those of two stay apart."""
    what = _LOGIN.sub("://***", part.what)
    return part if what == part.what else Part(part.file, f"{what} ({_hash(part.what)[:8]})")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


#: What stands before the path of an address that is more than a host's name.
_LOGIN = re.compile(r"://[^/`\s]*[:@][^/`\s]*")


@dataclass(frozen=True)
class Tree:
    """A service's files. `names` are the paths of all files and links, relative to its folder, with `/`.

    `read` gives a file's bytes by such a path; None if it is no readable file.
    """

    names: Collection[str]
    read: Callable[[str], bytes | None]


#: Parts that hold a text's form: they explain a change only where nothing else of the file has changed.
_FORMS = frozenset({"comments or formatting", "formatting"})


def explanations(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    """What no install can see and is not the same: why manifests differ where dependency layers do not."""
    found = list(differences(before.unseen, after.unseen))
    files = {each.part.file for each in found if each.part.what not in _FORMS}
    return (each for each in found if each.part.what not in _FORMS or each.part.file not in files)


def differences(before: Mapping[Part, str], after: Mapping[Part, str]) -> Iterator[Difference]:
    """All parts that are not the same, in order of file and name."""
    for part in sorted(before.keys() | after.keys()):
        if before.get(part) != after.get(part):
            yield Difference(part, before.get(part), after.get(part))
