"""Send images away that were built and proven here: pushed, or written into archives."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kiro_invoke.builds.bake import Surroundings, archive
from kiro_invoke.builds.executor import execute
from kiro_invoke.builds.progress import Observer
from kiro_invoke.builds.shipping import shipped
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.service import Project
from kiro_invoke.model.shipment import Shipment


def leave(
    plan: BuildPlan,
    around: Surroundings,
    shipment: Shipment,
    project: Project,
    engine: Engine,
    observer: Observer,
    brake: Brake | None = None,
) -> None:
    """Build the images again from the very folders that they were built from, which is cached, and send them away.

    BuildFailed where that fails; an archive is then as it was before. executor.Stopped where the brake ended it.
    """
    leaving = shipped(plan)
    with _beside(shipment, leaving) as drafts:
        execute(
            leaving,
            replace(around, shipment=drafts),
            engine,
            root=project.root,
            logs=project.state / "logs",
            observer=observer,
            brake=brake,
        )


@contextmanager
def _beside(shipment: Shipment, plan: BuildPlan) -> Iterator[Shipment]:
    """The shipment into a folder beside the archives, whose files take the archives' places at the end."""
    folder = shipment.folder
    if folder is None:
        yield shipment
        return
    folder.mkdir(parents=True, exist_ok=True)
    drafts = Path(tempfile.mkdtemp(dir=folder, prefix=".kiro-"))
    try:
        yield replace(shipment, folder=drafts)
        for target in plan.targets:
            archive(drafts, target).replace(archive(folder, target))
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
