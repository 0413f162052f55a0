"""Images of a builder, brought to the engine here: of each the layers alone that the engine lacks.

An exported archive holds all layers, at each build anew: of a development image more than a gigabyte after each edit.
So an image is exported to a folder (an OCI layout), to which BuildKit sends what is not there. The engine takes an
archive that leaves out layers which it has. What it took is emptied in the folder: its name alone is needed there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

#: What `builds.bake` asks for where an image is to be in the engine.
_LOADED = ["type=docker"]
#: A file system may keep smaller files where no block is counted; and they need no room.
_LARGE = 1 << 16


class NotCarried(Exception):
    """An image must come whole: a layout does not hold what the engine lacks, or with `always`, it never will."""

    def __init__(self, why: str, *, always: bool = False) -> None:
        super().__init__(why)
        self.always = always


@dataclass(frozen=True)
class Layout:
    """An image in a folder. `image` is its id; `layers` are its layers' contents' ids and their blobs, bottom up."""

    folder: Path
    image: str
    config: str
    layers: tuple[tuple[str, str], ...]

    def lacking(self, known: Sequence[str]) -> tuple[str, ...]:
        """The blobs of the layers above those that an image of the engine's (`known`, bottom up) has as well."""
        same = 0
        for (content, _), other in zip(self.layers, known, strict=False):
            if content != other:
                break
            same += 1
        return tuple(blob for _, blob in self.layers[same:])

    def archive(self, tag: str, blobs: Sequence[str]) -> Iterator[bytes]:
        """What the engine loads, a piece at a time: the image with these layers. NotCarried where one was emptied."""
        places = {blob: _blob(self.folder, blob) for blob in blobs}
        if any(_is_emptied(place) for place in places.values()):
            raise NotCarried("the engine has lost a layer that it had")
        manifest = {
            "Config": f"{self.config}.json",
            "RepoTags": [tag],
            "Layers": [f"{blob}.tar" for _, blob in self.layers],
        }
        return chain(
            _entry(f"{self.config}.json", _blob(self.folder, self.config)),
            *(_entry(f"{blob}.tar", place) for blob, place in places.items()),
            _entry("manifest.json", json.dumps([manifest]).encode()),
            (bytes(2 * tarfile.BLOCKSIZE),),
        )


def carried(definition: str, kept: Path) -> tuple[str, Mapping[str, Path]]:
    """The bake definition with layouts below `kept` in place of loaded images, and those by the image's name."""
    told = json.loads(definition)
    layouts = {}
    for target in told["target"].values():
        if target.get("output") == _LOADED:
            (tag,) = target["tags"]
            folder = kept / hashlib.sha256(tag.encode()).hexdigest()[:16]
            # the option is a row of comma-separated fields, in which bake expands `${`
            if any(mark in str(folder) for mark in ',"${%'):
                continue
            layouts[tag] = folder
            target["output"] = [f"type=oci,tar=false,compression=uncompressed,dest={folder}"]
    return json.dumps(told, indent=2), layouts


def begin(layouts: Mapping[str, Path]) -> None:
    """Make the folders; which image each one holds is for the build to say."""
    for folder in layouts.values():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").unlink(missing_ok=True)


def read(folder: Path) -> Layout:
    """The image that a build left in a folder; NotCarried where it left none."""
    with suppress(OSError, ValueError, LookupError):
        index = _json(folder / "index.json")
        (entry,) = index["manifests"]
        manifest = _json(_blob(folder, _hex(entry["digest"])))
        config = _hex(manifest["config"]["digest"])
        contents = _json(_blob(folder, config))["rootfs"]["diff_ids"]
        blobs = [_hex(layer["digest"]) for layer in manifest["layers"]]
        layers = tuple(zip(map(str, contents), blobs, strict=True))
        _forget(folder, {_hex(entry["digest"]), config, *blobs})
        return Layout(folder, f"sha256:{config}", config, layers)
    raise NotCarried("the builder left no image")


def empty(layout: Layout) -> None:
    """Give back the room of layers that the engine has: BuildKit sees that they are there and sends none of them."""
    for _, blob in layout.layers:
        place = _blob(layout.folder, blob)
        with suppress(OSError):
            size = place.stat().st_size
            if size >= _LARGE:
                place.chmod(0o600)
                os.truncate(place, 0)
                os.truncate(place, size)


def drop(layouts: Mapping[str, Path]) -> None:
    for folder in layouts.values():
        shutil.rmtree(folder, ignore_errors=True)


def _forget(folder: Path, used: set[str]) -> None:
    """Remove the blobs of images that were there before."""
    for path in (folder / "blobs/sha256").iterdir():
        if path.name not in used:
            path.unlink(missing_ok=True)


def _blob(folder: Path, name: str) -> Path:
    return folder / "blobs/sha256" / name


def _is_emptied(place: Path) -> bool:
    with suppress(OSError):
        found = place.stat()
        return found.st_size >= _LARGE and found.st_blocks == 0
    return True


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _entry(name: str, content: Path | bytes) -> Iterator[bytes]:
    entry = tarfile.TarInfo(name)
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        entry.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        yield entry.tobuf(tarfile.GNU_FORMAT)
        while piece := file.read(1 << 20):
            yield piece
    yield bytes(-entry.size % tarfile.BLOCKSIZE)
