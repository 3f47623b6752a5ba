"""Transformers' Trainer trains a trial: its callback reports each epoch, and saves what the Trainer goes on from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from caviar.studies.errors import TrialMisused
from caviar.studies.workers.user.trial import Trial

_FILES = {"model": "pytorch_model.bin", "optimizer": "optimizer.pt", "lr_scheduler": "scheduler.pt"}
_CLOCKS = ("epoch", "runtime", "per_second")
_SAY_HOW_MANY = "give a dictionary's number of data sets: TrialCallback(trial, data_sets=2)"


class TrialCallback(TrainerCallback):
    """Reports each epoch's evaluation, ends the training with the trial, and goes on where another worker was.

    It needs `eval_strategy="epoch"`, and an evaluation in each epoch; with `logging_strategy="epoch"` the metrics of
    the training are reported, too. What other callbacks know, and the gradient scaler of `fp16`, begin anew in each
    process.

    Args:
        trial: the trial.
        data_sets: how many data sets the Trainer's `eval_dataset` has, where it is a dictionary; 1 or more. An epoch
            ends with the last of them.

    Raises:
        TrialMisused: within the training, where the Trainer evaluates something else in an epoch, or nothing.

    Example:
        >>> callback = TrialCallback(trial)
        >>> trainer = Trainer(model, arguments, callbacks=[callback], train_dataset=rows, eval_dataset=other_rows)
        >>> trainer.train(resume_from_checkpoint=callback.checkpoint)

    Attributes:
        checkpoint: a folder to go on from; None for a trial that begins.
    """

    def __init__(self, trial: Trial, data_sets: int | None = None) -> None:
        self._trial, self._folder, self._data_sets = trial, TemporaryDirectory(), data_sets
        self.checkpoint: str | None = None
        self._logs: dict[str, float] = {}
        self._parts: dict[str, Any] = {}
        self._awaited = 0  # evaluations of the last epoch
        self._ended_at = -1  # the step at which the last epoch ended
        trial.keep(transformers=self)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._folder.cleanup()  # it is loaded
        if args.eval_strategy != "epoch" or round(state.epoch or 0) != self._trial.epoch:
            raise TrialMisused('give eval_strategy="epoch", and train(resume_from_checkpoint=callback.checkpoint)')

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._check_evaluated()
        self._goes_on = self._trial.begin_epoch()
        control.should_training_stop = not self._goes_on

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_training_stop |= not self._trial.goes_on()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._logs, self._awaited = {}, (self._data_sets or 1) if self._goes_on else 0

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of: Any) -> None:
        self._logs |= of["logs"] if args.logging_strategy == "epoch" else {}

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of: Any) -> None:
        if not self._awaited:
            if state.global_step == self._ended_at and _is_of_several(of["metrics"]):
                raise TrialMisused(f"the Trainer evaluates on more than {self._data_sets} data sets; {_SAY_HOW_MANY}")
            return
        if _is_of_several(of["metrics"]) != (self._data_sets is not None):
            what = "one data set" if self._data_sets else "a dictionary of data sets"
            raise TrialMisused(f"the Trainer's eval_dataset is {what}; {_SAY_HOW_MANY}")
        self._logs |= of["metrics"]
        self._awaited -= 1
        if not self._awaited:
            self._parts, self._ended_at = {**{name: of[name] for name in _FILES}, "trainer": state}, state.global_step
            self._trial.report(**{name: value for name, value in self._logs.items() if not name.endswith(_CLOCKS)})
            control.should_training_stop |= not self._trial.end_epoch(is_last=control.should_training_stop)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._check_evaluated()

    def _check_evaluated(self) -> None:
        if self._awaited:
            missing = f"{self._awaited} of the evaluations of epoch {self._trial.epoch + 1}"
            raise TrialMisused(f"the Trainer left out {missing}; evaluate in each epoch, and {_SAY_HOW_MANY}")

    def state_dict(self) -> dict[str, Any]:
        states = {name: self._parts[name].state_dict() for name in _FILES}
        return {**states, "trainer": json.dumps(dataclasses.asdict(self._parts["trainer"]))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.checkpoint = self._folder.name
        Path(self._folder.name, "trainer_state.json").write_text(state["trainer"])
        for name, file in _FILES.items():
            torch.save(state[name], Path(self._folder.name, file))


def _is_of_several(metrics: Mapping[str, float]) -> bool:
    """Return whether an evaluation is of one of several data sets, whose name is in the names of its metrics."""
    return "eval_runtime" not in metrics
