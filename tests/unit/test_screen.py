"""What a person sees, and that nothing a build prints can move the cursor."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kiro_invoke import screen
from kiro_invoke.board import Board
from kiro_invoke.builds.progress import Ended, Event, Printed, Started, StepName
from kiro_invoke.model.record import BaseRecord, BuildRecord, ImageRecord, StageRecord, Step
from kiro_invoke.plain import clean
from kiro_invoke.screen import Paper, lines, observer_for, quiet, show_record, show_timings

RUN = StepName("web", "build", "RUN make")
FROM = StepName("web", "build", "FROM debian")
INTERNAL = StepName("", "", "[internal] load build context")
EVIL = "\x1b[2J\x1b]0;title\x07\x1bPq\x1b\\red\x9b31m\x08\x07"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=200, color_system=None)


def piped() -> Paper:
    return Paper(console)


def text(out: Console | Paper) -> str:
    file = (out.console if isinstance(out, Paper) else out).file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def told(*events: Event, every_line: bool = False) -> list[str]:
    out = piped()
    show = lines(out, every_line=every_line)
    for event in events:
        show(event)
    return text(out).splitlines()


# --- clean


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("ü ✓ 日本", "ü ✓ 日本"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;2;1;2;3mrgb", "rgb"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended", ""),
        ("\x1bcreset", "creset"),
        ("\x1b(Bx", "(Bx"),
        ("a\x08b\x07c\x00d\x7fe", "abcde"),
        ("a\x9b31mb", "a31mb"),
        ("a\rb", "ab"),
        ("a\tb", "a       b"),
    ],
)
def test_clean(line: str, shown: str) -> None:
    assert clean(line) == shown


@settings(deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=0xA5), max_size=60))
def test_nothing_that_controls_a_terminal_is_left(line: str) -> None:
    assert all(c == "\n" or c.isprintable() or c == "\xa0" for c in clean(line).replace("\xad", ""))


# --- consoles


@pytest.mark.parametrize(
    ("environ", "terminal", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True, True),
        ({"TERM": "xterm-256color", "CI": "true"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colour_is_for_people(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str], terminal: bool, coloured: bool
) -> None:
    for name in ("NO_COLOR", "CI", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    out = screen.paper(stderr=True, environ=environ)
    out.line("a ", ("word", "red"))
    assert out.is_terminal is terminal
    assert ("\x1b[31m" in stream.getvalue()) is coloured
    assert "word" in stream.getvalue()


@pytest.mark.parametrize("name", ["", "FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_pipe_gets_plain_lines_that_are_not_wrapped(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name:
        monkeypatch.setenv(name, "1")
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    out = screen.paper(stderr=False, environ={"TERM": "xterm-256color"})
    out.line(("x" * 500, "red"))
    out.line("[bold]not markup[/bold] ", ("123", "red"))
    assert stream.getvalue() == "x" * 500 + "\n[bold]not markup[/bold] 123\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_for_copying_is_never_wrapped(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    screen.paper(stderr=False, environ={"TERM": "xterm", "COLUMNS": "40"}).unwrapped("word " * 100)
    assert stream.getvalue() == "word " * 100 + "\n"


# --- lines


def test_a_step_that_ran_is_a_line() -> None:
    assert told(Started(RUN), Printed(RUN, "hi"), Ended(RUN, False, 12.34, "")) == [
        "  12.3 s  web build  RUN make"
    ]


@pytest.mark.parametrize(
    "event",
    [Ended(RUN, True, 0, ""), Ended(FROM, False, 0.1, ""), Ended(INTERNAL, False, 1, ""), Started(RUN)],
)
def test_what_cost_nothing_is_no_line(event: Event) -> None:
    assert told(event) == []


@pytest.mark.parametrize("step", [RUN, FROM])
def test_what_failed_is_a_line(step: StepName) -> None:
    (line,) = told(Ended(step, False, 1, "exit code: 1"))
    assert line.startswith("  FAILED  web build  ")


def test_every_line_shows_everything() -> None:
    events = (Printed(RUN, "hi"), Ended(RUN, True, 0, ""), Ended(FROM, False, 0.0, ""))
    assert told(*events, every_line=True) == [
        "web build | hi",
        "  cached  web build  RUN make",
        "   0.0 s  web build  FROM debian",
    ]


def test_a_long_step_is_cut() -> None:
    (line,) = told(Ended(StepName("t", "s", "RUN " + "x" * 500), False, 1, ""))
    assert len(line) < 130


@pytest.mark.parametrize("every_line", [True, False])
def test_what_a_build_prints_cannot_control_the_terminal(every_line: bool) -> None:
    evil = StepName("web", "build", f"RUN {EVIL}")
    found = "".join(told(Printed(RUN, EVIL), Ended(evil, False, 1, EVIL), every_line=every_line))
    assert found.isprintable()
    assert "RUN" in found


def test_quiet_shows_nothing() -> None:
    quiet(Printed(RUN, "hi"))


# --- the board


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def board() -> tuple[Board, Console, Clock]:
    out, clock = console(), Clock()
    return Board(out, clock), out, clock


def drawn(one: Board) -> list[str]:
    out = console()
    out.print(one)
    return [line.rstrip() for line in text(out).splitlines() if line.strip()]


def test_the_board_shows_what_runs_with_its_last_line() -> None:
    one, _, clock = board()
    one(Started(RUN))
    clock.now += 2.5
    assert drawn(one) == ["    2.5 s web build RUN make", "    2.5 s  0 steps run, 0 cached"]
    one(Printed(RUN, f"{EVIL}compiling"))
    one(Printed(RUN, "   "))
    assert drawn(one)[0] == "    2.5 s web build qred31mcompiling"


def test_the_board_counts_and_tells_of_slow_steps_only() -> None:
    one, out, _ = board()
    for event in (
        Started(RUN),
        Ended(RUN, False, 3.0, ""),
        Ended(RUN, True, 0, ""),
        Ended(RUN, False, 0.2, ""),
        Ended(INTERNAL, False, 9, ""),
        Ended(FROM, False, 9, ""),
    ):
        one(event)
    assert drawn(one) == ["    0.0 s  3 steps run, 1 cached"]
    assert text(out).splitlines() == ["    3.0 s  web build  RUN make"]


def test_the_board_tells_of_failures() -> None:
    one, out, _ = board()
    one(Ended(RUN, False, 0.1, "exit code: 1"))
    assert "RUN make" in text(out)


def test_a_line_of_a_step_that_has_ended_does_not_bring_it_back() -> None:
    one, _, _ = board()
    one(Printed(RUN, "late"))
    assert len(drawn(one)) == 1


def test_the_board_is_no_higher_than_the_screen() -> None:
    one, _, _ = board()
    for number in range(100):
        one(Started(StepName("t", f"s{number}", "RUN x")))
    out = Console(file=io.StringIO(), force_terminal=False, width=80, height=10)
    out.print(one)
    found = text(out).splitlines()
    assert len(found) <= 10
    assert any("s99" in line for line in found)


# --- which of them


@pytest.mark.parametrize(
    ("wish", "terminal", "is_board"),
    [
        (None, True, True),
        ("", True, True),
        ("auto", True, True),
        ("auto", False, False),
        ("tty", False, True),
        ("plain", True, False),
        ("rawjson", True, False),
    ],
)
def test_how_a_build_is_shown(wish: str | None, terminal: bool, is_board: bool) -> None:
    out = Paper(lambda: Console(file=io.StringIO(), force_terminal=terminal, width=80))
    observer, showing = observer_for(out, {} if wish is None else {"BUILDKIT_PROGRESS": wish})
    assert isinstance(observer, Board) is is_board
    with showing:
        observer(Started(RUN))


def test_a_quiet_build_shows_nothing() -> None:
    out = piped()
    assert observer_for(out, {"BUILDKIT_PROGRESS": "quiet"})[0] is quiet


@pytest.mark.parametrize(("wish", "shown"), [("plain", True), ("auto", False)])
def test_plain_shows_every_line(wish: str, shown: bool) -> None:
    out = piped()
    observer_for(out, {"BUILDKIT_PROGRESS": wish})[0](Printed(RUN, "hi"))
    assert ("hi" in text(out)) is shown


# --- the report

RECORD = BuildRecord(
    seconds=3.0,
    base_images=(BaseRecord("rust:1", "stand-in", "Rust 1.85"), BaseRecord("debian:13", "present")),
    images=(
        ImageRecord(
            "web",
            "shop/web:dev",
            "web/Dockerfile.fast",
            (StageRecord("base", 0.0, cached=True), StageRecord("build", 2.44, cached=False)),
        ),
    ),
    steps=(),
    cache_bytes=1_234_567_890,
)


def test_the_report() -> None:
    out = piped()
    show_record(out, RECORD, 4.26)
    assert text(out).splitlines() == [
        "base   rust:1: stand-in, really Rust 1.85",
        "base   debian:13: present",
        "image  shop/web:dev  (web/Dockerfile.fast)",
        "       base           cached",
        "       build           2.4 s",
        "cache  1.2 GB",
        "total  4.3 s",
    ]


def test_names_in_the_report_cannot_control_the_terminal() -> None:
    out = piped()
    image = ImageRecord("web", "shop/web:dev", f"web/{EVIL}", (StageRecord("base", 0.0, cached=True),))
    show_record(out, BuildRecord(1, (BaseRecord(EVIL, "present", EVIL),), (image,), (), 0), 1)
    assert "".join(text(out).splitlines()).isprintable()


def timed() -> BuildRecord:
    ran = Step("web", "build", "RUN make", False, 2.0, 100.0, 102.0)
    stage = StageRecord("build", 2.0, cached=False, started=100.0, completed=102.0)
    image = ImageRecord("web", "shop/web:dev", "Dockerfile", (stage,), "dev", (ran,))
    return BuildRecord(2.0, (), (image,), (ran,), 0)


@pytest.mark.parametrize(
    ("columns", "width", "encoding", "bar"),
    [(100, 100, "utf-8", "█"), (400, 160, "utf-8", "█"), (20, 60, "utf-8", "█"), (90, 90, "ascii", "#")],
)
def test_timings_are_as_wide_as_the_terminal(columns: int, width: int, encoding: str, bar: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    out = Paper(lambda: Console(file=file, force_terminal=True, width=columns, color_system=None))
    show_timings(out, timed())
    drawn = file.buffer.getvalue().decode(encoding)
    assert drawn.count(bar) == width - 5 - 10 - 4


def test_timings_are_plain_text_elsewhere() -> None:
    out = piped()
    show_timings(out, timed())
    assert max(map(len, text(out).splitlines())) <= 80
    assert "#" * 61 in text(out)
