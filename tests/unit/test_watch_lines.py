"""What a person, and a program, is told of the loop."""

from __future__ import annotations

import io
import json

import jsonschema
import pytest
from rich.console import Console

from kiro_invoke.commands.watch_rows import fields
from kiro_invoke.loop import outcome, told
from kiro_invoke.loop.decide import Way
from kiro_invoke.model.change import Kind
from kiro_invoke.screen import Paper
from kiro_invoke.watch_lines import lines
from kiro_invoke.watch_screen import WatchScreen
from tests.support.engine import ROOT

SCHEMA = json.loads((ROOT / "kiro_invoke/schemas/watch.json").read_text())
REVISION = "kiro-revision-0123456789abcdef"
CHANGE = told.Change("web", ("web/src/a.ts",), Kind.SOURCE, "src/a.ts changed", Way.LIVE)
MANY = told.Change("web", ("web/a", "web/b", "web/c"), Kind.DEPENDENCY, "lock: crate `x` added", Way.IMAGE)
SECONDS = told.Seconds(0.05, 0.01, 0.9, 0.03, 1.0)
ERROR = (
    b"   Compiling web\n\x1b[33mwarning\x1b[0m: unused\n\x1b[1m\x1b[31merror[E0001]\x1b[0m: wrong\x1b]0;title\x07\n"
    b"  --> src/a.rs:1\n"
)
ALL: list[tuple[told.Told, str]] = [
    (told.Started("web", REVISION), "web        watched, 012345678"),
    (told.Started("web", REVISION, urls=("http://127.0.0.1:1",)), "web        watched, 012345678  http://127.0.0.1:1"),
    (told.Ready(3, ("web", "api"), ends=True), "web, api serve what is saved; the containers run on"),
    (told.Ready(3, ("web", "api"), broken=("api",), ends=True),
     "web serve what is saved; api broken; the containers run on"),
    (told.Started("web", REVISION, "no sh"), "web        watched, 012345678; not live: no sh"),
    (told.Ready(3, ("web", "api")), "watching web, api in 3 folders; Ctrl-C ends it"),
    (told.Ready(3, ("web",), "looking every 1 s: nfs"),
     "watching web in 3 folders (looking every 1 s: nfs); Ctrl-C ends it"),
    (told.Served(CHANGE, SECONDS, REVISION),
     "web        SOURCE      src/a.ts changed -> live, serving 012345678 after 1.00 s "
     "(detect 0.05, sync 0.01, build 0.90, restart 0.03)"),
    (told.Served(MANY, SECONDS, REVISION, reconciled=True, tested=outcome.Tested(True, 0.5)),
     "web        DEPENDENCY  web/a, web/b and 1 more: lock: crate `x` added -> image, reconciled 012345678 "
     "after 1.00 s (detect 0.05, sync 0.01, build 0.90, restart 0.03); test passed in 0.50 s"),
    (told.Served(CHANGE, told.Seconds(total=0.1), REVISION, tested=outcome.Tested(False, 0.5, b"1 failed\n")),
     "web        SOURCE      src/a.ts changed -> live, serving 012345678 after 0.10 s (); test FAILED in 0.50 s\n"
     "1 failed"),
    (told.Broken(CHANGE, "does not build", ERROR, None),
     "web        SOURCE      src/a.ts changed -> live: BROKEN, does not build; nothing is served.\n"
     "error[E0001]: wrong\n  --> src/a.rs:1"),
    (told.Superseded(CHANGE), "web        SOURCE      src/a.ts changed: superseded by a newer save"),
    (told.Unaffected("web", ("web/a",), "content unchanged"),
     "web        IGNORED     web/a: content unchanged; nothing done"),
    (told.Refreshed("web", 2.5), "web        image built behind it in 2.50 s"),
    (told.Stopped("web", "its container ended"), "web        its container ended"),
    (told.Trouble("the engine is gone", "start it"), "the engine is gone. Fix: start it"),
    (told.Note("looking at everything"), "looking at everything"),
    (told.Why(("web: SOURCE: x -> live",)), "the last decisions:\nweb: SOURCE: x -> live"),
    (told.Why(), "nothing was to be decided yet"),
    (told.Status("web", "building"), ""),
]  # fmt: skip


def plain(one: told.Told) -> str:
    stream = io.StringIO()
    screen = WatchScreen(Paper(lambda: Console(file=stream), stream))
    screen(one)
    return "\n".join(line[10:] for line in stream.getvalue().splitlines())


@pytest.mark.parametrize(("one", "said"), ALL, ids=lambda each: type(each).__name__)
def test_lines_for_people(one: told.Told, said: str) -> None:
    assert plain(one) == said


@pytest.mark.parametrize(("one", "_said"), ALL, ids=lambda each: type(each).__name__)
def test_rows_fit_the_schema(one: told.Told, _said: str) -> None:
    row = fields(one)
    if isinstance(one, told.Status | told.Why):
        assert row is None
    else:
        jsonschema.validate({"schema": 1, **(row or {})}, SCHEMA)


def test_a_broken_build_says_since_when_old_code_is_served() -> None:
    (line, _style), *_ = lines(told.Broken(CHANGE, "does not build", b"", 0.0, "mend it"))
    assert "it still serves the code of before " in line
    assert line.endswith(". Fix: mend it")


def test_a_served_row_is_as_documented() -> None:
    assert fields(told.Served(CHANGE, SECONDS, REVISION)) == {
        "event": "served",
        "service": "web",
        "paths": ["web/src/a.ts"],
        "kind": "SOURCE",
        "cause": "src/a.ts changed",
        "path": "live",
        "seconds": {"detect": 0.05, "sync": 0.01, "build": 0.9, "restart": 0.03, "total": 1.0},
        "revision": REVISION,
    }


def terminal() -> tuple[WatchScreen, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="standard", width=200)
    return WatchScreen(Paper(lambda: console)), stream


def test_a_terminal_keeps_the_compilers_colours_and_nothing_else() -> None:
    screen, stream = terminal()
    screen(told.Broken(CHANGE, "does not build", ERROR, None))
    shown = stream.getvalue()
    assert "\x1b[1;31merror[E0001]" in shown
    assert "title" not in shown


def test_logs_have_their_services_name_and_cannot_move_the_cursor() -> None:
    screen, stream = terminal()
    screen.log("web", b"\x1b[32mgreen\x1b[0m \x1b[2J\x1b[1;1H\x07caf\xc3\xa9 \xff")
    shown = stream.getvalue()
    assert "web        | " in shown
    assert "\x1b[32mgreen" in shown
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown
    assert "café" in shown


def test_the_line_of_states_tells_how_each_service_stands() -> None:
    screen, stream = terminal()
    with screen.showing():
        screen(told.Status("web", "serving", REVISION))
        screen(told.Status("api", "building (cook RUN cargo)"))
        screen(told.Note("a line above it"))
    shown = stream.getvalue()
    assert "serving 012345678" in shown
    assert "building (cook RUN cargo)" in shown
    assert "q quit" in shown


def test_a_warning_is_shown_though_it_builds() -> None:
    found = list(
        lines(told.Served(CHANGE, SECONDS, REVISION, output=b"Compiling\nwarning: unused\n  --> a.rs\n"))
    )
    assert [text for text, _ in found[1:]] == ["warning: unused", "  --> a.rs"]


def test_of_long_output_the_beginning_is_shown() -> None:
    output = b"error: x\n" + b"more\n" * 500
    found = list(lines(told.Broken(CHANGE, "does not build", output, None)))
    assert len(found) == 62
    assert found[-1][0] == "... and 441 more lines"


def test_of_a_failed_test_the_end_is_shown() -> None:
    output = b"".join(b"line %d\n" % number for number in range(100))
    found = list(lines(told.Served(CHANGE, SECONDS, REVISION, tested=outcome.Tested(False, 1.0, output))))
    assert [text for text, _ in found[1:]] == [
        "70 lines before ...",
        *(f"line {at}" for at in range(70, 100)),
    ]
