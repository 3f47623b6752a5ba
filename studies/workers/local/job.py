"""The job of a scheduler that this process belongs to, by the variables that the scheduler gives it.

    CAVIAR_JOB                                    whatever started it says which, such as `caviar launch`
    SLURM_ARRAY_JOB_ID, SLURM_ARRAY_TASK_ID       Slurm, a task of an array: 123_4, as squeue shows it
    SLURM_JOB_ID                                  Slurm, any other job: 123
    JOB_COMPLETION_INDEX, and the pod's hostname  Kubernetes, an Indexed Job: digits_4

They may come from anywhere: what cannot be printed is escaped, and a long text is cut.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from caviar.text import shown


def scheduler_job(environ: Mapping[str, str] = os.environ, hostname: str | None = None) -> str | None:
    """Return the job that this process belongs to, with `_` and the number of its task if it has one; None without a
    scheduler.

    Args:
        hostname: of this machine or pod; None to ask the system.
    """
    given = (job.strip() for job in _candidates(environ, hostname or socket.gethostname()))
    return next((shown(job) for job in given if job), None)


def _candidates(environ: Mapping[str, str], hostname: str) -> tuple[str, ...]:
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    index = environ.get("JOB_COMPLETION_INDEX")
    return (
        environ.get("CAVIAR_JOB", ""),
        f"{array}_{task}" if array and task else "",
        environ.get("SLURM_JOB_ID", ""),
        f"{hostname.removesuffix(f'-{index}')}_{index}" if index else "",  # the hostname is JOB-INDEX
    )


def host_name(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of this machine: the one that Slurm knows it by, where Slurm runs this process."""
    return shown(environ.get("SLURMD_NODENAME") or socket.gethostname())
