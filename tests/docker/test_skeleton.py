"""The skeleton at work: what stands on it runs when it must and only then, in our builds and in plain ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.builds.bake import Surroundings, definition
from kiro_invoke.changes.context import Rules
from kiro_invoke.changes.mirror import held, mirror_name, refresh
from kiro_invoke.changes.skeleton import refresh_skeleton
from kiro_invoke.model.plan import BuildPlan, Sent, Target
from tests.support.engine import ROOT, build_steps, docker, kiro
from tests.support.odd_tree import odd_tree
from tests.support.trees import listing, write_tree

pytestmark = pytest.mark.docker

PROJECT = f"kiro-test-{os.getpid()}"
FRESH = f"{PROJECT}/fresh:1"
IMAGE = f"{PROJECT}/app:dev"
#: As in the backend's Dockerfiles. The planner shows what it was given, writes to it, and notes when it ran.
STAGES = f"""\
FROM {FRESH} AS skeleton
RUN --mount=type=bind,target=/context kiro-fresh skeleton /context /skeleton
FROM scratch AS kiro-skeleton
COPY --from=skeleton /skeleton /skeleton
FROM {FRESH} AS planner
RUN --mount=type=bind,from=kiro-skeleton,source=/skeleton,target=/app,rw \
    cd /app && cp -a . /seen && touch of-the-planner && date +%s%N > /ran
"""
DOCKERFILE = f"{STAGES}FROM {FRESH} AS dev\nCOPY . /app\nCOPY --from=planner /ran /seen /planner/\n"


@pytest.fixture(scope="module", autouse=True)
def fresh(engine: None) -> Iterator[None]:
    """An image with kiro-fresh, as the backend's Dockerfile makes it."""
    build_steps("--target=fresh", "-f", "backend/Dockerfile.fast", "-t", FRESH, "backend", cwd=ROOT)
    yield
    docker("rmi", "--force", FRESH, *docker("image", "ls", "--quiet", IMAGE).split())


@pytest.fixture
def app(tiny: Path) -> Path:
    """A service with the stages, whose content no build had before."""
    folder = tiny / "app"
    write_tree(folder, ["Cargo.toml", "src/main.rs"])
    (folder / "Cargo.toml").write_text(f"# {time.time_ns()}\n")
    (folder / ".dockerignore").write_text(".dockerignore\nDockerfile*\n")
    (folder / "Dockerfile.fast").write_text(DOCKERFILE)
    return folder


def ran(app: Path, *command: str) -> set[str]:
    """The stages of which a step ran in `kiro build`."""
    done = kiro(*(command or ("build",)), "--format", "json", cwd=app.parent)
    assert done.code == 0, done.err
    (service,) = done.json["services"]
    return {stage["name"] for stage in service["stages"] if not stage["cached"]}


def ran_plainly(app: Path) -> set[str]:
    """The stages of which a step ran in a plain build of the planner."""
    steps = build_steps(
        "--target=planner", "--output=type=cacheonly", "-f", "app/Dockerfile.fast", "app", cwd=app.parent
    )
    names = [step["name"] for step in steps if step["name"].startswith("[") and not step.get("cached")]
    return {name.partition(" ")[0].lstrip("[") for name in names if "] RUN " in name}


def test_the_planner_runs_for_manifests_and_names_alone(app: Path) -> None:
    assert ran(app) == {"planner", "dev"}
    assert ran(app) == set()
    (app / "src/main.rs").write_text("edited")
    assert ran(app) == {"dev"}
    (app / "Cargo.toml").write_text(f"# edited {time.time_ns()}\n")
    assert ran(app) == {"planner", "dev"}
    (app / "src/new.rs").write_text("x")
    assert ran(app) == {"planner", "dev"}
    (app / "src/new.rs").unlink()
    assert ran(app) == set(), "all is as it was before"


def test_an_edit_of_the_same_size_and_time_is_planned(app: Path) -> None:
    manifest = app / "Cargo.toml"
    ran(app)
    ran(app)  # the engine compares with what it was sent last, unless a step wrote over that: now none did
    before, text = manifest.stat(), manifest.read_text()
    manifest.write_text(text.replace("#", "["))
    os.utime(manifest, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "planner" in ran(app)
    assert docker("run", "--rm", "--network=none", "--entrypoint=cat", IMAGE, "/planner/Cargo.toml") == (
        text.replace("#", "[")
    )


def test_a_manifest_behind_a_link_is_planned_whatever_its_name(app: Path) -> None:
    """Then all that is there is: an edit of a source, too."""
    (app / "Cargo.toml").rename(app / "manifest.in")
    (app / "Cargo.toml").symlink_to("manifest.in")
    ran(app)
    text = f"# edited {time.time_ns()}\n"
    (app / "manifest.in").write_text(text)
    assert ran(app) == {"planner", "dev"}
    assert docker("run", "--rm", "--network=none", "--entrypoint=cat", IMAGE, "/planner/Cargo.toml") == text
    (app / "src/main.rs").write_text(f"edited {time.time_ns()}")
    assert ran(app) == {"planner", "dev"}
    assert ran_plainly(app) == {"skeleton"}


@pytest.fixture(params=[False, True], ids=["plain", "linked"])
def odd(app: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The service with all that a listing can get wrong; also with a link that may lead to a manifest."""
    odd_tree(tmp_path).joinpath("pipe").unlink()
    for there in (tmp_path / "odd").iterdir():
        there.rename(app / there.name)
    write_tree(
        app,
        [
            "n\udcff.toml", "a\nb.lock", "x y/Cargo.toml", "x y/main.rs", "rust-toolchain", ".cargo/config",
            "cargo/config", "linked -> n\udcff.toml", "l\udcff -> t\udcff", "folder.toml/in", "hollow/er/",
            *(["Linked.toml -> n\udcff"] if request.param else []),
        ],
    )  # fmt: skip
    for path, mode in (
        ("x y/main.rs", 0o4755),
        ("hollow", 0o1777),
        ("x y", 0o555),
        ("rust-toolchain", 0o400),
    ):
        (app / path).chmod(mode)
    return app


def test_a_plain_build_after_ours_finds_the_planner_cached(odd: Path) -> None:
    assert "planner" in ran(odd)
    assert ran_plainly(odd) == {"skeleton"}


def test_our_build_after_a_plain_one_finds_the_planner_cached(odd: Path) -> None:
    assert ran_plainly(odd) == {"skeleton", "planner"}
    assert ran(odd) == {"dev"}


def test_after_warm_cache_a_plain_build_finds_everything_cached(app: Path) -> None:
    assert ran(app, "warm-cache") == {"skeleton", "kiro-skeleton", "planner", "dev"}
    assert ran_plainly(app) == set()
    assert ran(app) == set()


def test_kiro_fresh_makes_the_same_skeleton(odd: Path, tmp_path: Path) -> None:
    os.mkfifo(odd / "pipe")
    (odd / "Dockerfile.fast").write_text(f"{STAGES}FROM scratch\nCOPY --from=kiro-skeleton /skeleton /\n")
    out = f"--output=type=local,dest={tmp_path}/out"
    build_steps("--provenance=false", out, "-f", "app/Dockerfile.fast", "app", cwd=odd.parent)
    ran(odd)
    (ours,) = (odd.parent / ".kiro/contexts").glob("*-skeleton")
    assert listing(ours / "skeleton") == listing(tmp_path / "out")
    assert len(listing(tmp_path / "out")) > 40


def test_two_skeletons_of_one_time_do_not_mix(app: Path) -> None:
    """The engine knows a file by its size and time, and what it was sent before by the names of folders."""
    now = time.time_ns()
    targets, sending = [], {}
    file = app / "Dockerfile.fast"
    for name in ("one", "two"):
        context = app.parent / name / "app"
        write_tree(context, ["Cargo.toml"])
        (context / "Cargo.toml").write_text(f"{name} {now}")
        with held(
            app.parent / name / "contexts", mirror_name(context, "app", Rules()), pytest.fail
        ) as mirror:
            done = refresh(mirror, context, Rules(), [file], state=app.parent, now=now)
            skeleton = refresh_skeleton(mirror, done, now=now)
        sending[name, file] = Sent(done.folder, done.dockerfiles[file], done.revision, skeleton)
        targets.append(Target(name, name, context, file, "dev", "test", f"{PROJECT}/{name}:1"))
    around = Surroundings(PROJECT, sending=sending)
    # after the second one the engine still has what it was sent: no step wrote over that
    for some in (targets[:1], targets[:1], targets[1:]):
        docker("buildx", "bake", "--file=-", stdin=definition(BuildPlan(tuple(some)), around))
    tags = [target.tag for target in targets if target.tag]
    try:
        assert [
            docker("run", "--rm", "--network=none", "--entrypoint=cat", tag, "/planner/Cargo.toml")
            for tag in tags
        ] == [f"one {now}", f"two {now}"]
    finally:
        docker("rmi", "--force", *tags)
