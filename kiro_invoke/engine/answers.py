"""What the engine's JSON answers mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from socket import gethostname
from typing import IO, Any, BinaryIO

from kiro_invoke.engine.api import Unanswered
from kiro_invoke.engine.protocol import CacheRecord, EngineInfo, ImageFacts, LocalImage


def image_facts(image: Mapping[str, Any]) -> ImageFacts:
    labels = (image.get("Config") or {}).get("Labels")
    layers = (image.get("RootFS") or {}).get("Layers") or ()
    return ImageFacts(
        id=str(image["Id"]),
        labels=dict(labels or {}),
        size=int(image["Size"]),
        layers=tuple(map(str, layers)),
        digests=tuple(map(str, image.get("RepoDigests") or ())),
    )


#: How the history of an image tells of what makes no layer; an older engine writes it behind a comment of the shell's.
_WITHOUT_LAYER = re.compile(
    r"(?:/bin/sh -c #\(nop\) +)?"
    r"(?:ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME)\b"
)


def layers_with_sizes(image: ImageFacts, history: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    """An image's layers with their bytes, as its history (newest first) tells.

    The engine does not say which entries made a layer. Where ours is not the right number of them, the uppermost layer
    gets all that is left: what it says of the image's whole is right then.
    """
    made = [int(entry.get("Size") or 0) for entry in reversed(history) if _made_layer(entry)]
    if len(made) != len(image.layers):
        made = [size for size in made if size]
    if len(made) != len(image.layers):
        made = [0] * (len(image.layers) - 1) + [image.size]
    return tuple(zip(image.layers, made, strict=False))


def _made_layer(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("Size")) or not _WITHOUT_LAYER.match(str(entry.get("CreatedBy") or ""))


#: How an engine tells that its images are in containerd's store.
_CONTAINERD = "io.containerd.snapshotter.v1"


def engine_info(answer: Mapping[str, Any], asked: float, answered: float, *, is_here: bool) -> EngineInfo:
    root = str(answer.get("DockerRootDir") or "")
    proxies = {
        "http": answer.get("HttpProxy"),
        "https": answer.get("HttpsProxy"),
        "no": answer.get("NoProxy"),
    }
    return EngineInfo(
        root=root,
        storage=str(answer.get("Driver") or ""),
        clock=_epoch(answer.get("SystemTime")),
        asked=asked,
        answered=answered,
        # a socket may lead into a virtual machine, whose folders are not ours
        is_here=is_here and _is_folder(root) and str(answer.get("Name")) == gethostname(),
        proxies={name: str(value) for name, value in proxies.items() if value},
        is_containerd=["driver-type", _CONTAINERD] in list(answer.get("DriverStatus") or ()),
    )


def _is_folder(path: str) -> bool:
    with suppress(PermissionError):
        return bool(path) and Path(path).is_dir()
    return True  # it lies in one that we may not enter


def containers_by_image(containers: Iterable[Mapping[str, Any]]) -> Mapping[str, tuple[str, ...]]:
    """The names of the containers that stand on each image, by the image's content id."""
    found: dict[str, tuple[str, ...]] = {}
    for container in containers:
        names = [str(name).removeprefix("/") for name in container.get("Names") or ()]
        id = str(container.get("ImageID"))
        found[id] = (*found.get(id, ()), names[0] if names else str(container.get("Id"))[:12])
    return found


#: How much of a file is read before it is looked at.
PIECE = 256 * 1024
#: A name that says there is none.
_UNNAMED = frozenset({"<none>:<none>", "<none>@<none>"})


def cache_record(record: Mapping[str, Any]) -> CacheRecord:
    # the key is written with a leading space by some engines
    parents = record.get("Parents") or record.get(" Parents") or ()
    return CacheRecord(
        id=str(record["ID"]),
        kind=str(record.get("Type", "")),
        description=str(record.get("Description", "")),
        parents=tuple(map(str, parents)),
        in_use=bool(record.get("InUse")),
        shared=bool(record.get("Shared")),
        size=int(record.get("Size") or 0),
        created=_epoch(record.get("CreatedAt")),
        used=_epoch(record.get("LastUsedAt")),
    )


def _epoch(text: object) -> float:
    """Seconds since the epoch of an engine's time, 0.0 where it gives none."""
    with suppress(ValueError):
        return datetime.fromisoformat(str(text)).timestamp() if text else 0.0
    return 0.0


def names_of(image: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that an image was given, those by digest not included."""
    return tuple(str(name) for name in image.get("RepoTags") or () if name not in _UNNAMED)


def local_image(image: Mapping[str, Any], used: Mapping[str, tuple[str, ...]]) -> LocalImage:
    names = (*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ()))
    id = str(image["Id"])
    return LocalImage(
        id=id,
        names=tuple(name for name in names if name not in _UNNAMED),
        labels=dict(image.get("Labels") or {}),
        created=float(image.get("Created") or 0),
        in_use=id in used,
        containers=used.get(id, ()),
        size=int(image.get("Size") or 0),
    )


def only_file(archive: BinaryIO, until: bytes = b"") -> bytes | None:
    """The content of the file that an archive (tar) of one path holds; None where it is none, a link for example.

    Nothing is read after the piece with which `until` is whole, where that is asked for and found.
    """
    import tarfile

    try:
        with tarfile.open(fileobj=archive, mode="r|") as tar:
            member = tar.next()
            file = tar.extractfile(member) if member is not None and member.isreg() else None
            return _read(file, until) if file else None
    except tarfile.TarError:
        raise Unanswered("it broke off") from None


def _read(file: IO[bytes], until: bytes) -> bytes:
    content = bytearray()
    while piece := file.read(PIECE):
        begin = max(0, len(content) - len(until))  # it may have begun in the piece before
        content += piece
        if until and content.find(until, begin) >= 0:
            break
    return bytes(content)
