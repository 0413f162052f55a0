"""Take away what a measurement's own builds have made, and nothing else: it is known by label, namespace and record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_MEASURED, MEASURED_IMAGES
from kiro_invoke.cache.reclaim import drop_namespace
from kiro_invoke.cache.records import MOUNT, Graph, mount_id
from kiro_invoke.cache.remembered import LAYERS, read_made, write_made
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project

NAME, LABEL = MEASURED_IMAGES, LABEL_MEASURED


def note(engine: Engine, project: Project, steps: Sequence[Step]) -> None:
    """Remember what a build of a copy made that the tool itself did not do."""
    file = project.state / LAYERS
    write_made(file, read_made(file).read(engine.cache_records(), engine.facts.address, steps))


def lose_layers(engine: Engine, project: Project) -> int:
    """Remove the layers that builds of a copy made, and first its images, which hold them; how many are gone.

    What a cache mount is seeded from stays, as it does when the engine itself collects.
    """
    _remove_images(engine, f"{LABEL_CHECKOUT}={project.checkout}")
    graph = Graph(engine.cache_records())
    return _pruned(engine, _own_layers(engine, project, graph))


def tidy(engine: Engine, project: Project) -> int:
    """Remove what newer builds of a copy replaced: images without a name, and of each step all results but the last.

    `cache.superseded` leaves layers alone that others may have made as well; those of a copy nobody else makes.
    """
    _remove_images(engine, f"{LABEL}={project.checkout}", named=False)
    graph = Graph(engine.cache_records())
    groups = graph.same_step(_own_layers(engine, project, graph))
    return _pruned(engine, {id for group in groups for id in sorted(group, key=graph.recency)[:-1]})


def forget(engine: Engine, project: Project) -> bool:
    """Take away all that builds of a copy left in the engine; False where it did not let us."""
    with suppress(EngineError):
        lose_layers(engine, project)
        drop_lost(engine, project)
        drop_namespace(engine, project.checkout)
        lose_layers(engine, project)  # what mounts were seeded from
        _remove_images(engine, f"{LABEL}={project.checkout}")
        return True
    return False


def lost_namespace(project: Project, number: int) -> str:
    """A namespace in which a copy's mounts are empty."""
    return f"{project.checkout}-lost-{number}"


def drop_lost(engine: Engine, project: Project) -> None:
    """Remove the mounts of all such namespaces, which nobody uses again."""
    known = (mount_id(record.description) for record in engine.cache_records() if record.kind == MOUNT)
    names = {mount[0] for mount in known if mount and mount[0].startswith(f"{project.checkout}-lost-")}
    for name in sorted(names):
        drop_namespace(engine, name)


def _own_layers(engine: Engine, project: Project, graph: Graph) -> set[str]:
    """The layers that builds of a copy made: its base images are its own, and so is all that stands on such a layer."""
    file = project.state / LAYERS
    made = read_made(file).read(tuple(graph.by_id.values()), engine.facts.address)
    write_made(file, made)
    return {one for id in made.layers for one in graph.below(id) if graph.is_layer(one)}


def _pruned(engine: Engine, ids: set[str]) -> int:
    """Remove these records, leaves first; how many are gone."""
    gone: set[str] = set()
    while left := ids - gone:
        now = engine.prune(sorted(left)) & left
        if not now:
            break
        gone |= now
    return len(gone)


def _remove_images(engine: Engine, label: str, *, named: bool = True) -> None:
    """Remove the images that carry a label; without `named` only those that lost their name."""
    for image in engine.images_labelled(label):
        own = [name for name in image.names if name.startswith(f"{NAME}/")]
        if image.in_use or (image.names and not named) or len(own) < len(image.names):
            continue  # somebody gave it a name of their own
        for name in own:
            engine.untag(name)
        engine.remove_image(image.id)
