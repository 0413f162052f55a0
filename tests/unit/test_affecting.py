"""`kiro affected` and `build --since`: which services a revision's sources would not make, with no engine."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from kiro_invoke.changes.attributes import converting
from kiro_invoke.commands import affecting, building, opening
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.protocol import ImageFacts
from kiro_invoke.model.errors import UsageError
from kiro_invoke.screen import Paper
from tests.support.affected_truth import FILES, KIRO, MANIFEST, Checkout, check
from tests.support.repository import git as run_git
from tests.support.repository import write_texts
from tests.unit.build_fakes import recorded
from tests.unit.fakes import FakeEngine

SCHEMAS = Path(__file__).parents[2] / "kiro_invoke/schemas"


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


class Shop:
    """A repository with three services, one of which has the root for its context."""

    def __init__(self, root: Path, files: Mapping[str, str | None] = FILES) -> None:
        self.root = root
        self.folder = root
        self.out, self.err = io.StringIO(), io.StringIO()
        self.write(files)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def write(self, texts: Mapping[str, str | None]) -> None:
        write_texts(self.root, texts)

    def git(self, *words: str) -> str:
        return run_git("-C", str(self.root), *words)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=it")

    @property
    def surface(self) -> Surface:
        def paper(stream: io.StringIO) -> Paper:
            plain = Console(file=stream, width=500, color_system=None, highlight=False, markup=False)
            return Paper(lambda: plain)

        return Surface(paper(self.out), paper(self.err), {}, self.folder, None)

    def value(self, since: str = "HEAD", services: tuple[str, ...] = ()) -> dict[str, Any]:
        return whole("affected", affecting.affected(services, revision=since)(self.surface))

    def told(self, since: str = "HEAD", services: tuple[str, ...] = ()) -> dict[str, tuple[str, str, str]]:
        """Kind, cause and images by service."""
        return {
            row["name"]: (row["kind"], row["cause"], " ".join(row["images"]))
            for row in self.value(since, services)["services"]
        }

    def affected(self, since: str = "HEAD") -> list[str]:
        return list(self.value(since)["affected"])

    def text(self) -> list[str]:
        affecting.affected((), revision="HEAD")(self.surface).show(self.surface)
        return self.out.getvalue().splitlines()

    def build(self, *services: str, since: str = "HEAD", **how: Any) -> Answer:
        given = {"prod": False, "clean": False, "show_definition": False, "dry_run": False, **how}
        return building.build(services, since=since, **given)(self.surface)


def whole(name: str, answer: Answer) -> dict[str, Any]:
    value = {"schema": 1, "command": name, "ok": answer.ok, **json.loads(json.dumps(answer.fields))}
    validator(name).validate(value)
    return value


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "a shop")


# --- the truth


def test_what_is_not_affected_is_given_and_sent_the_same(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    conservative = [check(checkout, seed) for seed in range(12)]
    assert conservative.count("") > 6


# --- each cause


def test_nothing_changed(shop: Shop) -> None:
    value = shop.value()
    assert value["since"] == shop.git("rev-parse", "HEAD")
    assert (value["affected"], value["matrix"], value["others"]) == ([], {"service": []}, [])
    cause = "nothing that it is built from changed since that revision"
    assert shop.told() == dict.fromkeys(("api", "web", "all"), ("IGNORED", cause, ""))


def test_each_service_by_its_strongest_change(shop: Shop) -> None:
    shop.write(
        {
            "api/src/main.rs": "2",
            "api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n',
            "web/src/main.js": "2",
            "api/README.md": "2",
            "compose.yaml": "services: {a: {}}\n",
        }
    )
    assert shop.told() == {
        "api": ("DEPENDENCY", "Cargo.toml: dependency `hex` added", "dev prod"),
        "web": ("SOURCE", "src/main.js changed", "dev prod"),
        "all": ("SOURCE", "web/src/main.js changed", "prod"),
    }
    (other,) = shop.value()["others"]
    assert other == {
        "path": "compose.yaml",
        "kind": "CONFIG",
        "cause": "compose.yaml changed: it says what runs, no build reads it",
    }
    assert shop.value(services=("web",))["matrix"] == {"service": ["web"]}


def test_a_change_that_no_build_gets_is_said(shop: Shop) -> None:
    shop.write({"api/README.md": "2"})
    cause = "README.md is left out of the build context by `*.md` (api/.dockerignore:2)"
    assert shop.told()["api"] == ("IGNORED", cause, "")


def test_litter_is_no_reason(shop: Shop) -> None:
    shop.write({"api/src/.main.rs.swp": "1"})
    kind, cause, images = shop.told()["api"]
    assert (kind, images) == ("IGNORED", "")
    assert "an editor's own" in cause


@pytest.mark.parametrize("path", ["api/Dockerfile", "api/Dockerfile.fast"])
def test_a_dockerfile_concerns_its_own_image(shop: Shop, path: str) -> None:
    shop.write({path: f"{FILES[path]}RUN more\n"})
    kind, _, images = shop.told()["api"]
    assert (kind, images) == ("BASE", "prod" if path == "api/Dockerfile" else "dev")


def test_the_text_has_a_line_for_each_service(shop: Shop) -> None:
    shop.write(
        {
            "web/src/main.js": "2",
            "web/src/x\nn\x1b[2J.js": "1",
            "kiro.yaml": f"{KIRO}metrics:\n  record: false\n",
        }
    )
    assert shop.text() == [
        "not affected  api         IGNORED     nothing that it is built from changed since that revision",
        "affected      web         SOURCE      src/main.js changed; and 1 more (dev, prod)",
        "affected      all         SOURCE      web/src/main.js changed; and 1 more (prod)",
        "not affected  -           CONFIG      kiro.yaml changed: no image of these services depends on that",
        f"affected since {shop.git('rev-parse', 'HEAD')[:12]}: 2 of 3 services",
    ]


# --- kiro.yaml


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("LEVEL: 1", "LEVEL: 2", {"api": "kiro.yaml: build argument `LEVEL` changed"}),
        ("UNSEEN: 1", "UNSEEN: 2", {}),
        (
            "project: shop",
            "project: store",
            dict.fromkeys(("api", "web", "all"), "kiro.yaml: `project` changed"),
        ),
        (
            "- name: web\n",
            "- name: web\n    image: shop/page\n",
            {"web": "kiro.yaml: `image` of web changed"},
        ),
        ("- name: web\n", "- name: web\n    ignore: [x]\n", {}),
        ("- name: web\n", "- name: page\n    context: web\n", {"page": "page was no service"}),
        (
            "services:",
            "ssh: [default]\nservices:",
            dict.fromkeys(("api", "web", "all"), "kiro.yaml: `ssh` changed"),
        ),
        ("services:", "watch:\n  quiet_ms: 80\nservices:", {}),
        (
            "- name: api\n",
            "- name: api\n    fast_dockerfile: Other.fast\n",
            {"api": "kiro.yaml: `fast_dockerfile` of api changed"},
        ),
    ],
)
def test_what_kiro_yaml_gives_to_builds(shop: Shop, old: str, new: str, expected: dict[str, str]) -> None:
    shop.write({"kiro.yaml": KIRO.replace(old, new)})
    told = {name: cause for name, (_, cause, images) in shop.told().items() if images}
    assert told == expected
    assert bool(shop.value()["others"]) is not bool(expected)


def test_two_images_that_are_built_from_one_dockerfile_by_now(shop: Shop) -> None:
    shop.write({"kiro.yaml": KIRO.replace("- name: api\n", "- name: api\n    fast_dockerfile: Dockerfile\n")})
    assert shop.told()["api"] == ("CONFIG", "kiro.yaml: `fast_dockerfile` of api changed", "dev")


def test_a_context_that_moved_to_a_folder_with_the_same_files(shop: Shop) -> None:
    shop.git("mv", "web", "page")
    shop.write({"kiro.yaml": KIRO.replace("- name: web\n", "- name: web\n    context: page\n")})
    assert shop.told()["web"][:2] == ("CONFIG", "kiro.yaml: `context` of web changed")


def test_a_context_that_is_a_link_which_leads_elsewhere(tmp_path: Path) -> None:
    files = {
        f"v{n}/{name}": text
        for n in (1, 2)
        for name, text in (("Dockerfile", "FROM a\nCOPY . .\n"), ("x", str(n)))
    }
    shop = Shop(
        tmp_path,
        {**files, ".gitignore": ".kiro\n", "kiro.yaml": "services:\n  - name: now\n"} | {"v1/y": "1"},
    )
    (tmp_path / "now").symlink_to("v1")
    shop.commit()
    assert shop.affected() == []
    (tmp_path / "now").unlink()
    (tmp_path / "now").symlink_to("v2")
    assert shop.told()["now"][1] == "kiro.yaml: `context` of now changed"


@pytest.mark.parametrize("then", ["services: [\n", "- 1\n", "services:\n  - context: api\n", "services: 1\n"])
def test_a_kiro_yaml_that_cannot_be_read_at_the_revision(shop: Shop, then: str) -> None:
    shop.write({"kiro.yaml": then})
    shop.commit()
    shop.write({"kiro.yaml": KIRO})
    assert shop.affected() == ["api", "web", "all"]
    assert "what kiro.yaml gave to builds of that revision is not known: kiro.yaml:" in shop.told()["api"][1]


def test_services_that_were_detected_and_are_listed_now_are_the_same(shop: Shop) -> None:
    shop.write({"kiro.yaml": "project: shop\n"})
    shop.commit()
    assert shop.affected() == []
    shop.write({"kiro.yaml": "project: shop\nservices:\n  - name: api\n  - name: web\n"})
    assert shop.affected() == []
    # no service was found there, for it had no lockfile
    shop.write(
        {
            "kiro.yaml": "project: shop\n",
            "web/package-lock.json": None,
            "web/.dockerignore": "package-lock.json\n",
        }
    )
    shop.commit()
    shop.write({"web/package-lock.json": "{}"})
    assert shop.told()["web"][:2] == ("CONFIG", "web was no service")


def test_a_project_that_had_no_kiro_yaml_in_a_folder_of_the_repository(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {f"sub/{path}": text for path, text in FILES.items() if path != "kiro.yaml"})
    shop.folder = tmp_path / "sub"
    shop.write({"sub/kiro.yaml": KIRO})
    assert shop.affected() == ["api", "web", "all"]
    assert "it had none here" in shop.told()["web"][1]
    shop.commit()
    assert shop.affected() == []


# --- git


@pytest.mark.parametrize(
    ("line", "expected"),
    [("*.sh text eol=crlf", ["all"]), ("*.lock linguist-generated", []), ("[attr]x text\n*.sh x", ["all"])],
)
def test_attributes_by_which_a_checkout_makes_other_files(shop: Shop, line: str, expected: list[str]) -> None:
    """They stand in `shared`, which one service gets."""
    shop.write({"shared/.gitattributes": f"{line}\n"})
    shop.commit()
    shop.write({"deploy/all.Dockerfile.dockerignore": "*\n!shared/text.sh\n!web/src\n"})
    shop.commit()
    shop.write({"shared/.gitattributes": "# nothing\n"})
    found = shop.told()
    assert [name for name, (_, _, images) in found.items() if images] == expected


def test_which_lines_of_attributes_convert() -> None:
    assert converting(b"# x\n*.a -text\n*.b diff\n*.c filter=lfs diff=lfs -text\n") == (
        b"*.a -text",
        b"*.c filter=lfs diff=lfs -text",
    )
    assert converting(b"[attr]x text\n*.sh x\n") != converting(b"[attr]x text\n")


def test_attributes_above_the_project(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {f"sub/{path}": text for path, text in FILES.items()})
    shop.folder = tmp_path / "sub"
    shop.write({".gitattributes": "*.sh filter=x\n"})
    assert shop.affected() == ["api", "web", "all"]
    assert (
        shop.told()["api"][1] == "../.gitattributes changed: what it makes of files at a checkout is not told"
    )


def test_ignore_rules_with_which_no_build_was_possible(shop: Shop) -> None:
    shop.write({"web/Dockerfile.dockerignore": "[\n"})
    shop.commit()
    shop.write({"web/Dockerfile.dockerignore": "tests\n"})
    kind, cause, images = shop.told()["web"]
    assert (kind, images) == ("BASE", "dev prod")  # what is sent for the other holds that file
    assert cause == "web/Dockerfile.dockerignore had no meaning: no build of that revision was possible"


def test_files_that_git_ignores_and_builds_get(shop: Shop) -> None:
    shop.write({"api/local.env": "1"})
    assert shop.told()["api"][0] == "SOURCE"


def test_a_shallow_clone_without_the_revision(shop: Shop, tmp_path: Path) -> None:
    first = shop.git("rev-parse", "HEAD")
    shop.commit()
    run_git("clone", "--quiet", "--depth=1", f"file://{shop.root}", str(tmp_path / "clone"))
    shop.folder = tmp_path / "clone"
    assert shop.affected() == []
    with pytest.raises(UsageError, match="no commit is called") as caught:
        shop.affected(first)
    assert "fetch with depth 0" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("revision", "fix"), [("0" * 40, "origin/main"), ("nope", "git log"), ("", "origin/main")]
)
def test_a_revision_that_is_none(shop: Shop, revision: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        shop.affected(revision)
    assert fix in str(caught.value.fix)


def test_objects_that_are_not_here_are_a_change(shop: Shop) -> None:
    """As of a clone without blobs that cannot fetch them."""
    blob = shop.git("rev-parse", "HEAD:kiro.yaml")
    (shop.root / f".git/objects/{blob[:2]}/{blob[2:]}").unlink()
    assert shop.affected() == ["api", "web", "all"]
    assert shop.told()["web"][1].endswith("kiro.yaml: it cannot be read")


# --- build --since


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine({ref: ImageFacts("sha256:1", {}, 1) for ref in ("node:24", "debian", "rust:1")})
    made.bake_lines = recorded("success")
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made)
    return made


def test_a_build_of_what_changed_builds_just_that(shop: Shop, engine: FakeEngine) -> None:
    shop.write({"web/src/main.js": "2"})
    planned = whole("build", shop.build(prod=True, dry_run=True))
    assert [target["name"] for target in planned["targets"]] == ["web-prod-run", "all-prod-run"]
    assert planned["since"]["affected"] == ["web", "all"]
    assert (
        "not affected  api         IGNORED     nothing that it is built from changed" in shop.err.getvalue()
    )
    only = whole("build", shop.build("api", "web", prod=True, show_definition=True))
    assert list(json.loads(only["definition"])["target"]) == ["web-prod-run"]
    assert only["since"]["revision"] == shop.git("rev-parse", "HEAD")


def test_a_build_concerns_its_own_images(shop: Shop, engine: FakeEngine) -> None:
    shop.write({"api/Dockerfile": f"{FILES['api/Dockerfile']}RUN more\n"})
    assert shop.build("api", prod=True, dry_run=True).fields["since"]["affected"] == ["api"]
    assert shop.build("api", dry_run=True).fields["since"]["affected"] == []


def test_a_build_of_nothing_asks_no_engine(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "open_engine", pytest.fail)
    answer = shop.build("api", "web")
    value = whole("build", answer)
    assert (value["services"], value["since"]["affected"], answer.exit_code) == ([], [], 0)
    answer.show(shop.surface)
    assert "nothing to build: no service is affected since" in shop.err.getvalue()
    assert not (shop.root / ".kiro").exists()


def test_a_link_of_a_mode_that_git_does_not_keep_is_no_change(shop: Shop) -> None:
    (shop.root / "api/src/main.rs").chmod(0o600)
    assert shop.affected() == []
