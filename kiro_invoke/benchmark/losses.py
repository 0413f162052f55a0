"""Take away what a measurement's own builds have made, and nothing else: it is known by label, namespace and record."""

from __future__ import annotations

from contextlib import suppress

from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.cache.reclaim import drop_namespace
from kiro_invoke.cache.records import Graph
from kiro_invoke.cache.remembered import LAYERS, read_made, write_made
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.service import Project

#: On the base images of a copy, and so on all images that stand on them: the copy's checkout.
LABEL = "dev.kiro.benchmark"


def lose_layers(engine: Engine, project: Project) -> int:
    """Remove the layers that builds of a copy made, and first its images, which hold them; how many are gone.

    What a cache mount is seeded from stays, as it does when the engine itself collects.
    """
    _remove_images(engine, f"{LABEL_CHECKOUT}={project.checkout}")
    file = project.state / LAYERS
    records = engine.cache_records()
    made = read_made(file).read(records, engine.facts.address)
    graph = Graph(records)
    # the base images are the copy's alone, and so is all that was made on a layer of it
    ours = {one for id in made.layers for one in graph.below(id) if graph.is_layer(one)}
    gone: set[str] = set()
    while left := ours - gone:
        now = engine.prune(sorted(left)) & left
        if not now:
            break
        gone |= now
    write_made(file, made)
    return len(gone)


def forget(engine: Engine, project: Project) -> None:
    """Take away all that builds of a copy left in the engine; what cannot be now, the next measurement does."""
    with suppress(EngineError):
        lose_layers(engine, project)
        drop_namespace(engine, project.checkout)
        lose_layers(engine, project)  # what mounts were seeded from
        _remove_images(engine, f"{LABEL}={project.checkout}")


def _remove_images(engine: Engine, label: str) -> None:
    for image in engine.images_labelled(label):
        for name in image.names:
            engine.untag(name)
        engine.remove_image(image.id)
