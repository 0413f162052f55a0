"""What `doctor` finds of machine, engine and contexts: each planted fault, and silence where all is well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.cache.collecting import DAY, EASY, HOUR, GcRule, rules_set
from kiro_invoke.doctor import contexts, gc_limit, machine
from kiro_invoke.doctor.contexts import Sent, check_context, unneeded
from kiro_invoke.doctor.finding import Finding, Verdict
from kiro_invoke.doctor.gc_limit import Caching, check_collection, limits
from kiro_invoke.doctor.machine import Events, Inotify
from kiro_invoke.doctor.mounts import Tried, check_mounts, try_mounts
from kiro_invoke.engine.protocol import CacheRecord, Completed, EngineInfo
from tests.unit.fakes import FACTS, FakeEngine
from tests.unit.test_collecting import HEAD

OK, NOTE, PROBLEM, SKIPPED = Verdict.OK, Verdict.NOTE, Verdict.PROBLEM, Verdict.SKIPPED
NOW = 100 * DAY
GB = 1_000_000_000


def verdicts(found: Iterable[Finding]) -> list[Verdict]:
    return [one.verdict for one in found]


def only(found: Iterable[Finding]) -> Finding:
    [one] = found
    return one


# --- the engine


def test_an_engine_with_all_it_needs_is_healthy() -> None:
    assert verdicts(machine.check_engine(FACTS, "2.26.1")) == [OK, OK, OK]
    assert verdicts(machine.check_engine(FACTS, "")) == [OK, OK, NOTE]


@pytest.mark.parametrize(
    "environ",
    [
        {"DOCKER_BUILDKIT": "0"},
        {"DOCKER_BUILDKIT": "false"},
        {"COMPOSE_DOCKER_CLI_BUILD": "0"},
        {"BUILDKIT_SYNTAX": "docker/dockerfile:1"},
        {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"},
    ],
)
def test_a_variable_that_makes_builds_slow_is_found(environ: dict[str, str]) -> None:
    found = only(machine.check_environment(environ, "amd64"))
    assert found.verdict is PROBLEM
    assert next(iter(environ)) in found.evidence
    assert "unset" in found.cure


@pytest.mark.parametrize(
    "environ",
    [{}, {"DOCKER_BUILDKIT": "1"}, {"DOCKER_BUILDKIT": ""}, {"DOCKER_DEFAULT_PLATFORM": "linux/amd64"},
     {"DOCKER_DEFAULT_PLATFORM": "linux/amd64/v2"}],
)  # fmt: skip
def test_an_environment_that_changes_nothing_is_healthy(environ: dict[str, str]) -> None:
    assert only(machine.check_environment(environ, "amd64")).verdict is OK


def test_a_builder_that_is_chosen_by_a_variable_is_noted() -> None:
    assert only(machine.check_environment({"BUILDX_BUILDER": "ci"}, "amd64")).verdict is NOTE


@pytest.mark.parametrize("driver", ["docker-container", "remote", "kubernetes"])
def test_a_builder_outside_of_the_engine_is_found(driver: str) -> None:
    found = only(machine.check_builder(HEAD.replace("docker\n", f"{driver}\n", 1)))
    assert (found.check, found.verdict) == (machine.BUILDER, PROBLEM)
    assert driver in found.evidence


def test_the_engine_s_own_builder_is_healthy() -> None:
    assert only(machine.check_builder(HEAD)).verdict is OK
    assert only(machine.check_builder("")).verdict is SKIPPED


@pytest.mark.parametrize(
    ("storage", "verdict"), [("overlay2", OK), ("overlayfs", OK), ("vfs", PROBLEM), ("", SKIPPED)]
)
def test_a_slow_storage_driver_is_found(storage: str, verdict: Verdict) -> None:
    assert only(machine.check_storage(EngineInfo(storage=storage))).verdict is verdict


@pytest.mark.parametrize(
    ("free", "verdict"), [(machine.LEAST_FREE - 1, PROBLEM), (machine.LEAST_FREE, OK), (None, SKIPPED)]
)
def test_a_full_disk_is_found(free: int | None, verdict: Verdict) -> None:
    assert only(machine.check_disk("/var/lib/docker", free)).verdict is verdict


@pytest.mark.parametrize(
    ("clock", "said"), [(107.0, "ahead of"), (93.0, "behind"), (102.9, ""), (98.1, ""), (100.5, "")]
)
def test_a_clock_that_is_off_is_found(clock: float, said: str) -> None:
    found = only(machine.check_clock(EngineInfo(clock=clock, asked=100.0, answered=101.0)))
    assert found.verdict is (PROBLEM if said else OK)
    assert said in found.evidence


def test_without_the_engine_s_time_nothing_is_said_of_it() -> None:
    assert only(machine.check_clock(EngineInfo())).verdict is SKIPPED


# --- cache mounts


class Mounts(FakeEngine):
    """An engine that keeps what is written into a cache mount, or loses it, and leaves records of both builds."""

    def __init__(self, *, keeps: bool = True, builds: bool = True) -> None:
        super().__init__()
        self.keeps, self.builds, self.words = keeps, builds, [""]
        self.records = [
            CacheRecord("before", "exec.cachemount", 'cached mount /x from exec y with id "/kiro-doctor-a"')
        ]

    def bake(
        self,
        definition: str,
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        brake: object = None,
    ) -> Completed:
        target = json.loads(definition)["target"]["default"]
        word = target["args"]["BUILDKIT_CACHE_MOUNT_NS"]
        text = (Path(target["context"]) / target["dockerfile"]).read_text()
        writes = "echo" in text
        number = len(self.records)
        self.records = [
            *self.records,
            CacheRecord(
                f"m{number}", "exec.cachemount", f'cached mount /m from exec sh with id "{word}/{word}"'
            ),
            CacheRecord(f"l{number}", "regular", f"mount / from exec /bin/sh -c {text.splitlines()[1]}"),
            CacheRecord(f"c{number}", "source.local", "local source for context"),
        ]
        if writes and self.keeps:
            self.words.append(word)
        good = self.builds and (writes or word in self.words)
        on_line("" if good else "ERROR: it failed")
        return Completed(("docker",), 0 if good else 1, "", "")


@pytest.mark.parametrize(
    ("engine", "verdict", "said"),
    [
        (Mounts(), OK, "the next one read it"),
        (Mounts(keeps=False), PROBLEM, "did not find"),
        (Mounts(builds=False), PROBLEM, "a build with a cache mount fails: ERROR: it failed"),
    ],
)
def test_cache_mounts_are_tried_and_nothing_is_left(
    engine: Mounts, verdict: Verdict, said: str, tmp_path: Path
) -> None:
    """But what was sent, which may be another build's: it tells no name."""
    found = only(check_mounts(try_mounts(engine, "debian:13", tmp_path, "kiro-doctor-word")))
    assert found.verdict is verdict
    assert said in found.evidence
    assert {record.id for record in engine.records if record.kind != "source.local"} == {"before"}


def test_mounts_that_could_not_be_tried_are_skipped() -> None:
    assert only(check_mounts(Tried(why="no base image is here"))).verdict is SKIPPED


# --- garbage collection


def mount(id: str, namespace: str = "shop-1", **fields: object) -> CacheRecord:
    said = f'cached mount /t from exec make with id "{namespace}/target"'
    chosen = {"size": GB, "used": NOW - HOUR, **fields}
    return CacheRecord(id, "exec.cachemount", said, **chosen)  # type: ignore[arg-type]


def caching(records: list[CacheRecord], *rules: GcRule, **fields: object) -> Caching:
    return Caching(records, rules, "docker buildx inspect", {"shop-1"}, **fields)  # type: ignore[arg-type]


def test_a_cache_that_nothing_bounds_is_noted() -> None:
    found = only(check_collection(caching([mount("a")]), NOW))
    assert (found.check, found.verdict) == (gc_limit.GC, NOTE)
    assert "1.0 GB now" in found.evidence
    assert '"builder": {"gc": {"enabled": true' in found.cure
    assert "daemon.json" in found.cure


def test_for_an_engine_of_ours_the_cure_is_fix() -> None:
    found = only(check_collection(caching([], ours=True), NOW))
    assert found.cure == "`kiro doctor --fix` sets a limit that keeps mounts for two weeks"


def test_a_limit_that_waits_for_the_engines_next_start_is_not_asked_for_again() -> None:
    facts = caching([], ours=True, waiting="/etc/docker/daemon.json")
    found = only(check_collection(facts, NOW))
    assert (found.verdict, found.cure) == (NOTE, "")
    assert "takes effect when the engine starts next" in found.evidence
    assert not gc_limit.wants_limit(facts)


def test_a_limit_with_room_is_healthy() -> None:
    assert only(check_collection(caching([mount("a")], GcRule(keep_bytes=10 * GB)), NOW)).verdict is OK


def test_a_limit_that_drops_what_this_checkout_needs_is_found() -> None:
    found = only(check_collection(caching([mount("a"), mount("b")], GcRule(keep_bytes=GB)), NOW))
    assert found.verdict is PROBLEM
    assert "2 of this checkout's records (2.0 GB)" in found.evidence


def test_layers_of_this_checkout_count() -> None:
    layer = CacheRecord("cook", "regular", "mount / from exec cook", size=GB, used=NOW - HOUR)
    rule = GcRule(keep_bytes=GB)
    assert only(check_collection(caching([layer], rule), NOW)).verdict is OK
    assert only(check_collection(caching([layer], rule, layers=frozenset({"cook"})), NOW)).verdict is PROBLEM


def test_a_limit_that_drops_others_alone_is_healthy() -> None:
    records = [mount("theirs", "shop-2", used=1.0), mount("ours")]
    assert only(check_collection(caching(records, GcRule(keep_bytes=2 * GB)), NOW)).verdict is OK


def test_mounts_that_go_over_a_weekend_are_noted() -> None:
    rules = (GcRule(EASY, 48 * HOUR, most_bytes=GB // 2), GcRule(keep_bytes=100 * GB))
    found = only(check_collection(caching([mount("a")], *rules), NOW))
    assert found.verdict is NOTE
    assert found.evidence.startswith("in 47 h the engine drops mounts, contexts and checkouts")


def test_rules_that_nobody_tells_are_skipped() -> None:
    facts = replace(caching([]), rules=None, origin="buildx does not tell")
    assert only(check_collection(facts, NOW)).verdict is SKIPPED


@pytest.mark.parametrize(
    ("disk", "kept"), [(10 * GB, 10 * GB), (200 * GB, 40 * GB), (2000 * GB, 100 * GB), (0, 10 * GB)]
)
def test_the_limit_is_a_fifth_of_the_disk(disk: int, kept: int) -> None:
    rules = rules_set(json.dumps({"builder": {"gc": limits(disk)}}), disk, "26.1.5")
    assert rules is not None
    assert [rule.keep_bytes for rule in rules] == [kept // 2] * 3 + [kept] * 3
    assert frozenset().union(*(rule.kinds for rule in rules)) == EASY
    assert {rule.unused_seconds for rule in rules if rule.kinds} == {14 * DAY}
    facts = caching([mount("a", size=kept - 1, used=NOW - 13 * DAY)], *rules)
    assert only(check_collection(facts, NOW + HOUR)).verdict in {OK, NOTE}


# --- file events, certificates, proxies, stand-ins


@pytest.mark.parametrize(
    ("limits", "folders", "verdict"),
    [
        (Inotify(8192, 128), 19, OK),
        (Inotify(8192, 128), 5000, NOTE),
        (Inotify(8192, 128), 8192, PROBLEM),
        (Inotify(8192, 8), 19, PROBLEM),
        (Inotify(None, None), 19, SKIPPED),
    ],
)
def test_limits_are_held_against_the_tree(limits: Inotify, folders: int, verdict: Verdict) -> None:
    found = only(machine.check_inotify(limits, folders, polling=False))
    assert found.verdict is verdict
    assert ("sysctl" in found.cure) is (verdict in {NOTE, PROBLEM})
    assert only(machine.check_inotify(limits, folders, polling=True)).verdict is OK


@pytest.mark.parametrize(
    ("events", "verdict", "cure"),
    [
        (Events(0.01), OK, ""),
        (Events(), PROBLEM, "poll"),
        (Events(polling=True), OK, ""),
        (Events(trouble="no more watchers", fix="raise it"), PROBLEM, "raise it"),
    ],
)
def test_events_that_do_not_come_are_found(events: Events, verdict: Verdict, cure: str) -> None:
    found = only(machine.check_events(events))
    assert found.verdict is verdict
    assert cure in found.cure


def test_certificates_that_a_dockerfile_does_not_take_in_are_told() -> None:
    assert only(machine.check_certificates("", [], ["a"])).verdict is OK
    assert "a does not take them in" in only(machine.check_certificates("/ca", [], ["a"])).evidence
    found = only(machine.check_certificates("/ca", ["a"], ["a"]))
    assert (found.verdict, found.cure) == (NOTE, "")


def test_a_proxy_that_builds_do_not_get_is_told_without_its_password() -> None:
    environ = {"https_proxy": "http://me:secret@proxy:3128"}
    assert only(machine.check_proxy({}, [], {})).verdict is OK
    found = [*machine.check_proxy(environ, [], {})]
    assert verdicts(found) == [NOTE, NOTE]
    assert not any("secret" in f"{one.evidence}{one.cure}" for one in found)
    assert verdicts(machine.check_proxy(environ, ["HTTPS_PROXY"], {"https": "x"})) == [OK]


def test_stand_ins_are_told_in_one_note() -> None:
    found = only(machine.check_standins([("debian:13", ""), ("rust:1.95", "Rust 1.85.1")]))
    assert found.verdict is NOTE
    assert "debian:13, rust:1.95 (really Rust 1.85.1)" in found.evidence
    assert only(machine.check_standins([])).verdict is OK


# --- contexts


def sent(files: dict[str, int], restless: tuple[str, ...] = ()) -> Sent:
    return Sent("web", "web/.dockerignore", files, restless)


@pytest.mark.parametrize(
    ("path", "line", "beside"),
    [
        (".git/HEAD", "**/.git", ""),
        ("node_modules/a/index.js", "**/node_modules", ""),
        ("packages/a/node_modules/b.js", "**/node_modules", ""),
        ("target/debug/app", "**/target", "Cargo.toml"),
        ("dist/app.js", "**/dist", "package.json"),
        ("app.log", "**/*.log", ""),
        ("logs/app.log.1", "**/*.log", ""),
        ("data/notes.sqlite3", "data/notes.sqlite3", ""),
        ("data/notes.db-wal", "data/notes.db-wal", ""),
        ("coverage/lcov.info", "**/coverage", "package.json"),
        (".venv/bin/python", "**/.venv", ""),
        ("src/__pycache__/a.pyc", "**/__pycache__", ""),
    ],
)
def test_what_no_build_needs_is_found_with_the_line_that_leaves_it_out(
    path: str, line: str, beside: str
) -> None:
    found = only(check_context(sent({"src/main": 1, path: 5_000_000, **({beside: 1} if beside else {})})))
    assert (found.check, found.verdict, found.file) == (contexts.IGNORE, PROBLEM, "web/.dockerignore")
    assert found.cure == f"add a line `{line}`"
    assert "5.0 MB" in found.evidence


def test_each_folder_is_told_once() -> None:
    files = {f"node_modules/{number}.js": 1000 for number in range(50)}
    assert [(one.path, one.bytes) for one in unneeded(sent(files))] == [("node_modules", 50_000)]


@pytest.mark.parametrize(
    "path", ["target/main.rs", "dist/page.html", "src/target.rs", "catalog", "a.dbml", "src/logs.rs"]
)
def test_sources_of_such_names_are_healthy(path: str) -> None:
    assert only(check_context(sent({"src/main.c": 1, path: 1}))).verdict is OK


@pytest.mark.parametrize(
    ("size", "verdict"), [(contexts.MUCH - 2, OK), (contexts.MUCH, NOTE), (contexts.TOO_MUCH, PROBLEM)]
)
def test_a_big_context_is_found_with_what_is_big_in_it(size: int, verdict: Verdict) -> None:
    found = only(check_context(sent({"src/main": 1, "models/big/a.bin": size})))
    assert (found.check, found.verdict) == (contexts.SIZE, verdict)
    assert ("models/big" in found.evidence) is (verdict is not OK)


def test_what_changes_while_nobody_builds_is_told() -> None:
    found = [*check_context(sent({"state.bin": 1}, ("state.bin",)))]
    assert [(one.check, one.verdict) for one in found] == [(contexts.RESTLESS, NOTE), (contexts.SIZE, OK)]
    assert found[0].cure == "add a line `state.bin`"


def test_a_line_matches_the_path_and_nothing_else() -> None:
    assert contexts.escaped("a*[b]?") == "a\\*\\[b\\]\\?"
    assert contexts.escaped("!x") == "/!x"
