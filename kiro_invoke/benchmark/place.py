"""The place in which is measured: copies of the project, in an engine whose other content is left alone.

Every base image is the same as the person's but for one more file, so no layer of a measurement is one of theirs; cache
mounts have the copy's own namespace. Nothing of theirs is used, emptied or replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from kiro_invoke.benchmark.copies import Copy, apart, remove_copy
from kiro_invoke.benchmark.edits import can_edit, edited
from kiro_invoke.benchmark.losses import NAME, lose_layers, lost_namespace, note, tidy
from kiro_invoke.benchmark.offer import Offer
from kiro_invoke.benchmark.runner import CannotMeasure
from kiro_invoke.benchmark.samples import Key
from kiro_invoke.benchmark.scenarios import Scenario, Variant
from kiro_invoke.benchmark.schedule import Block, Slot
from kiro_invoke.benchmark.subject import CHEF, PROFILES, Subject
from kiro_invoke.builds.executor import execute
from kiro_invoke.builds.planner import plan_images, shown, without_syntax_line
from kiro_invoke.cache import warm
from kiro_invoke.cache.reclaim import drop_namespace
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed, EngineError
from kiro_invoke.model.plan import BuildPlan, Target
from kiro_invoke.model.record import Step


class Live(Protocol):
    """A running container that is kept equal to the copy."""

    def start(self, copy: Copy, service: str) -> None:
        """Have it run and watched. CannotMeasure where that is not possible."""

    def served(self) -> None:
        """Wait until what was just written is served. BuildFailed if it is not."""

    def close(self) -> None: ...


#: Is told the steps of what was built.
Built = Callable[[Key, tuple[Step, ...]], None]


@dataclass
class EnginePlace:
    """runner.Place on a real engine. `home` is the folder in which copies lie, `warm` the one that is kept warm.

    `afresh` makes another copy of the same sources, whose layers and mounts were never there. `fresh` gives a number
    that no edit ever had: what was built before would come from the cache.
    """

    engine: Engine
    home: Path
    warm: Copy
    subjects: Mapping[str, Subject]
    offers: Mapping[str, Offer]
    live: Live
    afresh: Callable[[str], Copy]
    fresh: Callable[[], int]
    #: `# syntax=` images that cannot be had
    offline_syntax: frozenset[str] = frozenset()
    built: Built = lambda _key, _steps: None
    _cold: Copy | None = None
    _namespace: str = ""
    #: what an unoptimized build did that is not noted yet
    _plain: tuple[Step, ...] = ()
    #: of each service, the edit that lies there, and the last one that an unoptimized build has seen
    _standing: dict[str, int] = field(default_factory=dict)
    #: of each service and variant, the image of its tools; and the one that stands for it in the cold copy
    _chefs: dict[tuple[str, Variant], str] = field(default_factory=dict)
    _cold_chef: str = ""

    def settle(self, block: Block) -> None:
        key = block.slots[0].key
        subject = self.subjects[key.service]
        if key.scenario.edits and (subject.source is None or not can_edit(subject.source)):
            raise CannotMeasure("no file to edit is known: name one with `benchmark: source:` in kiro.yaml")
        if key.scenario is Scenario.DEPENDENCY:
            if key.service not in self.offers:
                raise CannotMeasure(f"how a package is added is not known for {subject.ecosystem}")
            self.offers[key.service].prepare()
        if key.scenario is Scenario.COLD:
            self._have_chef(key)
        elif key.variant is not Variant.LIVE and not (key.variant.keeps_nothing and key.scenario.edits):
            # an unoptimized build that was edited last is built already, just as it lies there then
            self._edit(
                key.service, self._standing.get(key.service, 0) if key.scenario is Scenario.WARM else 0
            )
            self._build(key, self.warm)

    def prepare(self, slot: Slot) -> None:
        service = slot.key.service
        self.built(slot.key, ())
        if slot.key.variant is Variant.LIVE:
            self._have_live(slot.key)
            return
        match slot.key.scenario:
            case Scenario.SOURCE:
                self._edit_anew(slot.key)
            case Scenario.DEPENDENCY:
                self.warm.tree.write(self.offers[service].take())
            case Scenario.MOUNTS_LOST:
                self._edit_anew(slot.key)
                self._namespace = lost_namespace(self.warm.project, self.fresh())
            case Scenario.LAYERS_LOST:
                if not lose_layers(self.engine, self.warm.project):
                    raise CannotMeasure("no layer could be removed")
            case Scenario.COLD:
                self._cold = self.afresh(f"cold-{self.fresh()}")
                self._cold_chef = self._fresh_chef(slot.key, self._cold)

    def build(self, key: Key) -> None:
        if key.variant is Variant.LIVE:  # from the save on
            self._edit_anew(key)
            self.live.served()
        else:
            self._build(key, self._cold or self.warm)

    def after(self) -> None:
        self.live.close()
        if self._plain:
            note(self.engine, (self._cold or self.warm).project, self._plain)
            self._plain = ()
        if self._cold is not None:
            remove_copy(self.engine, self._cold)
            self._cold, self._cold_chef = None, ""
        if self._namespace:
            drop_namespace(self.engine, self._namespace)
            self._namespace = ""

    def rest(self) -> None:
        with suppress(EngineError):
            tidy(self.engine, self.warm.project)
        self.warm.tree.write({})

    def _have_live(self, key: Key) -> None:
        """A container that its own edit alone concerns. The first one after its start costs more than the next."""
        self.live.start(self.warm, key.service)
        self._edit_anew(key)
        self.live.served()

    def _edit_anew(self, key: Key) -> None:
        number = self.fresh()
        self._edit(key.service, number)
        if key.variant is Variant.STANDARD:
            self._standing[key.service] = number

    def _edit(self, service: str, number: int) -> None:
        """Have the sources as they were, but for one edit (0: none)."""
        source = self.subjects[service].source
        if source is None or not number:
            self.warm.tree.write({})
            return
        path = self.warm.service(service).context / source
        self.warm.tree.write({path: edited(source, self.warm.tree.read(path), number)})

    def _build(self, key: Key, copy: Copy) -> None:
        try:
            steps = self._image(key, copy) if key.variant in PROFILES else self._standard(key, copy)
        except BuildFailed as error:
            if error.log:  # the log is the copy's; a person looks from their own folder
                error.fix = f"see the whole log in {shown(Path(error.log), self.home.parents[1])}"
            raise
        self.built(key, steps)
        if copy is self._cold and any(step.cached and step.text.startswith("RUN ") for step in steps):
            raise CannotMeasure("a step of a cold build came from the cache")

    def _image(self, key: Key, copy: Copy) -> tuple[Step, ...]:
        """As `kiro build` does it."""
        recipe = copy.recipe(key.service, PROFILES[key.variant])
        plan = plan_images((recipe,), f"measured: {key.scenario}")
        prepared = warm.prepare(
            copy.project, (recipe,), lambda _recipes: plan, copy.bases, offline_syntax=self.offline_syntax
        ).without_foreign_proofs()
        if copy is self._cold and self._cold_chef:
            contexts = {**prepared.around.contexts, CHEF: f"docker-image://{self._cold_chef}"}
            prepared = replace(prepared, around=replace(prepared.around, contexts=contexts))
        if self._namespace:
            prepared = prepared.in_namespace(self._namespace)
        return warm.run(prepared, copy.project, self.engine, lambda _event: None).steps

    def _standard(self, key: Key, copy: Copy) -> tuple[Step, ...]:
        """As plain Docker does it."""
        standard = self.subjects[key.service].standards[key.variant]
        file = standard.path or self.home / "standard" / f"{key.service}.{key.variant}.Dockerfile"
        if standard.path is None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(standard.text, encoding="utf-8")
        service = copy.service(key.service)
        target = Target(
            name=str(key.variant),
            service=key.service,
            context=service.context,
            dockerfile=file,
            stage=standard.stage,
            cause=f"measured: {key.scenario}",
            tag=f"{service.image}:{key.variant}",
            inline=without_syntax_line(standard.text) if standard.syntax in self.offline_syntax else None,
        )
        try:
            self._plain = self._execute(target, copy)
        except BuildFailed as error:
            self._plain = error.attempt.steps if error.attempt else ()
            error.file = standard.origin
            raise
        return self._plain

    def _execute(self, target: Target, copy: Copy) -> tuple[Step, ...]:
        done = execute(
            BuildPlan((target,)),
            copy.around,
            self.engine,
            root=copy.project.root,
            logs=copy.project.state / "logs",
            observer=lambda _event: None,
        )
        return done.steps

    def _have_chef(self, key: Key) -> None:
        """The tools that a team has as an image are no part of what is cold."""
        profile = PROFILES.get(key.variant)
        if profile not in self.subjects[key.service].chefs or (key.service, key.variant) in self._chefs:
            return
        recipe = self.warm.recipe(key.service, PROFILES[key.variant])
        tag = f"{NAME}/{self.warm.project.checkout}/{CHEF}-{key.service}-{key.variant}:latest"
        (target,) = warm.prepare(
            self.warm.project,
            (recipe,),
            lambda recipes: plan_images(recipes, "what a team has as an image"),
            self.warm.bases,
            offline_syntax=self.offline_syntax,
        ).plan.targets
        self._execute(replace(target, stage=CHEF, tag=tag), self.warm)
        self._chefs[key.service, key.variant] = tag

    def _fresh_chef(self, key: Key, cold: Copy) -> str:
        """The same image, but for one more file: no layer of another cold build stands on it. "" if there is none."""
        tag = self._chefs.get((key.service, key.variant))
        if tag is None:
            return ""
        checkout = cold.project.checkout
        (base,) = apart(self.engine, [Base(CHEF, BaseStatus.PRESENT, tag)], checkout, str(self.fresh()), CHEF)
        return base.image
