"""Tell from what a failed step printed that a cache mount is damaged. Pure.

Only what no mistake in a project's own files leads to counts, and it counts where a tool prints it: at the beginning of
its line, or in the same report. A full disk damages nothing: another mount would be as full.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Of the evidence, so much is shown.
_SHOWN = 160
#: How many lines around the one that tells of an error may tell which file it is about.
_NEAR = 6


class Damage(StrEnum):
    """What is in a damaged mount."""

    TARGET = "target"
    REGISTRY = "registry"
    PACKAGES = "packages"
    MODULES = "modules"
    UNKNOWN = "files"

    @property
    def is_download(self) -> bool:
        """Whether what was downloaded for all images of a service is damaged, not what one compiled."""
        return self in {Damage.REGISTRY, Damage.PACKAGES}


@dataclass(frozen=True)
class Corruption:
    """What is damaged, and the line that says so. `read_only`: it cannot be written, whatever it holds."""

    damage: Damage
    evidence: str
    read_only: bool = False


def diagnose(lines: Sequence[str], mounts: Iterable[str] = ()) -> Corruption | None:
    """What is damaged, by what a step printed; None where it failed for another reason.

    `mounts` are the folders of the step's cache mounts: there and in folders of the known kinds, nothing may be
    read-only.
    """
    lines = [_COLOUR.sub("", line) for line in lines]
    if any(_NO_ROOM.search(line) for line in lines):
        return None
    return next(_read_only(lines, tuple(mounts)), None) or next(_signatures(lines), None)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NO_ROOM = re.compile(
    r"No space left on device|\(os error (?:28|122|12)\)|\bENOSPC\b|\bEDQUOT\b|[Dd]isk quota exceeded"
)

#: A line that says it alone.
_ALONE = (
    # rustc reads what another rustc wrote. A version's mismatch is another error (E0514).
    (Damage.TARGET, r"error\[E0786\]: found invalid metadata files for crate "),
    (Damage.TARGET, r"(?:error|thread '.*' panicked).*invalid enum variant tag while decoding"),
    # linkers read its libraries
    (Damage.TARGET, r"(?:\s+= note: )?\s*collect2: fatal error: ld terminated with signal (?:7|11) "),
    (
        Damage.TARGET,
        r"(?:\s+= note: )?\s*(?:mold|ld|rust-lld|ld\.lld|/\S*/ld|collect2)[\w. -]*: (?:error: |fatal: )?\S*"
        r"\.(?:rlib|rmeta|rcgu\.o|o)\b\S*: (?:invalid |unknown file type|not an archive|file format not recognized"
        r"|malformed archive|file too short|truncated|corrupt|error adding symbols: (?:file|malformed))",
    ),
    (Damage.TARGET, r"error: (?:/\S+\.so: |couldn't load .*)?.*\.so: (?:file too short|invalid ELF header)"),
    # cargo runs what it compiled
    (Damage.TARGET, r"\s+(?:process didn't exit successfully: )?.*/build-script-\S+` \(signal: 7, SIGBUS"),
    # of what build scripts left, nothing else removes or rewrites a file
    (
        Damage.TARGET,
        r"error: (?:couldn't read )?`\S*/target/\S*/build/\S+-[0-9a-f]{16}/out/\S+`(?:: No such| wasn't)",
    ),
    (Damage.TARGET, r"kiro-fresh: .*\(os error (?:5|17|20|21|117)\)$"),
    (Damage.PACKAGES, r"npm (?:ERR!|error) code EINTEGRITY"),
    (
        Damage.PACKAGES,
        r"npm (?:ERR!|error) code (?:TAR_BAD_ARCHIVE|TAR_ENTRY_ERROR|Z_DATA_ERROR|Z_BUF_ERROR)",
    ),
    (Damage.PACKAGES, r"npm (?:ERR!|error) zlib: "),
    (
        Damage.PACKAGES,
        r"npm (?:ERR!|error) (?:enoent )?(?:Invalid response body.*: )?E(?:NOENT|NOTDIR|ISDIR|IO|UCLEAN)\b.*/_cacache/",
    ),
    (
        Damage.PACKAGES,
        r"\s*(?:\[?ERR_PNPM_)(?:TARBALL_INTEGRITY|TARBALL_EXTRACT|BAD_TARBALL_SIZE|UNEXPECTED_EOF)",
    ),
    (
        Damage.PACKAGES,
        r"\s*(?:ERR_PNPM_)?(?:ENOENT|ENOTDIR|EISDIR)\b.*/(?:\.pnpm-store|pnpm/store|store/v\d+)/",
    ),
    (Damage.PACKAGES, r"error .*[Ee]xtracting tar content of .* failed, the file appears to be corrupt"),
    (
        Damage.PACKAGES,
        r"error (?:Incorrect integrity when fetching from the cache|.*Integrity check failed) for ",
    ),
    (
        Damage.PACKAGES,
        r"dpkg-deb: error: .*/var/cache/apt/archives/\S+ (?:is not a Debian format archive|.*corrupt)",
    ),
    (
        Damage.PACKAGES,
        r"E: Problem with MergeList /var/lib/apt/lists/|E: The package cache file is corrupted",
    ),
    (Damage.PACKAGES, r"E: List directory /var/lib/apt/lists/\S* is missing.*Not a directory\)"),
    # of what was installed, nothing is edited
    (Damage.MODULES, r"SyntaxError: Error parsing \S*/node_modules/\S+/package\.json: "),
    (Damage.MODULES, r"\[UNLOADABLE_DEPENDENCY\] Could not load \S*node_modules/"),
    (Damage.PACKAGES, r"\S* ?YN0018: .*The remote archive doesn't match the expected checksum"),
    (
        Damage.PACKAGES,
        r"\S* ?YN\d{4}: .*(?:Invalid zip|Not a zip archive|Unexpected end of (?:file|archive))",
    ),
)

#: A report of cargo's: what it began with, and one of the causes that follow.
_CARGO = re.compile(r"error: (?:failed to |unable to )|\s*Caused by:|\s+unable to get packages from source")
_UNPACKING = re.compile(
    r"\s+failed to (?:unpack|open) |error: failed to (?:unpack|download) |\s+failed to read "
)
_TORN = re.compile(
    r"\s+(?:unexpected end of file|failed to fill whole buffer|invalid gzip header|corrupt (?:deflate|gzip) stream"
    r"|invalid tar archive|numeric field was not a number"
    r"|archive header checksum mismatch|stream did not contain valid UTF-8)"
)
_REGISTRY_FILE = re.compile(
    r"(?:error: |\s+)(?:failed to (?:read|open|parse|create directory|load)|unable to (?:read|create)|path at)"
    r"\b.*/registry/(?:src|cache|index)/"
)
_CHECKSUM = re.compile(r"(?:error: |\s+)failed to verify the checksum of `")
_SOURCE_CUT = re.compile(
    r"error(?:\[E\d+\])?: (?:this file contains an unclosed delimiter|unknown start of token: \\u\{0\}"
    r"|couldn't read `?\S*/registry/src/)"
)
_SCRIPT_CUT = re.compile(r"SyntaxError: Unexpected end of (?:JSON )?input$")
_IN_MODULE = re.compile(r"/\S*/node_modules/\S+:\d+$")
_BUNDLED_CUT = re.compile(r"\[PARSE_ERROR\] .*but found `EOF`|\S \[ERROR\] Unexpected end of file$")
_OF_MODULE = re.compile(r"\W*\bnode_modules/\S+:\d+:\d+\b")
_IN_REGISTRY = re.compile(r"\s*--> \S*/registry/src/")
_PREPARING = re.compile(r"\s+failed to (?:create directory|open|read|write|remove file) `?\S*/target/")
_WRONG_SHAPE = re.compile(r"\s+(?:File exists|Not a directory|Is a directory|Input/output error) \(os error")

_ALONE_COMPILED = tuple((damage, re.compile(pattern)) for damage, pattern in _ALONE)


def _signatures(lines: Sequence[str]) -> Iterator[Corruption]:
    for at, line in enumerate(lines):
        near = lines[max(0, at - _NEAR) : at]
        after = lines[at + 1 : at + 1 + _NEAR]
        for damage, pattern in _ALONE_COMPILED:
            if pattern.match(line):
                yield _found(damage, _telling(line, after))
        if _TORN.match(line) and any(map(_UNPACKING.match, near)) and any(map(_CARGO.match, near)):
            yield _found(Damage.REGISTRY, f"{line.strip()}: {_last(near, _UNPACKING)}")
        if _CHECKSUM.match(line) or (_REGISTRY_FILE.match(line) and any(map(_CARGO.match, (line, *near)))):
            yield _found(Damage.REGISTRY, line)
        if _SOURCE_CUT.match(line) and any(map(_IN_REGISTRY.match, after)):
            yield _found(Damage.REGISTRY, line)
        if _SCRIPT_CUT.match(line) and (place := _first(near, _IN_MODULE)):
            yield _found(Damage.MODULES, f"{line.strip()}: {place}")
        if _BUNDLED_CUT.match(line) and (place := _first(after, _OF_MODULE)):
            yield _found(Damage.MODULES, f"{line.strip()}: {place}")
        if _WRONG_SHAPE.match(line) and any(map(_PREPARING.match, near)):
            yield _found(Damage.TARGET, f"{line.strip()}: {_last(near, _PREPARING)}")


def _telling(line: str, after: Sequence[str]) -> str:
    """The line, and what its note says of the file."""
    if not line.startswith("error[E0786]"):
        return line
    notes = (re.match(r"\s+= note: (.*)", one) for one in after)
    return next((note[1] for note in notes if note), line)


def _first(lines: Sequence[str], pattern: re.Pattern[str]) -> str:
    """The first line of that pattern, without a frame around it; "" if there is none."""
    found = (line for line in lines if pattern.match(line))
    return next((re.sub(r"^[^\w/]+|[^\w/]+$", "", line) for line in found), "")


def _last(lines: Sequence[str], pattern: re.Pattern[str]) -> str:
    return next(line for line in reversed(lines) if pattern.match(line)).strip()


_READ_ONLY = re.compile(r"\(os error 30\)|\bEROFS\b|Read-only file system")
_PATH = re.compile(r"/[^\s`'\":,]+")
#: What tells by its path what is damaged.
_KINDS = (
    (Damage.REGISTRY, re.compile(r"/registry(?:/|$)|/\.cargo/git")),
    (
        Damage.PACKAGES,
        re.compile(r"/_cacache(?:/|$)|/\.npm(?:/|$)|/\.pnpm-store|/pnpm/store|/\.yarn(?:/|$)|/yarn/"),
    ),
    (Damage.MODULES, re.compile(r"/node_modules(?:/|$)|^/modules(?:/|$)")),
    (Damage.TARGET, re.compile(r"/target(?:/|$)|/deps(?:/|$)|/incremental/|/\.fingerprint/")),
)


def _read_only(lines: Sequence[str], mounts: Sequence[str]) -> Iterator[Corruption]:
    """A bind mount or a folder of the image may be read-only on purpose: it must be a cache mount's path."""
    for at, line in enumerate(lines):
        if not _READ_ONLY.search(line):
            continue
        paths = [path for one in reversed(lines[max(0, at - _NEAR) : at + 1]) for path in _PATH.findall(one)]
        kinds = (_kind(path, mounts) for path in paths)
        kind = next((one for one in kinds if one), None)
        if kind is None and line.startswith("kiro-fresh: "):
            kind = Damage.TARGET
        if kind is not None:
            yield _found(kind, line, read_only=True)


def _kind(path: str, mounts: Sequence[str]) -> Damage | None:
    kind = next((damage for damage, pattern in _KINDS if pattern.search(path)), None)
    is_mounted = any(path == mount or path.startswith(f"{mount.rstrip('/')}/") for mount in mounts)
    return kind or (Damage.UNKNOWN if is_mounted else None)


def _found(damage: Damage, line: str, *, read_only: bool = False) -> Corruption:
    text = " ".join(line.split()).removeprefix("error: ")
    return Corruption(damage, text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…", read_only)
