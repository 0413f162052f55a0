"""The tasks that other programs ask: where this package's files for them are, what Tilt is to know. Thin."""

from __future__ import annotations

from invoke.context import Context

from kiro_invoke.tasking import FORMAT, SERVICE, task


@task(auto_shortflags=False, help={"format": FORMAT})
def make_path(_ctx: Context, format: str = "text") -> None:
    """Print where the Makefile fragment is, as `include` takes it."""
    from kiro_invoke.commands import doors
    from kiro_invoke.commands.surface import perform

    perform("make-path", format, doors.make_path())


@task(auto_shortflags=False, help={"format": FORMAT})
def tilt_path(_ctx: Context, format: str = "text") -> None:
    """Print where the Tilt extension is."""
    from kiro_invoke.commands import doors
    from kiro_invoke.commands.surface import perform

    perform("tilt-path", format, doors.tilt_path())


@task(iterable=["service"], auto_shortflags=False, help={"service": SERVICE, "format": FORMAT})
def tilt_config(_ctx: Context, service: list[str], format: str = "text") -> None:
    """Tell what the Tilt extension does: builds, live updates, and what takes an image all the same."""
    from kiro_invoke.commands import tilting
    from kiro_invoke.commands.surface import perform

    perform("tilt-config", format, tilting.tilt_config(service))
