"""The context is what the engine receives, and the mirror brings it there whole: against the real engine."""

from __future__ import annotations

import os
import random
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from kiro_invoke.changes.context import rules_of, walk
from kiro_invoke.changes.mirror import Mirrored, held, mirror_name, refresh
from kiro_invoke.model.errors import ConfigError
from tests.support.engine import build_steps, command, docker
from tests.support.trees import NAMES, listing, random_ignore_file, random_tree, write_tree

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("engine")]

COPY_ALL = "FROM scratch\nCOPY . /\n"
#: Layers that one stage can stack.
_PER_STAGE = 40

TREE = (
    "Dockerfile", "README.md", "docs/README.md", "docs/guide.md", "docs/deep/guide.md", "src/main.rs", "src/lib.rs",
    "src/deep/mod.rs", "src/deep/er/x.rs", "src/link -> ../README.md", "target/debug/app", "target/.keep",
    "target/doc/a.html", "node_modules/a/index.js", "web/node_modules/b/index.js", "web/index.html", "empty/",
    "empty/er/", ".git/HEAD", ".env", "a.log", "logs/b.log", "logs/c.txt", "x y/z", " lead", "é/ü.txt", "[x]/1", "a*b",
    "back\\slash", "#hash", "!bang", "foo/bar/baz/q", "foo/bar2/q", "foo/aq", "box", "bar", "n\nl",
)  # fmt: skip

IGNORE_FILES = (
    "", "# only a comment\n", "target\n", "target/\n", "/target\n", "./target\n", "target/**\n", "target/*\n",
    "*\n!src\n", "*\n!src/**\n", "*\n!src/*.rs\n", "*\n!src/deep/er\n", "**\n!src/main.rs\n", "**\n!**/*.rs\n",
    "*\n!*.md\n", "**/*.md\n!README.md\n", "*.md\n!docs\n", "docs\n!docs/guide.md\ndocs/deep\n", "**/node_modules\n",
    "**/node_modules/**\n", "node_modules\n", "*/node_modules\n", "**/*.log\n", "*.log\n", "logs/?.log\n",
    "[l-m]ogs\n", "[^a-z]*\n", "x y\n", "  lead  \n", "é\n", "é/?.txt\n", "??\n", "\\[x\\]\n", "[[]x]\n", "a\\*b\n",
    "a*b\n", "back\\\\slash\n", "\\#hash\n", " #hash\n", "#hash\n", "\\!bang\n", "!bang\n*\n", "/!bang\n",
    "foo/bar\n", "foo/**/q\n", "**/bar\n", "**bar\n", "**/bar/**\n!foo/bar/baz\n", "foo/bar/../bar2\n", "../foo\n",
    ".\n", "..\n", "/\n", "\n\n  \n", "\ufefftarget\n", "target\r\nsrc\r\n", ".dockerignore\n", "Dockerfile\n.*\n",
    "empty\n!empty/er\n", "empty/er\n", "*\n!empty/er\n", "*\n! src\n", "*\n!/src/\n", "src\n!src/deep/mod.rs\nsrc\n",
    "src/**\n!src/deep\nsrc/deep/er/x.rs\n", "src/li*\n", "{foo,docs}\n", "*{s}\n", "*.md|foo\n", "s*|x\n", "s{1}*\n",
    "fo{2}*\n", "\\w*\n", "[[:alpha:]]*\n", "n?l\n", "**/d??p\n", "foo//bar\n", "*.*\n", "*/*\n!*/*.rs\n", "***\n",
    "foo/**/**/q\n", "**/**\n", "src/deep/**/*.rs\n", "*\n!*/\n!src/main.rs\n", "t*\n!target/doc\n!target/debug/*\n",
)  # fmt: skip
RANDOM = 60
SEED = 4


def ours(context: Path, dockerfile: Path) -> dict[str, str]:
    """The context as we see it: path -> kind."""
    found = {}
    for folder in walk(context, rules_of(context, dockerfile)):
        found.update({folder.path: "d"} if folder.path else {})
        for name, status in folder.entries:
            found[folder.prefix + name] = "l" if stat.S_ISLNK(status.st_mode) else "f"
    return found


def kinds(root: Path) -> dict[str, str]:
    """The same of a folder that the engine wrote."""
    letters = {4: "d", 8: "f", 10: "l"}
    return {path: letters[ord(kind)] for path, (kind, _, _) in listing(root).items()}


def received(contexts: Mapping[str, Path], folder: Path) -> dict[str, dict[str, str]]:
    """What the engine gets of each context, all in one build: each is a named context with its `.dockerignore`."""
    names = list(contexts)
    stages = [names[at : at + _PER_STAGE] for at in range(0, len(names), _PER_STAGE)]
    lines = [
        line
        for number, stage in enumerate(stages)
        for line in (f"FROM scratch AS stage{number}", *(f"COPY --from={name} . /{name}/" for name in stage))
    ]
    lines += ["FROM scratch", *(f"COPY --from=stage{number} / /" for number in range(len(stages)))]
    main = folder / "kiro-test-truth"
    main.mkdir()
    (main / "Dockerfile").write_text("\n".join(lines))
    given = [word for name, path in contexts.items() for word in ("--build-context", f"{name}={path}")]
    docker(
        "buildx", "build", "--provenance=false", f"--output=type=local,dest={folder}/out", *given, str(main)
    )
    return {name: kinds(folder / "out" / name) if (folder / "out" / name).exists() else {} for name in names}


def test_the_context_is_what_the_engine_receives(tmp_path: Path) -> None:
    """For every ignore file of the table, and for random ones with random trees."""
    chance = random.Random(SEED)
    contexts: dict[str, Path] = {}
    expected: dict[str, dict[str, str]] = {}
    cases: list[tuple[str, Sequence[str]]] = [(text, TREE) for text in IGNORE_FILES]
    while len(cases) < len(IGNORE_FILES) + RANDOM:
        cases.append((random_ignore_file(chance), random_tree(chance)))
    for number, (text, tree) in enumerate(cases):
        context = tmp_path / f"c{number}"
        write_tree(context, tree)
        (context / ".dockerignore").write_text(text)
        try:
            expected[context.name] = ours(context, tmp_path / "none")
        except ConfigError:
            continue  # the build would end here; see the next test
        contexts[context.name] = context
    assert len(contexts) > len(IGNORE_FILES) + RANDOM / 2
    got = received(contexts, tmp_path)
    wrong = {
        repr(cases[int(name[1:])][0]): (sorted(got[name].items() ^ expected[name].items()))
        for name in contexts
        if got[name] != expected[name]
    }
    assert not wrong


@pytest.mark.parametrize("text", ["a\n!\n", "a[\n", "a\\\n", "[[:letters:]]\n"])
def test_a_pattern_that_we_refuse_the_engine_refuses_too(tmp_path: Path, text: str) -> None:
    write_tree(tmp_path, ["a", "b"])
    (tmp_path / ".dockerignore").write_text(text)
    (tmp_path / "Dockerfile").write_text(COPY_ALL)
    with pytest.raises(ConfigError):
        rules_of(tmp_path, tmp_path / "Dockerfile")
    ran = command("docker", "buildx", "build", "--output=type=cacheonly", str(tmp_path))
    assert ran.code != 0
    assert "transferring context" in ran.err


@pytest.mark.parametrize(
    "case", ["own wins", "an empty own wins", "link", "link out", "folder", "Dockerfile elsewhere"]
)
def test_the_ignore_file_is_the_one_that_the_engine_takes(tmp_path: Path, case: str) -> None:
    context = tmp_path / f"kiro-test-{case.replace(' ', '-')}"
    dockerfile = context / "Dockerfile.fast"
    write_tree(context, ["a", "b", "c", "conf/ignore"])
    (context / "conf/ignore").write_text("b\nconf\n")
    (tmp_path / "outer").write_text("c\n")
    if case == "link":
        (context / ".dockerignore").symlink_to("/conf/../conf/ignore")
    elif case == "link out":
        (context / ".dockerignore").symlink_to("../outer")
    elif case == "folder":
        (context / ".dockerignore").mkdir()
    else:
        (context / ".dockerignore").write_text("a\n")
        dockerfile = tmp_path / "Dockerfile" if case == "Dockerfile elsewhere" else dockerfile
        own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
        own.write_text("" if case == "an empty own wins" else "c\n")
    dockerfile.write_text(COPY_ALL)
    assert kinds(built(context, dockerfile, tmp_path / "out")) == ours(context, dockerfile)


def built(context: Path, dockerfile: Path, to: Path) -> Path:
    """What a build of `dockerfile` in `context` puts out, as a folder."""
    where = ("-f", str(dockerfile), f"--output=type=local,dest={to}", str(context))
    docker("buildx", "build", "--provenance=false", *where)
    return to


def is_cached(context: Path, dockerfile: Path) -> list[bool]:
    """Whether each step of a build was cached, FROM aside."""
    steps = build_steps("-f", str(dockerfile), "--output=type=cacheonly", str(context))
    return [bool(step.get("cached")) for step in steps if "COPY" in step["name"]]


@dataclass(frozen=True)
class Checkout:
    """A checkout of a project with one service, `backend`, mirrored in its state folder."""

    root: Path

    @property
    def context(self) -> Path:
        return self.root / "backend"

    @property
    def dockerfile(self) -> Path:
        return self.context / "Dockerfile.fast"

    def mirrored(self, now: int | None = None) -> Mirrored:
        rules = rules_of(self.context, self.dockerfile)
        state = self.root / ".kiro"
        with held(state / "contexts", mirror_name(self.root, "backend", rules), pytest.fail) as mirror:
            now = time.time_ns() if now is None else now
            return refresh(mirror, self.context, rules, [self.dockerfile], state=state, now=now)

    def from_mirror(self, to: Path, now: int | None = None) -> Path:
        mirrored = self.mirrored(now)
        return built(mirrored.folder, mirrored.dockerfiles[self.dockerfile], to)

    def plain(self, to: Path) -> Path:
        return built(self.context, self.dockerfile, to)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / f"{os.getpid()}")
    write_tree(made.context, ["src/main.rs", "b"])
    made.dockerfile.write_text(COPY_ALL)
    return made


def test_a_build_from_the_mirror_is_the_plain_build(checkout: Checkout, tmp_path: Path) -> None:
    """Paths, kinds, modes, link texts, contents, attributes and empty folders; and they share their layers."""
    context = checkout.context
    without_git = [path for path in TREE if not path.startswith(".git/")]  # the client would speak of it
    write_tree(
        context,
        [
            *without_git,
            *(f"odd/{name}" for name in NAMES),
            "away/a",
            "away/keep",
            "hollow/",
            "l\udcff -> n\udcff",
            "long/" + "n" * 255,
        ],
    )
    ignore = context / ".dockerignore"
    ignore.write_text("away\n!away/keep\n.dockerignore\ntarget\n**/node_modules\n")
    for path, mode in (
        ("bar", 0o4755),
        ("a.log", 0o400),
        ("hollow", 0o1777),
        ("docs", 0o555),
        ("away/keep", 0o606),
    ):
        (context / path).chmod(mode)
    with suppress(OSError):  # not every file system has them
        os.setxattr(context / "README.md", "user.kiro", b"1")
    (context / "unique").write_text(str(time.time_ns()))
    from_mirror = checkout.from_mirror(tmp_path / "mirror")
    assert is_cached(context, checkout.dockerfile) == [True]
    plain = checkout.plain(tmp_path / "plain")
    assert listing(from_mirror) == listing(plain)
    assert "hollow" in listing(plain) and "away/keep" in listing(plain) and "away/a" not in listing(plain)
    assert os.listxattr(from_mirror / "README.md") == os.listxattr(plain / "README.md")
    assert not (from_mirror / ".dockerignore").exists()


def test_an_edit_of_the_same_size_and_time_is_built(checkout: Checkout, tmp_path: Path) -> None:
    """Trap 2: the engine's sync of the person's folder never sends it."""
    source = checkout.context / "b"
    source.write_text("one")
    times = (source.stat().st_mtime_ns, source.stat().st_mtime_ns)
    checkout.plain(tmp_path / "1")
    checkout.from_mirror(tmp_path / "2")
    source.write_text("two")
    os.utime(source, ns=times)
    assert (checkout.plain(tmp_path / "3") / "b").read_text() == "one", "the trap is gone"
    assert (checkout.from_mirror(tmp_path / "4") / "b").read_text() == "two"


def test_two_checkouts_of_one_name_do_not_mix(tmp_path: Path) -> None:
    """Trap 15: the engine knows a context by its folder's name."""
    checkouts = [Checkout(tmp_path / f"{os.getpid()}-{text}") for text in ("one", "two")]
    for checkout in checkouts:
        write_tree(checkout.context, ["b"])
        checkout.dockerfile.write_text(COPY_ALL)
        (checkout.context / "b").write_text(checkout.root.name)
        for path in (checkout.context / "b", checkout.dockerfile):
            os.utime(path, ns=(10**18, 10**18 + os.getpid()))
    plain = [checkout.plain(checkout.root / "plain") for checkout in checkouts]
    assert (plain[1] / "b").read_text() == checkouts[0].root.name, "the trap is gone"
    now = time.time_ns()  # the same for both: times alone do not help here, names do
    mirrored = [checkout.from_mirror(checkout.root / "mirror", now) for checkout in checkouts]
    assert [(out / "b").read_text() for out in mirrored] == [checkout.root.name for checkout in checkouts]


def test_what_is_built_is_what_was_hashed(checkout: Checkout, tmp_path: Path) -> None:
    """Trap 5: an edit after the refresh is not in the build; it is in the next one."""
    source = checkout.context / "b"
    source.write_text("hashed")
    mirrored = checkout.mirrored()
    source.write_text("edited")
    copy = mirrored.dockerfiles[checkout.dockerfile]
    assert (built(mirrored.folder, copy, tmp_path / "1") / "b").read_text() == "hashed"
    after = checkout.mirrored()
    assert after.revision != mirrored.revision
    assert (built(after.folder, copy, tmp_path / "2") / "b").read_text() == "edited"


def test_a_change_of_mode_or_link_alone_is_built(checkout: Checkout, tmp_path: Path) -> None:
    link = checkout.context / "link"
    link.symlink_to("one")
    before = checkout.from_mirror(tmp_path / "1")
    (checkout.context / "b").chmod(0o755)
    (checkout.context / "src").chmod(0o700)
    link.unlink()
    link.symlink_to("two")
    after = checkout.from_mirror(tmp_path / "2")
    assert [path.lstat().st_mode & 0o777 for path in (before / "b", before / "src")] == [0o644, 0o755]
    assert [path.lstat().st_mode & 0o777 for path in (after / "b", after / "src")] == [0o755, 0o700]
    assert [str((out / "link").readlink()) for out in (before, after)] == ["one", "two"]


def test_what_changes_its_kind_is_built(checkout: Checkout, tmp_path: Path) -> None:
    write_tree(checkout.context, ["1", "2/x", "3 -> b", "4/y", "5 -> b"])
    checkout.from_mirror(tmp_path / "1")
    for path in ("1", "3", "5"):
        (checkout.context / path).unlink()
    for path in ("2", "4"):
        shutil.rmtree(checkout.context / path)
    write_tree(checkout.context, ["1/x", "2", "3/x", "4 -> b", "5"])
    after = checkout.from_mirror(tmp_path / "2")
    assert listing(after) == listing(checkout.context)


def test_a_file_that_the_engine_would_send_empty_is_whole(checkout: Checkout, tmp_path: Path) -> None:
    """Where a pattern comes again behind a `!`, the client sends a file, and then refuses itself its content."""
    (checkout.context / ".dockerignore").write_text("src\n!src/main.rs\nsrc\n")
    assert (checkout.plain(tmp_path / "plain") / "src/main.rs").read_text() == "", "the trap is gone"
    assert (checkout.from_mirror(tmp_path / "mirror") / "src/main.rs").read_text() != ""
