"""What production images are given besides: the time that they tell, and the way they leave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kiro_invoke.builds.epoch import Epoch, as_arguments, asked_epoch
from kiro_invoke.builds.shipping import Leaving, builder_of, check_shipment
from kiro_invoke.cache import warm
from kiro_invoke.commands.outgoing import refuse_what_stands_on_standins
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine import git, process
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.service import Project
from kiro_invoke.model.shipment import Shipment


def released(
    surface: Surface,
    project: Project,
    engine: Engine | None,
    prepared: warm.Prepared,
    leaving: Leaving,
    *,
    is_clean: bool,
) -> warm.Prepared:
    """The same build of production images with what they are given besides; without an engine, as files tell.

    KiroError where they cannot leave: StandinRefused where one stands on a stand-in, or where the builder cannot do it.
    """
    if shipment := _shipment(surface, project, leaving):
        if engine:
            refuse_what_stands_on_standins(project, engine, prepared, done=shipment.done)
            able = check_shipment(prepared.plan, shipment, builder_of(engine))
            if able != shipment and shipment.attest.is_any:
                surface.say(
                    f"{shipment.done} without SBOM and provenance: the engine's own builder attaches none "
                    "(docker buildx create --driver docker-container makes one that does)"
                )
            shipment = able
        prepared = replace(prepared, shipment=shipment)
    epoch = _epoch(surface, project)
    if epoch is None:
        if leaving.is_asked:
            surface.say(
                "the tree is not as it was committed: images tell when they were made, not when that was"
            )
        return prepared
    needs_argument = engine is not None and (epoch.is_asked or is_clean)
    is_heeded = not needs_argument or engine is None or builder_of(engine).driver != "docker"
    epochs = as_arguments(prepared.recipes, epoch, is_heeded=is_heeded, runs_anyway=is_clean)
    return replace(prepared, around=replace(prepared.around, created=epoch.seconds, epochs=epochs))


def _shipment(surface: Surface, project: Project, leaving: Leaving) -> Shipment | None:
    if not leaving.is_asked:
        return None
    folder = (surface.folder / Path(leaving.archive)).resolve() if leaving.archive else None
    return Shipment(project.attest, folder)


def _epoch(surface: Surface, project: Project) -> Epoch | None:
    """What was asked for, else the time of the commit that the tree is at."""
    if asked := asked_epoch(surface.environ, dict(project.build_args)):
        return asked
    seconds = git.committed_at(project.root, process.run)
    return Epoch(seconds) if seconds is not None else None
