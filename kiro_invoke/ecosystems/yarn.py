"""Node with yarn, classic or newer."""

from __future__ import annotations

from kiro_invoke.ecosystems import node_manifest
from kiro_invoke.ecosystems.node_copies import copies
from kiro_invoke.ecosystems.node_lock import yarn_lock
from kiro_invoke.ecosystems.node_parts import Project, hashed, is_installed, judged, quoted
from kiro_invoke.ecosystems.node_workspaces import own_patterns, workspace
from kiro_invoke.ecosystems.node_yaml import yaml_settings
from kiro_invoke.model.fingerprint import Fingerprint, Tree

_LOCKFILE = "yarn.lock"
_SETTINGS = (".npmrc", ".yarnrc")
_SETTINGS_IN_YAML = ".yarnrc.yml"
_OWN_FILES = (".yarn/patches/", ".yarn/releases/", ".yarn/plugins/")
#: The lockfile of a newer yarn names the service's own package.
_LOCKED = frozenset({"name"})


def fingerprint(tree: Tree) -> Fingerprint:
    """What `yarn install --immutable`, or `--frozen-lockfile`, can depend on."""
    return judged(tree, _gather)


def reads(path: str) -> bool:
    """Whether an install can depend on a file's content. True for any program: a script may name it."""
    if is_installed(path):
        return False
    own = path in (_LOCKFILE, _SETTINGS_IN_YAML, *_SETTINGS) or path.startswith(_OWN_FILES)
    return own or node_manifest.reads(path)


def _gather(project: Project) -> None:
    folders = workspace(project, own_patterns, _LOCKED)
    copies(project, folders, reads)
    yarn_lock(project, _LOCKFILE)
    for file in _SETTINGS:
        project.counts_file(file, "settings")
    for key, value in yaml_settings(project, _SETTINGS_IN_YAML).items():
        project.counts(_SETTINGS_IN_YAML, f"setting {quoted(key)}", hashed(value))  # it may be a token
    for path in project.names:
        if path.startswith(_OWN_FILES) and not is_installed(path):
            project.counts_file(path)
    node_manifest.version_files(project)
