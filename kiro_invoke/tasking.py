"""How the tasks are declared, and what several of them say of their options."""

from __future__ import annotations

from functools import partial

from invoke.parser.argument import Argument
from invoke.tasks import Task
from invoke.tasks import task as invoke_task

SERVICE = "Only this service; may be given several times."
FORMAT = "text, or json: one object on standard output."
LINES = "text, or jsonl: one object a line on standard output."
DRY = "Show what would be done, and do nothing."


class _Task(Task):  # type: ignore[type-arg]
    """A task whose repeatable options need a value: Invoke takes `--service` without one for nothing."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        arguments = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            if argument.kind is list:
                argument.raw_value = None
        return arguments


task = partial(invoke_task, klass=_Task)
