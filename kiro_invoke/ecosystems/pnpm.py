"""Node with pnpm."""

from __future__ import annotations

import posixpath
from typing import Any

from kiro_invoke.ecosystems import node_manifest
from kiro_invoke.ecosystems.node_copies import copies
from kiro_invoke.ecosystems.node_lock import pnpm_lock
from kiro_invoke.ecosystems.node_parts import (
    Doubt,
    Project,
    canonical,
    each_key,
    is_installed,
    judged,
    quoted,
)
from kiro_invoke.ecosystems.node_workspaces import workspace
from kiro_invoke.ecosystems.node_yaml import yaml_settings
from kiro_invoke.model.fingerprint import Fingerprint, Tree

_LOCKFILE = "pnpm-lock.yaml"
_WORKSPACE = "pnpm-workspace.yaml"
_SETTINGS = ".npmrc"
_HOOKS = (".pnpmfile.cjs", ".pnpmfile.mjs", "pnpmfile.js")
#: pnpm can link to the folder that this names.
_LINKED = frozenset({"publishConfig"})


def fingerprint(tree: Tree) -> Fingerprint:
    """What `pnpm install --frozen-lockfile` can depend on."""
    return judged(tree, _gather)


def reads(path: str) -> bool:
    """Whether an install can depend on a file's content. True for any program: a script may name it."""
    if path in (_LOCKFILE, _WORKSPACE, *_HOOKS):
        return True
    return (posixpath.basename(path) == _SETTINGS and not is_installed(path)) or node_manifest.reads(path)


def _gather(project: Project) -> None:
    importers = pnpm_lock(project, _LOCKFILE)
    settings = yaml_settings(project, _WORKSPACE)
    given = settings.get("packages")
    patterns = [one for one in given if isinstance(one, str)] if isinstance(given, list) else importers
    # what pnpm excludes is excluded, wherever it is said
    patterns.sort(key=lambda pattern: pattern.startswith("!"))
    folders = workspace(project, lambda folder, _: [] if folder else patterns, _LINKED)
    copies(project, folders, reads)
    if settings.get("injectWorkspacePackages"):
        raise Doubt(_WORKSPACE, "injectWorkspacePackages: the install copies packages of the workspace")
    _workspace_settings(project, settings)
    for folder in folders:
        project.counts_file(posixpath.join(folder, _SETTINGS), "settings")
    for hooks in _HOOKS:
        project.counts_file(hooks)
    node_manifest.version_files(project)


def _workspace_settings(project: Project, settings: dict[str, Any]) -> None:
    catalogs = settings.pop("catalogs", None)
    if isinstance(catalogs, dict):
        for catalog, entries in catalogs.items():
            each_key(project, _WORKSPACE, catalog, entries, f"catalog {quoted(catalog)}:")
    elif catalogs is not None:
        project.counts(_WORKSPACE, quoted("catalogs"), canonical(catalogs))
    if "catalog" in settings:
        each_key(project, _WORKSPACE, "catalog", settings.pop("catalog"), f"catalog {quoted('default')}:")
    node_manifest.pnpm_settings(project, _WORKSPACE, settings, "setting")
