"""`caviar.check` finds what is wrong with a training before it is searched; each fault is planted in a project."""

from __future__ import annotations

from pathlib import Path

import pytest

import caviar
from caviar.studies.check.report import CheckReport
from caviar.studies.check.run import RESUMES
from caviar.studies.findings import Level
from tests.helpers.planted import check_planted, line_of, worst

_SOUND = """
import os
import random
import sys
import torch
from caviar import Linear, Log, Study

STUDY = Study(
    name="planted", train="planted:train", metric="rmse", direction="minimize", epochs=6, budget=8,
    tiers=[{"lr": Log(1e-4, 1e-1, default=1e-2)}, {"hidden": Linear(4, 32, default=8)}],
)

def train(trial):
    x = torch.linspace(-1, 1, 64).reshape(-1, 1)
    y = x.sin()
    net = torch.nn.Sequential(torch.nn.Linear(1, trial["hidden"]), torch.nn.Tanh(), torch.nn.Linear(trial["hidden"], 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=trial["lr"], total_steps=24)
    trial.keep(net=net, optimizer=optimizer, schedule=schedule)
    for epoch in trial.epochs():
        for rows in trial.batches(torch.randperm(64).split(16)):
            loss = (net(x[rows]) - y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        whole = (net(x) - y).square().mean().item()
        trial.report(loss=whole, rmse=whole**0.5)
"""


def check(project: Path, *changes: tuple[str, str], append: str = "") -> CheckReport:
    return check_planted(project, _SOUND + append, *changes)


def test_a_sound_training_has_no_faults_and_a_cost(project: Path) -> None:
    steps: list[str] = []
    (project / "planted.py").write_text(_SOUND)
    report = caviar.check("planted.py", workers=4, device="cpu", on_step=steps.append)

    assert worst(report) == []
    assert not report.failed
    assert report.cost is not None
    assert report.cost.seconds == pytest.approx(6 * 8 * report.cost.epoch_seconds / 4)
    assert report.cost.state is not None
    assert steps[:2] == ["the defaults", "an interruption after the first epoch"]
    assert steps[2:] == ["lr = 0.0001", "lr = 0.1", "hidden = 4", "hidden = 32"]


@pytest.mark.parametrize(
    ("change", "suspect", "text"),
    [
        (("optimizer=optimizer, ", ""), "optimizer (AdamW; ", "optimizer = torch"),
        ((", schedule=schedule)", ")"), "schedule (OneCycleLR; ", "schedule = torch"),
    ],
)
def test_what_is_not_saved_is_named_with_its_line(
    project: Path, change: tuple[str, str], suspect: str, text: str
) -> None:
    (fault,) = worst(check(project, change))

    assert fault.level == Level.ERROR
    assert suspect in fault.message
    assert f"planted.py, line {line_of(project, text)}) is not in trial.keep()" in fault.message


def test_a_generator_that_goes_on_across_epochs_is_named_with_its_line(project: Path) -> None:
    report = check(
        project,
        ("    for epoch in", "    order = torch.Generator().manual_seed(1)\n    for epoch in"),
        ("torch.randperm(64)", "torch.randperm(64, generator=order)"),
    )

    (fault,) = worst(report)
    assert f"order (Generator; {project / 'planted.py'}, line {line_of(project, 'order =')}) goes on" in fault.message


def test_a_schedule_that_acts_in_a_later_epoch_is_a_warning(project: Path) -> None:
    report = check(
        project,
        ('OneCycleLR(optimizer, max_lr=trial["lr"], total_steps=24)', "StepLR(optimizer, step_size=5)"),
        ("            schedule.step()\n", ""),
        ("        whole =", "        schedule.step()\n        whole ="),
        (", schedule=schedule)", ")"),
    )

    (warning,) = worst(report)
    assert warning.level == Level.WARNING
    assert f"schedule (StepLR; {project / 'planted.py'}, line {line_of(project, 'schedule = ')})" in warning.message
    assert warning.step == "add it: trial.keep(..., schedule=schedule)"
    assert RESUMES not in [finding.message for finding in report.findings]


def test_what_never_changes_is_not_blamed(project: Path) -> None:
    report = check(
        project,
        (
            "    x = torch",
            "    data = torch.Generator().manual_seed(0)\n    torch.rand(2, generator=data)\n    x = torch",
        ),
        ("    for epoch in", "    criterion = torch.nn.MSELoss()\n    for epoch in"),
        ("(net(x[rows]) - y[rows]).square().mean()", "criterion(net(x[rows]), y[rows])"),
        ("optimizer=optimizer, ", ""),
    )

    (fault,) = worst(report)
    assert "optimizer (AdamW; " in fault.message


def test_a_training_that_hangs_is_ended_with_the_line(project: Path) -> None:
    report = check(
        project,
        ("import os\n", "import os\nimport time\n"),
        ("budget=8", "budget=8, epoch_timeout='3s'"),
        ("        whole =", "        time.sleep(3600)\n        whole ="),
    )

    (fault,) = report.findings
    assert (fault.level, fault.what) == (Level.ERROR, "the defaults")
    assert f"it hangs in train ({project / 'planted.py'}:{line_of(project, 'sleep')}): no batch for " in fault.message


def test_a_training_that_is_not_deterministic_is_told_from_one_that_is_not_saved(project: Path) -> None:
    found = check(project, ("rmse=whole**0.5", "rmse=whole**0.5 + int.from_bytes(os.urandom(2))"))
    (fault,) = [fault for fault in worst(found) if fault.what == "resuming"]  # it may get worse by chance, too

    assert "two trainings of the same first epoch differ" in fault.message
    assert "rmse: " in fault.message


def test_a_metric_of_the_wrong_sign_is_noticed(project: Path) -> None:
    (fault,) = worst(check(project, ('direction="minimize"', 'direction="maximize"')))

    assert "while loss falls, and the study is to maximize it" in fault.message
    assert fault.step == 'is it to be minimized? then: direction="minimize"'


@pytest.mark.parametrize(
    ("lines", "level", "message"),
    [
        ("raise ValueError('too few')", Level.ERROR, "ValueError: too few ("),
        ("sys.exit(3)", Level.ERROR, "it calls sys.exit(3), which would end Caviar ("),
        ("os.kill(os.getpid(), 9)", Level.ERROR, "its process was killed by signal 9 (SIGKILL)"),
        ("y = y * float('nan')", Level.WARNING, "loss and rmse are not finite after one epoch: such trials diverge"),
    ],
)
def test_a_corner_that_breaks_the_training_is_named(project: Path, lines: str, level: Level, message: str) -> None:
    (fault,) = worst(check(project, ("    net = ", f"    if trial['hidden'] == 4:\n        {lines}\n    net = ")))

    assert (fault.level, fault.what) == (level, "hidden = 4")
    assert message in fault.message


def test_files_that_all_trials_would_write_are_named(project: Path) -> None:
    (project / "notes.txt").write_text("mine")
    (fault,) = worst(check(project, ("    for epoch", "    open('log.txt', 'w').close()\n    for epoch")))

    assert fault.message == "the training writes log.txt into the working directory, which all trials share"


def test_a_training_that_keeps_nothing_begins_again(project: Path) -> None:
    report = check(project, ("    trial.keep(net=net, optimizer=optimizer, schedule=schedule)\n", ""))

    (warning,) = worst(report)
    assert warning.message == "nothing is saved: an interrupted trial begins again"
    assert report.cost is not None
    assert report.cost.state is None


def test_a_metric_that_is_never_reported_is_an_error(project: Path) -> None:
    (fault,) = worst(check(project, ("rmse=whole", "mse=whole")))

    assert fault.message == "none of the first 3 epochs has rmse; did you mean mse? there is loss, mse"


_TEST = """

def test(trial):
    net = torch.nn.Sequential(torch.nn.Linear(1, trial["hidden"]), torch.nn.Tanh(), torch.nn.Linear(trial["hidden"], 1))
    trial.keep(net=net)
    RETURN
"""


@pytest.mark.parametrize(
    ("lines", "level", "message"),
    [
        ("return {'weights': 1.0, 'rmse': 2.0}", Level.OK, "it measures rmse, weights"),
        ("return 2.0", Level.ERROR, "the test function returned 2.0; return metrics, such as {'rmse': 1.2}"),
        ("return {'rmse': tset(net)}", Level.ERROR, "NameError: name 'tset' is not defined ("),
        ("trial.keep(optimiser=net)", Level.ERROR, "the checkpoint has no 'optimiser', but 'net'"),
    ],
)
def test_the_test_function_is_tried_on_the_state_that_there_is(
    project: Path, lines: str, level: Level, message: str
) -> None:
    named = ("direction=", 'test="planted:test", direction=')
    report = check(project, named, append=_TEST.replace("RETURN", lines))

    (found,) = [finding for finding in report.findings if finding.what == "the test"]
    assert (found.level, report.failed) == (level, level == Level.ERROR)
    assert message in found.message


def test_a_test_function_without_a_state_has_nothing_to_measure(project: Path) -> None:
    nothing = ("    trial.keep(net=net, optimizer=optimizer, schedule=schedule)\n", "")
    report = check(project, nothing, ("direction=", 'test="planted:test", direction='), append=_TEST)

    (found,) = [finding for finding in report.findings if finding.what == "the test"]
    assert "has nothing to measure: nothing is saved" in found.message


def test_a_constraint_on_what_is_never_reported_is_an_error(project: Path) -> None:
    (fault,) = worst(check(project, ("budget=8", "budget=8, constraints={'latency': 3}")))

    assert (fault.level, fault.what) == (Level.ERROR, "the constraints")
    assert fault.message == "none of the first 3 epochs has latency; there is loss, rmse"


def test_defaults_that_cannot_be_trained_are_the_only_finding(project: Path) -> None:
    report = check(project, ("    x = torch", "    y = undefined\n    x = torch"))

    (fault,) = report.findings
    assert fault.message.startswith("NameError: name 'undefined' is not defined (")
    assert report.cost is None
    assert report.failed


_COMMAND = r"""
from caviar import Log, Study

STUDY = Study(
    name="planted", command="sh train.sh {lr}", report=r"epoch (?P<epoch>\d+) (rmse (?P<rmse>\S+)|loss (?P<loss>\S+))",
    metric="rmse", direction="minimize", epochs=4, budget=8, tiers=[{"lr": Log(1e-4, 1e-1, default=1e-2)}],
)
"""
# Leaves its last epoch to a process that goes on, however late its output is read.
_SCRIPT = """
n=$(cat $CAVIAR_FOLDER/n 2> /dev/null || echo 0)
while [ $n -lt 4 ]; do
  n=$((n + 1)); echo $n > $CAVIAR_FOLDER/new; mv $CAVIAR_FOLDER/new $CAVIAR_FOLDER/n
  echo "epoch $n rmse $((10 - n))"; sleep 0.3
  [ $n -ne 3 ] || [ $CAVIAR_EPOCH -gt 0 ] || sleep 600
done
"""


def check_command(project: Path, script: str) -> CheckReport:
    (project / "planted.py").write_text(_COMMAND)
    (project / "train.sh").write_text(script)
    return caviar.check("planted.py", workers=2, device="cpu")


def test_a_command_that_goes_on_from_its_folder_has_no_faults(project: Path) -> None:
    report = check_command(project, _SCRIPT)

    assert worst(report) == []
    assert RESUMES in [finding.message for finding in report.findings]


@pytest.mark.parametrize("pause", ["0.3", "0"])
def test_a_command_that_does_not_read_its_folder_is_noticed(project: Path, pause: str) -> None:
    """Also one that has reported more than the first epoch by the time of the interruption."""
    script = _SCRIPT.replace("$(cat $CAVIAR_FOLDER/n 2> /dev/null || echo 0)", "0").replace("0.3", pause)
    (fault,) = worst(check_command(project, script))

    assert fault.level == Level.WARNING
    assert (
        fault.message == "it was interrupted after epoch 1, and begins again with epoch 1: what was saved is not used"
    )


def test_a_command_that_reports_a_metric_twice_is_an_error(project: Path) -> None:
    (fault,) = worst(check_command(project, "echo epoch 1 loss 1; echo epoch 1 loss 2; echo epoch 1 rmse 3"))

    assert fault.level == Level.ERROR
    assert "epoch 1 has two values of loss" in fault.message


def test_the_memory_of_a_command_is_that_of_its_own_processes(project: Path) -> None:
    """More than Caviar's own process has."""
    much = "import time; much = b'x' * 2**30; print('epoch 1 rmse 1', flush=True); time.sleep(3)"
    report = check_command(project, f'python3 -c "{much}" & wait')

    assert report.cost is not None
    assert report.cost.memory is not None
    assert report.cost.memory > 2**30


_OBJECTIVE = """
import optuna
from caviar import Study

STUDY = Study(name="planted", objective="planted:objective", metric="rmse", direction="minimize", budget=8)

def objective(trial):
    units = trial.suggest_int("units", 2, 8)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    if units == 8:
        raise ValueError("too many")
    if kind == "b":
        return float("inf")
    return 1.0
"""


def test_the_ends_of_the_ranges_that_an_objective_names_are_tried(project: Path) -> None:
    (project / "planted.py").write_text(_OBJECTIVE)
    steps: list[str] = []
    report = caviar.check("planted.py", workers=2, device="cpu", on_step=steps.append)

    assert steps == ["the defaults", "units = 2", "units = 8", "kind = b", "kind = c", "lr = 0.001", "lr = 0.1"]
    by_name = {finding.what: finding for finding in worst(report)}
    assert by_name["units = 8"].message.startswith("ValueError: too many (")
    assert by_name["kind = b"].message == "rmse is not finite after one epoch: such trials diverge"
    assert "4 of their ends are trained for one epoch" in [finding.message for finding in report.findings]


def test_a_model_of_the_built_in_loop_is_checked_as_well() -> None:
    report = caviar.check("digits", workers=2, device="cpu")

    assert not report.failed
    (resuming,) = [finding.message for finding in report.findings if finding.what == "resuming"]
    assert resuming == RESUMES
