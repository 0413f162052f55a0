"""Node with npm."""

from __future__ import annotations

from kiro_invoke.ecosystems import node_manifest
from kiro_invoke.ecosystems.node_lock import npm_lock
from kiro_invoke.ecosystems.node_parts import Project, judged
from kiro_invoke.ecosystems.node_workspaces import own_patterns, workspace
from kiro_invoke.model.fingerprint import Fingerprint, Tree

#: The first that is there is the one that npm reads.
_LOCKFILES = ("npm-shrinkwrap.json", "package-lock.json")
_SETTINGS = ".npmrc"


def fingerprint(tree: Tree) -> Fingerprint:
    """What `npm ci` can depend on."""
    return judged(tree, _gather)


def reads(path: str) -> bool:
    """Whether an install can depend on a file's content. True for any program: a script may name it."""
    return path in _LOCKFILES or path == _SETTINGS or node_manifest.reads(path)


def _gather(project: Project) -> None:
    # npm heeds the patterns of the folder that it installs alone
    workspace(project, lambda folder, package: [] if folder else own_patterns(folder, package))
    locked, *others = [one for one in _LOCKFILES if one in project.names] or [_LOCKFILES[0]]
    npm_lock(project, locked)
    for other in others:
        project.tells_file(other)
    project.counts_file(_SETTINGS, "settings")
    node_manifest.version_files(project)
