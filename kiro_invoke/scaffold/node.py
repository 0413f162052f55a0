"""Services of Node: pages that Vite builds, and programs that have a start script."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from posixpath import basename

from kiro_invoke.model.naming import slug
from kiro_invoke.scaffold.found import Fact, Found, Passed
from kiro_invoke.scaffold.images import NodeImages, PageImages
from kiro_invoke.scaffold.managers import Manager, manager, uses_bun
from kiro_invoke.scaffold.node_facts import (
    MANIFEST,
    Fits,
    Project,
    carried,
    credentials,
    image_of,
    listening,
    page_facts,
    page_warnings,
    vite_config,
)
from kiro_invoke.scaffold.node_packages import (
    copied,
    leads_out,
    needed_build,
    reads_any_file,
    root_of,
    settings_outside,
)
from kiro_invoke.scaffold.repository import Repository, placed

#: They use Vite and serve by themselves.
_SERVED = (
    "@sveltejs/kit",
    "nuxt",
    "astro",
    "@react-router/dev",
    "@remix-run/dev",
    "@solidjs/start",
    "vike",
    "next",
)


def node_services(repository: Repository, fits: Fits, own_npmrc: str) -> Iterator[Found | Passed]:
    """What the package.json files of a repository are. `own_npmrc`: a person's own, where it holds credentials."""
    for folder in repository.named(MANIFEST):
        root, is_workspace = root_of(repository, folder)
        manifest = repository.json(placed(folder, MANIFEST))
        project = Project(repository, folder, root, manifest, is_workspace)
        yield _service(project, fits, own_npmrc)


def _service(project: Project, fits: Fits, own_npmrc: str) -> Found | Passed:
    if not re.fullmatch(r"[\w./@-]*", project.below):
        return Passed(
            project.path,
            "its folder's name would not do in a Dockerfile: name it with letters, digits, - and _",
        )
    if uses_bun(project.repository, project.root):
        return Passed(project.path, "Bun's packages: what is written here knows npm, pnpm and yarn")
    build = str(project.scripts.get("build") or "")
    served = next((name for name in _SERVED if name in project.dependencies), "")
    is_vite = (
        "vite" in project.dependencies and not served and ("vite" in build or vite_config(project)[0] != "")
    )
    if not is_vite and "start" not in project.scripts:
        why = f"{served} has no start script" if served else "no page of Vite's, and no start script"
        return Passed(project.path, why)
    if outside := leads_out(project):
        return Passed(
            project.path,
            f"it depends on {outside}, outside of what its build is sent: have a workspace hold both",
        )
    kind, said, lockfile = manager(project.repository, project.root)
    image, wanted = image_of(project, fits)
    facts = [*said, wanted]
    needs, npmrc, tokens, ignored, warnings = credentials(project, own_npmrc)
    facts += [Fact(f"secret {one.id}", one.file or one.env) for one in needs]
    warnings += settings_outside(project)
    common = _Common(project, kind, image, bool(npmrc), tokens)
    proxied: tuple[str, ...] = ()
    if is_vite:
        out, proxied, of_vite = page_facts(project)
        facts += of_vite
        warnings += page_warnings(project)
        local = any(str(value).startswith(("file:", "link:")) for value in project.dependencies.values())
        simple = kind.name == "npm" and not (project.is_workspace or tokens or local)
        images: PageImages | NodeImages = (
            PageImages(
                common.mounts, image, out=out, npmrc=bool(npmrc), typecheck="typecheck" in project.scripts
            )
            if simple
            else common.page(out)
        )
        port = 8080
    else:
        images, of_program = common.program()
        warnings += () if images.page else carried(project)
        facts += of_program
        port = images.port
    return Found(
        _name(project), project.root, project.folder, kind.ecosystem, images, tuple(facts), port,
        proxied, needs, lockfile, kind.package,
        ("**/node_modules", *kind.ignored, *ignored, *_made(project, images)), warnings,
    )  # fmt: skip


def _made(project: Project, images: PageImages | NodeImages) -> tuple[str, ...]:
    out = images.out if isinstance(images, PageImages) else images.page
    return (
        (f"**/{basename(out)}",)
        if out and images is not None
        else ("**/.next",) * ("next" in project.dependencies)
    )


def _name(project: Project) -> str:
    if project.is_workspace:
        return slug(project.name.rpartition("/")[2], "web")
    return slug(basename(project.folder) or project.repository.name, "web")


@dataclass(frozen=True)
class _Common:
    """What images of any shape have, for those that are not installed by npm alone."""

    project: Project
    kind: Manager
    image: str
    npmrc: bool
    tokens: tuple[str, ...]

    @property
    def mounts(self) -> str:
        repository = self.project.repository
        return f"{slug(repository.name, 'project')}-{_name(self.project)}"

    def page(self, out: str) -> NodeImages:
        project, kind = self.project, self.kind
        page = placed(project.below, out)
        return replace(
            self._images,
            build=shlex.join(kind.script("build", project.below, project.name)),
            page=page,
            vite=kind.own_program("vite"),
            out=out,
        )

    def program(self) -> tuple[NodeImages, list[Fact]]:
        project, kind = self.project, self.kind
        port, env, facts = listening(project)
        is_react = "react-scripts" in project.dependencies
        has_build = "build" in project.scripts
        facts.append(Fact(f"start: {project.scripts['start']}", project.path))
        facts.append(Fact("an image of stages that runs its start script: nothing quicker is known for it"))
        images = replace(
            self._images,
            build=shlex.join(kind.script("build", project.below, project.name)) if has_build else "",
            start=kind.script("start", project.below, project.name),
            page=placed(project.below, "build") if is_react and has_build else "",
            port=port,
            env=(*kind.env, *env),
        )
        return images, facts

    @property
    def _images(self) -> NodeImages:
        kind, project = self.kind, self.project
        runs = reads_any_file(project)
        return NodeImages(
            mounts=self.mounts,
            inputs=("-true",) if runs else (*kind.inputs, *copied(project, kind)),
            install=kind.install,
            store=kind.store,
            store_id=f"kiro-{kind.name}",
            live_install=kind.live_install,
            folder=project.below,
            node_image=self.image,
            manager_install=kind.had_by,
            env=kind.env,
            needed_build=needed_build(project, kind),
            npmrc=self.npmrc,
            token_variables=self.tokens,
        )
