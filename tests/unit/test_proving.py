"""Proof that an image holds what was sent, and what is remembered of it: on an engine in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.proof import Claim, NotProven, examine, names_proof
from kiro_invoke.cache.proving import PROVEN, check_names, notes, prove, read_proven
from kiro_invoke.engine.protocol import ImageFacts
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.model.plan import BuildPlan, Sent, Target
from tests.unit.fakes import FakeEngine

TAG, ID, FILE = "shop/web:dev", "sha256:1", "/app/program"
SENT, OTHER, THIRD = (f"kiro-revision-{digit * 64}" for digit in "abc")
PATH = Path("/repo/web/Dockerfile.fast")
PLAN = BuildPlan((Target("web", "web", Path("/repo/web"), PATH, "dev", "why", TAG),))
SENDING = {("web", PATH): Sent(Path("/m"), Path("/m/Dockerfile.fast"), SENT)}


def engine(content: bytes | None = None, *, proof: str = FILE, label: str = SENT) -> FakeEngine:
    """An engine that has the image, with this content of its file."""
    labels = {"dev.kiro.proof": proof, "dev.kiro.revision": label, "dev.kiro.checkout": "shop-1"}
    found = FakeEngine({TAG: ImageFacts(ID, labels, 1)})
    if content is not None:
        found.files[ID, FILE] = content
    return found


# --- the proof


def test_a_revision_in_the_file_decides(tmp_path: Path) -> None:
    prove(PLAN, SENDING, engine(f"\0{SENT}\0".encode(), label=OTHER), tmp_path)
    with pytest.raises(NotProven, match=f"{FILE} holds {OTHER} instead of {SENT}"):
        prove(PLAN, SENDING, engine(OTHER.encode()), tmp_path / "other")


def test_a_program_is_read_as_far_as_what_it_must_hold_and_to_its_end_where_that_is_not_there(
    tmp_path: Path,
) -> None:
    for content, found in ((f"{OTHER} {SENT} {THIRD}", {OTHER, SENT}), (f"{OTHER} {THIRD}", {OTHER, THIRD})):
        assert examine(Claim("web", TAG, SENT), engine(content.encode())).found == found


def test_an_image_without_the_file_is_not_proven_by_the_label_that_we_attached(tmp_path: Path) -> None:
    """Nothing would be proven in exactly the cases that are stale."""
    with pytest.raises(NotProven, match=f"^web: the image {TAG} has no regular file {FILE}.* Fix: "):
        prove(PLAN, SENDING, engine(), tmp_path)
    assert not (tmp_path / PROVEN).exists()


def test_a_program_that_embeds_no_revision_is_proven_by_its_label_and_that_is_told(tmp_path: Path) -> None:
    ours = engine(b"dummy")
    for _ in range(2):
        prove(PLAN, SENDING, ours, tmp_path)
        told = notes(read_proven(tmp_path), [TAG, "shop/api:dev"])
        assert told == (f"{TAG}: {FILE} embeds no revision: checked by label only",)
    with pytest.raises(NotProven, match="label holds"):
        prove(PLAN, SENDING, engine(b"dummy", label=OTHER), tmp_path / "other")


def test_an_image_that_names_no_file_is_proven_by_its_label_without_a_word(tmp_path: Path) -> None:
    prove(PLAN, SENDING, engine(proof=""), tmp_path)
    assert notes(read_proven(tmp_path), [TAG]) == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("FROM a\nLABEL dev.kiro.proof=/x", True),
        ("FROM a\nLABEL b=c \\\n  'dev.kiro.proof'=/x", True),
        ("FROM a\nLABEL dev.kiro.proof /x", True),
        ("FROM a\nLABEL dev.$X=/x", True),
        ("FROM a\nLABEL dev.kiro.proofs=$X", False),
        ("FROM a\nRUN echo dev.kiro.proof=/x", False),
        ("FROM a AS b\nLABEL dev.kiro.proof=/x\nFROM b AS c\nFROM c", True),
        ("ARG N=b\nFROM a AS b\nLABEL dev.kiro.proof=/x\nFROM $N", True),
        ("FROM a AS b-amd64\nLABEL dev.kiro.proof=/x\nFROM b-$TARGETARCH", True),
        ("FROM a AS b\nLABEL dev.kiro.proof=/x\nFROM a\nCOPY --from=b /x /x", False),
        ("FROM b\nFROM a AS b\nLABEL dev.kiro.proof=/x\nFROM 0", False),
    ],
)
def test_a_proof_is_the_dockerfiles_own_where_it_sets_the_label_itself(text: str, named: bool) -> None:
    """What the image stands on may name one too: of another service, with that one's revision."""
    parsed = parse(text)
    assert names_proof(parsed, parsed.stages[-1].name) is named


# --- what is remembered


def test_what_is_proven_is_read_once(tmp_path: Path) -> None:
    ours = engine(SENT.encode())
    prove(PLAN, SENDING, ours, tmp_path)
    ours.files.clear()
    prove(PLAN, SENDING, ours, tmp_path)
    assert read_proven(tmp_path).images[TAG].id == ID


def test_the_ids_of_all_proven_images_are_remembered(tmp_path: Path) -> None:
    for number in (1, 2, 1):
        ours = engine(proof="")
        ours.images[TAG] = ImageFacts(f"sha256:{number}", ours.images[TAG].labels, 1)
        prove(PLAN, SENDING, ours, tmp_path)
    assert read_proven(tmp_path).ids == ("sha256:1", "sha256:2")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"shop/web:dev": ["a", "b"]}', '{"images": {"a": 1}, "ids": []}']
)
def test_a_damaged_note_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / PROVEN).write_text(text)
    prove(PLAN, SENDING, engine(SENT.encode()), tmp_path)
    assert json.loads((tmp_path / PROVEN).read_text())["ids"] == [ID]


def test_a_note_that_cannot_be_written_is_no_failure_of_the_build(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    prove(PLAN, SENDING, engine(SENT.encode()), tmp_path / "state")
    assert read_proven(tmp_path / "state").ids == ()


# --- names


def test_another_checkout_that_took_the_name_is_told(tmp_path: Path) -> None:
    ours = engine(OTHER.encode())
    check_names(ours, [TAG, "shop/absent:dev"], "shop-1")
    with pytest.raises(
        BuildFailed, match=rf"another checkout \(shop-1\) took the name {TAG}.* Fix: build again"
    ):
        check_names(ours, [TAG], "shop-2")
