"""Which namespace each service's cache mounts are in, and which of an engine's are this checkout's."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.cache import warm
from kiro_invoke.cache.namespaces import (
    NAMESPACES,
    Namespaces,
    clean_namespace,
    is_clean,
    is_own,
    move,
    read_namespaces,
)
from kiro_invoke.cache.reclaim import owner
from kiro_invoke.model.service import Project, Service

NOW = 1_700_000_000_000_000_000
LATER = f"-r{NOW:016x}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    services = []
    for name in ("web", "api"):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "Dockerfile.fast"
        file.write_text("FROM a\nRUN --mount=type=cache,id=x,target=/x make\n")
        services.append(Service(name, tmp_path / name, f"shop/{name}", "other", None, file))
    return Project(tmp_path, "shop", tuple(services))


def write(project: Project, text: str) -> None:
    project.state.mkdir(exist_ok=True)
    (project.state / NAMESPACES).write_text(text)


def test_a_service_is_in_the_checkouts_own_namespace_until_it_moves(project: Project) -> None:
    assert read_namespaces(project).of("web") == project.checkout
    new = read_namespaces(project).next(NOW)
    assert new == f"{project.checkout}{LATER}"
    assert move(project, ["web"], new) == read_namespaces(project)
    assert read_namespaces(project).of("web") == new
    assert read_namespaces(project).of("api") == project.checkout
    assert read_namespaces(project).current(["web", "api"]) == {new, project.checkout}


def test_a_service_that_moves_leaves_the_others_where_they_are(project: Project) -> None:
    for at, name in enumerate(("web", "api", "web")):
        move(project, [name], read_namespaces(project).next(NOW + at))
    found = read_namespaces(project)
    assert found.of("api") == f"{project.checkout}-r{NOW + 1:016x}"
    assert found.of("web") == f"{project.checkout}-r{NOW + 2:016x}"
    assert found.changed == (NOW + 2) / 1e9


def test_none_is_given_twice_though_the_clock_stands_still(project: Project) -> None:
    seen = {project.checkout}
    for now in (NOW, NOW, NOW - 5):
        found = read_namespaces(project).next(now)
        assert found not in seen
        seen.add(found)
        move(project, ["web"], found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"services": []}',
        '{"services": {"web": "other-0123456789-r1797d0d5a3e80000"}}',
        '{"services": {"web": "@-r1"}}',
        '{"services": {"web": "@-r0123456789abcdef\\n"}}',
        '{"services": {"web": "@-clean-0123456789abcdef"}}',
        '{"services": {"web": {"a": 1}}}',
        "[" * 100_000,
    ],
)
def test_what_cannot_be_used_is_the_checkouts_own(project: Project, text: str) -> None:
    write(project, text.replace("@", project.checkout))
    assert read_namespaces(project) == Namespaces(project.checkout)


def test_a_moved_copy_of_the_folder_has_its_own(project: Project, tmp_path: Path) -> None:
    move(project, ["web"], read_namespaces(project).next(NOW))
    there = replace(project, root=tmp_path / "copy")
    write(replace(there, root=_made(there.root)), (project.state / NAMESPACES).read_text())
    assert read_namespaces(there).of("web") == there.checkout


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("namespace", "own", "clean"),
    [
        ("shop-1111111111", True, False),
        (f"shop-1111111111{LATER}", True, False),
        (clean_namespace("shop-1111111111", NOW), True, True),
        ("shop-1111111111-clean-0123456789", False, False),
        ("shop-1111111111-r0123456789", False, False),
        ("shop-1111111111-r-0123456789", False, False),
        (f"shop-1111111111{LATER}-0123456789", False, False),
        ("shop-1111111111-lost-7", False, False),
        ("shop-1111111112", False, False),
        ("shop-11111111111", False, False),
        (f"shop.1111111111{LATER}", False, False),
        ("", False, False),
    ],
)
def test_no_other_projects_name_is_taken_for_one_of_ours(namespace: str, own: bool, clean: bool) -> None:
    """Another checkout's ends with a dash and ten digits, whatever its project is called."""
    assert is_own(namespace, "shop-1111111111") is own
    assert is_clean(namespace, "shop-1111111111") is clean


def test_each_target_gets_its_services_namespace(project: Project) -> None:
    """Also what `build --print` shows."""
    new = read_namespaces(project).next(NOW)
    move(project, ["web"], new)
    recipes = warm.read_recipes(project, (Profile.DEV,))
    prepared = warm.prepare(project, recipes, lambda some: plan_images(some, "x"), ())

    def given(prepared: warm.Prepared) -> dict[str, str]:
        targets = json.loads(prepared.definition)["target"].items()
        return {name: target["args"]["BUILDKIT_CACHE_MOUNT_NS"] for name, target in targets}

    assert {name.partition("-")[0]: value for name, value in given(prepared).items()} == {
        "web": new,
        "api": project.checkout,
    }
    assert set(given(prepared.in_namespace("clean")).values()) == {"clean"}
    assert set(given(prepared.moved(["api"], new)).values()) == {new}


def test_what_is_reclaimed_knows_where_all_services_are_now(project: Project) -> None:
    """Also of those that a build was not asked for."""
    new = read_namespaces(project).next(NOW)
    move(project, ["web"], new)
    web = project.only(["web"])
    recipes = warm.read_recipes(web, (Profile.DEV,))
    assert owner(web, recipes).current == {new, project.checkout}
    assert owner(web, recipes).changed == NOW / 1e9
    move(project, ["api"], new)
    assert owner(web, recipes).current == {new}


def test_what_a_build_tries_is_not_taken_for_left_behind(project: Project) -> None:
    """A second attempt may take longer than what is left behind stays."""
    recipes = warm.read_recipes(project, (Profile.DEV,))
    tried = read_namespaces(project).next(NOW)
    assert owner(project, recipes).why_not_used(tried) == "its namespace was replaced"
    assert owner(project, recipes, frozenset({tried})).why_not_used(tried) == ""


def test_a_choice_keeps_the_names_of_all(project: Project) -> None:
    web = project.only(["web"])
    assert [service.name for service in web.services] == ["web"]
    assert web.names == ("web", "api")
    assert web.only(["web"]).names == web.names


def test_two_builds_that_move_services_at_one_time_both_do(project: Project) -> None:
    """Else a service would be back in the namespace that was given up."""
    new = read_namespaces(project).next(NOW)
    file = project.state / NAMESPACES
    with FileLock(f"{file}.lock"):
        other = threading.Thread(target=move, args=(project, ["web"], new))
        other.start()
        other.join(0.2)
        file.write_text(json.dumps({"services": {"api": new}}))
    other.join()
    assert read_namespaces(project).moved == {"api": new, "web": new}
