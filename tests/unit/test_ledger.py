"""What a container holds is known across the end of the process, and in doubt where it was cut short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kiro_invoke.builds.built import Built, Note, Shelf, write_built
from kiro_invoke.builds.noting import side_of
from kiro_invoke.builds.planner import Profile
from kiro_invoke.changes.classify import Side
from kiro_invoke.changes.snapshot import Entry, Snapshot
from kiro_invoke.changes.stored import Stored, save
from kiro_invoke.loop.ledger import Held, Ledger
from kiro_invoke.model.fingerprint import Fingerprint, Part

ODD = "odd \udce9\n.txt"


def entry(value: bytes, kind: str = "f") -> Entry:
    return Entry(kind, value, 0o644, 1, 1, 1, 1)


@pytest.fixture
def built(tmp_path: Path) -> tuple[Built, Shelf]:
    snapshot = Snapshot(
        {"a": entry(b"1" * 64), ODD: entry(b"2" * 64), "link": entry(b"to \xff", "l")}, {"d": 0o755}, "r1"
    )
    shelf = Shelf(tmp_path / "contexts", "web", Profile.DEV)
    shelf.place.mkdir()
    save(shelf.record, Stored((snapshot,)))
    note = Note("r1", {Part("Dockerfile", "stage"): "h"}, {})
    fingerprint = Fingerprint({Part("lock", "x"): "y"}, {}, "")
    write_built(shelf, note, fingerprint)
    return Built(note, fingerprint, snapshot), shelf


def adopted(tmp_path: Path, built: tuple[Built, Shelf]) -> tuple[Ledger, Held]:
    ledger = Ledger(tmp_path / "loop", "web")
    return ledger, ledger.adopt("c1", "i1", side_of(built[0]), built[0].note.revision, built[1])


def recalled(tmp_path: Path, container: str = "c1", image: str = "i1") -> Held | None:
    return Ledger(tmp_path / "loop", "web").recall(container, image)


def test_a_new_container_holds_what_its_image_was_built_from(
    tmp_path: Path, built: tuple[Built, Shelf]
) -> None:
    _, held = adopted(tmp_path, built)
    assert held.side == Side(built[0].snapshot.contents, built[0].fingerprint, built[0].note.base)
    assert (held.served, held.doubt) == (True, frozenset())
    assert recalled(tmp_path) == held


@pytest.mark.parametrize(("container", "image"), [("c2", "i1"), ("c1", "i2")])
def test_of_another_container_or_image_nothing_is_known(
    tmp_path: Path, built: tuple[Built, Shelf], container: str, image: str
) -> None:
    adopted(tmp_path, built)
    assert recalled(tmp_path, container, image) is None


def test_what_is_about_to_change_is_in_doubt_until_it_has(tmp_path: Path, built: tuple[Built, Shelf]) -> None:
    ledger, held = adopted(tmp_path, built)
    held = ledger.doubt(held, ["a", ODD, "new"])
    assert held.doubt == {"a", ODD, "new"}
    assert not held.served
    assert recalled(tmp_path) == held  # as if the process ended here
    contents = {**held.side.contents, "new": ("x", b"3" * 64, 0o755)}
    del contents[ODD]
    side = Side(contents, Fingerprint({}, {}, "a doubt"), held.side.base)
    held = ledger.settle(held, side, ["a", ODD, "new"])
    assert recalled(tmp_path) == held == Held("c1", "i1", side, frozenset(), served=False)
    assert recalled(tmp_path) == held
    held = ledger.serve(held)
    assert held.served
    assert recalled(tmp_path) == held


def test_doubts_add_up(tmp_path: Path, built: tuple[Built, Shelf]) -> None:
    ledger, held = adopted(tmp_path, built)
    held = ledger.doubt(ledger.doubt(held, ["a"]), ["link"])
    assert held.doubt == {"a", "link"}


def test_it_goes_on_from_what_was_recalled(tmp_path: Path, built: tuple[Built, Shelf]) -> None:
    ledger, held = adopted(tmp_path, built)
    without = {path: what for path, what in held.side.contents.items() if path != "a"}
    ledger.settle(held, Side(without, Fingerprint()), ["a"])
    again = Ledger(tmp_path / "loop", "web")
    held_again = again.recall("c1", "i1")
    assert held_again is not None
    less = {path: what for path, what in without.items() if path != "d/"}
    again.settle(held_again, Side(less, Fingerprint()), ["d/"])
    found = recalled(tmp_path)
    assert found is not None
    assert found.side.contents == less


def test_a_later_build_does_not_change_what_a_container_was_made_of(
    tmp_path: Path, built: tuple[Built, Shelf]
) -> None:
    _, held = adopted(tmp_path, built)
    other = Snapshot({"b": entry(b"9" * 64)}, {}, "r2")
    save(built[1].record, Stored((other,)))
    write_built(built[1], Note("r2", {}, {}), Fingerprint())
    assert recalled(tmp_path) == held


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', "\x00", "{}"])
def test_a_damaged_record_counts_as_none(tmp_path: Path, built: tuple[Built, Shelf], text: str) -> None:
    adopted(tmp_path, built)
    (tmp_path / "loop/web.json").write_text(text)
    assert recalled(tmp_path) is None


@pytest.mark.parametrize("key", ["version", "overlay", "fingerprint", "doubt", "served", "revision", "base"])
def test_so_does_one_that_lacks_something(tmp_path: Path, built: tuple[Built, Shelf], key: str) -> None:
    adopted(tmp_path, built)
    file = tmp_path / "loop/web.json"
    value = json.loads(file.read_text())
    del value[key]
    file.write_text(json.dumps(value))
    assert recalled(tmp_path) is None


def test_so_does_one_whose_snapshot_is_gone(tmp_path: Path, built: tuple[Built, Shelf]) -> None:
    adopted(tmp_path, built)
    (tmp_path / "loop/web.snapshot").unlink()
    assert recalled(tmp_path) is None


def test_an_install_is_owed_until_it_is_served(tmp_path: Path, built: tuple[Built, Shelf]) -> None:
    ledger, held = adopted(tmp_path, built)
    held = ledger.doubt(held, ["a"], installs=True)
    assert held.owes_install
    held = ledger.settle(held, held.side, ["a"])
    held = ledger.doubt(held, ["link"])  # a source was saved meanwhile
    assert held.owes_install
    assert recalled(tmp_path) == held
    assert not ledger.serve(held).owes_install
    found = recalled(tmp_path)
    assert found is not None
    assert not found.owes_install
