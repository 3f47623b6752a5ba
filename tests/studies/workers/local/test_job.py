"""Which job of a scheduler a worker belongs to, by what the scheduler says."""

from __future__ import annotations

import pytest

from caviar.studies.workers.local.job import host_name, scheduler_job

SLURM = {"SLURM_JOB_ID": "125", "SLURM_JOBID": "125", "SLURMD_NODENAME": "n1"}


@pytest.mark.parametrize(
    ("environ", "job"),
    [
        ({}, None),
        ({"CAVIAR_JOB": " "}, None),
        (SLURM, "125"),
        ({**SLURM, "SLURM_ARRAY_JOB_ID": "123", "SLURM_ARRAY_TASK_ID": "4"}, "123_4"),
        ({**SLURM, "SLURM_ARRAY_JOB_ID": "123"}, "125"),
        ({"JOB_COMPLETION_INDEX": "3"}, "digits_3"),
        ({"JOB_COMPLETION_INDEX": "0"}, "digits-3_0"),
        ({**SLURM, "CAVIAR_JOB": "raysubmit_7_2", "JOB_COMPLETION_INDEX": "3"}, "raysubmit_7_2"),
        ({"CAVIAR_JOB": "a\x1b[2J\nb\u2028c"}, r"a\x1b[2J\nb\u2028c"),
        ({"CAVIAR_JOB": "x" * 1000}, "x" * 100 + "..."),
        ({"SLURM_JOB_ID": "\udcff"}, r"\udcff"),
    ],
)
def test_a_job_is_what_the_scheduler_says(environ: dict[str, str], job: str | None) -> None:
    assert scheduler_job(environ, "digits-3") == job


def test_a_host_is_called_as_slurm_calls_it() -> None:
    assert host_name(SLURM) == "n1"
    assert host_name({"SLURMD_NODENAME": "n\x07"}) == r"n\x07"
    assert host_name({})
