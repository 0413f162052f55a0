"""What `kiro init` and `kiro uninstall` do about each file."""

from __future__ import annotations

from kiro_invoke.scaffold.files import File, Form
from kiro_invoke.scaffold.marking import whole, with_block
from kiro_invoke.scaffold.plan import Deed, Wishes, Write, plan, unplan

DOCKERFILE = File("api/Dockerfile", "FROM new\n", Form.WHOLE, "api: its image")
IGNORED = File("api/.dockerignore", "**/target\n", Form.BLOCK, "not sent")
MAKE = File("Makefile", "-include x\n", Form.ADDED, "targets")


def planned(file: File, there: str | None, *, upgrade: bool = False, force: bool = False) -> Write | None:
    writes = plan([file], lambda _path: there, "2", Wishes(upgrade, force))
    return writes[0] if writes else None


def deed(file: File, there: str | None, *, upgrade: bool = False, force: bool = False) -> Deed | None:
    write = planned(file, there, upgrade=upgrade, force=force)
    return write.deed if write else None


def test_what_is_not_there_is_created_and_then_kept() -> None:
    write = planned(DOCKERFILE, None)
    assert write is not None
    assert (write.deed, write.after) == (Deed.CREATE, whole("FROM new\n", "2"))
    assert deed(DOCKERFILE, write.after) is Deed.KEEP


def test_a_persons_own_file_is_replaced_by_force_only() -> None:
    assert deed(DOCKERFILE, "FROM mine\n") is Deed.LEAVE
    assert deed(DOCKERFILE, "FROM mine\n", upgrade=True) is Deed.LEAVE
    assert deed(DOCKERFILE, "FROM mine\n", force=True) is Deed.REPLACE


def test_what_another_version_wrote_is_renewed_by_an_upgrade_only() -> None:
    there = whole("FROM old\n", "1")
    assert deed(DOCKERFILE, there) is Deed.LEAVE
    write = planned(DOCKERFILE, there, upgrade=True)
    assert write is not None
    assert write.deed is Deed.RENEW
    assert {"-FROM old", "+FROM new"} < set(write.diff())


def test_what_a_person_changed_since_is_left_by_an_upgrade() -> None:
    there = whole("FROM old\n", "1") + "RUN mine\n"
    assert deed(DOCKERFILE, there, upgrade=True) is Deed.LEAVE
    assert deed(DOCKERFILE, there, force=True) is Deed.REPLACE


def test_another_version_alone_is_no_change() -> None:
    assert deed(DOCKERFILE, whole("FROM new\n", "1"), upgrade=True) is Deed.KEEP


def test_lines_are_added_to_a_persons_file_with_a_diff() -> None:
    write = planned(IGNORED, "mine\n")
    assert write is not None
    assert write.deed is Deed.ADD
    assert "+**/target" in write.diff()
    assert not [line for line in write.diff() if line.startswith("-") and not line.startswith("---")]
    assert deed(IGNORED, write.after) is Deed.KEEP


def test_lines_are_renewed_as_files_are() -> None:
    old = with_block("mine\n", "**/old\n", "1")
    assert deed(IGNORED, old) is Deed.LEAVE
    assert deed(IGNORED, old, upgrade=True) is Deed.RENEW
    edited = old.replace("**/old", "**/mine")
    assert deed(IGNORED, edited, upgrade=True) is Deed.LEAVE
    assert deed(IGNORED, edited, force=True) is Deed.REPLACE


def test_a_makefile_is_added_to_and_never_created() -> None:
    assert deed(MAKE, None) is None
    assert deed(MAKE, "all:\n") is Deed.ADD


def test_all_that_was_written_is_taken_out_again() -> None:
    there = {
        "Dockerfile": whole("FROM a\n", "1"),
        ".dockerignore": with_block("mine", "**/target\n", "1"),
        "kiro.yaml": "project: mine\n",
    }
    writes = unplan([*there, "gone"], there.get, force=False)
    assert [(one.path, one.deed, one.after) for one in writes] == [
        ("Dockerfile", Deed.REMOVE, None),
        (".dockerignore", Deed.RESTORE, "mine"),
    ]


def test_what_a_person_changed_since_is_removed_by_force_only() -> None:
    there = {"Dockerfile": whole("FROM a\n", "1") + "RUN mine\n"}
    (left,) = unplan(["Dockerfile"], there.get, force=False)
    assert (left.deed, left.writes) == (Deed.LEAVE, False)
    assert "-RUN mine" in left.diff()
    (removed,) = unplan(["Dockerfile"], there.get, force=True)
    assert removed.deed is Deed.REMOVE
