"""Read what an engine holds of a checkout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kiro_invoke.builds.planner import Recipe, base_refs
from kiro_invoke.cache.holdings import Facts, Holdings, holdings
from kiro_invoke.cache.places import places
from kiro_invoke.cache.proving import read_proven
from kiro_invoke.cache.reclaim import owner
from kiro_invoke.cache.remembered import LAYERS, read_made
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.side_by_side import side_by_side
from kiro_invoke.model.service import Project


def look(
    engine: Engine, project: Project, recipes: Sequence[Recipe], copies: Sequence[Project] = ()
) -> Holdings:
    """What the engine holds of this checkout. `recipes` are those of all its services, `copies` what measurements made
    of it.
    """
    records = engine.cache_records()
    images = engine.images_labelled("")
    whose = owner(project, recipes)
    proven = read_proven(project.state)
    replaced = dict(project.base_images)
    refs = (replaced.get(ref, ref) for ref in base_refs(recipes, dict(project.build_args)))
    # what builds were reckoned to leave, the records tell now
    made = read_made(project.state / LAYERS).read(records, engine.facts.address)
    # labels do not tell: whatever stands on one of our images has the same
    known = frozenset(whose.images).union(*(read_proven(copy.state).ids for copy in copies))
    layers = side_by_side(engine.image_layers, [image.id for image in images], most=8)
    return holdings(
        Facts(
            records=records,
            images=images,
            layers=dict(zip((image.id for image in images), layers, strict=True)),
            owner=replace(whose, images=known, apart=whose.apart | {copy.checkout for copy in copies}),
            said=places(recipes),
            made=made.layers,
            tags=frozenset({recipe.tag for recipe in recipes} | proven.images.keys()),
            bases=tuple(dict.fromkeys(refs)),
            proven=frozenset(proven.images),
        )
    )
