"""Whether there is room for a build: what it probably needs, and what is decided."""

from __future__ import annotations

import pytest

from kiro_invoke.cache.guard import (
    UNKNOWN_BYTES,
    CleanFirst,
    Enough,
    Former,
    Freeable,
    Need,
    Stop,
    decide,
    need_of,
    remedies,
)
from kiro_invoke.engine.disk import Room

MB, GB = 1_000_000, 1_000_000_000
SIZES = {"RUN cook": 900 * MB, "RUN build": 40 * MB, "COPY a b": 2 * MB}
EDIT = Former((("web", "RUN build"), ("web", "COPY a b")))
FIRST = Former((("web", "RUN cook"), ("web", "RUN build"), ("web", "COPY a b")))


def test_warm_builds_need_what_such_builds_added_on_average() -> None:
    assert need_of(["web"], [], [FIRST, EDIT, EDIT], SIZES) == Need(
        (942 + 42 + 42) * MB // 3, "the last 3 builds of web added 342 MB on average"
    )
    assert need_of(["web"], [], [EDIT], SIZES) == Need(42 * MB, "the last build of web added 42.0 MB")


def test_mounts_that_grew_count_and_those_that_shrank_do_not() -> None:
    grew, shrank = Former(EDIT.ran, 100 * MB), Former(EDIT.ran, -500 * MB)
    assert need_of(["web"], [], [grew], SIZES).bytes == 142 * MB
    assert need_of(["web"], [], [grew, shrank], SIZES).bytes == 92 * MB


def test_a_step_that_services_share_left_its_layer_once() -> None:
    shared = Former((("web", "RUN  cook"), ("api", "RUN cook")))
    assert need_of(["web", "api"], [], [shared], SIZES).bytes == 900 * MB


def test_builds_of_others_tell_nothing() -> None:
    other = Former((("api", "RUN cook"),))
    assert need_of(["web"], [], [EDIT, other], SIZES).bytes == 42 * MB


def test_a_service_that_was_never_built_is_assumed_and_said() -> None:
    need = need_of(["web", "api"], ["api"], [EDIT], SIZES)
    assert need == Need(
        UNKNOWN_BYTES + 42 * MB,
        "api was never built here: 2.0 GB assumed; the last build of web added 42.0 MB",
    )
    assert need_of(["api", "web"], ["api", "web", "api"], [], {}).bytes == 2 * UNKNOWN_BYTES


def test_a_service_whose_image_is_gone_takes_all_that_its_steps_left() -> None:
    need = need_of(["web"], ["web"], [EDIT, FIRST, EDIT], SIZES)
    assert need == Need(942 * MB, "web is built anew: its layers held 942 MB")


def test_without_a_history_it_is_what_is_known_of_layers_within_reason() -> None:
    need = need_of(["web"], [], [], SIZES)
    assert need == Need(942 * MB, "nothing tells what builds of web add: 942 MB assumed")
    assert need_of(["web"], [], [], {"RUN x": 90 * GB}).bytes == UNKNOWN_BYTES
    assert need_of([], [], [], SIZES).bytes == 0


ROOM = Room("/var/lib/docker", 1_200 * MB)
NEED = Need(2_100 * MB, "the last build of web added 2.1 GB")
TOLD = (
    "1.2 GB free on the engine's disk (/var/lib/docker), this build probably needs 2.1 GB"
    " (the last build of web added 2.1 GB) and 3.0 GB are to stay free"
)
LAYERS = Freeable("layers", "kiro clean-cache --what build", 4_100 * MB)


def test_enough() -> None:
    found = decide(Room("/data", 6 * GB), NEED, 3 * GB, ())
    assert found == Enough(
        "6.0 GB free on the engine's disk (/data), 2.1 GB needed: the last build of web added 2.1 GB"
    )
    assert isinstance(decide(Room("/data", 5_100 * MB), NEED, 3 * GB, ()), Enough)
    assert isinstance(decide(Room("/data", 5_100 * MB - 1), NEED, 3 * GB, ()), Stop)


def test_no_floor_is_no_guard() -> None:
    assert decide(Room("/data", 0), NEED, 0, ()) == Enough("no floor is set")


def test_what_is_missing_is_cleaned_first() -> None:
    assert decide(ROOM, NEED, 3 * GB, [LAYERS]) == CleanFirst(3_900 * MB, TOLD)


@pytest.mark.parametrize("bytes", [0, 3_900 * MB - 1])
def test_where_cleaning_would_not_do_it_stops_and_says_what_would_help(bytes: int) -> None:
    found = decide(ROOM, NEED, 3 * GB, [Freeable("layers", "kiro clean-cache", bytes)])
    assert isinstance(found, Stop)
    assert found.message == TOLD
    own = (
        "`kiro clean-cache` would free 3.9 GB (layers); "
        if bytes
        else "nothing of this project's own can go; "
    )
    assert found.fix.startswith(f"{own}`docker system df -v` shows")
    assert found.fix.endswith("; or let less stay free (disk.floor in kiro.yaml, KIRO_DISK_FLOOR)")


def test_remedies() -> None:
    assert remedies([LAYERS]).startswith(
        "`kiro clean-cache --what build` would free 4.1 GB (layers); `docker"
    )
