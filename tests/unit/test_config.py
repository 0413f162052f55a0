"""The configuration: where values come from, and what is refused, with file, line and cure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kiro_invoke.config import find_root, load
from kiro_invoke.config.names import shown
from kiro_invoke.model.errors import ConfigError, ExitCode, KiroError, UsageError
from kiro_invoke.model.naming import slug
from kiro_invoke.model.service import Origin, Project, Secret, Service

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
CARGO = ("Cargo.toml", "Dockerfile")
NPM = ("package.json", "package-lock.json", "Dockerfile.fast")


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("x")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository, not alone in its parent folder, with two services that can be detected."""
    root = tmp_path / "Shop Front"
    put(root / ".git")
    put(root / "backend", *CARGO, "Dockerfile.fast")
    put(root / "frontend", *NPM)
    put(tmp_path / "elsewhere", *CARGO, "token")
    (root / "ca.pem").write_text(CERTIFICATE)
    return root


def write(root: Path, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    (root / "kiro.yaml").write_bytes(data)


def refusal(
    root: Path, text: str | bytes | None = None, environ: Mapping[str, str] | None = None
) -> ConfigError:
    """The error that loading ends with; it must be one clear line."""
    if text is not None:
        write(root, text)
    with pytest.raises(ConfigError) as caught:
        load(root, environ or {})
    error = caught.value
    assert error.code == ExitCode.USAGE
    assert error.fix
    assert str(error).isprintable()
    assert len(error.message) < 400
    return error


def origins(project: Project) -> dict[str, tuple[str, Origin, str]]:
    assert len({setting.key for setting in project.settings}) == len(project.settings)
    return {each.key: (each.value, each.origin, each.where) for each in project.settings}


# --- the root


def test_root_is_the_nearest_folder_with_kiro_yaml(repo: Path) -> None:
    put(repo / "backend" / "src")
    write(repo, "version: 1")
    assert find_root(repo / "backend" / "src") == repo


def test_root_is_the_nearest_kiro_yaml_of_several(repo: Path) -> None:
    write(repo, "version: 1")
    write(repo / "backend", "version: 1")
    assert find_root(repo / "backend") == repo / "backend"


def test_a_kiro_yaml_above_the_repository_is_somebody_elses(repo: Path) -> None:
    write(repo.parent, "version: 1")
    assert find_root(repo / "backend") == repo


def test_root_is_else_the_nearest_git(repo: Path) -> None:
    put(repo / "backend" / "src")
    assert find_root(repo / "backend" / "src") == repo


def test_root_of_a_worktree_whose_git_is_a_file(repo: Path) -> None:
    put(repo / "backend", ".git")
    assert find_root(repo / "backend") == repo / "backend"


def test_root_is_else_the_start(tmp_path: Path) -> None:
    assert find_root(tmp_path) == tmp_path.resolve()


def test_root_follows_symlinks(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repo / "backend")
    assert find_root(tmp_path / "link") == repo


# --- detection


def test_everything_can_be_detected(repo: Path) -> None:
    project = load(repo / "backend", {})
    backend, frontend = repo / "backend", repo / "frontend"
    assert project.root == repo
    assert project.state == repo / ".kiro"
    assert project.name == "shop-front"
    assert project.services == (
        Service(
            "backend",
            backend,
            "shop-front/backend",
            "cargo",
            backend / "Dockerfile",
            backend / "Dockerfile.fast",
        ),
        Service("frontend", frontend, "shop-front/frontend", "npm", None, frontend / "Dockerfile.fast"),
    )
    assert (project.ca_bundle, project.base_images, project.secrets) == (None, (), ())
    assert (project.ssh, project.build_args) == ((), ())


def test_each_detected_value_names_what_was_found(repo: Path) -> None:
    d = Origin.DETECTED
    assert origins(load(repo, {})) == {
        "project": ("shop-front", d, "Shop Front"),
        "services": ("backend, frontend", d, "backend/Cargo.toml, frontend/package.json"),
        "services.backend.context": ("backend", d, "backend/Cargo.toml"),
        "services.backend.image": ("shop-front/backend", d, ""),
        "services.backend.ecosystem": ("cargo", d, "backend/Cargo.toml"),
        "services.backend.dockerfile": ("backend/Dockerfile", d, "backend/Dockerfile"),
        "services.backend.fast_dockerfile": ("backend/Dockerfile.fast", d, "backend/Dockerfile.fast"),
        "services.frontend.context": ("frontend", d, "frontend/package.json"),
        "services.frontend.image": ("shop-front/frontend", d, ""),
        "services.frontend.ecosystem": ("npm", d, "frontend/package.json"),
        "services.frontend.fast_dockerfile": ("frontend/Dockerfile.fast", d, "frontend/Dockerfile.fast"),
    }


def test_what_is_no_service_is_skipped(repo: Path, tmp_path: Path) -> None:
    for name in (".hidden", "node_modules", "target", "deep/er"):
        put(repo / name, *CARGO)
    put(repo / "library", "Cargo.toml")
    put(repo / "proxy", "Dockerfile")
    put(repo / "folder", "Cargo.toml")
    (repo / "folder" / "Dockerfile").mkdir()
    (repo / "outside").symlink_to(tmp_path / "elsewhere")
    (repo / "again").symlink_to(repo / "backend")
    (repo / "loop").symlink_to("loop")
    (repo / "here").symlink_to(".")
    assert [service.name for service in load(repo, {}).services] == ["backend", "frontend"]


def test_a_symlink_to_a_folder_deeper_inside_is_a_service(repo: Path) -> None:
    put(repo / "crates" / "worker", *CARGO)
    (repo / "worker").symlink_to(repo / "crates" / "worker")
    services = {service.name: service.context for service in load(repo, {}).services}
    assert services["worker"] == repo / "crates" / "worker"


def test_the_root_counts_beside_its_subfolders(repo: Path) -> None:
    put(repo, *CARGO)
    project = load(repo, {})
    assert [s.name for s in project.services] == ["shop-front", "backend", "frontend"]
    assert project.services[0].context == repo
    assert origins(project)["services.shop-front.context"] == (".", Origin.DETECTED, "Cargo.toml")


def test_services_are_detected_when_kiro_yaml_lists_none(repo: Path) -> None:
    write(repo, "version: 1\nproject: shop\n")
    project = load(repo, {})
    assert [service.image for service in project.services] == ["shop/backend", "shop/frontend"]
    assert origins(project)["version"] == ("1", Origin.FILE, "kiro.yaml:1")


def test_a_folder_name_becomes_a_valid_name(repo: Path) -> None:
    put(repo / "My App!", *CARGO)
    assert "my-app" in [service.name for service in load(repo, {}).services]


def test_nothing_found_says_what_is_looked_for(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.message == "found no service"
    for word in ("Dockerfile", "Cargo.toml", "package.json", "kiro.yaml"):
        assert word in (error.fix or "")


def test_two_folders_with_one_name(repo: Path) -> None:
    put(repo / "Backend", *CARGO)
    error = refusal(repo)
    assert error.message == 'two services are named "backend" (the other: Backend/Cargo.toml)'
    assert error.file == "backend/Cargo.toml"


def test_a_found_dockerfile_that_leads_outside(repo: Path, tmp_path: Path) -> None:
    (repo / "backend" / "Dockerfile").unlink()
    (repo / "backend" / "Dockerfile").symlink_to(tmp_path / "elsewhere" / "Dockerfile")
    error = refusal(repo)
    assert error.message == 'dockerfile "Dockerfile" leads outside the repository'
    assert error.file == "backend/Dockerfile"


# --- kiro.yaml


FULL = """\
version: 1
project: shop
services:
  - name: api
    context: backend
    dockerfile: Dockerfile
    fast_dockerfile: ../docker/fast
    image: registry.example.com:5000/team/api
    ecosystem: other
  - name: frontend
ca_bundle: ca.pem
base_images:
  rust:1-bookworm: mirror.example.com/rust:1-bookworm
  "nginx@sha256:00000000000000000000000000000000": nginx
secrets:
  - {id: token, file: ../elsewhere/token}
  - id: npmrc
    file: ~/npmrc
  - {id: key, env: API_KEY}
ssh: [default, deploy=~/id, other=keys/id]
build_args:
  NUMBER: 1.10
  OCTAL: 0o17
  FLAG: yes
  DATE: 2024-01-02
  QUOTED: "5"
  NOTHING: ""
"""


@pytest.fixture
def full(repo: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    put(repo / "docker", "fast")
    put(tmp_path / "home", "npmrc")
    write(repo, FULL)
    return repo, {"HOME": str(tmp_path / "home")}


def test_everything_can_be_written_down(full: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, environ = full
    project = load(root, environ)
    assert project.name == "shop"
    assert project.services[0] == Service(
        "api",
        root / "backend",
        "registry.example.com:5000/team/api",
        "other",
        root / "backend" / "Dockerfile",
        root / "docker" / "fast",
    )
    assert project.services[1].image == "shop/frontend"
    assert project.ca_bundle == root / "ca.pem"
    assert project.base_images == (
        ("rust:1-bookworm", "mirror.example.com/rust:1-bookworm"),
        ("nginx@sha256:00000000000000000000000000000000", "nginx"),
    )
    assert project.secrets == (
        Secret("token", f"file:{root / '../elsewhere/token'}"),
        Secret("npmrc", f"file:{tmp_path / 'home' / 'npmrc'}"),
        Secret("key", "env:API_KEY"),
    )
    assert project.ssh == ("default", f"deploy={tmp_path / 'home' / 'id'}", f"other={root / 'keys/id'}")


def test_build_arguments_are_taken_as_written(full: tuple[Path, dict[str, str]]) -> None:
    assert dict(load(*full).build_args) == {
        "NUMBER": "1.10",
        "OCTAL": "0o17",
        "FLAG": "yes",
        "DATE": "2024-01-02",
        "QUOTED": "5",
        "NOTHING": "",
    }


@pytest.mark.parametrize(
    ("key", "value", "origin", "where"),
    [
        ("version", "1", Origin.FILE, "kiro.yaml:1"),
        ("project", "shop", Origin.FILE, "kiro.yaml:2"),
        ("services", "api, frontend", Origin.FILE, "kiro.yaml:3"),
        ("services.api.context", "backend", Origin.FILE, "kiro.yaml:5"),
        ("services.api.dockerfile", "backend/Dockerfile", Origin.FILE, "kiro.yaml:6"),
        ("services.api.fast_dockerfile", "docker/fast", Origin.FILE, "kiro.yaml:7"),
        ("services.api.image", "registry.example.com:5000/team/api", Origin.FILE, "kiro.yaml:8"),
        ("services.api.ecosystem", "other", Origin.FILE, "kiro.yaml:9"),
        ("services.frontend.context", "frontend", Origin.DETECTED, "frontend"),
        ("services.frontend.image", "shop/frontend", Origin.DETECTED, ""),
        ("services.frontend.ecosystem", "npm", Origin.DETECTED, "frontend/package.json"),
        ("base_images.rust:1-bookworm", "mirror.example.com/rust:1-bookworm", Origin.FILE, "kiro.yaml:13"),
        ("secrets.key", "env:API_KEY", Origin.FILE, "kiro.yaml:19"),
        ("ssh.default", "default", Origin.FILE, "kiro.yaml:20"),
        ("build_args.NUMBER", "1.10", Origin.FILE, "kiro.yaml:22"),
    ],
)
def test_settings_name_the_line(
    full: tuple[Path, dict[str, str]], key: str, value: str, origin: Origin, where: str
) -> None:
    assert origins(load(*full))[key] == (value, origin, where)


def test_settings_never_hold_what_a_secret_holds(full: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, environ = full
    (tmp_path / "elsewhere" / "token").write_text("hunter2")
    project = load(root, {**environ, "API_KEY": "hunter2"})
    assert "hunter2" not in repr(project)


@pytest.mark.parametrize(
    "text", ["{}", "--- {}\n", "\ufeffversion: 1", "version: 1\r\nproject: a\r\n", "version: !!int 1"]
)
def test_little_is_enough(repo: Path, text: str) -> None:
    write(repo, text)
    assert len(load(repo, {}).services) == 2


def test_aliases_are_followed(repo: Path) -> None:
    write(repo, "services:\n  - {name: &b backend, context: *b}\nbuild_args: {A: *b}")
    project = load(repo, {})
    assert project.services[0].context == repo / "backend"
    assert project.build_args == (("A", "backend"),)


def test_a_listed_service_of_no_known_ecosystem(repo: Path) -> None:
    put(repo / "proxy", "Dockerfile")
    write(repo, "services: [{name: proxy}]")
    project = load(repo, {})
    assert project.services[0].ecosystem == "other"
    assert origins(project)["services.proxy.ecosystem"] == ("other", Origin.DETECTED, "")


def test_the_root_as_context_and_one_context_twice(repo: Path) -> None:
    put(repo, "Dockerfile", "prod")
    write(repo, "services: [{name: a, context: .}, {name: b, context: ./backend/.., dockerfile: prod}]")
    first, second = load(repo, {}).services
    assert first.context == second.context == repo
    assert (first.dockerfile, second.dockerfile) == (repo / "Dockerfile", repo / "prod")


def test_an_absolute_path_inside_is_taken(repo: Path) -> None:
    write(
        repo, f"services: [{{name: a, context: '{repo}/backend', dockerfile: '{repo}/backend/Dockerfile'}}]"
    )
    assert load(repo, {}).services[0].context == repo / "backend"


def test_a_symlink_inside_is_followed_as_folder_and_kept_as_file(repo: Path) -> None:
    put(repo / "docker", "shared")
    (repo / "backend" / "Own").symlink_to(repo / "docker" / "shared")
    (repo / "link").symlink_to("backend")
    write(repo, "services: [{name: a, context: link, dockerfile: Own}]")
    service = load(repo, {}).services[0]
    assert service.context == repo / "backend"
    assert service.dockerfile == repo / "backend" / "Own"


# --- precedence


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("{}", {}, ("shop-front", Origin.DETECTED, "Shop Front")),
        ("project: a", {}, ("a", Origin.FILE, "kiro.yaml:1")),
        ("project: a", {"KIRO_PROJECT": ""}, ("a", Origin.FILE, "kiro.yaml:1")),
        ("project: a", {"KIRO_PROJECT": "b"}, ("b", Origin.ENVIRONMENT, "KIRO_PROJECT")),
        ("{}", {"KIRO_PROJECT": "b"}, ("b", Origin.ENVIRONMENT, "KIRO_PROJECT")),
    ],
)
def test_project_precedence(
    repo: Path, text: str, environ: dict[str, str], expected: tuple[str, Origin, str]
) -> None:
    write(repo, text)
    project = load(repo, environ)
    assert origins(project)["project"] == expected
    assert project.services[0].image == f"{expected[0]}/backend"


def test_ca_bundle_precedence(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(CERTIFICATE)
    write(repo, "ca_bundle: missing-on-this-machine.pem")
    project = load(repo, {"KIRO_CA_BUNDLE": str(other)})
    assert project.ca_bundle == other
    assert origins(project)["ca_bundle"] == (str(other), Origin.ENVIRONMENT, "KIRO_CA_BUNDLE")


def test_ca_bundle_in_the_home_folder(repo: Path) -> None:
    write(repo, "ca_bundle: ~/ca.pem")
    assert load(repo, {"HOME": str(repo)}).ca_bundle == repo / "ca.pem"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["frontend"], ["frontend"]),
        (["frontend", "backend"], ["backend", "frontend"]),
        (["frontend", "frontend"], ["frontend"]),
    ],
)
def test_services_are_selected(repo: Path, names: list[str], chosen: list[str]) -> None:
    project = load(repo, {}, services=names)
    assert [service.name for service in project.services] == chosen
    found = origins(project)
    assert found["services"] == (", ".join(chosen), Origin.OPTION, "--service")
    assert ("services.backend.image" in found) is ("backend" in chosen)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bakend", 'no service "bakend"; did you mean "backend"?'),
        ("zzz", 'no service "zzz"'),
        ("", 'no service ""'),
        ("a\x1b[31m\nb", 'no service "a[31m b"'),
    ],
)
def test_an_unknown_service_is_wrong_use(repo: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(repo, {}, services=["backend", name])
    assert caught.value.message == message
    assert caught.value.fix == "choose from: backend, frontend"
    assert caught.value.code == ExitCode.USAGE


# --- refusals: text -> (message, line)

NAME_RULE = "it may hold lower-case letters and digits, joined by single . _ or -"
B = "services:\n- name: backend\n"

REFUSED = {
    "unknown key": ("version: 1\nservics: []", 'unknown key "servics"; did you mean "services"?', 2),
    "unknown key, none near": ("zzz: 1", 'unknown key "zzz"', 1),
    "unknown key of a service": (f"{B}  contxt: x", 'unknown key "contxt"; did you mean "context"?', 3),
    "unknown key of a secret": ("secrets:\n- id: a\n  fil: b", 'unknown key "fil"; did you mean "file"?', 3),
    "merge key": ("<<: {version: 1}", 'unknown key "<<"', 1),
    "unknown key with escapes": ('"a\\tb": 1', 'unknown key "a b"', 1),
    "duplicate key": ("project: a\n\nproject: b", 'duplicate key "project": it stands on line 1 too', 3),
    "duplicate key, quoted": (
        'project: a\n"project": b',
        'duplicate key "project": it stands on line 1 too',
        2,
    ),
    "duplicate key of a service": (f"{B}  name: b", 'duplicate key "name": it stands on line 2 too', 3),
    "duplicate argument": ("build_args:\n  A: 1\n  A: 2", 'duplicate key "A": it stands on line 2 too', 3),
    "key is a list": ("? [a]\n: b", "a key must be text", 1),
    "root is a list": ("# a\n- 1", "kiro.yaml must be a mapping, not a list", 2),
    "root is text": ("hello", "kiro.yaml must be a mapping, not text", 1),
    "root is quoted nothing": ('""', "kiro.yaml must be a mapping, not text", 1),
    "root is null": ("~", "kiro.yaml must be a mapping, but is empty", 1),
    "version 2": ("version: 2", "version 2 is not understood: this release understands version 1", 1),
    "version 0": ("version: 0", "version 0 is not understood: this release understands version 1", 1),
    "version as text": ('version: "1"', "version must be a whole number, not text", 1),
    "version as a fraction": ("version: 1.0", "version must be a whole number, not a decimal number", 1),
    "version as a list": ("version: [1]", "version must be a whole number, not a list", 1),
    "version empty": ("project: a\nversion:", "version must be a whole number, but is empty", 2),
    "project is a number": ("project: 5", "project must be text, not a number", 1),
    "project is yes": ("project: yes", "project must be text, not true or false", 1),
    "project is a date": ("project: 2024-01-02", "project must be text, not a date", 1),
    "project is a mapping": ("\nproject:\n  a: b", "project must be text, not a mapping", 2),
    "project is empty text": ('project: ""', "project must not be empty text", 1),
    "project name": (
        "project: My Shop",
        f'project "My Shop" is no valid name: {NAME_RULE}',
        1,
    ),
    "service name": (
        "services:\n- context: backend\n  name: a--b",
        f'service "a--b" is no valid name: {NAME_RULE}',
        3,
    ),
    "services is a mapping": ("services:\n  backend: {}", "services must be a list, not a mapping", 1),
    "services is empty": ("services:", "services must be a list, but is empty", 1),
    "services is an empty list": ("services: []", "services is an empty list", 1),
    "service is text": ("services:\n- backend", "services[0] must be a mapping, not text", 2),
    "service without name": ("services:\n- context: backend", "services[0] has no name", 2),
    "name is a number": ("services:\n- name: 1", "services[0].name must be text, not a number", 2),
    "context is missing": ("services:\n- name: api", 'context "api" of service "api" is no folder', 2),
    "context is a file": (f"{B}  context: ca.pem", 'context "ca.pem" of service "backend" is no folder', 3),
    "context above": (
        f"{B}  context: ../elsewhere",
        'context "../elsewhere" leads outside the repository',
        3,
    ),
    "context elsewhere": (f"{B}  context: /tmp", 'context "/tmp" leads outside the repository', 3),
    "context by symlink": (f"{B}  context: out", 'context "out" leads outside the repository', 3),
    "context by symlink above": (f"{B}  context: out/..", 'context "out/.." leads outside the repository', 3),
    "context in a loop": (f"{B}  context: loop", "", 3),
    "context much too long": (
        f"{B}  context: {'a' * 5000}",
        f'context "{"a" * 79}…" of service "backend" is no folder',
        3,
    ),
    "dockerfile is missing": (
        f"{B}  dockerfile: Dockerfil",
        'dockerfile "Dockerfil" is no file in backend',
        3,
    ),
    "dockerfile is a folder": (f"{B}  dockerfile: .", 'dockerfile "." is no file in backend', 3),
    "dockerfile by the root": (
        f"{B}  dockerfile: backend/Dockerfile",
        'dockerfile "backend/Dockerfile" is no file in backend',
        3,
    ),
    "fast is missing": (f"{B}  fast_dockerfile: F", 'fast_dockerfile "F" is no file in backend', 3),
    "dockerfile outside": (
        f"{B}  dockerfile: ../../elsewhere/Dockerfile",
        'dockerfile "../../elsewhere/Dockerfile" leads outside the repository',
        3,
    ),
    "dockerfile by symlink": (f"{B}  dockerfile: Out", 'dockerfile "Out" leads outside the repository', 3),
    "no dockerfile": (
        "services:\n- name: bare",
        'service "bare" has neither a Dockerfile nor a Dockerfile.fast in bare',
        2,
    ),
    "image with tag": (f"{B}  image: a/b:1", 'image "a/b:1" carries a tag or digest', 3),
    "image in capitals": (
        f"{B}  image: A/b",
        'image "A/b" is no valid image name of at most 255 characters',
        3,
    ),
    "image too long": (
        f"{B}  image: {'a' * 256}",
        f'image "{"a" * 79}…" is no valid image name of at most 255 characters',
        3,
    ),
    "ecosystem": (f"{B}  ecosystem: cargp", 'unknown ecosystem "cargp"; did you mean "cargo"?', 3),
    "service twice": (
        "services:\n- name: backend\n- name: backend\n",
        'two services are named "backend" (the other: kiro.yaml:2)',
        3,
    ),
    "image twice": (
        "services:\n- {name: backend, image: a}\n- name: frontend\n  image: a",
        'services "backend" and "frontend" have the same image "a"',
        4,
    ),
    "default image twice": (
        "project: p\nservices:\n- {name: backend, image: p/frontend}\n- name: frontend",
        'services "backend" and "frontend" have the same image "p/frontend"',
        4,
    ),
    "ca_bundle is missing": ("ca_bundle: no.pem", 'ca_bundle "no.pem" is no file', 1),
    "ca_bundle is a folder": ("ca_bundle: backend", 'ca_bundle "backend" is no file', 1),
    "ca_bundle is something else": (
        "ca_bundle: backend/Dockerfile",
        'ca_bundle "backend/Dockerfile" holds no PEM certificate',
        1,
    ),
    "home of nobody": (
        "ca_bundle: ~nobody-here/x",
        'ca_bundle "~nobody-here/x" names a home folder that is not known',
        1,
    ),
    "base_images is a list": ("base_images: [a]", "base_images must be a mapping, not a list", 1),
    "base image": ("base_images:\n  'a b': c", 'base_images: "a b" is no valid image reference', 2),
    "replacement": ("base_images:\n  a: b:c:d", 'base_images: "b:c:d" is no valid image reference', 2),
    "replacement is a list": ("base_images:\n  a: [b]", "base_images.a must be text, not a list", 2),
    "secret without id": ("secrets:\n- env: A", "secrets[0] has no id", 2),
    "secret without source": ("secrets:\n- id: a", 'secret "a" has neither file nor env', 2),
    "secret with both": ("secrets:\n- {id: a, env: A, file: ca.pem}", 'secret "a" has both file and env', 2),
    "secret twice": (
        "secrets:\n- {id: a, env: A}\n- {id: a, env: B}",
        'secret "a" is given twice (the other: kiro.yaml:2)',
        3,
    ),
    "secret id": ("secrets:\n- {id: 'a,b', env: A}", 'secret id "a,b" is not valid', 2),
    "secret file": ("secrets:\n- id: a\n  file: none", 'file "none" of secret "a" is no file', 3),
    "secret env": (
        "secrets:\n- {id: a, env: $A}",
        'env "$A" is no valid name of an environment variable',
        2,
    ),
    "secrets is text": ("secrets: a", "secrets must be a list, not text", 1),
    "ssh is text": ("ssh: default", "ssh must be a list, not text", 1),
    "ssh item": ("ssh:\n- default\n- 5", "ssh[1] must be text, not a number", 3),
    "ssh id": ("ssh: ['a b']", 'ssh id "a b" is not valid', 1),
    "ssh without path": ("ssh: [a=]", 'ssh "a=" names no path after =', 1),
    "build_args is a list": ("build_args: [A=1]", "build_args must be a mapping, not a list", 1),
    "argument name": ("build_args:\n  A-B: 1", '"A-B" is no valid name of a build argument', 2),
    "argument merge": ("build_args:\n  <<: {A: 1}", '"<<" is no valid name of a build argument', 2),
    "argument is a list": (
        "build_args:\n  A: [1]",
        "build_args.A must be text, a number, or true or false, not a list",
        2,
    ),
    "argument is empty": (
        "build_args:\n  A:",
        "build_args.A must be text, a number, or true or false, but is empty",
        2,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(repo: Path, tmp_path: Path, case: str) -> None:
    text, message, line = REFUSED[case]
    put(repo / "bare", "Cargo.toml")
    (repo / "out").symlink_to(tmp_path / "elsewhere")
    (repo / "loop").symlink_to("loop")
    (repo / "backend" / "Out").symlink_to(tmp_path / "elsewhere" / "Dockerfile")
    error = refusal(repo, text, {"HOME": str(tmp_path)})
    assert message in ("", error.message)
    assert (error.file, error.line) == ("kiro.yaml", line)


def test_ssh_id_twice(repo: Path) -> None:
    error = refusal(repo, "ssh:\n- default\n- default=/x")
    assert error.message == 'ssh id "default" is given twice (the other: kiro.yaml:2)'
    assert error.place == "kiro.yaml:3"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("servics: []", 'write "services"'),
        ("project: My Shop", 'write "my-shop"'),
        ("project: '日本'", 'write "project"'),
        ("project: 5", 'put quotes around it: "5"'),
        ("services: [{name: backend, image: a:1}]", 'write "a"'),
        ("services: [{name: backend, ecosystem: go}]", "use one of: cargo, npm, pnpm, yarn, other"),
        ("version: 3", "write `version: 1`, or upgrade kiro-invoke"),
        ("services: [{name: bare}]", "add one, or name one with dockerfile: or fast_dockerfile:"),
    ],
)
def test_cures(repo: Path, text: str, fix: str) -> None:
    put(repo / "bare")
    assert refusal(repo, text).fix == fix


def test_a_name_with_escapes_cannot_reach_the_terminal(repo: Path) -> None:
    error = refusal(repo, 'project: "a\\u202e\\nb"')
    assert error.message.startswith('project "a b" is no valid name')


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("KIRO_PROJECT", "A", 'project "A" is no valid name'),
        ("KIRO_PROJECT", "a\nb\x1b", 'project "a b" is no valid name'),
        ("KIRO_CA_BUNDLE", "no.pem", 'ca_bundle "no.pem" is no file'),
        ("KIRO_CA_BUNDLE", "a\0b", 'ca_bundle "ab" is no file'),
        ("KIRO_CA_BUNDLE", "x" * 5000, 'ca_bundle "xxx'),
    ],
)
def test_refused_variables(repo: Path, variable: str, value: str, message: str) -> None:
    error = refusal(repo, None, {variable: value})
    assert error.message.startswith(message)
    assert (error.file, error.line) == (variable, None)


# --- refusals: what is no usable YAML

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

UNUSABLE: dict[str, tuple[str | bytes, str, int]] = {
    "empty": ("", "kiro.yaml is empty", 1),
    "only comments": ("# nothing\n\n  # here\n", "kiro.yaml is empty", 1),
    "only a mark": ("---\n", "kiro.yaml is empty", 1),
    "only a byte order mark": (b"\xef\xbb\xbf", "kiro.yaml is empty", 1),
    "not UTF-8": (b"a: 1\nb: \xff\n", "kiro.yaml is not UTF-8", 2),
    "UTF-16": ("version: 1".encode("utf-16"), "kiro.yaml is not UTF-8", 1),
    "NUL": ("version: 1\n\0", "control character U+0000 is not allowed", 2),
    "escape": ("version: 1\r\nproject: \x1b[31ma", "control character U+001B is not allowed", 2),
    "escaped NUL": ('build_args:\n  A: "a\\0b"', "control character U+0000 is not allowed", 2),
    "escaped surrogate": ('build_args:\n  A: "\\ud800"', "control character U+D800 is not allowed", 2),
    "escape beyond Unicode": ('a: b\nbuild_args: {A: "\\UFFFFFFFF"}', "not valid YAML: ", 2),
    "long version directive": (f"%YAML 1.{'1' * 5000}\n--- a", "not valid YAML: ", 1),
    "too large": ("# " + "x" * 256 * 1024, "kiro.yaml is too large: more than 256 KiB", 0),
    "bomb": (BOMB, "too many values: more than 10,000, aliases followed", 5),
    "many values": (f"[{'1,' * 10_000}]", "too many values: more than 10,000, aliases followed", 1),
    "deep lists": ("a:\n  " + "[" * 10_000, "nested too deeply: more than 32 levels", 2),
    "deep mappings": ("{a: " * 10_000, "nested too deeply: more than 32 levels", 1),
    "deep blocks": ("- " * 10_000, "nested too deeply: more than 32 levels", 1),
    "self-reference": (
        "version: 1\nservices: &a\n  - *a",
        'the alias "*a" stands inside what it refers to',
        3,
    ),
    "undefined alias": ("version: 1\nproject: *b", "not valid YAML: found undefined alias 'b'", 2),
    "two documents": ("version: 1\n---\nversion: 1", "kiro.yaml holds more than one document", 2),
    "python tag": (
        "project: !!python/object/apply:os.system [id]",
        'unknown tag "!!python/object/apply:os.system"',
        1,
    ),
    "own tag": ("version: 1\nproject: !mine a", 'unknown tag "!mine"', 2),
    "binary": ("version: 1\nproject: !!binary aGk=", 'unknown tag "!!binary"', 2),
    "tab": ("services:\n\t- name: a", "not valid YAML: ", 2),
    "open bracket": ("version: 1\nservices: [\n", "not valid YAML: ", 3),
    "bad indent": ("services:\n  - name: a\n context: b", "not valid YAML: ", 3),
    "two colons": ("project: a: b", "not valid YAML: mapping values are not allowed here", 1),
    "open quote": ('project: "a\n', "not valid YAML: ", 2),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable(repo: Path, case: str) -> None:
    text, message, line = UNUSABLE[case]
    error = refusal(repo, text)
    assert error.message.startswith(message)
    assert (error.file, error.line) == ("kiro.yaml", line or None)


def test_empty_says_what_to_do(repo: Path) -> None:
    assert refusal(repo, "").fix == "delete it, or write `version: 1`"


def test_a_folder_named_kiro_yaml(repo: Path) -> None:
    (repo / "kiro.yaml").mkdir()
    error = refusal(repo / "backend")
    assert (error.message, error.place) == ("kiro.yaml is not a file", "kiro.yaml")


def test_a_pipe_named_kiro_yaml_is_not_waited_for(repo: Path) -> None:
    os.mkfifo(repo / "kiro.yaml")
    assert refusal(repo).message == "kiro.yaml is not a file"


@pytest.mark.parametrize("target", ["missing", "kiro.yaml"])
def test_a_symlink_to_nothing(repo: Path, target: str) -> None:
    (repo / "kiro.yaml").symlink_to(target)
    error = refusal(repo)
    assert error.message.startswith("kiro.yaml cannot be read: ")
    assert error.place == "kiro.yaml"


def test_an_unreadable_kiro_yaml(repo: Path) -> None:
    (repo / "kiro.yaml").symlink_to("/proc/self/mem")  # root may read everything else
    assert refusal(repo).message == "kiro.yaml cannot be read: Input/output error"


# --- helpers and the property


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("a\x00\x1b[31m\u202eb", "a[31mb"),
        ("a\r\n\tb\u2028c", "a   b c"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 5000, "x" * 79 + "…"),
        ("\ud800é", "é"),
    ],
)
def test_shown(text: str, line: str) -> None:
    assert shown(text) == line


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("backend", "backend"),
        ("My  App!", "my-app"),
        ("a.b_c-d", "a.b_c-d"),
        ("a__b--c", "a-b-c"),
        ("..x..", "x"),
        ("日本", "service"),
        ("", "service"),
    ],
)
def test_slug(text: str, name: str) -> None:
    assert slug(text, "service") == name


KEYS = "version project services name context dockerfile image ecosystem secrets id file env ssh"
MORE = "build_args base_images ca_bundle backend frontend 1 ~ .. << [ ] { } *a !x \" ' | ? # \\U \ufeff"
SPACED = (
    ": ",
    "- ",
    "\n",
    "\n  ",
    ", ",
    "&a ",
    "!!str ",
    "---\n",
    "...\n",
    "%TAG ! x:\n",
    "\t",
    "\x85",
    "\u2028",
)
WORDS = st.sampled_from((*KEYS.split(), *MORE.split(), *SPACED))
TREES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(max_size=200)
    | st.lists(WORDS, max_size=30).map("".join)
    | TREES.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True))
)
@example(text='"\\UFFFFFFFF"')
def test_no_text_raises_anything_but_a_clear_error(repo: Path, text: str) -> None:
    write(repo, text.encode("utf-8", "surrogatepass"))
    try:
        load(repo, {})
    except KiroError as error:
        assert str(error).isprintable()
        assert error.code == ExitCode.USAGE
