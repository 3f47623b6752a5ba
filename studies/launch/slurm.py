"""Slurm: a job array whose tasks are requeued until the study is done."""

from __future__ import annotations

import math
import re
import shlex
import sys
from dataclasses import dataclass

from sqlalchemy.engine import URL

from caviar.studies.errors import LaunchFailed, OptionError
from caviar.studies.launch.address import check_environment
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.scheduler import Task, call
from caviar.studies.launch.site import Site
from caviar.text import printable, shown

# The worker is a child of the script, which passes signals on. SIGUSR2, since NCCL may catch SIGUSR1, comes before the
# time is over and before a preemption; to the script alone (B:), which would end by it if it did not catch it. A worker
# that left for it (exit code 75, or 128 and more while it still starts) is requeued. SIGTERM is scancel's: a task that
# asked to be requeued then would come back. A signal ends `wait`, and not the worker.
_SCRIPT = """\
#!/bin/bash
{directives}
worker= asked= cancelled=
trap 'asked=USR2; kill -USR2 $worker 2>/dev/null' USR1 USR2
trap 'asked=TERM cancelled=yes; kill -TERM $worker 2>/dev/null' TERM INT
{setup}
code=75  # of a task that is to leave before its worker begins
if [ -z "$asked" ]; then
  {command} &
  worker=$!
  [ -z "$asked" ] || kill -TERM $worker  # asked between these two lines; bash loses a SIGUSR2 to a child that begins
  wait $worker
  while kill -0 $worker 2>/dev/null; do wait $worker; done
  wait $worker
  code=$?
fi
if [ -z "$cancelled" ] && {{ [ $code -eq 75 ] || {{ [ -n "$asked" ] && [ $code -gt 128 ]; }}; }}; then
  tries=0
  until scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"; do  # slurmctld may be away for a while
    [ -z "$cancelled" ] && [ $((tries += 1)) -lt 60 ] || exit $code
    sleep 10
  done
  sleep 60  # until Slurm ends the task
fi
exit $code
"""
_SIGNAL = 65_535  # seconds, of sbatch's --signal
_JOB = re.compile(r"[0-9]{1,18}")
_FORMAT = "%i|%j|%T|%N|%r"
_OURS = "caviar-"  # how the names of our jobs begin; other people may write into the study's history


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
        _check_times(request)
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
        try:
            return _checked(call(["sbatch", "--parsable"], self.text(request)).strip())
        except LaunchFailed as error:
            if "Invalid job array" in str(error):
                raise OptionError(f"--workers {request.workers:,}: {error}; give less than MaxArraySize of slurm.conf, "
                                  f"1001 by default") from None  # fmt: skip
            raise

    def tasks(self, job: str) -> tuple[Task, ...]:
        """Return the tasks of a job array that wait or run."""
        try:
            printed = call(["squeue", "--noheader", "--array", f"--jobs={_checked(job)}", f"--format={_FORMAT}"])
        except LaunchFailed as error:
            if "Invalid job id" in str(error):  # it ended so long ago that Slurm has forgotten it
                return ()
            raise
        rows = [line.split("|", 4) for line in printable(printed).splitlines() if line.count("|") >= 4]
        return tuple(Task(*(cell.strip().removeprefix("None") for cell in (task, *rest))) for task, name, *rest in rows
                     if name.startswith(_OURS))  # fmt: skip

    def output(self, study: str, job: str) -> str:
        """Return the names of the tasks' files, which Slurm writes unless a directive of the site's says otherwise."""
        for directive in reversed(self.site.slurm.directives):
            if directive.startswith(("--output", "-o")):
                return f"the file that {directive} names"
        return f"{LaunchRequest(study).label}-{shown(job)}_*.log, where it was submitted"

    def stop(self, job: str) -> None:
        """End a job array that is ours; Slurm sends SIGTERM, and SIGKILL after its KillWait, mostly 30 s."""
        if self.tasks(job):
            call(["scancel", _checked(job)])


def _check_times(request: LaunchRequest) -> None:
    leaving = request.leaving_seconds
    if leaving > _SIGNAL:
        raise OptionError(f"--grace {request.grace:g}: Slurm announces a task's end {_SIGNAL:,} s before it at most")
    if request.seconds is not None and request.seconds < 4 * leaving:
        raise OptionError(f"--time: give {4 * leaving}s or more: a worker takes up to {leaving} s to leave, and Slurm "
                          f"may say a minute early that it has to")  # fmt: skip


def _checked(job: str) -> str:
    """Return a job's number, which may come from the database, where others write too."""
    if not _JOB.fullmatch(job):
        raise LaunchFailed(f"'{shown(job)}' is no number of a job of Slurm's")
    return job
