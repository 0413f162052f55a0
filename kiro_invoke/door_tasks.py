"""The tasks that other programs ask: where this package's files for them are. Thin (see collection)."""

from __future__ import annotations

from invoke.context import Context

from kiro_invoke.tasking import FORMAT, task


@task(auto_shortflags=False, help={"format": FORMAT})
def make_path(_ctx: Context, format: str = "text") -> None:
    """Print where the Makefile fragment is, as `include` takes it."""
    from kiro_invoke.commands import doors
    from kiro_invoke.commands.surface import perform

    perform("make-path", format, doors.make_path())
