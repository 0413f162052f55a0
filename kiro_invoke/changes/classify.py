"""Tell the changes of a service apart by what they mean for its build, not by their files' names. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.fingerprint import Difference, Fingerprint, Part, differences, explanations

#: Whatever tells two contents apart: a hash, or the kind, value and mode of a snapshot's entry.
What = object
#: Parts of a fingerprint that stand for more than the dependencies: everything compiled depends on them.
_BASE_PARTS = frozenset({"toolchain"})
#: How many differences are told of a file.
_TOLD = 3


def _nothing_is(_path: str) -> str:
    return ""


def _nothing(_path: str) -> bool:
    return False


@dataclass(frozen=True)
class Side:
    """A service at one time: what a build gets, by path in its folder, and what its dependency layer is made from.

    `base` is what whole stages are made from: the Dockerfile's, and build arguments. Its parts' files are
    places in the repository.
    """

    contents: Mapping[str, What]
    fingerprint: Fingerprint
    base: Mapping[Part, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """What classification has to know of a service.

    `folder` is its path in the repository ("" for the root itself). `reads` tells of a path in it whether the
    dependency layer can depend on that file's content; `ignored` why no change of it is a reason to build ("" where
    one is): what dependencies are made from counts all the same. `left_out` tells of a file that no build gets any more
    and that is still there, why ("left out by ..."; "" of others); `declared` whether kiro.yaml makes it an input.
    """

    service: str
    folder: str
    reads: Callable[[str], bool]
    ignored: Callable[[str], str] = _nothing_is
    left_out: Callable[[str], str] = _nothing_is
    declared: Callable[[str], bool] = _nothing

    def placed(self, path: str) -> str:
        """A path of the service, as the repository has it."""
        return f"{self.folder}/{path}" if self.folder else path


def classify(scope: Scope, before: Side, after: Side) -> tuple[Classification, ...]:
    """Every path whose content is not the same on both sides, in order of the paths.

    What the layers are made from may differ without any of them; then the part's own file is told.
    """
    changed = sorted(
        path
        for path in before.contents.keys() | after.contents.keys()
        if before.contents.get(path) != after.contents.get(path)
    )
    told = _Told(scope, before, after)
    rows = [Classification(scope.service, *told.of(path)) for path in changed]
    within = _kinds_within(rows)
    both = before.contents.keys() & after.contents.keys()
    rows = [
        row
        for path, row in zip(changed, rows, strict=True)
        # of a folder that came or went with what is in it, that is told
        if path in both or within.get(row.path, Kind.IGNORED - 1) < row.kind
    ]
    return (*rows, *told.beyond(changed, rows))


def _kinds_within(rows: Iterable[Classification]) -> dict[str, int]:
    """The strongest kind of what is told in each folder; a folder ends with `/`."""
    kinds: dict[str, int] = {}
    for row in rows:
        for at, letter in enumerate(row.path[:-1]):
            if letter == "/":
                folder = row.path[: at + 1]
                kinds[folder] = max(kinds.get(folder, row.kind), row.kind)
    return kinds


class _Told:
    """What is to be told of each path: its kind, its place in the repository, the cause."""

    def __init__(self, scope: Scope, before: Side, after: Side) -> None:
        self._scope, self._before, self._after = scope, before, after
        was, is_ = before.fingerprint, after.fingerprint
        self._doubt = is_.doubt or was.doubt
        # of a tree that cannot be read no part is known, and each would count as removed
        self._seen = {} if self._doubt else _by_file(differences(was.parts, is_.parts))
        self._unseen = {} if self._doubt else _by_file(explanations(was, is_))
        self._base = _by_file(differences(before.base, after.base))

    def of(self, path: str) -> tuple[Kind, str, str]:
        place = self._scope.placed(path)
        if place in self._base:
            return Kind.BASE, place, _sentence(self._base[place])
        if self._scope.declared(path):
            kind = max(Kind.DEPENDENCY, _kind(self._seen.get(path, ())))
            return kind, place, f"{path} {self._verb(path)}, an input of dependencies by kiro.yaml"
        if path in self._seen:
            return _kind(self._seen[path]), place, self._of_parts(path)
        if self._doubt and self._is_read(path):
            return Kind.DEPENDENCY, place, self._cannot_tell(path)
        if ignored := self._scope.ignored(path):
            return Kind.IGNORED, place, f"{path} {self._verb(path)}: {ignored}"
        if self._doubt and not self._is_on_both(path) and not path.endswith("/"):
            return Kind.DEPENDENCY, place, self._cannot_tell(path)
        if path in self._unseen:
            return Kind.SOURCE, place, f"{_sentence(self._unseen[path])}; the dependency layer cannot see it"
        return Kind.SOURCE, place, f"{path} {self._verb(path)}"

    def _of_parts(self, path: str) -> str:
        """What differs in a file, in words; of one that came or went with many parts, or is left out, just that."""
        some, is_gone = self._seen[path], path not in self._after.contents
        is_long = len(some) > _TOLD and not self._is_on_both(path)
        whole = is_long or (is_gone and self._scope.left_out(path))
        return f"{path} {self._verb(path)}" if whole else _sentence(some)

    def beyond(self, told: Collection[str], rows: Collection[Classification]) -> Iterator[Classification]:
        """Differences of what layers are made from that no changed path explains by itself. `rows` are of those."""
        name, placed = self._scope.service, self._scope.placed
        for file, some in sorted(self._seen.items()):
            if file not in told:
                yield Classification(name, _kind(some), placed(file), _sentence(some))
        places = frozenset(map(placed, told))
        for place, some in sorted(self._base.items()):
            if place not in places:
                yield Classification(name, Kind.BASE, place, _sentence(some))
        if self._is_in_doubt(told) and all(row.kind < Kind.DEPENDENCY for row in rows):
            place = placed(self._doubt.partition(":")[0])
            yield Classification(name, Kind.DEPENDENCY, place, f"what changed cannot be told: {self._doubt}")

    def _is_in_doubt(self, told: Collection[str]) -> bool:
        """Whether something that counts may have changed though no such path did: it may be what a link leads to."""
        was, is_ = self._before.fingerprint.doubt, self._after.fingerprint.doubt
        contents = self._after.contents
        linked = (path for path, what in contents.items() if isinstance(what, tuple) and what[:1] == ("l",))
        return was != is_ or bool(self._doubt and told and any(map(self._scope.reads, linked)))

    def _cannot_tell(self, path: str) -> str:
        """The reading of before is kept, so that the next save is compared with that."""
        kept = "; the last good reading is kept" if not self._before.fingerprint.doubt else ""
        return f"{path} {self._verb(path)}; what it means cannot be told: {self._doubt}{kept}"

    def _is_read(self, path: str) -> bool:
        return self._scope.reads(path) or self._doubt.startswith(f"{path}:")

    def _is_on_both(self, path: str) -> bool:
        """What comes or goes can reach the dependency layer by its name."""
        return path in self._before.contents and path in self._after.contents

    def _verb(self, path: str) -> str:
        if path not in self._before.contents:
            return "added"
        if path in self._after.contents:
            return "changed"
        why = self._scope.left_out(path)
        return f"is now {why}" if why else "removed"


def _by_file(found: Iterable[Difference]) -> dict[str, list[Difference]]:
    by_file: defaultdict[str, list[Difference]] = defaultdict(list)
    for one in found:
        by_file[one.part.file].append(one)
    return dict(by_file)


def _kind(found: Iterable[Difference]) -> Kind:
    return Kind.BASE if any(one.part.what in _BASE_PARTS for one in found) else Kind.DEPENDENCY


def _sentence(found: Collection[Difference]) -> str:
    """The first differences, in words, and how many more there are."""
    first = [str(one) for one in found][:_TOLD]
    more = len(found) - len(first)
    return "; ".join(first) + (f"; and {more} more" if more else "")
