"""What of this machine and its engine makes builds slow. Pure: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.doctor.finding import Finding, note, ok, problem, skipped
from kiro_invoke.engine.protocol import EngineFacts, EngineInfo

ENGINE, BUILDX, COMPOSE, BUILDER, STORAGE, ENVIRONMENT = (
    "engine",
    "buildx",
    "compose",
    "builder",
    "storage",
    "environment",
)
DISK, CLOCK, INOTIFY, EVENTS, CERTIFICATES, PROXY, STANDINS = (
    "disk",
    "clock",
    "inotify",
    "file-events",
    "certificates",
    "proxy",
    "stand-ins",
)
#: Below this, builds of a compiled service soon fail for want of room.
LEAST_FREE = 3_000_000_000
#: By how many seconds an engine's clock may differ: more can make files newer than what was built from them.
MOST_SKEW = 2.0
#: The buildx whose builds can check a Dockerfile without building it (`--check`).
_CHECKS = (0, 15)
_DRIVER = re.compile(r"^Driver:\s+(\S+)", re.MULTILINE)
_NAME = re.compile(r"^Name:\s+(\S+)", re.MULTILINE)
_SLOW_STORAGE = {
    "vfs": "it copies every layer whole",
    "devicemapper": "it is slow, and no longer supported",
    "fuse-overlayfs": "each access to a file goes through a process of its own",
    "aufs": "it is no longer supported",
}
_OFF = frozenset({"0", "false", "f"})
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64/v8": "arm64"}


@dataclass(frozen=True)
class Inotify:
    """How many folders one user may watch here, and through how many watchers; None: the system does not tell."""

    watches: int | None
    instances: int | None


@dataclass(frozen=True)
class Events:
    """What came of a file that was written to be told of it: `seconds` (None: nothing came), or the `trouble`."""

    seconds: float | None = None
    trouble: str = ""
    fix: str = ""
    #: kiro.yaml says that nobody waits for events
    polling: bool = False


def check_engine(facts: EngineFacts, compose: str) -> Iterator[Finding]:
    """The versions: an engine or buildx that is too old is refused when it is first spoken to."""
    whose = ", set up by kiro" if facts.ours else ""
    yield ok(ENGINE, f"Docker Engine {facts.version} answers at {facts.address}{whose}")
    yield ok(BUILDX, f"BuildKit in use, through buildx {facts.buildx}")
    if compose:
        yield ok(COMPOSE, f"Compose {compose}")
    else:
        yield note(
            COMPOSE,
            "there is no Compose plugin: `up` and `watch` need it",
            "install docker-compose 2.24 or newer",
        )


def check_environment(environ: Mapping[str, str], architecture: str) -> Iterator[Finding]:
    """Variables that make the Docker CLI build another way."""
    found = [
        *_switched_off(environ),
        *_named_elsewhere(environ, architecture),
    ]
    yield from found or [ok(ENVIRONMENT, "no variable changes how Docker builds")]


def _switched_off(environ: Mapping[str, str]) -> Iterator[Finding]:
    if environ.get("DOCKER_BUILDKIT", "").lower() in _OFF and environ.get("DOCKER_BUILDKIT"):
        yield problem(
            ENVIRONMENT,
            f"DOCKER_BUILDKIT={environ['DOCKER_BUILDKIT']}: `docker build` uses the old builder, without cache mounts"
            " and one step at a time",
            "`unset DOCKER_BUILDKIT`, and take it out of your shell's profile or CI",
        )
    if environ.get("COMPOSE_DOCKER_CLI_BUILD", "").lower() in _OFF and environ.get(
        "COMPOSE_DOCKER_CLI_BUILD"
    ):
        yield problem(
            ENVIRONMENT,
            f"COMPOSE_DOCKER_CLI_BUILD={environ['COMPOSE_DOCKER_CLI_BUILD']}: older versions of Compose build without"
            " BuildKit for it",
            "`unset COMPOSE_DOCKER_CLI_BUILD`",
        )


def _named_elsewhere(environ: Mapping[str, str], architecture: str) -> Iterator[Finding]:
    if frontend := environ.get("BUILDKIT_SYNTAX"):
        yield problem(
            ENVIRONMENT,
            f"BUILDKIT_SYNTAX={frontend}: each build asks a registry for that frontend",
            "`unset BUILDKIT_SYNTAX`",
        )
    if builder := environ.get("BUILDX_BUILDER"):
        yield note(
            ENVIRONMENT,
            f"BUILDX_BUILDER={builder}: builds use that builder, whatever `docker buildx use` says",
        )
    platform = environ.get("DOCKER_DEFAULT_PLATFORM", "")
    wanted = platform.partition("/")[2]
    have = _MACHINES.get(architecture, architecture)
    if wanted and have and _MACHINES.get(wanted, wanted.partition("/")[0]) != have:
        yield problem(
            ENVIRONMENT,
            f"DOCKER_DEFAULT_PLATFORM={platform}: this engine is {have}, so every step is emulated",
            "`unset DOCKER_DEFAULT_PLATFORM`, or name the platform only where you release",
        )


def driver(told: str) -> str:
    """The driver of the builder in use, as `docker buildx inspect` tells it; "" where it does not."""
    match = _DRIVER.search(told)
    return match[1] if match else ""


def check_builder(told: str) -> Iterator[Finding]:
    """The builder in use: one outside of the engine has to hand each image over to it."""
    kind, name = driver(told), match[1] if (match := _NAME.search(told)) else ""
    if not kind:
        yield skipped(BUILDER, "buildx does not tell which builder is in use")
    elif kind == "docker":
        yield ok(
            BUILDER,
            "builds run within the engine: an image is there as soon as it is built, nothing is exported",
        )
    else:
        yield problem(
            BUILDER,
            f"builder {name} ({kind}) is not the engine: after each build the whole image is packed, sent and"
            " unpacked, however little of it changed",
            "`docker buildx use default` for development; keep the other one for CI and other platforms",
        )


def check_storage(info: EngineInfo) -> Iterator[Finding]:
    if why := _SLOW_STORAGE.get(info.storage):
        yield problem(
            STORAGE,
            f"the engine's storage driver is {info.storage}: {why}",
            "use overlay2: remove `storage-driver` from the engine's configuration, on a disk with ext4 or xfs",
        )
    elif info.storage:
        yield ok(STORAGE, f"storage driver {info.storage}")
    else:
        yield skipped(STORAGE, "the engine does not tell its storage driver")


def check_disk(root: str, free: int | None) -> Iterator[Finding]:
    """Room on the disk with the engine's data; None where that is not on this machine."""
    if free is None:
        yield skipped(DISK, "the engine's disk is not this machine's")
    elif free < LEAST_FREE:
        yield problem(
            DISK,
            f"{free / 1e9:.1f} GB are free where the engine keeps its data ({root}): builds will fail for want of room",
            "`kiro clean-cache` removes what builds of this project left and need no more; `docker system df` tells"
            " what else there is",
        )
    else:
        yield ok(DISK, f"{free / 1e9:.0f} GB free where the engine keeps its data")


def check_clock(info: EngineInfo) -> Iterator[Finding]:
    """How far the engine's clock is from ours."""
    if not info.clock:
        yield skipped(CLOCK, "the engine does not tell its time")
        return
    skew = info.clock - min(max(info.clock, info.asked), info.answered)
    if abs(skew) > MOST_SKEW:
        yield problem(
            CLOCK,
            f"the engine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's: what"
            " goes by times builds too much, or too little",
            "set both by NTP; after a laptop slept, restart the virtual machine that the engine runs in",
        )
    else:
        yield ok(CLOCK, "the engine's clock agrees with this machine's")


def check_inotify(limits: Inotify, folders: int, *, polling: bool) -> Iterator[Finding]:
    """The system's limits against the folders that `watch` watches."""
    if polling:
        yield ok(INOTIFY, "not needed: kiro.yaml has `watch: {poll: true}`")
    elif limits.watches is None:
        yield skipped(INOTIFY, "this system does not tell how many folders may be watched")
    elif folders >= limits.watches:
        yield problem(
            INOTIFY,
            f"{folders:,} folders are to be watched, and fs.inotify.max_user_watches allows {limits.watches:,}",
            "`sudo sysctl fs.inotify.max_user_watches=524288`, and name in .dockerignore what no build needs",
        )
    elif folders * 2 > limits.watches:
        yield note(
            INOTIFY,
            f"{folders:,} folders are to be watched, of {limits.watches:,} that all your programs share",
            "`sudo sysctl fs.inotify.max_user_watches=524288`",
        )
    elif limits.instances is not None and limits.instances < _FEW_INSTANCES:
        yield problem(
            INOTIFY,
            f"fs.inotify.max_user_instances allows {limits.instances} watchers, which editors alone use up",
            "`sudo sysctl fs.inotify.max_user_instances=512`",
        )
    else:
        yield ok(INOTIFY, f"{folders:,} folders to watch, {limits.watches:,} allowed")


_FEW_INSTANCES = 16


def check_events(events: Events) -> Iterator[Finding]:
    """Whether the system tells of a file that is written."""
    if events.polling:
        yield ok(EVENTS, "not needed: kiro.yaml has `watch: {poll: true}`")
    elif events.trouble:
        yield problem(EVENTS, events.trouble, events.fix)
    elif events.seconds is None:
        yield problem(
            EVENTS,
            "a file was written, and the system told of nothing: this folder is probably mounted from elsewhere",
            "set `watch: {poll: true}` in kiro.yaml, or keep the repository on a disk of this machine",
        )
    else:
        yield ok(
            EVENTS, f"the system told of a written file within {max(1, round(events.seconds * 1000))} ms"
        )


def check_certificates(bundle: str, secret: Collection[str], given: Collection[str]) -> Iterator[Finding]:
    """A CA bundle of this network's own. `secret`: Dockerfiles that take it as a secret, `given`: all that download."""
    without = sorted({*given} - {*secret})
    if not bundle:
        yield ok(CERTIFICATES, "no certificates of this network's own")
    elif without:
        yield note(
            CERTIFICATES,
            f"{bundle} holds certificates that base images lack, and {', '.join(without)}"
            f" {'does' if len(without) == 1 else 'do'} not take them in: downloads may fail after long waits",
            "mount the secret `ca_bundle` where it downloads (docs/support.md); stand-ins hold them already",
        )
    else:
        yield note(
            CERTIFICATES,
            f"{bundle} holds certificates of this network's own; builds get it as secret ca_bundle",
        )


def check_proxy(
    environ: Mapping[str, str], passed: Collection[str], engine: Mapping[str, str]
) -> Iterator[Finding]:
    """A proxy that this machine uses. `passed`: the variables that builds are given, by configuration."""
    names = [name for name in ("HTTPS_PROXY", "HTTP_PROXY") if environ.get(name) or environ.get(name.lower())]
    missing = [name for name in names if name not in {one.upper() for one in passed}]
    if not names:
        yield ok(PROXY, "no proxy")
    if missing:
        yield note(
            PROXY,
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} set here, but builds are not given"
            f" {'it' if len(missing) == 1 else 'them'}: downloads in RUN steps go past the proxy",
            "name it under `proxies` in ~/.docker/config.json, or under build_args: in kiro.yaml",
        )
    if names and not engine:
        yield note(
            PROXY,
            "a proxy is set here, but the engine uses none: it pulls images past it",
            "name it under `proxies` in the engine's /etc/docker/daemon.json",
        )
    if names and not missing and engine:
        yield ok(PROXY, "the proxy is passed to builds, and the engine uses it")


def check_standins(held: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Stand-ins in use: official names, and what is really there for them."""
    if not held:
        yield ok(STANDINS, "no stand-ins in use")
        return
    each = ", ".join(f"{ref} (really {holds})" if holds else ref for ref, holds in held)
    yield note(
        STANDINS,
        f"stand-ins in use, made from the distribution's packages: {each}; do not push what stands on them",
        "`kiro warm-cache --pull` replaces them when a registry answers",
    )
