"""`caviar.check` of a training in several processes, whose ranks disagree about what they report."""

from __future__ import annotations

from pathlib import Path

import pytest

from caviar.studies.check.report import CheckReport
from caviar.studies.check.run import RESUMES
from caviar.studies.findings import Level
from tests.helpers.planted import check_planted, line_of, worst

_SOUND = """
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from caviar import Log, Study

STUDY = Study(
    name="planted", train="planted:train", gpus=2, metric="rmse", direction="minimize", epochs=3, budget=8,
    tiers=[{"lr": Log(1e-3, 1e-1, default=1e-3)}],
)

def train(trial):
    x = torch.linspace(-1, 1, 64)[trial.rank :: 2].reshape(-1, 1)
    net = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    trial.keep(net=net, optimizer=optimizer)
    model = DistributedDataParallel(net)
    for epoch in trial.epochs():
        loss = (model(x) - x.sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss = loss.detach()
        dist.all_reduce(loss)
        rmse = loss.sqrt()
        trial.report(loss=loss, rmse=rmse)
"""
_REPORT = "        trial.report(loss=loss, rmse=rmse)\n"


def check(project: Path, *changes: tuple[str, str]) -> CheckReport:
    return check_planted(project, _SOUND, *changes)


def place(project: Path, text: str) -> str:
    return f"{project / 'planted.py'}:{line_of(project, text)}"


@pytest.mark.parametrize("report", [_REPORT, f"        if trial.rank == 0:\n    {_REPORT}"])
def test_the_same_from_all_ranks_and_from_the_first_alone_are_sound(project: Path, report: str) -> None:
    found = check(project, (_REPORT, report))

    assert worst(found) == []
    assert RESUMES in [finding.message for finding in found.findings]
    assert found.cost is not None


def test_numbers_of_each_rank_alone_are_named_with_their_line(project: Path) -> None:
    (fault,) = worst(check(project, ("        dist.all_reduce(loss)\n", "")))

    assert (fault.level, fault.what) == (Level.WARNING, "the ranks")
    assert fault.message.startswith("in epoch 1 rank 1 reports loss ")
    assert f"({place(project, 'trial.report')}), and rank 0, whose report counts, " in fault.message
    assert fault.message.endswith("it may be of rank 0's share of the data alone; so it does with rmse")
    assert "torch.distributed.all_reduce" in fault.step


def test_a_report_of_another_rank_alone_is_an_error(project: Path) -> None:
    report = check(project, (_REPORT, f"        if trial.rank == 1:\n    {_REPORT}"))

    (fault,) = report.findings
    assert fault.level == Level.ERROR
    assert "rank 1 reported loss in epoch 1, and rank 0, whose report counts, nothing; call" in fault.message
    assert place(project, "trial.report") in fault.message


@pytest.mark.parametrize(("metric", "level"), [("rmse", Level.ERROR), ("loss", Level.WARNING)])
def test_a_metric_of_another_rank_alone_is_named_with_its_line(project: Path, metric: str, level: Level) -> None:
    other = "rmse" if metric == "loss" else "loss"
    alone = f"        if trial.rank == 1:\n            trial.report({metric}={metric})\n"
    (fault,) = worst(check(project, (_REPORT, f"        trial.report({other}={other})\n{alone}")))

    assert fault.level == level
    line = place(project, f"trial.report({metric}={metric})")
    assert fault.message == f"rank 1 reports {metric} ({line}), and rank 0, whose report counts, never does"


def test_a_state_that_is_not_saved_is_noticed(project: Path) -> None:
    (fault,) = worst(check(project, ("net=net, optimizer=optimizer", "net=net")))

    assert fault.level == Level.ERROR
    assert fault.message.startswith("epoch 2 differs after an interruption, first in ")


def test_a_rank_that_leaves_its_loop_alone_is_an_error(project: Path) -> None:
    (fault,) = worst(
        check(
            project, ("        loss = (model", "        if trial.rank == 1:\n            return\n        loss = (model")
        )
    )

    assert "rank 1 left its loop while others trained on" in fault.message
