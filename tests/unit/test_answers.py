"""What an engine's answers about images and itself mean."""

from __future__ import annotations

from pathlib import Path
from socket import gethostname

import pytest

from kiro_invoke.engine.answers import engine_info, layers_with_sizes
from kiro_invoke.engine.protocol import ImageFacts

#: As `docker history` tells of an image that BuildKit built on a stand-in, newest first.
HISTORY = (
    {"Size": 0, "CreatedBy": 'CMD ["serve"]'},
    {"Size": 0, "CreatedBy": "HEALTHCHECK &{[...]}"},
    {"Size": 70, "CreatedBy": "RUN /bin/sh -c make # buildkit"},
    {"Size": 0, "CreatedBy": "WORKDIR /app"},
    {"Size": 0, "CreatedBy": "LABEL a=b"},
    {"Size": 500, "CreatedBy": ""},
)


def image(*layers: str, size: int = 570) -> ImageFacts:
    return ImageFacts("sha256:1", {}, size, layers)


def test_each_layer_gets_the_bytes_of_the_entry_that_made_it() -> None:
    """A WORKDIR makes a layer of nothing, a LABEL none."""
    assert layers_with_sizes(image("a", "b", "c"), HISTORY) == (("a", 500), ("b", 0), ("c", 70))


def test_entries_of_older_engines_are_told_apart_too() -> None:
    history = [
        {"Size": 0, "CreatedBy": '/bin/sh -c #(nop)  CMD ["sh"]'},
        {"Size": 9, "CreatedBy": "/bin/sh -c #(nop) ADD file:1 in / "},
    ]
    assert layers_with_sizes(image("a", size=9), history) == (("a", 9),)


def test_where_nothing_made_a_layer_of_nothing_only_what_has_a_size_counts() -> None:
    assert layers_with_sizes(image("a", "c"), HISTORY) == (("a", 500), ("c", 70))


@pytest.mark.parametrize("layers", [("a",), ("a", "b", "c", "d")])
def test_a_history_that_does_not_fit_leaves_the_whole_right(layers: tuple[str, ...]) -> None:
    found = layers_with_sizes(image(*layers), HISTORY)
    assert [id for id, _ in found] == [*layers]
    assert sum(size for _, size in found) == 570


def test_an_image_without_layers_has_none() -> None:
    assert layers_with_sizes(image(size=0), ()) == ()


def test_an_engine_is_here_only_if_its_machine_is_this_one(tmp_path: Path) -> None:
    """A socket may lead into a virtual machine with a folder of the same name."""
    told = {"DockerRootDir": str(tmp_path), "Name": gethostname(), "Driver": "overlay2"}
    info = engine_info(
        told | {"SystemTime": "1970-01-01T00:00:07.5Z", "HttpProxy": "http://p"}, 7.0, 8.0, is_here=True
    )
    assert (info.root, info.storage, info.clock, info.is_here) == (str(tmp_path), "overlay2", 7.5, True)
    assert info.proxies == {"http": "http://p"}
    assert not engine_info(told, 7.0, 8.0, is_here=False).is_here
    assert not engine_info(told | {"Name": "docker-desktop"}, 7.0, 8.0, is_here=True).is_here
    assert not engine_info(told | {"DockerRootDir": str(tmp_path / "none")}, 7.0, 8.0, is_here=True).is_here
    assert not engine_info({}, 7.0, 8.0, is_here=True).is_here
