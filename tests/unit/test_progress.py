"""Reading what BuildKit tells while it builds: recorded streams, and odd ones written here."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from kiro_invoke.builds.progress import Ended, Printed, Started, StepName
from kiro_invoke.model.record import Step
from tests.unit.build_fakes import event, fed, log, ran, recorded, vertex

FINAL = {"web-dev-final": "web"}
TWO = {"web-prod-app": "web", "web-prod-other": "web"}
START = "2026-01-02T03:04:05Z"


def told(steps: Sequence[Step]) -> list[tuple[str, str, str, bool]]:
    return [(step.service, step.stage, step.text.split()[0], step.cached) for step in steps]


# --- recorded streams


def test_a_build_that_ran() -> None:
    progress, seen = fed(recorded("success"), FINAL)
    assert sorted(told(progress.steps)) == [
        ("web", "base", "FROM", True),
        ("web", "base", "RUN", False),
        ("web", "final", "COPY", False),
        ("web", "final", "RUN", False),
    ]
    assert seen.printed == ["one", "two", "half", "done"]
    slow = next(step for step in progress.steps if step.text.startswith("RUN printf"))
    assert 0.3 <= slow.seconds < 1
    assert slow.completed - slow.started == pytest.approx(slow.seconds, abs=0.001)
    assert progress.failed_step() is None
    assert progress.plain == ()


def test_its_steps_are_told_once_each_from_start_to_end() -> None:
    _, seen = fed(recorded("success"), FINAL)
    starts = [event.step for event in seen.events if isinstance(event, Started)]
    ends = [event.step for event in seen.events if isinstance(event, Ended)]
    assert len(starts) == len(set(starts))
    assert sorted(starts, key=str) == sorted(ends, key=str)
    assert StepName("web-dev-final", "final", "RUN echo done >&2") in ends


def test_the_same_build_again_is_cached() -> None:
    progress, seen = fed(recorded("cached"), FINAL)
    assert [step.text.split()[0] for step in progress.steps if not step.cached] == ["FROM"]
    assert len(progress.steps) == 4
    assert seen.printed == []


def test_a_step_that_failed() -> None:
    progress, seen = fed(recorded("failing_step"), {"web-dev-build": "web"})
    failed = progress.failed_step()
    assert failed is not None
    step, tail = failed
    assert (step.target, step.stage, step.place) == ("web-dev-build", "build", "web-dev-build build")
    assert step.text.startswith("RUN echo compiling")
    assert tail == ("compiling", "error: no such type")
    assert progress.failed_place() == ("Dockerfile", 5)
    assert progress.failed_target() == "web-dev-build"
    assert progress.plain[-1].startswith("ERROR: failed to solve")
    assert any(isinstance(event, Ended) and "exit code: 7" in event.error for event in seen.events)


def test_of_two_targets_the_one_that_failed_is_blamed_not_the_one_that_was_cancelled() -> None:
    progress, _ = fed(recorded("failing_step_of_two"), {"web-dev-final": "web", "api-dev-build": "api"})
    failed = progress.failed_step()
    assert failed is not None
    assert (failed[0].target, failed[0].stage) == ("api-dev-build", "build")
    assert progress.failed_place() == ("Dockerfile", 5)


@pytest.mark.parametrize(("name", "line"), [("syntax_error", 3), ("missing_file", 3)])
def test_a_dockerfile_that_cannot_be_built(name: str, line: int) -> None:
    progress, _ = fed(recorded(name), {"web-dev-base": "web"})
    assert progress.failed_place() == ("Dockerfile", line)
    assert progress.failed_target() == "web-dev-base"


def test_a_syntax_error_is_no_steps() -> None:
    progress, _ = fed(recorded("syntax_error"), {"web-dev-base": "web"})
    failed = progress.failed_step()
    assert failed is None or failed[0].stage == ""
    assert progress.steps == ()


def test_a_missing_file_is_the_copys() -> None:
    progress, _ = fed(recorded("missing_file"), {"web-dev-base": "web"})
    failed = progress.failed_step()
    assert failed is not None
    assert failed[0].text == "COPY nothing-here.txt ./"


def test_a_step_that_two_targets_share_is_one_step() -> None:
    progress, seen = fed(recorded("shared_step"), TWO)
    shared = [step for step in progress.steps if step.stage == "base" and step.text.startswith("RUN")]
    assert [(step.service, step.cached) for step in shared] == [("web", False)]
    assert sum(isinstance(e, Ended) and "shared" in e.step.text for e in seen.events) == 1
    assert {step.stage for step in progress.steps} == {"base", "app", "other"}


def test_a_failure_of_a_step_that_two_services_share_is_each_ones() -> None:
    lines = [*vertex("[web-dev a 1/1] RUN x", started=START), *ran("[api-dev a 1/1] RUN x", error="e")]
    targets = {"web-dev": "web", "api-dev": "api", "other": "third"}
    progress, _ = fed(lines, targets)
    assert progress.failed_services() == ("api", "web")
    assert fed([], targets)[0].failed_services() == ()


def test_a_step_that_two_services_share_is_a_step_of_each() -> None:
    progress, seen = fed(
        recorded("shared_step_of_two_services"), {"api-dev-app": "api", "web-dev-app": "web"}
    )
    shared = [step for step in progress.steps if step.text.startswith("RUN echo shared")]
    assert [(step.service, step.cached) for step in shared] == [("api", False), ("web", False)]
    assert sum(isinstance(e, Ended) and "shared" in e.step.text for e in seen.events) == 1


def test_a_dockerfile_with_one_stage_has_steps_too() -> None:
    progress, _ = fed(recorded("one_stage_file"), {"web-dev-only": "web"})
    assert sorted(told(progress.steps)) == [
        ("web", "stage-0", "FROM", True),
        ("web", "stage-0", "RUN", False),
    ]


def test_a_dockerfile_with_one_stage_beside_another() -> None:
    progress, _ = fed(recorded("one_stage_file_of_two"), {"api-dev-0": "api", "web-dev-final": "web"})
    found = told(progress.steps)
    assert ("api", "stage-0", "RUN", False) in found
    assert {("web", "base", "RUN", True), ("web", "final", "COPY", True)} <= set(found)


# --- names


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("[build 2/5] RUN make", StepName("only", "build", "RUN make")),
        ("[build  2/15] RUN make", StepName("only", "build", "RUN make")),
        ("[Build 2/5] RUN  make \n x", StepName("only", "build", "RUN make x")),
        ("[linux/arm64 build 2/5] RUN make", StepName("only", "build", "RUN make")),
        ("[linux/arm64 2/5] RUN make", StepName("only", "stage-0", "RUN make")),
        ("[linux/arm/v7 build 2/5] RUN make", StepName("only", "build", "RUN make")),
        ("[stage-1 2/5] RUN make", StepName("only", "stage-1", "RUN make")),
        ("[2/5] RUN make", StepName("only", "stage-0", "RUN make")),
        ("[internal] load build context", StepName("", "", "[internal] load build context")),
        ("exporting to image", StepName("", "", "exporting to image")),
        ("[build] 2/5", StepName("", "", "[build] 2/5")),
    ],
)
def test_names_of_a_build_with_one_target(label: str, name: StepName) -> None:
    _, seen = fed(ran(label), {"only": "web"})
    assert seen.events[0] == Started(name)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("[web-prod-app build 2/5] RUN make", StepName("web-prod-app", "build", "RUN make")),
        ("[web-prod-app linux/arm64 build 2/5] RUN make", StepName("web-prod-app", "build", "RUN make")),
        ("[web-prod-app 2/5] RUN make", StepName("web-prod-app", "stage-0", "RUN make")),
        (
            "[web-prod-app internal] load .dockerignore",
            StepName("", "", "[web-prod-app internal] load .dockerignore"),
        ),
    ],
)
def test_names_of_a_build_with_several(label: str, name: StepName) -> None:
    _, seen = fed(ran(label), TWO)
    assert seen.events[0] == Started(name)


def test_the_engines_own_steps_are_shown_as_its_own() -> None:
    assert StepName("", "", "exporting").place == "engine"
    assert StepName("t", "build", "RUN x").place == "t build"


# --- events


def test_a_step_that_is_taken_up_again_took_the_sum() -> None:
    lines = [
        *vertex("[a 1/1] RUN x", started=START, completed="2026-01-02T03:04:06Z"),
        *vertex("[a 1/1] RUN x", started="2026-01-02T03:04:10Z"),
        *vertex("[a 1/1] RUN x", started="2026-01-02T03:04:10Z", completed="2026-01-02T03:04:12.25Z"),
    ]
    progress, seen = fed(lines, {"only": "web"})
    (step,) = progress.steps
    assert step.seconds == 3.25
    assert step.completed - step.started == 7.25
    assert len(seen.events) == 2


def test_a_step_that_never_ended_is_no_step() -> None:
    progress, _ = fed(vertex("[a 1/1] RUN x", started=START), {"only": "web"})
    assert progress.steps == ()


@pytest.mark.parametrize("decimals", ["", ".5", ".123456789"])
def test_times_have_any_number_of_decimals(decimals: str) -> None:
    lines = vertex(
        "[a 1/1] RUN x", started="2026-01-02T03:04:05Z", completed=f"2026-01-02T03:04:07{decimals}Z"
    )
    (step,) = fed(lines, {"only": "web"})[0].steps
    assert step.seconds == pytest.approx(2 + float(f"0{decimals or '.0'}"), abs=0.001)


@pytest.mark.parametrize("value", [None, []])
def test_an_event_may_be_empty(value: object) -> None:
    progress, seen = fed(event(vertexes=value, logs=value, statuses=value), {"only": "web"})
    assert (progress.steps, seen.events) == ((), [])


def test_events_of_one_line_each_are_read_too() -> None:
    line = json.dumps(json.loads("".join(ran("[a 1/1] RUN x"))))
    progress, _ = fed([line], {"only": "web"})
    assert told(progress.steps) == [("web", "a", "RUN", False)]


def test_plain_text_is_kept_blank_lines_are_not() -> None:
    progress, _ = fed(["", "WARNING: x", "  ", "ERROR: y"], {"only": "web"})
    assert progress.plain == ("WARNING: x", "ERROR: y")


# --- output


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\nc\n"], ["ab", "c"]),
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"10%\r50%\r100%\n"], ["100%"]),
        ([b"\xe2\x9c", b"\x93 done\n"], ["✓ done"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([b"\n\n"], ["", ""]),
        ([b""], []),
        ([b"no end"], ["no end"]),
    ],
)
def test_output_is_told_in_whole_lines(pieces: list[bytes], lines: list[str]) -> None:
    name = "[a 1/1] RUN x"
    stream = [*vertex(name, started=START), *(line for piece in pieces for line in log(piece)), *ran(name)]
    _, seen = fed(stream, {"only": "web"})
    assert seen.printed == lines
    assert isinstance(seen.events[-1], Ended)


def test_two_streams_of_a_step_do_not_mix_within_a_line() -> None:
    name = "[a 1/1] RUN x"
    stream = [
        *vertex(name, started=START),
        *log(b"ou", stream=1),
        *log(b"err\n", stream=2),
        *log(b"t\n", stream=1),
    ]
    assert fed(stream, {"only": "web"})[1].printed == ["err", "out"]


def test_output_of_a_step_that_is_not_known_is_dropped() -> None:
    assert fed(log(b"x\n"), {"only": "web"})[1].events == []


def test_a_failure_keeps_the_last_200_lines_the_unended_one_included() -> None:
    name = "[a 1/1] RUN x"
    many = b"".join(b"line %d\n" % n for n in range(300)) + b"unended"
    before, _ = fed(
        [*vertex(name, started=START), *log(many), *vertex(name, started=START, error="e")], {"only": "w"}
    )
    after, _ = fed([*vertex(name, started=START), *log(many), *ran(name, error="e")], {"only": "w"})
    for progress in (before, after):
        failed = progress.failed_step()
        assert failed is not None
        assert failed[1] == (*(f"line {n}" for n in range(101, 300)), "unended")


def test_a_printed_line_names_its_step() -> None:
    stream = [*vertex("[a 1/1] RUN x", started=START), *log(b"hi\n")]
    assert fed(stream, {"only": "web"})[1].events[-1] == Printed(StepName("only", "a", "RUN x"), "hi")


# --- failures


def test_the_first_step_that_failed_by_itself_is_blamed() -> None:
    lines = [
        *ran("[a 1/1] RUN x", "sha256:1", error="process: context canceled"),
        *ran("[b 1/1] RUN y", "sha256:2", error="exit code: 1"),
        *ran("[c 1/1] RUN z", "sha256:3", error="exit code: 2"),
    ]
    failed = fed(lines, {"only": "web"})[0].failed_step()
    assert failed is not None
    assert failed[0].stage == "b"


@pytest.mark.parametrize(
    ("plain", "place"),
    [
        (["Dockerfile.fast:12", "-" * 20, " 12 | >>> RUN x", "-" * 20, "ERROR: x"], ("Dockerfile.fast", 12)),
        (["a b/ü:x.df:3", "-" * 20], ("a b/ü:x.df", 3)),
        (["note:3", "something else", "ERROR: parse error on line 7: x"], ("", 7)),
        (["ERROR: dockerfile parse error on line 7: x"], ("", 7)),
        (["ERROR: target stage x could not be found"], None),
        ([], None),
    ],
)
def test_the_place_of_a_failure(plain: list[str], place: tuple[str, int] | None) -> None:
    assert fed(plain, {"only": "web"})[0].failed_place() == place


@pytest.mark.parametrize(
    ("targets", "plain", "blamed"),
    [
        (TWO, ["ERROR: target web-prod-other: failed to solve: x"], "web-prod-other"),
        (TWO, ["ERROR: failed to solve: x"], ""),
        ({"only": "web"}, ["ERROR: failed to solve: x"], "only"),
        ({}, [], ""),
    ],
)
def test_the_target_of_a_failure(targets: dict[str, str], plain: list[str], blamed: str) -> None:
    assert fed(plain, targets)[0].failed_target() == blamed


def test_a_step_that_several_targets_report_ran_only_once() -> None:
    """Each target tells of its own span; together they are no longer than the clock on the wall."""
    lines = [
        *vertex("[a x 1/2] RUN y", started="2026-01-02T03:04:00Z", completed="2026-01-02T03:04:10Z"),
        *vertex("[a x 1/2] RUN y", started="2026-01-02T03:04:04Z", completed="2026-01-02T03:04:10Z"),
        *vertex("[a x 1/2] RUN y", started="2026-01-02T03:04:20Z", completed="2026-01-02T03:04:21Z"),
    ]
    assert [step.seconds for step in fed(lines, TWO)[0].steps] == [11.0]


# --- what was sent, and what another build ran


def sent(digest: str, id: str, *counts: int) -> list[str]:
    return [
        line for count in counts for line in event(statuses=[{"id": id, "vertex": digest, "current": count}])
    ]


def test_the_bytes_of_contexts_are_counted_and_of_nothing_else() -> None:
    lines = [
        *vertex("[web-prod-app internal] load build definition from Dockerfile", "sha256:d", started=START),
        *sent("sha256:d", "transferring dockerfile:", 10_000),
        *vertex("[web-prod-app internal] load .dockerignore", "sha256:i", started=START),
        *sent("sha256:i", "transferring context:", 66),
        *vertex("[web-prod-app internal] load build context", "sha256:c", started=START),
        *sent("sha256:c", "transferring context:", 0, 500, 3_000_000),
        *vertex("[web-prod-other internal] load build context", "sha256:o", started=START),
        *sent("sha256:o", "transferring context:", 40),
        *vertex("[web-prod-app context kiro-skeleton] load from client", "sha256:s", started=START),
        *sent("sha256:s", "transferring kiro-skeleton:", 2),
        *sent("sha256:s", "sending tarball", 7),
    ]
    progress, _ = fed(lines, TWO)
    assert progress.context_bytes == 3_000_042


def test_one_targets_context_is_counted() -> None:
    lines = [
        *vertex("[internal] load build context", "sha256:c"),
        *sent("sha256:c", "transferring context:", 9),
    ]
    assert fed(lines, FINAL)[0].context_bytes == 9


BEGINS = vertex(
    "[web internal] load build definition from Dockerfile", "sha256:d", started="2026-01-02T04:00:00Z"
)
EARLIER = {"started": "2026-01-02T03:50:00Z", "completed": "2026-01-02T03:59:00Z"}


def test_what_another_build_ran_before_is_found_done() -> None:
    """While that one goes on, the engine tells its steps again in each build that takes from them."""
    progress, seen = fed([*BEGINS, *vertex("[a 1/1] RUN x", **EARLIER)], {"web": "web"})
    (step,) = progress.steps
    assert (step.cached, step.seconds, step.started) == (True, 0.0, 0.0)
    assert [event.cached for event in seen.events if isinstance(event, Ended)] == [True]


def test_a_build_begins_with_the_first_of_its_targets() -> None:
    lines = [
        *vertex(
            "[a internal] load build definition from Dockerfile", "sha256:a", started="2026-01-02T04:00:05Z"
        ),
        *vertex(
            "[b internal] load build definition from Dockerfile", "sha256:b", started="2026-01-02T04:00:00Z"
        ),
        *vertex("[b x 1/1] RUN x", started="2026-01-02T04:00:01Z", completed="2026-01-02T04:00:02Z"),
    ]
    (step,) = fed(lines, {"a": "a", "b": "b"})[0].steps
    assert not step.cached


def test_what_another_build_began_before_and_this_one_waited_for_ran() -> None:
    times = EARLIER | {"completed": "2026-01-02T04:00:30Z"}
    (step,) = fed([*BEGINS, *vertex("[a 1/1] RUN x", **times)], {"web": "web"})[0].steps
    assert not step.cached


def test_what_another_build_ran_before_and_this_one_runs_again_ran() -> None:
    again = {"started": "2026-01-02T04:00:01Z", "completed": "2026-01-02T04:00:03Z"}
    lines = [*BEGINS, *vertex("[a 1/1] RUN x", **EARLIER), *vertex("[a 1/1] RUN x", **again)]
    (step,) = fed(lines, {"web": "web"})[0].steps
    assert (step.cached, step.seconds) == (False, 2.0)


def test_what_signs_a_url_is_not_kept() -> None:
    url = "https://store.example/layer?X-Amz-Credential=me&X-Amz-Signature=abc123&part=2"
    error = f'failed to copy: Put "{url}": dial tcp: no route; https://b.example/?sv=1&sig=abc123'
    progress, seen = fed(
        [*ran("importing cache manifest from registry.example/c", error=error), f"ERROR: {error}"], FINAL
    )
    (trouble,) = progress.cache_troubles
    (ended,) = [event for event in seen.events if isinstance(event, Ended)]
    for told in (trouble.why, ended.error, *progress.plain):
        assert "abc123" not in told
        assert "https://store.example/layer" in told
        assert 'part=2": dial tcp: no route' in told
