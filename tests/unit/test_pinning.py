"""Where Dockerfiles name base images, and what is written there."""

from __future__ import annotations

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.pinning import (
    Answers,
    Digest,
    Given,
    Loose,
    Pin,
    Spot,
    Unknown,
    asked,
    pinned_text,
    pins,
    spots,
    tagged,
)

A, B = ("sha256:" + letter * 64 for letter in "ab")
NOTHING = Given({}, {})


def refs(text: str, given: Given = NOTHING) -> list[str]:
    return [spot.ref for spot in spots(text, given) if isinstance(spot, Spot)]


def loose(text: str, given: Given = NOTHING) -> list[tuple[str, int]]:
    return [(spot.ref, spot.line) for spot in spots(text, given) if isinstance(spot, Loose)]


# --- each form in which an image is named; only its reference changes

FORMS = {
    "FROM": "FROM {}\n",
    "FROM with a platform and a name": "FROM  --platform=$BUILDPLATFORM\t{} as rust\nRUN x\n",
    "FROM in lower case": "from {} as a\n",
    "FROM on two lines": "FROM \\\n  {} \\\n  AS a\n",
    "quoted FROM": 'FROM "{}" AS a\n',
    "argument": "ARG RUST={}\nFROM ${{RUST}} AS a\n",
    "quoted argument among others": 'ARG X=1 RUST="{}" Y=2\nFROM $RUST\n',
    "COPY": "FROM scratch\nCOPY --chown=1:1 --from={} /a /b\n",
    "mount": "FROM scratch\nRUN --mount=type=bind,from={},target=/x echo from=rust:1\n",
    "mount that begins with it": "FROM scratch\nRUN --mount=from={},target=/x \\\n    echo a\n",
    "lines as Windows ends them": "# a\r\nFROM {} AS a\r\nRUN b\r\n",
    "a byte order mark": "\ufeffFROM {}\n",
    "another escape": "# escape=`\nFROM {} `\n AS x\n",
    "no line end": "FROM {}",
    "a comment that names it": "# rust:1 is old\nFROM {}\nRUN echo rust:1\nENV FROM=rust:1\nLABEL a=rust:1\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_only_the_reference_changes(form: str) -> None:
    before, after = form.format("rust:1"), form.format(f"rust:1@{A}")
    assert refs(before) == ["rust:1"]
    assert pinned_text(before, NOTHING, {"rust:1": f"rust:1@{A}"}) == after
    # and again, where it is pinned
    assert refs(after) == [f"rust:1@{A}"]
    assert pinned_text(after, NOTHING, {f"rust:1@{A}": f"rust:1@{B}"}) == form.format(f"rust:1@{B}")


def test_stages_and_nothing_are_no_images() -> None:
    text = "FROM scratch AS rust\nFROM rust\nCOPY --from=0 /a /b\nRUN --mount=from=rust,target=/x y\n"
    assert spots(text, NOTHING) == ()


def test_a_stage_of_an_image_s_name_is_told_from_the_image() -> None:
    text = "FROM node AS node\nFROM node\nCOPY --from=node /a /b\n"
    assert pinned_text(text, NOTHING, {"node": f"node:latest@{A}"}) == (
        f"FROM node:latest@{A} AS node\nFROM node\nCOPY --from=node /a /b\n"
    )


def test_every_place_of_one_image_gets_the_same() -> None:
    text = "ARG R=rust:1\nFROM rust:1 AS a\nFROM $R\nFROM rust:1-slim\nCOPY --from=rust:1 a b\n"
    new = f"rust:1@{A}"
    assert pinned_text(text, NOTHING, {"rust:1": new}) == (
        f"ARG R={new}\nFROM {new} AS a\nFROM $R\nFROM rust:1-slim\nCOPY --from={new} a b\n"
    )


def test_two_mounts_of_one_run_are_both_pinned_and_its_command_is_left_alone() -> None:
    text = (
        "FROM scratch\nRUN --mount=from=a:1,target=/x --mount=type=bind,from=a:1,target=/y "
        "make --mount=from=a:1,x\n"
    )
    new = f"a:1@{A}"
    assert pinned_text(text, NOTHING, {"a:1": new}) == text.replace("from=a:1", f"from={new}", 2)


def test_what_cannot_be_written_there_is_told_with_its_line() -> None:
    text = (
        "ARG V=1.95\nARG OURS=ours:1\nARG GIVEN\n\nFROM rust:${V}-slim AS a\nFROM $OURS\nFROM tool:$TARGETARCH\n"
        "FROM debian:13\n"
    )
    given = Given({"OURS": "ours:2"}, {"debian:13": "mirror.example/debian:13"})
    assert refs(text, given) == []
    assert loose(text, given) == [
        ("rust:1.95-slim", 5), ("ours:2", 6), ("tool:$TARGETARCH", 7), ("debian:13", 8),
    ]  # fmt: skip


def test_what_kiro_yaml_pins_is_pinned() -> None:
    given = Given({"OURS": f"ours:2@{A}"}, {"debian:13": f"mirror.example/debian:13@{B}"})
    assert spots("ARG OURS=ours:1\nFROM $OURS\nFROM debian:13\n", given) == ()


def test_an_argument_that_other_names_are_made_of_is_not_broken() -> None:
    text = "ARG R=rust:1\nFROM $R AS a\nFROM ${R}-slim\n"
    with pytest.raises(ValueError, match="other images"):
        pinned_text(text, NOTHING, {"rust:1": f"rust:1@{A}"})


@pytest.mark.parametrize(
    ("ref", "tag"),
    [
        ("rust:1", "rust:1"),
        ("rust", "rust:latest"),
        (f"rust:1@{A}", "rust:1"),
        (f"rust@{A}", ""),
        ("registry.example:5000/rust", "registry.example:5000/rust:latest"),
        (f"registry.example:5000/rust@{A}", ""),
    ],
)
def test_a_registry_is_asked_for_the_tag(ref: str, tag: str) -> None:
    assert tagged(ref) == tag


def test_what_is_pinned_is_asked_for_only_to_update_it() -> None:
    every = ["rust:1", f"node:24@{A}", f"debian@{A}"]
    assert asked(every, update=False) == ("rust:1",)
    assert asked(every, update=True) == ("rust:1", "node:24")


def test_what_becomes_of_each() -> None:
    every = ["rust:1", f"node:24@{A}", f"nginx:1@{A}", f"debian@{A}", "redis"]
    answers: Answers = {
        "rust:1": Digest(A),
        "node:24": Digest(A),
        "nginx:1": Digest(B),
        "redis:latest": Unknown("no registry answers"),
    }
    assert pins(every, answers, update=True) == (
        Pin("rust:1", f"rust:1@{A}", "pinned"),
        Pin(f"node:24@{A}", f"node:24@{A}", "unchanged"),
        Pin(f"nginx:1@{A}", f"nginx:1@{B}", "updated"),
        Pin(f"debian@{A}", f"debian@{A}", "unchanged", why="it has no tag that could be asked for"),
        Pin("redis", "redis", "unknown", why="no registry answers"),
    )
    assert pins([f"nginx:1@{A}"], answers, update=False) == (
        Pin(f"nginx:1@{A}", f"nginx:1@{A}", "unchanged"),
    )


def test_a_pulled_image_s_digest_says_nothing_of_what_its_tag_has_now() -> None:
    answers: Answers = {"rust:1": Digest(B, is_local=True)}
    (pin,) = pins([f"rust:1@{A}"], answers, update=True)
    assert pin.status == "unknown"
    (pin,) = pins(["rust:1"], answers, update=False)
    assert (pin.to, pin.is_local) == (f"rust:1@{B}", True)


def test_pinned_dockerfiles_stand_on_what_they_say() -> None:
    text = pinned_text("ARG R=rust:1\nFROM $R\n", NOTHING, {"rust:1": f"rust:1@{A}"})
    assert parse(text).bases({}) == (f"rust:1@{A}",)
