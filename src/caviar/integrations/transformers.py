"""Transformers' Trainer trains a trial: its callback reports each epoch, and saves what the Trainer goes on from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from caviar.studies.errors import TrialMisused
from caviar.studies.workers.user.trial import Trial

_FILES = {"model": "pytorch_model.bin", "optimizer": "optimizer.pt", "lr_scheduler": "scheduler.pt"}
_CLOCKS = ("epoch", "runtime", "per_second")


class TrialCallback(TrainerCallback):
    """Reports each epoch's evaluation, ends the training with the trial, and goes on where another worker was.

    It needs `eval_strategy="epoch"`; with `logging_strategy="epoch"` the training's own metrics are reported, too. What
    other callbacks know, and the gradient scaler of `fp16`, begin anew in each process.

    Example:
        >>> callback = TrialCallback(trial)
        >>> trainer = Trainer(model, arguments, callbacks=[callback], train_dataset=rows, eval_dataset=other_rows)
        >>> trainer.train(resume_from_checkpoint=callback.checkpoint)

    Attributes:
        checkpoint: a folder to go on from; None for a trial that begins.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial, self._folder = trial, TemporaryDirectory()
        self.checkpoint: str | None = None
        self._logs: dict[str, float] = {}
        self._parts: dict[str, Any] = {}
        self._is_evaluated = True  # the last epoch
        trial.keep(transformers=self)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._folder.cleanup()  # it is loaded
        if args.eval_strategy != "epoch" or round(state.epoch or 0) != self._trial.epoch:
            raise TrialMisused('give eval_strategy="epoch", and train(resume_from_checkpoint=callback.checkpoint)')

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_training_stop = not self._trial.begin_epoch()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_training_stop |= not self._trial.goes_on()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._logs, self._is_evaluated = {}, False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of: Any) -> None:
        self._logs |= of["logs"] if args.logging_strategy == "epoch" else {}

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of: Any) -> None:
        if not self._is_evaluated:
            self._is_evaluated, self._parts = True, {**{name: of[name] for name in _FILES}, "trainer": state}
            logs = {**self._logs, **of["metrics"]}
            self._trial.report(**{name: value for name, value in logs.items() if not name.endswith(_CLOCKS)})
            control.should_training_stop |= not self._trial.end_epoch(is_last=control.should_training_stop)

    def state_dict(self) -> dict[str, Any]:
        states = {name: self._parts[name].state_dict() for name in _FILES}
        return {**states, "trainer": json.dumps(dataclasses.asdict(self._parts["trainer"]))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.checkpoint = self._folder.name
        Path(self._folder.name, "trainer_state.json").write_text(state["trainer"])
        for name, file in _FILES.items():
            torch.save(state[name], Path(self._folder.name, file))
