"""The tasks: thin, one call each into `commands`. The same under `invoke`, `kiro`, Make and scripts.

Each loads what it needs when it runs: whoever has this collection in a tasks.py pays for none of it.
"""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from kiro_invoke.cache_tasks import clean_cache, doctor, pin_images, refresh_cache, show_cache, warm_cache
from kiro_invoke.door_tasks import make_path, tilt_config, tilt_path
from kiro_invoke.tasking import DRY, FORMAT, LINES, SERVICE, task


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={
        "service": SERVICE,
        "prod": "The production images (Dockerfile) instead of the development ones (Dockerfile.fast).",
        "since": "Only the services that are affected since this git revision (kiro affected).",
        "push": "With --prod: push the images, for all their platforms, to the registry that their names tell.",
        "archive": "With --prod: write each image, for all its platforms, into this folder as an OCI archive.",
        "clean": "Take nothing from cache mounts: what CI releases. Slow.",
        "print": "Print the bake definition and build nothing.",
        "timings": "Show when each stage ran, as bars on one axis of time.",
        "dry-run": DRY,
        "format": FORMAT,
    },
)
def build(
    _ctx: Context,
    service: list[str],
    prod: bool = False,
    since: str | None = None,
    push: bool = False,
    archive: str = "",
    clean: bool = False,
    print: bool = False,
    timings: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Build the services' images."""
    from kiro_invoke.builds.shipping import Leaving
    from kiro_invoke.commands import building
    from kiro_invoke.commands.surface import perform

    body = building.build(
        service,
        prod=prod,
        clean=clean,
        show_definition=print,
        dry_run=dry_run,
        timings=timings,
        since=since,
        leaving=Leaving(push, archive),
    )
    perform("build", format, body)


@task(iterable=["service"], auto_shortflags=False, help={"service": SERVICE, "format": FORMAT})
def up(_ctx: Context, service: list[str], format: str = "text") -> None:
    """Build what changed, start the services with Compose, wait until they are healthy."""
    from kiro_invoke.commands import running
    from kiro_invoke.commands.surface import perform

    perform("up", format, running.up(service))


@task(
    auto_shortflags=False,
    help={"volumes": "Remove the named volumes too: their data is lost.", "format": FORMAT},
)
def down(_ctx: Context, volumes: bool = False, format: str = "text") -> None:
    """Stop the services and remove their containers."""
    from kiro_invoke.commands import running
    from kiro_invoke.commands.surface import perform

    perform("down", format, running.down(volumes=volumes))


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={"service": SERVICE, "follow": "Go on as lines come.", "tail": "Lines from the end, or all."},
)
def logs(_ctx: Context, service: list[str], follow: bool = False, tail: str = "all") -> None:
    """Show the services' logs."""
    from kiro_invoke.commands import running
    from kiro_invoke.commands.surface import perform

    perform("logs", "text", running.logs(service, follow=follow, tail=tail))


@task(
    auto_shortflags=False,
    help={
        "undo": "Remove what an earlier setup added, and nothing else.",
        "dry-run": DRY,
        "yes": "Agree beforehand.",
        "format": FORMAT,
    },
)
def setup(
    _ctx: Context, undo: bool = False, dry_run: bool = False, yes: bool = False, format: str = "text"
) -> None:
    """Make sure of a Docker engine: use the one that answers, else install the distribution's."""
    from kiro_invoke.commands import managing
    from kiro_invoke.commands.surface import perform

    perform("setup", format, managing.setup(undo=undo, dry_run=dry_run, yes=yes))


@task(iterable=["service"], auto_shortflags=False, help={"service": SERVICE, "format": FORMAT})
def config(_ctx: Context, service: list[str], format: str = "text") -> None:
    """Print every setting with its value and where it came from."""
    from kiro_invoke.commands import managing
    from kiro_invoke.commands.surface import perform

    perform("config", format, managing.show_config(service))


@task(
    iterable=["path", "service"],
    auto_shortflags=False,
    help={
        "path": "Only this file or folder; may be given several times.",
        "service": SERVICE,
        "since": "Compare with this git revision instead of the last build.",
        "prod": "Tell it of the production images (Dockerfile) instead of the development ones (Dockerfile.fast).",
        "format": LINES,
    },
)
def classify(
    _ctx: Context,
    path: list[str],
    service: list[str],
    since: str | None = None,
    prod: bool = False,
    format: str = "text",
) -> None:
    """Tell what changed, what each change means for the build, and why."""
    from kiro_invoke.commands import classifying
    from kiro_invoke.commands.surface import perform

    body = classifying.classify(path, service, since=since, prod=prod)
    perform("classify", format, body, formats=("text", "jsonl"))


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={
        "since": "The git revision to compare with. Required.",
        "service": SERVICE,
        "format": FORMAT,
    },
)
def affected(_ctx: Context, service: list[str], since: str = "", format: str = "text") -> None:
    """Tell which services a build would make otherwise than at a git revision, and why."""
    from kiro_invoke.commands import affecting
    from kiro_invoke.commands.surface import perform

    perform("affected", format, affecting.affected(service, revision=since))


@task(
    auto_shortflags=False,
    help={
        "repo": "The git repository, bare ones too, or the service's folder in one. Without it: this one.",
        "root": "The service's folder, from the repository's own. Without it: all of it.",
        "ecosystem": "cargo, npm, pnpm or yarn. Without it: what the folder shows.",
        "commits": "A file with a commit in each line, - for standard input.",
        "last": "How many of the last commits, first parents only (default: 1000).",
        "format": LINES,
    },
)
def replay_history(
    _ctx: Context,
    repo: str = ".",
    root: str = "",
    ecosystem: str | None = None,
    commits: str | None = None,
    last: str | None = None,
    format: str = "text",
) -> None:
    """Tell of past commits which changed dependencies, and which a rule by file names would have called so."""
    from kiro_invoke.commands import replaying
    from kiro_invoke.commands.surface import perform

    body = replaying.replay_history(repo, root, ecosystem=ecosystem, commits=commits, last=last)
    perform("replay-history", format, body, formats=("text", "jsonl"))


@task(
    iterable=["output"],
    auto_shortflags=False,
    help={
        "last": "Only the last so many builds.",
        "after": "Only what began after a date or time (2026-05-31, 2026-05-31T18:00), or in an age (7d, 12h).",
        "output": "Write it to this file too, by extension: .json, .md, .html, .txt, .xml (JUnit); several times.",
        "format": FORMAT,
    },
)
def report(
    _ctx: Context,
    output: list[str],
    last: str | None = None,
    after: str | None = None,
    format: str = "text",
) -> None:
    """Tell what the recorded builds come to: times, the cache, causes, what got slower."""
    from kiro_invoke.commands import reporting
    from kiro_invoke.commands.surface import perform

    perform("report", format, reporting.tell(last=last, after=after, outputs=output))


@task(
    iterable=["service"],
    auto_shortflags=False,
    help={
        "service": SERVICE,
        "live": "Without (--no-live) every change is built into an image, and the container made anew.",
        "once": "Bring the services up to date, see that they serve, and end; they run on.",
        "keep-running": "Leave the containers running at the end.",
        "debug": "A debugger's port for this service, on this machine only (docs/watch.md).",
        "format": LINES,
    },
)
def watch(
    _ctx: Context,
    service: list[str],
    live: bool = True,
    once: bool = False,
    keep_running: bool = False,
    debug: str | None = None,
    format: str = "text",
) -> None:
    """Keep what the services serve equal to what is saved, on the fastest way that is right."""
    from kiro_invoke.commands import watching
    from kiro_invoke.commands.surface import perform

    wishes = watching.Wishes(tuple(service), live, once, keep_running, debug)
    perform("watch", format, watching.watch(wishes), formats=("text", "jsonl"))


@task(
    name="test-build-performance",
    iterable=["service", "scenario", "variant", "output"],
    auto_shortflags=False,
    help={
        "service": SERVICE,
        "scenario": "Only after this: source, warm, dependency, mounts-lost, layers-lost, cold; repeatable.",
        "variant": "Only this way to build: standard, standard-dev, prod, fast, live; repeatable.",
        "runs": "Samples of each figure (default: 3).",
        "quick": "At most a few minutes with warm caches: nothing cold, what is slow once.",
        "resume": "Go on with the run that was interrupted.",
        "target-backend": "Percent that the development image must save of the standard build (default: 80).",
        "target-frontend": "The same for services of Node (default: 70).",
        "output": "Write the results to this file too: .json, .md, .xml (JUnit) or .txt; repeatable.",
        "format": FORMAT,
    },
)
def measure(
    _ctx: Context,
    service: list[str],
    scenario: list[str],
    variant: list[str],
    output: list[str],
    runs: str | None = None,
    quick: bool = False,
    resume: bool = False,
    target_backend: str | None = None,
    target_frontend: str | None = None,
    format: str = "text",
) -> None:
    """Measure how fast images are built, against the standard Dockerfile, and judge what is claimed."""
    from kiro_invoke.commands import benchmarking
    from kiro_invoke.commands.surface import perform

    asked = benchmarking.Asked(
        tuple(service),
        tuple(scenario),
        tuple(variant),
        runs,
        quick,
        resume,
        target_backend,
        target_frontend,
        tuple(output),
    )
    perform("test-build-performance", format, benchmarking.test_build_performance(asked))


@task(
    iterable=["extra"],
    auto_shortflags=False,
    help={
        "dry-run": DRY,
        "force": "Replace also what is yours, or what you changed since; its diff is shown.",
        "upgrade": "Renew what another version wrote, or what other facts made; its diff is shown, and you are asked.",
        "extra": "Write this too: ci (an example of continuous integration), editor (.vscode), tilt; repeatable.",
        "format": FORMAT,
    },
)
def init(
    _ctx: Context,
    extra: list[str],
    dry_run: bool = False,
    force: bool = False,
    upgrade: bool = False,
    format: str = "text",
) -> None:
    """Write what the services of this repository need: fast Dockerfiles, ignore lines, kiro.yaml, compose.yaml."""
    from kiro_invoke.commands import initializing
    from kiro_invoke.commands.surface import perform

    perform("init", format, initializing.init(initializing.Asked(dry_run, force, upgrade, tuple(extra))))


@task(
    auto_shortflags=False,
    help={
        "dry-run": DRY,
        "force": "Remove also what was changed since it was written; its diff is shown.",
        "format": FORMAT,
    },
)
def uninstall(_ctx: Context, dry_run: bool = False, force: bool = False, format: str = "text") -> None:
    """Take out of this repository what init wrote, byte for byte."""
    from kiro_invoke.commands import initializing
    from kiro_invoke.commands.surface import perform

    perform("uninstall", format, initializing.uninstall(dry_run=dry_run, force=force))


ns = Collection(
    init,
    uninstall,
    warm_cache,
    show_cache,
    clean_cache,
    refresh_cache,
    build,
    up,
    down,
    logs,
    watch,
    setup,
    config,
    classify,
    affected,
    replay_history,
    measure,
    report,
    doctor,
    pin_images,
    make_path,
    tilt_path,
    tilt_config,
)
