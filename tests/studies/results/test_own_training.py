"""The winner of a study with a loop of the user's own: confirmed, tested and saved as that of a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

import caviar
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.definitions import load_study
from caviar.storage.test_results import read_test
from caviar.studies.errors import WorkersFailed
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import provenance_of
from caviar.studies.results.conclusion import conclude, is_concluded
from caviar.studies.results.model_files import save_winner
from caviar.studies.results.own_files import digests
from caviar.studies.results.winner import read_winner
from tests.helpers.roles import execute
from tests.helpers.trainings import TESTED, register_training
from tests.helpers.workers import worker


def test_the_winner_is_confirmed_by_its_own_function(engine: Engine) -> None:
    record, study = register_training(engine, "regression", pruner="none")
    worker(engine, record, study).run()

    done: list[float] = []
    winner = caviar.confirm("own", 2, on_progress=lambda now: done.append(now.done), database=engine)

    assert winner is not None
    assert winner.confirmation is not None
    values = winner.confirmation.winner_values
    assert len(values) == len(set(values)) == 2  # with seeds of their own
    assert winner.value not in values
    assert done[0] == 0
    assert done[-1] == pytest.approx(4)
    again = read_winner(engine, record)
    assert again is not None
    assert again.confirmation == winner.confirmation


TEST = "tests.helpers.trainings:test_of_regression"
NOWHERE = Path("nowhere")


@pytest.mark.parametrize("is_lost", [False, True])
def test_the_winner_is_measured_once_by_a_function_of_its_trial(engine: Engine, is_lost: bool) -> None:
    record, study = register_training(engine, "regression", pruner="none", test=TEST)
    worker(engine, record, study).run()
    before = is_concluded(engine, record)
    if is_lost:
        CheckpointStore(engine, record).keep_only(None)

    assert conclude(engine, record, NOWHERE)
    assert conclude(engine, record, NOWHERE)

    winner = read_winner(engine, record)
    assert winner is not None
    hidden = winner.hyperparameters["hidden"]
    assert read_test(engine, record.study_id, winner.trial) == {"weights": 6 * int(hidden) + 1, "batches": 16}
    assert (before, is_concluded(engine, record)) == (False, True)
    assert [winner.trial] == TESTED


def test_a_test_that_returns_no_metrics_is_an_error_that_says_so(engine: Engine) -> None:
    record, study = register_training(engine, "regression", test="tests.helpers.trainings:test_without_metrics")
    worker(engine, record, study).run()

    with pytest.raises(WorkersFailed, match=r"the test function returned None; return metrics, such as"):
        conclude(engine, record, NOWHERE)


def test_a_training_that_saves_nothing_cannot_be_tested(engine: Engine) -> None:
    record, study = register_training(engine, "without_state", test=TEST)
    worker(engine, record, study).run()

    with pytest.raises(WorkersFailed, match=r"it saves nothing that the test could measure: give trial.keep\(\)"):
        conclude(engine, record, NOWHERE)


def test_the_winner_is_saved_for_a_program_that_has_no_caviar(engine: Engine, tmp_path: Path) -> None:
    """Only its own training function: here one that imports nothing of Caviar's."""
    (tmp_path / "own_code.py").write_text(_OWN_CODE)
    record, study = register_training(engine, "regression", pruner="none")
    worker(engine, record, study).run()
    save_winner(engine, record, read_winner(engine, record), tmp_path / "saved", NOWHERE)

    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert list(config["files"]) == ["tests/helpers/trainings.py"]
    own = {"train": "own_code:regression", "files": digests({"own_code.py": tmp_path / "own_code.py"})}
    (tmp_path / "saved" / "config.json").write_text(json.dumps({**config, **own}))
    hidden = "import sys; sys.modules['caviar'] = None; import runpy; runpy.run_path('saved/load.py')"
    loaded = subprocess.run([sys.executable, "-c", hidden], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert loaded.stderr == ""
    assert loaded.stdout.splitlines() == ["net Sequential", "optimizer AdamW", "schedule OneCycleLR"]
    (tmp_path / "own_code.py").write_text(_OWN_CODE.replace("ReLU", "SiLU"))
    other = subprocess.run([sys.executable, "-c", hidden], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert other.stderr == "warning: own_code.py is not as it was when this was saved, and may make another network\n"


def test_a_winner_that_is_saved_where_the_code_is_another_one_is_saved_with_a_warning(
    engine: Engine, tmp_path: Path
) -> None:
    record, study = register_training(engine, "regression", pruner="none", budget=2)
    open_study(engine, study, provenance_of(study, NOWHERE), accept=True)
    worker(engine, record, study).run()
    record = load_study(engine, "own")
    assert save_winner(engine, record, read_winner(engine, record), tmp_path / "same", NOWHERE) is None
    execute(engine, """UPDATE caviar.definition SET files = '{"tests/helpers/trainings.py": "other"}'""")
    record = load_study(engine, "own")
    warning = save_winner(engine, record, read_winner(engine, record), tmp_path / "other", NOWHERE)
    assert warning is not None
    assert "(tests/helpers/trainings.py changed): load.py may make another network" in warning


_OWN_CODE = """
import torch

def regression(trial):
    net = torch.nn.Sequential(
        torch.nn.Linear(2, trial["hidden"]), torch.nn.BatchNorm1d(trial["hidden"]), torch.nn.ReLU(),
        torch.nn.Dropout(0.1), torch.nn.Linear(trial["hidden"], 1),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=trial["lr"], total_steps=4 * trial.last_epoch)
    trial.keep(net=net, optimizer=optimizer, schedule=schedule)
    for _ in trial.epochs():
        raise AssertionError("it is trained already")
"""
