"""Builds that failed because something was full: what tells of it, and what it was."""

from __future__ import annotations

import pytest

from kiro_invoke.builds.executor import failure
from kiro_invoke.builds.full_disk import Kind, NoRoom, Shortage, explains, shortage_of
from kiro_invoke.builds.planner import plan_images
from kiro_invoke.engine.disk import Room
from kiro_invoke.model.errors import BuildFailed
from tests.unit.build_fakes import ROOT, fed, log, recipe, vertex

FULL = "cp: error writing '/app/x': No space left on device"


@pytest.mark.parametrize(
    "line",
    [
        FULL,
        "write /dev/sda: no space left on device",
        "npm error code ENOSPC",
        "npm ERR! errno -28",
        "Error: ENOSPC: no space left on device, write",
        "error: failed to write `/app/target/x`: No space left on device (os error 28)",
        "ERROR: failed to solve: failed to prepare abc as def: mkdir /var/lib/docker/tmp: no space left on device",
        "failed to commit snapshot: write /var/lib/docker/x: no space left on device",
        "failed to extract layer sha256:1: write /usr/bin/x: no space left on device: unknown",
        "E: You don't have enough free space in /var/cache/apt/archives/.",
        "sqlite3.OperationalError: database or disk is full",
    ],
)
def test_a_full_disk_is_recognized(line: str) -> None:
    found = shortage_of(["compiling", line, "make: *** [x] Error 1"])
    assert found is not None
    assert (found.kind, found.line) == (Kind.SPACE, line)


@pytest.mark.parametrize(
    "line",
    [
        "cp: error writing 'x': Disk quota exceeded",
        "error: Disk quota exceeded (os error 122)",
        "Error: EDQUOT: disk quota exceeded",
    ],
)
def test_a_used_up_quota_is_recognized(line: str) -> None:
    found = shortage_of([line])
    assert found is not None
    assert found.kind is Kind.QUOTA


@pytest.mark.parametrize(
    "line",
    [
        "Error: ENOSPC: System limit for number of file watchers reached, watch '/app/src'",
        "inotify_add_watch: No space left on device",
        "Failed to watch /app; upper limit on inotify watches reached: no space left on device",
        "fsnotify: no space left on device",
    ],
)
def test_file_watches_are_told_from_disks(line: str) -> None:
    found = shortage_of(["  errno: -28,", line, "  code: 'ENOSPC',"])
    assert found is not None
    assert (found.kind, found.line) == (Kind.WATCHES, line)
    told = explains(found, Room("/var/lib/docker", 0))
    assert told.why.startswith("no disk is full, but the user's file watches are used up")
    assert "fs.inotify.max_user_watches" in told.fix


@pytest.mark.parametrize(
    "line",
    [
        "",
        "error[E0308]: mismatched types",
        "test handles_enospc ... ok",
        "left some space on the device",
        "os error 281",
        "errno -280",
        "watching '/app' for changes",
        "ENOSPCX",
    ],
)
def test_other_failures_are_left_alone(line: str) -> None:
    assert shortage_of([line]) is None


def space(line: str = FULL) -> Shortage:
    found = shortage_of([line])
    assert found is not None
    return found


def test_whose_disk_was_full() -> None:
    told = explains(space(), Room("/var/lib/docker", 46_000_000))
    assert told.why == (
        "the engine's disk was full (/var/lib/docker: 46.0 MB free now that what the step wrote is gone)"
    )
    assert told.is_engines
    told = explains(space(), Room("/var/lib/docker", 80_000_000_000, 10**6))
    assert told.why == (
        "something was full (/var/lib/docker: 80.0 GB free now that what the step wrote is gone):"
        " unless it wrote as much, that is another file system"
    )
    assert "/dev/shm" in told.fix
    assert not told.is_engines
    assert explains(space(), None).why.startswith("a disk of the engine's machine was full, or")


def test_files_can_be_used_up_where_bytes_are_not() -> None:
    told = explains(space(), Room("/var/lib/docker", 80_000_000_000, 3))
    assert told.why == "the engine's disk (/var/lib/docker) takes 3 more files, whatever room they need"
    assert told.is_engines


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        ("write /dev/shm/x: no space left on device", "/dev/shm"),
        ("tar: '/scratch/deep/x': Cannot write: No space left on device", "/scratch"),
    ],
)
def test_a_file_system_of_the_steps_own(line: str, folder: str) -> None:
    told = explains(space(line), Room("/var/lib/docker", 46_000_000), in_memory=["", "/scratch"])
    assert told.why == f"{folder} is a file system in memory, of the step's own, and was full"
    assert f"another folder than {folder}" in told.fix
    assert not explains(
        space("write /scratches/x: no space left on device"), None, in_memory=["/scratch"]
    ).fix


def test_where_no_path_is_named_the_steps_own_file_system_may_have_been_full() -> None:
    told = explains(
        space("no space left on device"), Room("/data", 46_000_000), in_memory=["", "/scratch", "/tmp"]
    )
    assert told.why == (
        "/scratch, /tmp, in memory, or the engine's disk was full"
        " (/data: 46.0 MB free now that what the step wrote is gone)"
    )
    assert told.is_engines


def failed(lines: list[str]) -> BuildFailed:
    one = recipe("FROM a AS web\nRUN make\n")
    plan = plan_images((one,), "asked")
    progress, _ = fed(lines, {target.name: target.service for target in plan.targets})
    return failure(progress, plan, ROOT, ROOT / ".kiro/logs/x.log")


STARTED = "2026-01-02T03:04:05Z"


def test_a_step_that_says_so_long_before_it_ends_fails_for_want_of_room() -> None:
    printed = f"{FULL}\n" + "note\n" * 100
    ended = vertex("[web 2/2] RUN make", started=STARTED, completed=STARTED, error="exit code: 1")
    error = failed([*vertex("[web 2/2] RUN make", started=STARTED), *log(printed.encode()), *ended])
    assert isinstance(error, NoRoom)
    assert error.shortage == Shortage(Kind.SPACE, FULL, ("/app/x",))
    assert error.tail == ("note",) * 20
    assert str(error).startswith("web/Dockerfile.fast: web: web RUN make failed. Fix: see the whole log in")


def test_the_engine_itself_may_have_no_room() -> None:
    why = "failed to copy files: write /var/lib/docker/x: no space left on device"
    ended = vertex("[web 2/2] COPY . .", started=STARTED, completed=STARTED, error=why)
    assert isinstance(failed(ended), NoRoom)
    assert isinstance(
        failed(["ERROR: failed to solve: mkdir /var/lib/docker/x: no space left on device"]), NoRoom
    )


def test_what_another_step_prints_is_no_reason() -> None:
    ended = vertex("[web 2/2] RUN make", started=STARTED, completed=STARTED, error="exit code: 1")
    other = vertex("[web 1/2] RUN df", "sha256:2", started=STARTED)
    error = failed([*other, *log(FULL.encode(), "sha256:2"), *ended])
    assert not isinstance(error, NoRoom)
