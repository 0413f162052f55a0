"""What a change means: decided from two sides alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kiro_invoke.changes.classify import Scope, Side, classify
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.fingerprint import Fingerprint, Part

MANIFEST = "Cargo.toml"
HEX = Part(MANIFEST, "dependency `hex`")
VERSION = Part(MANIFEST, "version")
COOK = Part("api/Dockerfile.fast", "stage `cook`")


def scope(ignored: Mapping[str, str] | None = None) -> Scope:
    return Scope("api", "api", lambda path: path == MANIFEST, lambda path: (ignored or {}).get(path, ""))


def side(contents: Mapping[str, str], fingerprint: Fingerprint | None = None, **base: str) -> Side:
    return Side(contents, fingerprint or Fingerprint(), {COOK: base["cook"]} if base else {})


def told(found: tuple[Classification, ...]) -> list[tuple[str, str, str]]:
    return [(str(each.kind), each.path, each.cause) for each in found]


def test_nothing_changed_is_nothing() -> None:
    assert classify(scope(), side({"a": "1"}), side({"a": "1"})) == ()


@pytest.mark.parametrize(
    ("before", "after", "verb"),
    [({"a": "1"}, {"a": "2"}, "changed"), ({}, {"a": "1"}, "added"), ({"a": "1"}, {}, "removed")],
)
def test_a_source(before: dict[str, str], after: dict[str, str], verb: str) -> None:
    assert told(classify(scope(), side(before), side(after))) == [("SOURCE", "api/a", f"a {verb}")]


def test_a_service_at_the_root_has_the_repositorys_paths() -> None:
    at_root = Scope("api", "", lambda _: False)
    assert told(classify(at_root, side({}), side({"a": "1"}))) == [("SOURCE", "a", "a added")]


def test_a_dependency_is_told_by_its_part() -> None:
    found = classify(scope(), side({MANIFEST: "1"}), side({MANIFEST: "2"}, Fingerprint({HEX: "1"})))
    assert told(found) == [("DEPENDENCY", "api/Cargo.toml", "Cargo.toml: dependency `hex` added")]
    assert found[0].rebuild == "the dependency layer"


def test_what_no_install_sees_is_a_source_with_the_reason() -> None:
    before, after = (Fingerprint({}, {VERSION: value}) for value in "12")
    found = classify(scope(), side({MANIFEST: "1"}, before), side({MANIFEST: "2"}, after))
    assert told(found) == [
        ("SOURCE", "api/Cargo.toml", "Cargo.toml: version changed; the dependency layer cannot see it")
    ]


def test_a_part_that_no_changed_file_explains_is_told_all_the_same() -> None:
    found = classify(scope(), side({}), side({}, Fingerprint({HEX: "1"})))
    assert told(found) == [("DEPENDENCY", "api/Cargo.toml", "Cargo.toml: dependency `hex` added")]


def test_a_dockerfiles_stage_is_the_base_whether_the_context_has_the_file_or_not() -> None:
    cause = "api/Dockerfile.fast: stage `cook` changed"
    for contents in ({}, {"Dockerfile.fast": "x"}):
        after = {name: f"{value}2" for name, value in contents.items()}
        found = classify(scope(), side(contents, cook="1"), side(after, cook="2"))
        assert told(found) == [("BASE", "api/Dockerfile.fast", cause)]


def test_a_dockerfile_with_the_same_stages_is_a_source_where_the_context_has_it() -> None:
    found = classify(
        scope(), side({"Dockerfile.fast": "1"}, cook="1"), side({"Dockerfile.fast": "2"}, cook="1")
    )
    assert [each.kind for each in found] == [Kind.SOURCE]


def test_what_is_ignored_says_why() -> None:
    found = classify(scope({"notes": "kiro.yaml:9 ignores `notes`"}), side({}), side({"notes": "1"}))
    assert told(found) == [("IGNORED", "api/notes", "notes added: kiro.yaml:9 ignores `notes`")]


def test_nothing_ignores_what_dependencies_are_made_from() -> None:
    rules = {MANIFEST: "kiro.yaml:9 ignores `*.toml`"}
    added = classify(scope(rules), side({MANIFEST: "1"}), side({MANIFEST: "2"}, Fingerprint({HEX: "1"})))
    assert [each.kind for each in added] == [Kind.DEPENDENCY]
    doubt = Fingerprint(doubt="Cargo.toml:3: no TOML")
    broken = classify(scope(rules), side({MANIFEST: "1"}), side({MANIFEST: "2"}, doubt))
    assert [each.kind for each in broken] == [Kind.DEPENDENCY]


# --- what cannot be read

DOUBT = Fingerprint(doubt="Cargo.toml:3: no TOML: it ends too soon")
GOOD = Fingerprint({HEX: "1"})


def test_a_half_saved_manifest_takes_the_slow_path_and_says_so() -> None:
    (found,) = classify(scope(), side({MANIFEST: "1"}, GOOD), side({MANIFEST: "2"}, DOUBT))
    assert found.kind is Kind.DEPENDENCY
    assert DOUBT.doubt in found.cause
    assert found.cause.endswith("the last good reading is kept")


def test_the_next_save_is_compared_with_the_last_good_reading() -> None:
    (found,) = classify(scope(), side({MANIFEST: "1"}, GOOD), side({MANIFEST: "3"}, Fingerprint({HEX: "2"})))
    assert found.cause == "Cargo.toml: dependency `hex` changed"


def test_beside_a_half_saved_manifest_sources_stay_sources_and_what_came_is_in_doubt() -> None:
    before = side({MANIFEST: "1", "src/a.rs": "1"}, GOOD)
    after = side({MANIFEST: "2", "src/a.rs": "2", "tests/b.rs": "1", "x.swp": "1"}, DOUBT)
    found = classify(scope({"x.swp": "an editor's own"}), before, after)
    assert {each.path: each.kind for each in found} == {
        "api/Cargo.toml": Kind.DEPENDENCY,
        "api/src/a.rs": Kind.SOURCE,
        "api/tests/b.rs": Kind.DEPENDENCY,
        "api/x.swp": Kind.IGNORED,
    }


def test_a_doubt_that_no_path_explains_is_told() -> None:
    (found,) = classify(scope(), side({}, GOOD), side({}, DOUBT))
    assert (found.kind, found.path) == (Kind.DEPENDENCY, "api/Cargo.toml")


def test_a_manifest_that_was_unreadable_before_is_in_doubt_once_it_can_be_read() -> None:
    (found,) = classify(scope(), side({MANIFEST: "1"}, DOUBT), side({MANIFEST: "2"}, GOOD))
    assert found.kind is Kind.DEPENDENCY
    assert "the last good reading" not in found.cause


def test_a_doubt_hides_behind_nothing_that_is_told_besides() -> None:
    """The manifest is a link: what changed has another name, and is a source by it."""
    before, after = side({"m.txt": "1"}, GOOD), side({"m.txt": "2", ".a.swp": "1", "new/": "1"}, DOUBT)
    found = classify(scope({".a.swp": "an editor's own"}), before, after)
    assert max(each.kind for each in found) is Kind.DEPENDENCY


def test_with_the_same_doubt_what_a_link_leads_to_may_count() -> None:
    links = {MANIFEST: ("l", b"m.txt", 0o777)}
    found = classify(scope(), Side({**links, "m.txt": "1"}, DOUBT), Side({**links, "m.txt": "2"}, DOUBT))
    assert max(each.kind for each in found) is Kind.DEPENDENCY
    plain = classify(scope(), side({"a.rs": "1"}, DOUBT), side({"a.rs": "2"}, DOUBT))
    assert [each.kind for each in plain] == [Kind.SOURCE]


def test_a_folder_is_told_where_what_is_in_it_does_not_tell_it() -> None:
    litter = {"src/.m.swp": "an editor's own"}
    changed = classify(scope(litter), side({"src/": "755"}), side({"src/": "700", "src/.m.swp": "1"}))
    assert {each.path: each.kind for each in changed} == {
        "api/src/": Kind.SOURCE,
        "api/src/.m.swp": Kind.IGNORED,
    }
    added = classify(scope(), side({}), side({"src/": "755", "src/a": "1"}))
    assert [each.path for each in added] == ["api/src/a"]


def test_a_declared_input_may_be_more_than_a_dependency() -> None:
    file = "rust-toolchain.toml"
    declared = Scope("api", "api", lambda _: True, declared=lambda path: path == file)
    before, after = (Fingerprint({Part(file, "toolchain"): value}) for value in "12")
    (found,) = classify(declared, side({file: "1"}, before), side({file: "2"}, after))
    assert found.kind is Kind.BASE
