"""Transformers' Trainer trains trials: they report its evaluations, end when they should, and go on bit for bit."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from caviar.models.training import Interrupted, never
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.trial import Trial
from tests.helpers.frameworks import Train, check_resumed, curve, open_training, saved

transformers = pytest.importorskip("transformers", reason="it is not installed: pip install '.[transformers]'")
pytest.importorskip("accelerate", reason="it is not installed: pip install '.[transformers]'")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Return sequences of tokens, whose label is whether the first two are alike."""
    tokens = torch.randint(0, 6, (count, 5), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": each, "labels": int(each[0] == each[1])} for each in tokens]


def training(
    folder: Path, *, resume: bool = True, callbacks: tuple[Any, ...] = (), data_sets: int | None = None,
    evaluated: Any = None, **arguments: Any,
) -> Train:  # fmt: skip
    """Return a function that trains a trial by the Trainer, with these arguments."""
    from caviar.integrations.transformers import TrialCallback

    config = transformers.BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2,
        max_position_embeddings=8,
    )  # fmt: skip
    given = {"eval_strategy": "epoch", "logging_strategy": "epoch", **arguments}

    def train(trial: Trial) -> None:
        callback = TrialCallback(trial, data_sets)
        trainer = transformers.Trainer(
            transformers.BertForSequenceClassification(config),
            transformers.TrainingArguments(
                str(folder), num_train_epochs=trial.last_epoch, learning_rate=trial["lr"], use_cpu=True,
                disable_tqdm=True, save_strategy="no", report_to="none", per_device_train_batch_size=16, **given,
            ),
            train_dataset=rows(60, 0), eval_dataset=evaluated or rows(40, 1), callbacks=[callback, *callbacks],
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=callback.checkpoint if resume else None)

    return train


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {
            "gradient_accumulation_steps": 3,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 3,
            "logging_strategy": "steps",
        },
    ],
)
def test_a_trial_goes_on_bit_for_bit(arguments: dict[str, Any], tmp_path: Path) -> None:
    check_resumed(training(tmp_path, **arguments))


def test_an_epoch_reports_its_evaluation_and_its_training_without_clocks(tmp_path: Path) -> None:
    (first, *_) = curve(open_training(training(tmp_path)), 1)

    assert set(first) == {"eval_loss", "loss", "grad_norm", "learning_rate"}
    assert all(map(math.isfinite, first.values()))


SEVERAL = {"near": rows(40, 1), "far": rows(40, 2)}


def test_an_epoch_ends_with_the_last_of_several_data_sets(tmp_path: Path) -> None:
    train = training(tmp_path, evaluated=SEVERAL, data_sets=2)
    (first, *_) = curve(open_training(train), 1)

    assert {name for name in first if name.startswith("eval")} == {"eval_near_loss", "eval_far_loss"}
    check_resumed(train)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"evaluated": SEVERAL}, "eval_dataset is a dictionary of data sets; give a dictionary's number"),
        ({"evaluated": SEVERAL, "data_sets": 1}, "evaluates on more than 1 data sets"),
        ({"evaluated": SEVERAL, "data_sets": 3}, "left out 1 of the evaluations of epoch 1"),
        ({"data_sets": 2}, "eval_dataset is one data set"),
        ({"eval_delay": 2}, "left out 1 of the evaluations of epoch 1"),
    ],
)
def test_evaluations_that_do_not_make_an_epoch_are_named(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(TrialMisused, match=message):
        curve(open_training(training(tmp_path, **given)), 2)


def test_a_trial_that_ends_ends_the_training(tmp_path: Path) -> None:
    seen: list[object] = []
    steps: list[int] = []

    class Counting(transformers.TrainerCallback):
        def on_step_end(self, *of: Any, **named: Any) -> None:
            steps.append(1)

    def train(trial: Trial) -> None:
        training(tmp_path, callbacks=(Counting(),))(trial)
        seen.append(trial.ended)

    opened = open_training(train)
    next(iter(opened.epochs(4, never)))
    opened.close(Ended.PRUNED)

    assert seen == [Ended.PRUNED]
    assert len(steps) == 4


def test_a_training_that_stops_early_ends_the_trial_with_that_epoch(tmp_path: Path) -> None:
    class Stop(transformers.TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop |= state.epoch >= 2

    train = training(tmp_path, callbacks=(Stop(),))
    opened = open_training(train)
    assert [epoch.is_last for epoch in islice(opened.epochs(4, never), 2)] == [False, True]
    assert list(open_training(train, saved(opened)).epochs(4, never)) == []  # another process trains nothing more


def test_an_epoch_is_left_between_two_steps(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        next(iter(open_training(training(tmp_path)).epochs(4, lambda: next(asked))))


def test_what_the_trainer_is_not_given_is_said(tmp_path: Path) -> None:
    first = open_training(training(tmp_path))
    curve(first, 1)

    for wrong in (training(tmp_path, resume=False), training(tmp_path, eval_strategy="no")):
        with pytest.raises(TrialMisused, match='give eval_strategy="epoch", and train\\(resume_from_checkpoint'):
            open_training(wrong, saved(first))


def test_no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    first = open_training(training(tmp_path))
    curve(first, 1)
    open_training(training(tmp_path), saved(first))

    assert list((tmp_path / "tmp").iterdir()) == []
