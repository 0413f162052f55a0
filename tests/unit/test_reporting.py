"""`kiro report`: its lines, its JSON object, its files, and what cannot be meant."""

from __future__ import annotations

import gc
import io
import json
import random
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from rich.console import Console

from kiro_invoke.commands.report_markdown import verbatim
from kiro_invoke.commands.report_words import seconds
from kiro_invoke.commands.reporting import EXTENSIONS, tell, window_of
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.metrics.entry import CACHED, LIVE, MEASURING, RAN, Entry, ImageEntry, Window
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.errors import KiroError, UsageError
from kiro_invoke.model.record import Step
from kiro_invoke.screen import Paper

SCHEMA = Path(__file__).parents[2] / "kiro_invoke" / "schemas" / "report.json"
DAY = 86_400.0
#: 2026-01-01 in UTC.
BEGIN = 1_767_225_600.0
EVIL_FILE = "<script>alert(1)</script>|`x`\x1b[2J\n# @all"


@cache
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def build(day: float, taken: float, kind: str = "SOURCE", **more: Any) -> Entry:
    file = more.pop("file", "src/a.rs")
    image = ImageEntry(
        "web", "dev", kind, more.pop("cause", f"{file} changed"), file, predicted=CACHED,
        verdict=more.pop("verdict", CACHED), seconds=taken, cached=3, ran=1,
    )  # fmt: skip
    began = BEGIN + day * DAY
    steps = (Step("web", "app", "RUN make", False, taken, began, began + taken),)
    return replace(Entry(began, taken, "build", images=(image,), steps=steps), **more)


def measurement(day: float, variant: str, taken: float) -> Entry:
    image = ImageEntry("web", "dev", seconds=taken, variant=variant, scenario="source")
    return Entry(BEGIN + day * DAY, taken, MEASURING, images=(image,))


USUAL = (
    *(build(number, 2.0 + number % 3 / 10) for number in range(30)),
    *(build(30 + number, 3.5) for number in range(10)),
    build(41, 0.5, "IGNORED", file="", cause=""),
    build(
        42, 60.0, "BASE", file="Dockerfile.fast", verdict=RAN, cache_layers=4_000_000, cache_mounts=1_000_000
    ),
    build(43, 9.0, ok=False, message="does not compile", cache_layers=6_500_000, cache_mounts=1_000_000),
    build(44, 0.75, way=LIVE, steps=()),
    measurement(45, "standard", 80.0),
    measurement(45.001, "fast", 1.5),
)


class World:
    """A repository with a history of builds, and what the command says of it."""

    def __init__(self, root: Path, *entries: Entry) -> None:
        self.root = root
        (root / "kiro.yaml").write_text("")
        self.out, self.err = io.StringIO(), io.StringIO()
        self.outside: tuple[Entry, ...] = ()
        if entries:
            (root / ".kiro").mkdir()
            Store(root / ".kiro", pytest.fail).add(entries)

    @property
    def surface(self) -> Surface:
        def paper(stream: io.StringIO) -> Paper:
            plain = Console(file=stream, width=500, color_system=None, highlight=False, markup=False)
            return Paper(lambda: plain)

        return Surface(paper(self.out), paper(self.err), {}, self.root, None)

    def answer(self, *outputs: str, last: str | None = None, after: str | None = None) -> Answer:
        told = tell(
            last=last, after=after, outputs=outputs, now=lambda: BEGIN + 45 * DAY, zone=UTC,
            bring_in=lambda _surface, store: store.add(self.outside) if self.outside else None,
        )  # fmt: skip
        return told(self.surface)

    def json(self, **options: str) -> dict[str, Any]:
        answer = self.answer(**options)
        value = {"schema": 1, "command": "report", "ok": answer.ok, **json.loads(json.dumps(answer.fields))}
        validator().validate(value)
        return value

    def text(self, **options: str) -> list[str]:
        self.answer(**options).show(self.surface)
        return self.out.getvalue().splitlines()

    def file(self, name: str) -> str:
        self.answer(name)
        return (self.root / name).read_text()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, *USUAL)


def test_what_was_built_outside_is_brought_in_first(world: World) -> None:
    world.outside = (replace(build(50, 4.0), command="docker", ref="r1"),)
    assert world.json()["builds"] == 45
    assert world.json()["builds"] == 45  # once


# --- JSON


def test_the_figures_of_a_service(world: World) -> None:
    value = world.json()
    (service,) = value["services"]
    assert (value["recorded"], value["builds"], value["failed"]) == (46, 44, 1)
    assert (service["name"], service["builds"], service["failed"]) == ("web", 44, 1)
    assert [
        (k["kind"], k["way"], k["profile"], k["count"], k["median"], k["p90"]) for k in service["kinds"]
    ] == [
        ("IGNORED", "image", "dev", 1, 0.5, 0.5),
        ("SOURCE", "image", "dev", 40, 2.15, 3.5),
        ("BASE", "image", "dev", 1, 60.0, 60.0),
        ("SOURCE", "live", "dev", 1, 0.75, 0.75),
    ]
    assert value["source_median"] == 2.1
    assert service["stages"] == [{"name": "app", "count": 42, "median": 2.15}]
    assert (value["hits"], value["misses"], value["hit_ratio"]) == (132, 44, 0.75)
    assert value["window"] == {
        "after": None, "last": None, "first": "2026-01-01T00:00:00Z", "latest": "2026-02-14T00:00:00Z",
    }  # fmt: skip


def test_the_caches_growth_causes_and_predictions(world: World) -> None:
    value = world.json()
    assert value["cache"] == {
        "layers": {"first": 4_000_000, "last": 6_500_000, "change": 2_500_000},
        "mounts": {"first": 1_000_000, "last": 1_000_000, "change": 0},
        "total": {"first": 5_000_000, "last": 7_500_000, "change": 2_500_000},
    }
    first, second = value["invalidations"]
    # 30 builds of 2.1 s in the middle, 10 of 3.5 s, a failed one and a live one, each less 0.5 s
    assert (first["file"], first["times"], first["seconds_lost"]) == ("src/a.rs", 42, 86.75)
    assert (second["file"], second["kind"], second["seconds_lost"]) == ("Dockerfile.fast", "BASE", 59.5)
    assert (value["predictions_checked"], value["wrong_prediction_count"]) == (44, 1)
    (wrong,) = value["wrong_predictions"]
    assert (wrong["file"], wrong["predicted"], wrong["verdict"]) == ("Dockerfile.fast", "cached", "ran")
    assert wrong["began"] == "2026-02-12T00:00:00Z"


def test_what_got_slower(world: World) -> None:
    (one,) = world.json()["regressions"]
    assert (one["service"], one["kind"], one["way"], one["from"], one["to"]) == (
        "web",
        "SOURCE",
        "image",
        2.1,
        3.5,
    )
    assert (one["percent"], one["earlier"], one["recent"], one["since"]) == (
        66.7,
        30,
        10,
        "2026-01-31T00:00:00Z",
    )


def test_measurements_are_bars_and_nothing_else(world: World) -> None:
    found = world.json()["measurements"]
    assert [(bar["scenario"], bar["variant"], bar["median"], bar["samples"]) for bar in found] == [
        ("source", "standard", 80.0, 1),
        ("source", "fast", 1.5, 1),
    ]
    assert world.json(last="1")["measurements"] == found


def test_windows(world: World) -> None:
    assert world.json(last="3")["builds"] == 3
    assert world.json(last="3")["window"]["last"] == 3
    recent = world.json(after="5d")
    assert (recent["builds"], recent["window"]["after"]) == (4, "2026-02-10T00:00:00Z")
    assert world.json(after="2026-02-14T00:00:00+00:00")["builds"] == 1


def test_five_thousand_builds(tmp_path: Path) -> None:
    """Against what the standard library says of the same numbers."""
    dice = random.Random(3)
    taken = [round(dice.lognormvariate(1.0, 0.3), 3) for _ in range(5000)]
    entries = [build(number / 100, value, file=f"src/{number % 7}") for number, value in enumerate(taken)]
    world = World(tmp_path, *entries)
    value = world.json()
    (kind,) = value["services"][0]["kinds"]
    assert kind["median"] == pytest.approx(statistics.median(taken), abs=0.001)
    assert kind["p90"] == pytest.approx(statistics.quantiles(taken, n=10, method="inclusive")[-1], abs=0.001)
    assert (value["builds"], kind["count"], value["stage_builds"]) == (5000, 5000, 1000)
    (stage,) = value["services"][0]["stages"]
    assert (stage["count"], stage["median"]) == (
        1000,
        pytest.approx(statistics.median(taken[-1000:]), abs=0.001),
    )
    assert sorted(row["times"] for row in value["invalidations"]) == [714, 714, 714, 714, 714, 715, 715]
    assert sum(row["seconds_lost"] for row in value["invalidations"]) == pytest.approx(sum(taken), abs=0.1)
    assert value["regressions"] == []
    assert any("of the last 1,000 builds" in line for line in world.text())
    page = world.file("r.html")
    assert "of 5,000 builds are drawn" in page
    assert data_of(page)["growth"]["data"] == []
    assert len(data_of(page)["times"][0]["data"][0]["x"]) <= 3000


def test_garbage_is_collected_again_afterwards(world: World) -> None:
    world.json()
    assert gc.isenabled()


# --- nothing to tell


def test_without_a_build_it_says_what_to_do_and_makes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    value = world.json()
    assert (value["builds"], value["recorded"], value["hit_ratio"]) == (0, 0, None)
    lists = ("services", "invalidations", "regressions", "wrong_predictions", "measurements")
    assert all(value[name] == [] for name in lists)
    assert world.text() == ["no build is recorded yet: `kiro build` and `kiro watch` record each build"]
    assert not (tmp_path / ".kiro").exists()


def test_a_window_without_builds_is_told_from_no_builds(world: World) -> None:
    value = world.json(after="2026-02-14T12:00:00+00:00")
    assert (value["builds"], value["recorded"]) == (0, 46)
    lines = world.text(after="2026-02-14T12:00:00+00:00")
    assert lines[0] == "no build but measurements in this window, 46 recorded in all"
    assert "  web source  standard 1 min 20 s, fast 1.5 s" in lines


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_format_can_say_nothing(tmp_path: Path, extension: str) -> None:
    assert World(tmp_path).file(f"r{extension}")


# --- text


def test_the_text(world: World) -> None:
    assert world.text() == [
        "44 builds, 1 failed  2026-01-01 00:00 to 2026-02-14 00:00",
        "",
        "web  44 builds, 1 failed",
        "  after                      builds       median          p90",
        "  IGNORED                         1       0.50 s       0.50 s",
        "  SOURCE                         40        2.2 s        3.5 s",
        "  BASE                            1    1 min 0 s    1 min 0 s",
        "  SOURCE, live                    1       0.75 s       0.75 s",
        "  cache hits  75.0% of 176 steps",
        "  slowest stages  app 2.2 s (medians)",
        "",
        "cache  of the whole engine: total 7.5 MB (+2.5 MB), layers 6.5 MB (+2.5 MB), mounts 1.0 MB (+0 B)",
        "",
        "what had most built again  seconds over a build in which nothing changed",
        "    1 min 27 s      42x  web  SOURCE  src/a.rs changed",
        "        59.5 s       1x  web  BASE  Dockerfile.fast changed",
        "",
        "got slower",
        "  web SOURCE  2.1 s -> 3.5 s (+67%): the last 10 builds against 30 before, which spread by 0.07 s",
        "wrong predictions  1 of 44",
        "  2026-02-12 00:00  web BASE  Dockerfile.fast changed: the dependency layer was to be cached, and was built",
        "",
        "measured  medians, 2026-02-15 00:01",
        "  web source  standard 1 min 20 s, fast 1.5 s",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 s"),
        (0.994, "0.99 s"),
        (1.0, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (7325.0, "2 h 2 min"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


# --- files


def test_files_are_written_by_extension_and_said(world: World) -> None:
    answer = world.answer("r.json", "new/r.TXT")
    answer.show(world.surface)
    value = json.loads((world.root / "r.json").read_text())
    validator().validate(value)
    assert value == {"schema": 1, "command": "report", "ok": True, **answer.fields}
    assert (world.root / "new/r.TXT").read_text() == world.out.getvalue()
    assert world.err.getvalue().splitlines() == [
        f"written: {world.root}/{name}" for name in ("r.json", "new/r.TXT")
    ]


def test_junit_has_a_failed_test_for_what_is_wrong(world: World) -> None:
    suite = ElementTree.fromstring(world.file("r.xml"))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    cases = {case.get("classname"): case for case in suite}
    slower = cases["regressions.web"].find("failure")
    assert slower is not None
    assert cases["regressions.web"].get("name") == "SOURCE"
    assert str(slower.get("message")).startswith("2.1 s -> 3.5 s (+67%)")
    wrong = cases["predictions.web"].find("failure")
    assert wrong is not None
    assert "predicted cached, the engine said ran: Dockerfile.fast" in str(wrong.text)


def test_junit_has_passed_tests_for_what_is_right(tmp_path: Path) -> None:
    suite = ElementTree.fromstring(
        World(tmp_path, *(build(number, 2.0) for number in range(40))).file("r.xml")
    )
    assert (suite.get("failures"), [case.get("name") for case in suite]) == (
        "0",
        ["SOURCE", "40 predictions"],
    )
    assert suite.find("testcase/failure") is None


def test_markdown_has_a_table_for_each_part(world: World) -> None:
    text = world.file("r.md")
    assert "| <code>web</code> | <code>SOURCE</code> | 40 | 2.2 s | 3.5 s |" in text
    assert "| <code>web</code> | 132 | 44 | 75.0% |" in text
    assert "- <code>web SOURCE</code> 2.1 s to 3.5 s (+67%)" in text
    assert "| <code>web</code> | <code>source</code> | <code>fast</code> | 1 | 1.5 s |" in text


# --- what somebody else wrote


@pytest.fixture
def hostile(tmp_path: Path) -> World:
    image = ImageEntry(
        EVIL_FILE,
        EVIL_FILE,
        "SOURCE",
        EVIL_FILE,
        EVIL_FILE,
        predicted=CACHED,
        verdict=RAN,
        seconds=1.0,
        cached=1,
    )
    step = Step(EVIL_FILE, EVIL_FILE, EVIL_FILE, False, 1.0, BEGIN, BEGIN + 1)
    build = Entry(BEGIN, 1.0, EVIL_FILE, images=(image,), steps=(step,))
    measured = replace(image, variant=EVIL_FILE, scenario=EVIL_FILE)
    many = [replace(build, began=BEGIN + number) for number in range(40)]
    slow = [replace(build, began=BEGIN + 99.0 + n, images=(replace(image, seconds=9.0),)) for n in range(10)]
    return World(tmp_path, *many, *slow, replace(build, command=MEASURING, images=(measured,)))


def test_text_and_text_files_cannot_control_a_terminal(hostile: World) -> None:
    lines = hostile.text()
    assert len(lines) > 10
    assert all(line.isprintable() for line in [*lines, *hostile.file("r.txt").splitlines()])
    assert not any(line.lstrip().startswith("# @all") for line in lines)


def test_markdown_takes_it_for_text(hostile: World) -> None:
    text = hostile.file("r.md")
    assert "<script" not in text
    assert not re.search(r"^# @", text, re.MULTILINE)
    rows = [line for line in text.splitlines() if line.startswith("| <code>")]
    assert len(rows) > 4
    assert {row.count("@") for row in rows} == {0}
    assert "&#60;script&#62;" in rows[0]


def test_verbatim_is_one_short_line() -> None:
    assert verbatim("") == ""
    assert verbatim("a\nb") == "<code>a b</code>"
    assert verbatim("_x_ [a](b)") == "<code>&#95;x&#95; &#91;a&#93;&#40;b&#41;</code>"
    assert verbatim("a" * 999).count("a") == 159


def test_xml_holds_it(hostile: World) -> None:
    suite = ElementTree.fromstring(hostile.file("r.xml"))
    assert any("<script>alert(1)</script>" in str(case.get("classname")) for case in suite)
    assert suite.get("failures") == "51"


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def without_plotly(page: str) -> str:
    """Its own part: the library's text is the longest of its scripts."""
    return page.replace(max(re.findall(r"<script>(.*?)</script>", page, re.DOTALL), key=len), "")


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def test_the_page_has_no_tag_of_theirs(hostile: World) -> None:
    page = hostile.file("r.html")
    own = without_plotly(page)
    assert "<script>alert" not in own
    assert own.count("<script") == own.count("</script>") == 3
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in own
    assert "\x1b" not in own
    assert not any("<script" in text for text in strings(data_of(page)))


# --- the page


def test_the_page_asks_nothing_of_any_network(world: World) -> None:
    own = without_plotly(world.file("r.html"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', own)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert "unsafe-eval" not in policy
    assert "http:" not in own.replace("http-equiv", "")
    assert "https:" not in own
    assert not re.search(r"\b(src|action|srcset)=", own)
    assert re.findall(r'href="([^"]*)"', own) == ["data:,"]


def test_the_page_has_the_charts(world: World) -> None:
    data = data_of(world.file("r.html"))
    points = {trace["name"]: trace for trace in data["times"][0]["data"] if trace["mode"] == "markers"}
    assert {name: len(trace["x"]) for name, trace in points.items()} == {
        "IGNORED": 1, "SOURCE": 40, "BASE": 1, "SOURCE, live": 1,
    }  # fmt: skip
    assert points["BASE"]["text"] == ["<b>60.0 s</b>  BASE<br>Dockerfile.fast changed"]
    assert len(data["waterfalls"]) == 43
    assert str(points["BASE"]["customdata"][0]) in data["waterfalls"]
    assert len(data["hits"]["data"]) == 1
    assert [trace["y"] for trace in data["growth"]["data"]] == [
        [4_000_000, 6_500_000],
        [1_000_000, 1_000_000],
    ]
    assert [trace["name"] for trace in data["bars"][0]["data"]] == ["standard", "fast"]


def test_a_service_that_got_slower_is_shown_first(tmp_path: Path) -> None:
    def of(name: str, entries: Sequence[Entry]) -> list[Entry]:
        return [replace(each, images=(replace(each.images[0], service=name),)) for each in entries]

    calm = [build(number / 10, 2.0) for number in range(400)]
    page = World(tmp_path, *of("busy", calm), *of("slow", USUAL[:40])).file("r.html")
    chosen = page[page.index('id="service"') :]
    assert re.findall(r"<option[^>]*>(\w+)<", chosen)[:2] == ["slow", "busy"]
    assert max(data_of(page)["times"][0]["data"][0]["y"]) == 3.5


# --- what cannot be meant


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"last": "3", "after": "7d"}, "--last and --after are given"),
        ({"last": "0"}, "not a number of builds"),
        ({"last": "-3"}, "not a number of builds"),
        ({"last": "x\x1b[2J"}, "--last x: not a number"),
        ({"last": "²"}, "not a number of builds"),
        ({"last": "9" * 30}, "not a number of builds"),
        ({"after": "yesterday"}, "no date and no age"),
        ({"after": "7"}, "no date and no age"),
        ({"after": "-7d"}, "no date and no age"),
        ({"after": ""}, "no date and no age"),
        ({"after": "2026-13-01"}, "no date and no age"),
    ],
)
def test_windows_that_cannot_be_meant(world: World, options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        world.answer(**options)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("after", "epoch"),
    [
        ("7d", 1_000_000.0 - 7 * DAY),
        ("90s", 999_910.0),
        ("2m", 999_880.0),
        ("1h", 996_400.0),
        ("1w", 395_200.0),
        ("999999999w", 0.0),
        ("1970-01-02T00:00:00Z", DAY),
        ("1970-01-02T02:00+02:00", DAY),
        ("1960-01-01T00:00Z", 0.0),
    ],
)
def test_dates_and_ages(after: str, epoch: float) -> None:
    assert window_of(None, after, now=1_000_000.0) == Window(after=epoch)


def test_a_date_without_an_offset_is_the_machines() -> None:
    expected = datetime(2026, 5, 31).astimezone().timestamp()
    assert window_of(None, "2026-05-31", now=0.0) == Window(after=expected)


def test_a_file_of_no_known_format_is_told_before_any_work(world: World) -> None:
    (world.root / ".kiro" / "metrics.sqlite").write_bytes(b"would be set aside, if it were read")
    before = set((world.root / ".kiro").iterdir())
    with pytest.raises(UsageError, match="tells no format"):
        world.answer("good.json", "r.pdf")
    assert not (world.root / "good.json").exists()
    assert set((world.root / ".kiro").iterdir()) == before


def test_a_store_that_cannot_be_read_is_one_message(world: World) -> None:
    path = world.root / ".kiro" / "metrics.sqlite"
    path.unlink()
    path.mkdir()
    with pytest.raises(KiroError, match=r"metrics\.sqlite"):
        world.answer()


def test_a_damaged_store_is_set_aside_and_said(world: World) -> None:
    path = world.root / ".kiro" / "metrics.sqlite"
    for log in path.parent.glob(f"{path.name}-*"):
        log.unlink()  # it would make good what is damaged
    path.write_bytes(b"not a database " * 100)
    assert world.json()["builds"] == 0
    assert "begun anew" in world.err.getvalue()
