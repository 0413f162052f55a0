"""Room for a build, made from what this project left: what was replaced, then what was used longest ago."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kiro_invoke.cache.clean import clean
from kiro_invoke.cache.cleaning import What, Wish, plan_clean
from kiro_invoke.cache.guard import Freeable
from kiro_invoke.commands.clearing import Say, SupersededCleaner
from kiro_invoke.commands.held import Checkout
from kiro_invoke.model.amounts import told_bytes

#: What was used within this time, the next builds most likely use again: that goes only when a person says so.
RECENT_SECONDS = 86_400.0


@dataclass(frozen=True)
class OldestCleaner:
    """clearing.Cleaner for a checkout with all its services, whichever are built: what is theirs must be known."""

    checkout: Checkout
    clock: Callable[[], float] = time.time

    def could_free(self) -> Sequence[Freeable]:
        replaced = self._superseded.planned()
        held = self.checkout.look()
        old, whole = plan_clean(held, self._old()), plan_clean(held, Wish(What.BUILD))
        going = {item.id for item in replaced.remove}
        more = sum(one.item.size for one in old.records if one.item.id not in going)
        build = "kiro clean-cache --what build"
        return (
            *self._superseded.could_free(),
            Freeable("layers and mounts that were not used for a day", f"{build} --older-than 1d", more),
            Freeable("all of this project's layers and mounts", build, whole.frees, asks=True),
        )

    def free(self, bytes: int, say: Say) -> int:
        freed = self._superseded.free(bytes, say)
        if freed < bytes:
            held = self.checkout.look()
            in_cache = held.bytes_of(item for item in held.ours if not item.is_image)
            most = max(0, in_cache - (bytes - freed))
            done = clean(self.checkout.engine, self.checkout.look, self._old(at_most=most))
            if done.freed:
                say(f"removed {told_bytes(done.freed)} of layers and mounts that were not used for a day")
            freed += done.freed
        return freed

    @property
    def _superseded(self) -> SupersededCleaner:
        return SupersededCleaner(self.checkout.engine, self.checkout.project, self.checkout.recipes)

    def _old(self, at_most: int | None = None) -> Wish:
        return Wish(What.BUILD, unused_since=self.clock() - RECENT_SECONDS, at_most=at_most)
