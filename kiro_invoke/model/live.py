"""How a running container is brought up to date without a new image, and how patiently changes are watched for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: What `restart` may say besides a command.
SUPERVISOR, CONTAINER, NONE = "supervisor", "container", "none"
#: A Dockerfile may say itself what fits its image: `LABEL dev.kiro.live.restart="..."`, and so on.
LABEL = "dev.kiro.live."
_LABELLED = ("run", "install", "restart", "before_restart")


@dataclass(frozen=True)
class SyncRule:
    """A folder of a service's context ("": all of it), and where its files lie in the container.

    `place` is an absolute path, or "" for the image's working folder.
    """

    folder: str = ""
    place: str = ""


@dataclass(frozen=True)
class Live:
    """What a live update of a service does in its container. Commands are for `sh -c`; "" does nothing.

    `install` comes first where dependencies changed. `run` builds. `restart` is SUPERVISOR, CONTAINER, NONE or a
    command; `before_restart` runs before it, `test` when the service serves again. `plain` are endings of files of
    which the build tool itself sees by their time that they were written; all else may need more.
    """

    sync: tuple[SyncRule, ...] = (SyncRule(),)
    install: str = ""
    run: str = ""
    before_restart: str = ""
    restart: str = SUPERVISOR
    test: str = ""
    plain: tuple[str, ...] = ()

    def labelled(self, labels: Mapping[str, str]) -> Live:
        """The same as an image's labels say."""
        found = {key: labels[LABEL + key] for key in _LABELLED if LABEL + key in labels}
        return replace(self, **found)  # type: ignore[arg-type]

    def given(self, values: Mapping[str, str], sync: tuple[SyncRule, ...] | None) -> Live:
        """The same with what kiro.yaml says."""
        chosen = replace(self, **values)  # type: ignore[arg-type]
        return chosen if sync is None else replace(chosen, sync=sync)


#: A live update of what nobody said anything about: files are synced, the program is restarted.
NOTHING_SAID = Live()


@dataclass(frozen=True)
class GivenLive:
    """What kiro.yaml says of a service's live updates; the rest is the image's, and its ecosystem's, to say."""

    values: tuple[tuple[str, str], ...] = ()
    sync: tuple[SyncRule, ...] | None = None

    def over(self, default: Live, labels: Mapping[str, str]) -> Live:
        """All of it: kiro.yaml over the image's labels over the ecosystem's default."""
        return default.labelled(labels).given(dict(self.values), self.sync)


@dataclass(frozen=True)
class Watching:
    """Seconds: until files count as at rest, the longest that is waited for it, and between looks where no events come
    (None: as it seems right); what a program may take to end.
    """

    quiet: float = 0.05
    cap: float = 0.5
    poll: float | None = None
    stop: float = 0.5


#: As patiently as it is by default, and nothing said of live updates.
PATIENT, AS_IT_IS = Watching(), GivenLive()
