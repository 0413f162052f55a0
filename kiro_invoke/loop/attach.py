"""Find out about a service's container: what it holds, and whether and how it can be updated live."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.builds.bake import LABEL_REVISION
from kiro_invoke.builds.built import read_built, read_note
from kiro_invoke.builds.noting import side_of
from kiro_invoke.changes.classify import Side
from kiro_invoke.ecosystems.registry import ECOSYSTEMS
from kiro_invoke.engine.containers import ContainerFacts, Containers
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.ledger import Held, sharing
from kiro_invoke.loop.live import Attached
from kiro_invoke.loop.session import NoSession, open_session
from kiro_invoke.loop.syncing import Places, listed
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.live import LABEL, SUPERVISOR, Live

#: If so much of its sources is not in a container, it was not made to be built in.
_LACKING = 0.5


@dataclass(frozen=True)
class _Built:
    """What an image was built from, and the hash of its sources."""

    side: Side
    revision: str


@dataclass
class Attaching:
    """How containers are attached to: those of one Compose project."""

    containers: Containers
    project: str
    grace: float
    ca_bundle: bytes = b""
    #: the id of the image of that name, "" if there is none
    image_of: Callable[[str], str] = lambda _tag: ""
    #: whether live updates are wanted
    live: bool = True

    def look(self) -> dict[str, list[ContainerFacts]]:
        """The project's containers by service, those that run first."""
        found: dict[str, list[ContainerFacts]] = {}
        for one in sorted(self.containers.of_project(self.project), key=lambda facts: not facts.running):
            if one.labels.get("com.docker.compose.oneoff", "").lower() != "true":
                found.setdefault(one.service, []).append(one)
        return found

    def attach(self, lane: Lane, found: Sequence[ContainerFacts]) -> None:
        """Learn all of it anew, for the container that a service has now. SessionLost if it ends meanwhile."""
        self.detach(lane)
        lane.is_confirmed = lane.was_restarted = False
        lane.awaited = None
        lane.facts = found[0] if found else None
        built = self._built(lane)
        lane.image_side = built.side if built else None
        if lane.facts is None:
            return
        lane.held = lane.ledger.recall(lane.facts.id, lane.facts.image, lane.sight.side.contents)
        is_new = lane.held is None
        if is_new:
            lane.held = self._adopted(lane, lane.facts, built)
        if not lane.facts.running:
            return
        lane.is_stopped = False
        lane.unfit = self._unfit(lane.facts)
        if len([one for one in found if one.running]) > 1:
            lane.unreachable = "it runs in several containers"
            return
        lane.attached, lane.unreachable = self._attached(lane, lane.facts)
        if lane.attached is not None and lane.held is not None:
            self._verify(lane, lane.attached, lane.held, is_new=is_new)

    def note_image(self, lane: Lane) -> None:
        """Its image was built: learn what it was built from."""
        built = self._built(lane)
        lane.image_side = built.side if built else None

    def detach(self, lane: Lane) -> None:
        if lane.attached is not None:
            lane.attached.session.close()
        lane.attached, lane.held, lane.unreachable = None, None, ""
        lane.hidden, lane.unfit = frozenset(), ""

    def take_over(self, lane: Lane) -> None:
        """Its image was built anew and came out as it was: its container stays, and stands for the new sources."""
        held, side = lane.held, lane.image_side
        if lane.facts is None or held is None or side is None or held.doubt:
            return
        is_of_the_image = lane.facts.image == self.image_of(lane.sight.recipe.tag)
        if is_of_the_image and held.side.contents == side.contents:
            lane.held = lane.ledger.settle(held, side, ())

    def _unfit(self, facts: ContainerFacts) -> str:
        """What its container lacks that its image asks for in live containers."""
        wanted = demanded(facts.labels) if self.live else {}
        lacking = [f"{name}={value}" for name, value in wanted.items() if f"{name}={value}" not in facts.env]
        return f"its container was started without {lacking[0]}" if lacking else ""

    def _built(self, lane: Lane) -> _Built | None:
        """What is noted of its image."""
        shelf = lane.sight.shelf
        built = read_built(shelf, read_note(shelf))
        if built is None:
            return None
        return _Built(sharing(side_of(built), lane.sight.side.contents), built.note.revision)

    def _adopted(self, lane: Lane, facts: ContainerFacts, built: _Built | None) -> Held | None:
        """A container of which nothing was noted holds what its image was built from; None if that is unknown."""
        # of two Dockerfiles that are left out of the context, the sources' revision is the same
        is_noted = facts.image == self.image_of(lane.sight.recipe.tag)
        if built is None or not is_noted or facts.labels.get(LABEL_REVISION) != built.revision:
            return None
        return lane.ledger.adopt(facts.id, facts.image, built.side, built.revision, lane.sight.shelf)

    def _attached(self, lane: Lane, facts: ContainerFacts) -> tuple[Attached | None, str]:
        service = lane.sight.recipe.service
        known = ECOSYSTEMS.get(service.ecosystem)
        live = service.live.over(known.live if known else Live(), facts.labels)
        try:
            session, place = open_session(self.containers, facts, self.grace)
        except NoSession as error:
            return None, f"no session in its container: {error}"
        if live.restart == SUPERVISOR and not place.is_supervised:
            session.close()
            return (
                None,
                "its first process is no kiro-supervise (live: restart: in kiro.yaml says how else it is restarted)",
            )
        return Attached(self.containers, facts, live, session, place, self.grace, self.ca_bundle), ""

    def _verify(self, lane: Lane, attached: Attached, held: Held, *, is_new: bool) -> None:
        """Ask the container what its files are: somebody else may have written there, or the image lacks them.

        What is not where a new container should have it, was not put there by its image, or something hides it.
        """
        facts = attached.facts
        places = Places(attached.live.sync, facts.folder, facts.binds)
        contents = {path: what for path, what in held.side.contents.items() if not lane.sight.ignores(path)}
        wanted = dict(_files(contents, places))
        if not wanted:
            return
        answer = attached.session.ask("hash", listed(wanted))
        hashes = _hashes(answer.output)
        if not hashes and "not found" in answer.last_line:  # no sha256sum: it has to be believed
            return
        differing = [path for place, (path, value) in wanted.items() if hashes.get(place) != value]
        lacking = [path for place, (path, _) in wanted.items() if place not in hashes]
        if len(lacking) > _LACKING * len(wanted):
            self.detach(lane)
            lane.held = held
            lane.unreachable = f"its image does not hold its sources ({lacking[0]} and others)"
            return
        lane.hidden = frozenset(lacking) if is_new else frozenset()
        if doubted := [path for path in differing if path not in lane.hidden]:
            lane.held = lane.ledger.doubt(held, doubted)


def demanded(labels: Mapping[str, str]) -> dict[str, str]:
    """The variables that an image asks for in live containers; ConfigError if that cannot be read."""
    text = labels.get(f"{LABEL}env", "")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(
            f"the image's label {LABEL}env cannot be read: {error}", fix="write NAME=VALUE, quoted"
        ) from None
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}


def _files(contents: Mapping[str, object], places: Places) -> Iterator[tuple[str, tuple[str, object]]]:
    """Place -> path and hash of each file that a rule covers and this machine does not mount there."""
    for path, what in contents.items():
        if isinstance(what, tuple) and what[0] != "l":
            place = places.of(path)
            if place is not None and not places.is_mounted(place):
                yield place, (path, what[1])


def _hashes(output: bytes) -> dict[str, bytes]:
    """What sha256sum printed: place -> hash. Names that it escapes are left out, and count as not known."""
    found: dict[str, bytes] = {}
    for line in output.splitlines():
        value, _, name = line.partition(b"  ")
        if len(value) == 64:
            found[name.decode(errors="surrogateescape")] = value
    return found
