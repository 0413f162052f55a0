"""The tasks about the cache: warm, show, clean, refresh, and the doctor. Thin, as all tasks are (see collection)."""

from __future__ import annotations

from invoke.context import Context

from kiro_invoke.tasking import DRY, FORMAT, SERVICE, task


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={
        "service": SERVICE,
        "pull": "Ask the registry again for base images that are here; replaces stand-ins.",
        "setup": "Install or start a Docker engine where none answers.",
        "push": "Fill the shared cache (`cache: to:` in kiro.yaml), as CI on the default branch does.",
        "dry-run": DRY,
        "format": FORMAT,
    },
)
def warm_cache(
    _ctx: Context,
    service: list[str],
    pull: bool = False,
    setup: bool = False,
    push: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Build every stage of every image, base images first, as one graph."""
    from kiro_invoke.commands import building
    from kiro_invoke.commands.surface import perform

    body = building.warm_cache(service, pull=pull, setup=setup, dry_run=dry_run, push=push)
    perform("warm-cache", format, body)


@task(iterable=["service"], auto_shortflags=False, help={"service": SERVICE, "format": FORMAT})
def show_cache(_ctx: Context, service: list[str], format: str = "text") -> None:
    """Show what the engine holds of this project: mounts, layers, images, by service; and what it will drop."""
    from kiro_invoke.commands import show_cache
    from kiro_invoke.commands.surface import perform

    perform("show-cache", format, show_cache.show_cache(service))


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={
        "what": "build (layers and mounts), images (with stand-ins), or all (default).",
        "service": SERVICE,
        "older-than": "Only what was not used for this long: 7d, 12h.",
        "max-size": "Only as much as it takes to hold no more than this: 5GB.",
        "dry-run": DRY,
        "yes": "Agree beforehand.",
        "format": FORMAT,
    },
)
def clean_cache(
    _ctx: Context,
    service: list[str],
    what: str = "all",
    older_than: str | None = None,
    max_size: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
    format: str = "text",
) -> None:
    """Remove what the engine holds of this project, and nothing of anybody else's."""
    from kiro_invoke.commands import clean_cache
    from kiro_invoke.commands.surface import perform

    asked = clean_cache.Asked(what, tuple(service), older_than, max_size, dry_run, yes)
    perform("clean-cache", format, clean_cache.clean_cache(asked))


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={"service": SERVICE, "dry-run": DRY, "format": FORMAT},
)
def refresh_cache(_ctx: Context, service: list[str], dry_run: bool = False, format: str = "text") -> None:
    """Make the caches anew: build in new cache mounts, then remove what that replaced."""
    from kiro_invoke.commands import refreshing
    from kiro_invoke.commands.surface import perform

    perform("refresh-cache", format, refreshing.refresh_cache(service, dry_run=dry_run))


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={
        "service": SERVICE,
        "fix": "Mend what can be mended safely, after telling what: an engine's cache limit, missing ignore lines.",
        "format": FORMAT,
    },
)
def doctor(_ctx: Context, service: list[str], fix: bool = False, format: str = "text") -> None:
    """Find what makes builds slow: the engine, the machine, Dockerfiles, contexts."""
    from kiro_invoke.commands import examining
    from kiro_invoke.commands.surface import perform

    perform("doctor", format, examining.doctor(service, fix=fix))


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={
        "service": SERVICE,
        "update": "Ask again for what is pinned already, and write what its tag has now.",
        "check": "Write nothing; exit 1 where something is not pinned, or not to what its tag has now.",
        "dry-run": DRY,
        "format": FORMAT,
    },
)
def pin_images(
    _ctx: Context,
    service: list[str],
    update: bool = False,
    check: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Write the digests of base images into the Dockerfiles that name them."""
    from kiro_invoke.commands import pinning
    from kiro_invoke.commands.surface import perform

    asked = pinning.Asked(tuple(service), update, check, dry_run)
    perform("pin-images", format, pinning.pin_images(asked))
