"""`caviar launch`: put workers on a scheduler, look at them there, and end them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import caviar
from caviar.storage.timing import GRACE
from caviar.studies.cli.options import AsJson, Database, Grace, StoredStudy
from caviar.studies.cli.output import out, print_json, print_line, print_remark, print_text
from caviar.studies.cli.tables import table
from caviar.studies.launch.scheduler import Task


class _Group(TyperGroup):
    """Takes `caviar launch STUDY` for `caviar launch start STUDY`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words behind `caviar launch`; `start` is left out where they begin with no command."""
        begins = not args or args[0] in (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if begins else ["start", *args])


app = typer.Typer(
    cls=_Group,
    help="Put workers for a study on Slurm, Kubernetes or Ray: caviar launch STUDY --on slurm.",
    epilog="Begin with: caviar launch init --on slurm, then caviar launch STUDY --on slurm --workers 8 --dry-run",
    no_args_is_help=True,
)
_MOST = 50  # tasks of a job that are shown one by one
On = Annotated[str, typer.Option("--on", metavar="SCHEDULER", help="slurm, kubernetes or ray.")]
SiteFile = Annotated[
    Path | None,
    typer.Option("--site", metavar="FILE", show_default=False,
                 help="Settings of the site; without it, caviar-launch.toml in this folder, if it is there."),
]  # fmt: skip


@app.command()
def start(
    study: StoredStudy,
    on: On,
    workers: Annotated[int, typer.Option(metavar="N", help="Tasks of the scheduler, each a caviar join.")] = 1,
    gpus_per_worker: Annotated[
        float, typer.Option(metavar="K", help="GPUs of each task; 0 for one worker process on the CPU.")
    ] = 0,
    workers_per_gpu: Annotated[int, typer.Option(metavar="M", help="Worker processes on each GPU of a task.")] = 1,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="How long a task may take until Slurm requeues it, such as 4h; of Kubernetes the whole job.",
        ),
    ] = None,
    grace: Grace = GRACE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be submitted, for submission by hand.")
    ] = False,
    site: SiteFile = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Submit identical workers for a study that is in the database; `start` may be left out.

    The scheduler may end, move and restart each of them as it likes: the budget stays exact, and an interrupted trial
    goes on elsewhere.

    Examples: caviar launch digits --on slurm --workers 8 --gpus-per-worker 1 --time 4h,
    caviar launch digits --on kubernetes --workers 8 --dry-run

    In Python: caviar.launch("digits", "slurm", workers=8, gpus_per_worker=1, time="4h")
    """
    done = caviar.launch(
        study, on, workers=workers, gpus_per_worker=gpus_per_worker, workers_per_gpu=workers_per_gpu, time=time,
        grace=grace, site=site, dry_run=dry_run, database=database,
    )  # fmt: skip
    for remark in done.remarks:
        print_remark(remark)
    if as_json:
        print_json(done)
    elif done.submission is None:
        print_text(done.text)
        print_remark(
            f"nothing was submitted; by hand: the same command | {done.by_hand} "
            f"(caviar launch status and stop do not know of a job that was submitted by hand)"
        )
    else:
        print_line(f"job {done.submission.job} has {workers} worker{'s' * (workers != 1)} for '{study}', which "
                   f"begin when {done.submission.scheduler} has room; what they print: {done.output}")  # fmt: skip
        print_line(f"\nnext: caviar launch status {study}, then: caviar status {study} --watch", style="dim")


@app.command()
def status(study: StoredStudy, site: SiteFile = None, as_json: AsJson = False, database: Database = None) -> None:
    """Show the jobs that were submitted for a study, and what the scheduler says of their tasks.

    Example: caviar launch status digits

    In Python: caviar.launched("digits")
    """
    jobs = caviar.launched(study, site=site, database=database)
    if as_json:
        print_json(jobs)
        return
    if not jobs:
        print_line(f"nothing was submitted for '{study}' by caviar launch; its workers: caviar workers {study}")
        return
    rows = table("scheduler", "job", "task", "state", "node", "reason")
    for job in jobs:
        sent = job.submission
        for task in job.tasks if len(job.tasks) <= _MOST else _counted(job.tasks):
            rows.add_row(sent.scheduler, sent.job, task.name, task.state, task.node, task.reason)
        if not job.tasks:
            state = "unknown" if job.error else "stopped" if sent.is_stopped else "ended"
            rows.add_row(sent.scheduler, sent.job, "", state, "", job.error or f"see {job.output}")
    out().print(rows)
    step = "workers" if any(job.tasks for job in jobs) else "status"  # which says what to do where nothing runs
    print_line(f"\nnext: caviar {step} {study}", style="dim")


def _counted(tasks: Sequence[Task]) -> Iterator[Task]:
    """Yield one row for all tasks of each state."""
    for state, count in Counter(task.state for task in tasks).most_common():
        yield Task(f"{count:,} tasks", state)


@app.command()
def stop(study: StoredStudy, site: SiteFile = None, database: Database = None) -> None:
    """End the jobs that were submitted for a study; its other workers go on.

    Workers finish their epoch within the grace, and give their trials back. Where the scheduler does not wait for that,
    the epoch in progress is trained again.

    Example: caviar launch stop digits

    In Python: caviar.stop_launched("digits")
    """
    ended = caviar.stop_launched(study, site=site, database=database)
    if not ended:
        print_line(f"no job of '{study}' waits or runs; see: caviar launch status {study}")
        return
    for job in ended:
        print_line(f"{job.scheduler} ends job {job.job}: its workers give their trials back")
    print_line(f"\nnext: caviar status {study}", style="dim")


@app.command()
def init(on: On, site: SiteFile = None) -> None:
    """Write a file of the site's settings, such as a partition or an image, each with what it means.

    Example: caviar launch init --on slurm

    In Python: caviar.init_launch("slurm")
    """
    file = caviar.init_launch(on, site)
    print_line(f"{file} is written: fill in what differs at your site")
    given = "" if site is None else f" --site {shlex.quote(str(site))}"
    print_line(f"\nnext: caviar launch STUDY --on {on} --workers 8{given} --dry-run", style="dim")
