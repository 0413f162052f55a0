"""The waterfall of a build: which bars, where, and what is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kiro_invoke.model.record import BuildRecord, ImageRecord, StageRecord, Step
from kiro_invoke.waterfall import Look, waterfall

T0 = 1_700_000_000.0
PLAIN = Look(60, is_plain=True)


def step(service: str, stage: str, text: str, start: float = 0.0, end: float = 0.0) -> Step:
    """A step that ran from `start` to `end` after the build's begin; without, one from the cache."""
    if not end:
        return Step(service, stage, text, cached=True)
    return Step(service, stage, text, False, round(end - start, 3), T0 + start, T0 + end)


def image(service: str, *steps: Step) -> ImageRecord:
    stages = {}
    for one in steps:
        own = [s for s in steps if s.stage == one.stage and not s.cached]
        stages[one.stage] = StageRecord(
            one.stage,
            sum(s.seconds for s in own),
            not own,
            min((s.started for s in own), default=0.0),
            max((s.completed for s in own), default=0.0),
        )
    return ImageRecord(service, f"shop/{service}:dev", "Dockerfile", tuple(stages.values()), "dev", steps)


def record(*images: ImageRecord) -> BuildRecord:
    return BuildRecord(9.0, (), images, tuple(step for one in images for step in one.steps), 0)


def printed(found: BuildRecord, look: Look = PLAIN) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in waterfall(found, look)]


BACKEND = image(
    "backend",
    step("backend", "base", "FROM rust:1"),
    step("backend", "chef", "RUN cargo install"),
    step("backend", "cook", "COPY a b", 0.0, 0.1),
    step("backend", "cook", "RUN cargo chef cook --recipe-path recipe.json", 2.0, 8.0),
    step("backend", "app", "RUN cargo build", 8.0, 10.0),
)
FRONTEND = image(
    "frontend",
    step("frontend", "deps", "RUN npm ci", 0.0, 5.0),
    step("frontend", "dev", "COPY . .", 5.0, 5.4),
)


def test_plain_text() -> None:
    assert printed(record(BACKEND, FRONTEND)) == [
        "timings  0 s             5.0 s              10.0 s",
        "backend  shop/backend:dev",
        "  cook   #       #########################             6.1 s",
        "  app                                    #########     2.0 s",
        "  cached: base, chef",
        "frontend  shop/frontend:dev",
        "  deps   #####################                         5.0 s",
        "  dev                        ###                       0.4 s",
        "     6.0 s  backend cook  RUN cargo chef cook --recipe-pa...",
        "     5.0 s  frontend deps  RUN npm ci",
        "     2.0 s  backend app  RUN cargo build",
    ]


def test_a_terminal_gets_blocks_and_styles_and_all_of_its_width() -> None:
    lines = waterfall(record(BACKEND), Look(100))
    assert [part for line in lines for part in line if "█" in part[0]] == [
        ("█" + " " * 15 + "█" * 49 + " " * 16, "yellow"),
        (" " * 64 + "█" * 17, "yellow"),
    ]
    assert (("  cached: base, chef", "dim"),) in lines


@pytest.mark.parametrize("width", [60, 80, 97, 160])
@pytest.mark.parametrize("is_plain", [True, False])
def test_no_line_is_wider_than_asked(width: int, is_plain: bool) -> None:
    long = image(
        "service" * 9,
        *(step("service" * 9, f"{'stage' * 8}{n}", "RUN x" * 90, n, n + 1.5) for n in range(3)),
        *(step("service" * 9, f"cached-{n}", "RUN x") for n in range(40)),
    )
    found = printed(record(long), Look(width, is_plain=is_plain))
    assert max(map(len, found)) <= width
    assert sum("cached-" in line for line in found) > 1


def test_nothing_that_ran_is_one_line() -> None:
    cached = image("web", step("web", "base", "RUN x"))
    assert printed(record(cached)) == ["timings  every stage came from the cache"]
    based = replace(step("web", "base", "FROM a", 0.0, 0.1))
    assert printed(record(image("web", based))) == ["timings  every stage came from the cache"]


def test_a_step_that_two_services_share_is_named_once() -> None:
    steps = [step(name, "base", "RUN make", 0.0, 3.0) for name in ("api", "web")]
    found = printed(record(image("api", steps[0]), image("web", steps[1])))
    assert sum("RUN make" in line for line in found) == 1


def test_a_named_step_begins_with_its_command() -> None:
    text = "RUN --mount=type=cache,target=/x --network=none make --mount=y"
    found = printed(record(image("web", step("web", "a", text, 0.0, 1.0))))
    assert found[-1] == "     1.0 s  web a  RUN make --mount=y"


def test_steps_that_took_little_are_not_named() -> None:
    found = printed(
        record(image("web", step("web", "a", "RUN long", 0.0, 9.5), step("web", "a", "RUN short", 9.5, 10.0)))
    )
    assert not any("RUN short" in line for line in found)


def test_names_cannot_control_the_terminal_and_plain_text_is_ascii() -> None:
    evil = "\x1b[31mé\x07\nx"
    found = record(image(evil, step(evil, evil, f"RUN {evil}", 0.0, 1.0)))
    assert "".join(printed(found, Look(80))).isprintable()
    assert "".join(printed(found)).isascii()
