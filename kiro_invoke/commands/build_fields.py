"""A build as its command's JSON object tells it (docs/commands.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kiro_invoke.builds.planner import Recipe
from kiro_invoke.builds.shipping import Leaving
from kiro_invoke.commands.recording import veiled
from kiro_invoke.model.record import BuildRecord, StageRecord, Step
from kiro_invoke.model.service import Project


def record_fields(record: BuildRecord, total: float) -> dict[str, Any]:
    """A build's part of the JSON object."""
    return {
        "seconds": total,
        "base_images": [_without_empty(asdict(base)) for base in record.base_images],
        "services": [
            {
                "name": image.service,
                "image": image.image,
                "dockerfile": image.dockerfile,
                "stages": [_stage_fields(stage, record.began) for stage in image.stages],
            }
            for image in record.images
        ],
        "cache_bytes": record.cache_bytes,
        **_shared_fields(record),
    }


def _shared_fields(record: BuildRecord) -> dict[str, Any]:
    """What of the shared cache could not be had; nothing where all could."""
    if not record.unread and not record.unpushed:
        return {}
    return {"shared_cache": {"unread": list(record.unread), "unpushed": list(record.unpushed)}}


def _stage_fields(stage: StageRecord, began: float) -> dict[str, Any]:
    """A stage's row; of one that ran also when, in seconds after the build's first step that ran."""
    row: dict[str, Any] = {"name": stage.name, "seconds": stage.seconds, "cached": stage.cached}
    if not stage.cached:
        row |= {"started": round(stage.started - began, 3), "completed": round(stage.completed - began, 3)}
    return row


def step_fields(step: Step, began: float, project: Project) -> dict[str, Any]:
    """A step's row, with the same times."""
    from kiro_invoke.metrics.entry import as_kept  # most builds are told without steps

    step = as_kept(step)
    row: dict[str, Any] = {
        "service": step.service,
        "stage": step.stage,
        "text": veiled(step.text, project),
        "cached": step.cached,
        "seconds": step.seconds,
    }
    if not step.cached:
        times = {"started": step.started, "completed": step.completed}
        row |= {name: round(max(time - began, 0.0), 3) for name, time in times.items()}
    return row


def shipped_fields(recipes: Iterable[Recipe], leaving: Leaving, folder: Path) -> list[dict[str, str]]:
    """The images that left, and the archives that hold them."""
    if not leaving.is_asked:
        return []
    archives = folder / leaving.archive
    return [
        {"image": recipe.tag}
        | ({"file": str(archives / f"{recipe.service.name}.tar")} if leaving.archive else {})
        for recipe in recipes
    ]


def _without_empty(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value != ""}
