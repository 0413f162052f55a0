"""Files that no build can depend on, though a context holds them: what editors and tools drop beside sources."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_EDITORS = re.compile(
    r"""
    \..*\.sw[a-px] | 4913 |                 # vim: swap files, and the one by which it tries whether it may write
    .*~ |                                   # vim, emacs, kate, gedit: the version before
    \.\#.* | \#.*\# |                       # emacs: locks, autosaved text
    .*___jb_(?:tmp|old|bak)___ |            # JetBrains: the draft of a save
    \.goutputstream-\w{6} | \.fuse_hidden\w+ | \.nfs\w{24} |
    .*\.kate-swp | \.~lock\..*\# | \.DS_Store | Thumbs\.db
    """,
    re.VERBOSE,
)
_VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".jj", ".bzr"})
#: What version control writes for itself: a build may ask it for a revision or a tag, never for these.
_PRIVATE = re.compile(
    r".*\.lock|(?:index|FETCH_HEAD|ORIG_HEAD|COMMIT_EDITMSG|gc\.log|gc\.pid|wc\.db-journal)|(?:logs|hooks|info)/.*"
)
#: Folders that builds fill, by what stands in those that were filled.
_OUTPUT: Mapping[str, tuple[str, ...]] = {
    "target": ("CACHEDIR.TAG",),
    "node_modules": (".package-lock.json", ".modules.yaml", ".yarn-integrity", ".yarn-state.yml"),
}


def litter(path: str) -> str:
    """Why no build can depend on the file at this path, in words; "" if one can."""
    *folders, name = path.split("/")
    if _EDITORS.fullmatch(name):
        return "an editor's own"
    for at, folder in enumerate(folders):
        if folder in _VERSION_CONTROL and _PRIVATE.fullmatch("/".join((*folders[at + 1 :], name))):
            return "version control's own"
    return ""


def build_output(path: str, names: Collection[str]) -> str:
    """The folder of a service's path that a build or an install has filled; "" if it lies in none.

    `names` are the service's files. Told by the mark that cargo or the package manager leaves there: what a person put
    into a folder of that name is none.
    """
    folders = path.split("/")[:-1]
    for at, folder in enumerate(folders):
        whole = "/".join(folders[: at + 1])
        if any(f"{whole}/{mark}" in names for mark in _OUTPUT.get(folder, ())):
            return whole
    return ""
