"""Images of a builder on their way here: the lacking layers are taken, and the engine has that very image then."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kiro_invoke.engine import carrying
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.carrying import NotCarried
from kiro_invoke.engine.far import FarEngine
from kiro_invoke.engine.protocol import Completed, ImageFacts
from kiro_invoke.model.errors import EngineError

BASE, DEPS, APP, NEW = (name * 100_000 for name in (b"base", b"deps", b"app", b"new"))
DEFINITION = json.dumps(
    {
        "target": {
            "app": {"tags": ["kiro/app:dev"], "output": ["type=docker"]},
            "planner": {"output": ["type=cacheonly"]},
        }
    }
)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def write(folder: Path, layers: Sequence[bytes], *, wordy: str = "") -> str:
    """What BuildKit does: it writes blobs that are not there by their names; the image's id."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(content: bytes) -> dict[str, str]:
        path = blobs / digest(content).removeprefix("sha256:")
        if not path.exists():
            path.write_bytes(content)
        return {"digest": digest(content)}

    told = {"rootfs": {"diff_ids": list(map(digest, layers))}, "wordy": wordy}
    config = put(json.dumps(told).encode())
    manifest = put(json.dumps({"config": config, "layers": [put(layer) for layer in layers]}).encode())
    (folder / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    return config["digest"]


def packed(archive: Iterator[bytes]) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
        return {one.name: file.read() for one in tar if (file := tar.extractfile(one))}


@pytest.mark.parametrize(
    ("known", "lacking"),
    [
        ((), (BASE, DEPS, APP)),
        ((BASE,), (DEPS, APP)),
        ((BASE, DEPS, NEW), (APP,)),
        ((BASE, DEPS, APP), ()),
        ((BASE, DEPS, APP, NEW), ()),
        ((DEPS, BASE), (BASE, DEPS, APP)),  # what is below makes a layer another one
    ],
)
def test_layers_are_lacking_above_the_first_that_differs(
    tmp_path: Path, known: tuple[bytes, ...], lacking: tuple[bytes, ...]
) -> None:
    write(tmp_path, (BASE, DEPS, APP))
    layout = carrying.read(tmp_path)
    assert layout.lacking(tuple(map(digest, known))) == tuple(
        digest(one).removeprefix("sha256:") for one in lacking
    )


def test_an_archive_names_all_layers_and_holds_those_that_are_asked_for(tmp_path: Path) -> None:
    image = write(tmp_path, (BASE, DEPS, APP))
    layout = carrying.read(tmp_path)
    found = packed(layout.archive("kiro/app:dev", layout.lacking((digest(BASE), digest(DEPS)))))
    (manifest,) = json.loads(found.pop("manifest.json"))
    assert manifest["RepoTags"] == ["kiro/app:dev"]
    assert len(manifest["Layers"]) == 3
    assert digest(found.pop(manifest["Config"])) == image
    assert found == {manifest["Layers"][2]: APP}


def test_layers_that_are_here_take_no_room_and_are_never_loaded_from_there(tmp_path: Path) -> None:
    write(tmp_path, (BASE, APP))
    carrying.empty(carrying.read(tmp_path))
    assert sum(path.stat().st_blocks for path in tmp_path.rglob("*") if path.stat().st_size > 99_999) == 0
    write(tmp_path, (BASE, NEW))
    layout = carrying.read(tmp_path)
    assert NEW in packed(layout.archive("kiro/app:dev", layout.lacking((digest(BASE),)))).values()
    with pytest.raises(NotCarried):
        layout.archive("kiro/app:dev", layout.lacking(()))


def test_what_an_earlier_image_had_goes(tmp_path: Path) -> None:
    write(tmp_path, (BASE, APP))
    write(tmp_path, (BASE, NEW))
    carrying.read(tmp_path)
    names = {path.name for path in (tmp_path / "blobs/sha256").iterdir()}
    assert digest(APP).removeprefix("sha256:") not in names
    assert len(names) == 4


def test_an_image_of_an_earlier_build_is_none_of_this_one(tmp_path: Path) -> None:
    write(tmp_path, (BASE,))
    carrying.begin({"kiro/app:dev": tmp_path})
    with pytest.raises(NotCarried):
        carrying.read(tmp_path)


def test_only_images_that_are_loaded_are_carried(tmp_path: Path) -> None:
    sent, layouts = carrying.carried(DEFINITION, tmp_path)
    outputs = {name: target["output"] for name, target in json.loads(sent)["target"].items()}
    assert outputs["planner"] == ["type=cacheonly"]
    assert outputs["app"] == [f"type=oci,tar=false,compression=uncompressed,dest={layouts['kiro/app:dev']}"]
    assert carrying.carried(DEFINITION, tmp_path / "a,b")[1] == {}


@dataclass
class Far(FarEngine):
    """A builder that makes an image of `layers`, and an engine that loads as Docker does, or `refuses`."""

    kept: Path
    layers: tuple[bytes, ...] = (BASE, DEPS, APP)
    has: dict[str, bytes] = field(default_factory=dict)
    tagged: ImageFacts | None = None
    refuses: str = ""
    without_layouts: bool = False
    #: What a step that fails has printed, as the client tells it afterwards.
    printed: str = ""
    baked: list[str] = field(default_factory=list)
    loaded: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._kept, self._name, self._patience = self.kept, "team", 60.0

    def _baked(
        self, definition: str, env: Mapping[str, str], on_line: Callable[[str], None], brake: Brake | None
    ) -> Completed:
        del env, brake
        (row,) = json.loads(definition)["target"]["app"]["output"]
        self.baked.append(row.partition(",")[0])
        if self.printed:
            on_line(f"0.123 {self.printed}")
            return Completed((), 1, "", "")
        if row == "type=docker":
            self.tagged = ImageFacts(digest(b"whole"), {}, 1)
        elif self.without_layouts:
            on_line("ERROR: OCI exporter is not supported for the docker driver")
            return Completed((), 1, "", "")
        else:
            write(Path(row.rpartition("dest=")[2]), self.layers)
        return Completed((), 0, "", "")

    def image(self, ref: str) -> ImageFacts | None:
        return self.tagged

    def load(self, archive: Iterator[bytes]) -> None:
        found = packed(archive)
        (manifest,) = json.loads(found["manifest.json"])
        contents = json.loads(found[manifest["Config"]])["rootfs"]["diff_ids"]
        self.loaded.append(len(found) - 2)
        for content, name in zip(contents, manifest["Layers"], strict=True):
            if content not in self.has:
                if self.refuses or name not in found or digest(found[name]) != content:
                    raise EngineError(f"the engine takes no image: {self.refuses or 'no such file'}")
                self.has[content] = found[name]
        self.tagged = ImageFacts(digest(found[manifest["Config"]]), {}, 1, tuple(contents))

    def build(self) -> Completed:
        said: list[str] = []
        done = self.bake(DEFINITION, env={}, on_line=said.append)
        assert said == []
        return done


def test_the_second_image_brings_its_new_layer_alone_and_the_same_one_nothing(tmp_path: Path) -> None:
    far = Far(tmp_path / "arriving")
    assert far.build().ok
    far.layers = (BASE, DEPS, NEW)
    assert far.build().ok
    assert far.build().ok
    assert far.loaded == [3, 1]
    assert far.baked == ["type=oci"] * 3
    assert digest(NEW) in far.has


def test_an_engine_that_lost_a_layer_gets_the_whole_image(tmp_path: Path) -> None:
    far = Far(tmp_path / "arriving")
    far.build()
    far.has.clear()  # the image is still named, as if
    far.layers = (BASE, DEPS, NEW)
    assert far.build().ok
    assert far.baked[-2:] == ["type=oci", "type=docker"]
    far.build()
    assert (far.baked[-1], far.loaded[-1]) == ("type=oci", 3)  # it is tried again


def test_an_image_that_is_gone_here_comes_whole_since_its_layers_were_emptied(tmp_path: Path) -> None:
    far = Far(tmp_path / "arriving")
    far.build()
    far.tagged = None
    far.has.clear()
    assert far.build().ok
    assert far.baked[-1] == "type=docker"


@pytest.mark.parametrize("trouble", ["refuses", "without_layouts"])
def test_where_images_come_whole_only_that_is_not_tried_again(tmp_path: Path, trouble: str) -> None:
    far = Far(tmp_path / "arriving")
    setattr(far, trouble, "no" if trouble == "refuses" else True)
    assert far.build().ok
    assert far.build().ok
    assert far.baked == ["type=oci", "type=docker", "type=docker"]


def test_a_step_that_prints_such_words_and_fails_is_not_built_again(tmp_path: Path) -> None:
    far = Far(tmp_path / "arriving", printed="ERROR: OCI exporter is not supported")
    said: list[str] = []
    assert not far.bake(DEFINITION, env={}, on_line=said.append).ok
    assert said == ["0.123 ERROR: OCI exporter is not supported"]
    assert far.baked == ["type=oci"]
    assert not (tmp_path / "arriving/whole").exists()
