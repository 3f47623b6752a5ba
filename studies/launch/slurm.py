"""Slurm: a job array whose tasks are requeued until the study is done."""

from __future__ import annotations

import math
import re
import shlex
import sys
from dataclasses import dataclass

from sqlalchemy.engine import URL

from caviar.studies.errors import LaunchFailed
from caviar.studies.launch.address import check_environment
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.scheduler import Task, call
from caviar.studies.launch.site import Site
from caviar.text import printable, shown

# The worker is a child of the script, which passes signals on. SIGUSR2, since NCCL may catch SIGUSR1, comes before the
# time is over and before a preemption; to the script alone (B:), which would end by it if it did not catch it. A worker
# that left for it (exit code 75, or 128 and more while it still starts) gets another turn. SIGTERM is scancel's: a
# task that asked for another turn then would come back.
_SCRIPT = """\
#!/bin/bash
{directives}
{setup}
worker= asked= cancelled= code=0
trap 'asked=yes; kill -USR2 $worker 2>/dev/null' USR1 USR2
trap 'cancelled=yes; kill -TERM $worker 2>/dev/null' TERM INT
{command} &
worker=$!
while kill -0 $worker 2>/dev/null; do  # a signal ends `wait`, and not the worker
  wait $worker
  code=$?
done
if [ -z "$cancelled" ] && {{ [ $code -eq 75 ] || {{ [ -n "$asked" ] && [ $code -gt 128 ]; }}; }}; then
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
  sleep 60  # until Slurm ends the task
fi
exit $code
"""
_JOB = re.compile(r"[0-9]{1,18}")
_FORMAT = "%i|%T|%N|%r"


@dataclass(frozen=True)
class Slurm:
    """The Slurm of a site, by its commands sbatch, squeue and scancel."""

    site: Site

    def check_database(self, url: URL) -> None:
        """Check that the environment, which sbatch hands to the tasks, names the database."""
        check_environment(url)

    def text(self, request: LaunchRequest) -> str:
        """Return the script of a job array."""
        worker = self.site.worker
        caviar = worker.command or ("caviar" if worker.setup else f"{shlex.quote(sys.executable)} -m caviar")
        variables = [f"export {name}={shlex.quote(value)}" for name, value in worker.environment.items()]
        return _SCRIPT.format(
            directives="\n".join(f"#SBATCH {directive}" for directive in self._directives(request)),
            setup="\n".join([*worker.setup, *variables]),
            command=request.command(caviar),
        )

    def _directives(self, request: LaunchRequest) -> list[str]:
        own, gpus = self.site.slurm, request.whole_gpus
        limit = f"%{own.running}" if own.running else ""
        asked = [
            f"--job-name={request.label}",
            f"--array=1-{request.workers}{limit}",
            "--requeue",
            "--open-mode=append",  # a task that begins again goes on in the same file
            f"--output={request.label}-%A_%a.log",
            f"--signal=B:USR2@{request.leaving_seconds}",
            "--ntasks=1",
        ]
        asked += [f"--cpus-per-task={own.cpus}"] if own.cpus else []
        asked += [f"--gres=gpu:{gpus}"] if gpus else []
        asked += [f"--time={math.ceil(request.seconds / 60)}"] if request.seconds else []  # in minutes
        settings = {"partition": own.partition, "account": own.account, "qos": own.qos, "mem": own.memory}
        asked += [f"--{name}={value}" for name, value in settings.items() if value]
        return [*asked, *own.directives]

    def by_hand(self) -> str:
        """Return the command that submits the script."""
        return "sbatch"

    def submit(self, request: LaunchRequest) -> str:
        """Submit a job array; return its number."""
        printed = call(["sbatch", "--parsable"], self.text(request))  # JOB, or JOB;CLUSTER
        return _checked(printed.strip().partition(";")[0])

    def tasks(self, job: str) -> tuple[Task, ...]:
        """Return the tasks of a job array that wait or run."""
        try:
            printed = call(["squeue", "--noheader", "--array", f"--jobs={_checked(job)}", f"--format={_FORMAT}"])
        except LaunchFailed as error:
            if "Invalid job id" in str(error):  # it ended so long ago that Slurm has forgotten it
                return ()
            raise
        rows = [line.split("|", 3) for line in printable(printed).splitlines() if line.count("|") >= 3]
        return tuple(Task(*(cell.strip() for cell in row)) for row in rows)

    def stop(self, job: str) -> None:
        """End a job array; Slurm sends SIGTERM, and SIGKILL after its KillWait, mostly 30 s."""
        call(["scancel", _checked(job)])


def _checked(job: str) -> str:
    """Return a job's number, which may come from the database, where others write too."""
    if not _JOB.fullmatch(job):
        raise LaunchFailed(f"'{shown(job)}' is no number of a job of Slurm's")
    return job
