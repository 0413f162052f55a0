"""Whether what is built may leave this machine, asked of those who know what it stands on."""

from __future__ import annotations

from kiro_invoke.builds.shipping import StandinRefused, labels_of, refuse_standins
from kiro_invoke.cache import warm
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.side_by_side import side_by_side
from kiro_invoke.model.service import Project

#: So many registries are asked side by side.
_ASKED = 4
_ANSWER_SECONDS = 10.0


def refuse_what_stands_on_standins(
    project: Project, engine: Engine, prepared: warm.Prepared, *, done: str
) -> None:
    """StandinRefused if a base image is a stand-in, or was built on one. `done`: see refuse_standins.

    A builder takes base images from registries, where somebody may have put a stand-in under another name.
    """
    if not engine.facts.builder:
        refuse_standins(prepared.bases, labels_of(prepared.bases, engine), done=done)
        return
    refs = warm.wanted_bases(project, prepared.recipes)
    labels = side_by_side(lambda ref: engine.labels_at_registry(ref, _ANSWER_SECONDS), refs, most=_ASKED)
    bases = [Base(ref, BaseStatus.PULLED, ref) for ref in refs]
    try:
        refuse_standins(bases, dict(zip(refs, labels, strict=True)), done=done)
    except StandinRefused as trouble:
        raise StandinRefused(
            trouble.refs, trouble.message, fix="name the real image under base_images: in kiro.yaml"
        ) from None
