"""Lightning trains a trial: its callback reports each epoch, and saves what Lightning goes on from."""

from __future__ import annotations

import signal
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from caviar.studies.errors import TrialMisused
from caviar.studies.workers.user.trial import Trial


class TrialCallback(Checkpoint):
    """Reports what each epoch logged, ends the training with the trial, and goes on where another worker was.

    The trial's state is Lightning's checkpoint, without the arguments that `save_hyperparameters` adds, which may be
    of any type. Lightning writes no files of its own where it has this callback, and runs it behind all others.

    Example:
        >>> trainer = Trainer(max_epochs=trial.last_epoch, callbacks=[TrialCallback(trial)])
        >>> trainer.fit(module, loader)
    """

    def __init__(self, trial: Trial) -> None:
        self._trial, self._state = trial, _State()
        self._logged: dict[str, Any] = {}  # by earlier epochs, too: Lightning goes on showing it
        self._sigterm = signal.getsignal(signal.SIGTERM)
        trial.keep(lightning=self._state)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._state.connector = trainer._checkpoint_connector
        self._state.connector._loaded_checkpoint = self._state.saved  # as by fit(ckpt_path=...)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signal.signal(signal.SIGTERM, self._sigterm)  # Lightning's own handler lets fit() raise
        if trainer.current_epoch != self._trial.epoch:
            raise TrialMisused(f"Lightning begins behind epoch {trainer.current_epoch}, not {self._trial.epoch}")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._goes_on = self._trial.begin_epoch()
        trainer.should_stop = not self._goes_on
        if not self._logged:  # the first one here: its data were begun, which draws a number, before it was seeded
            iter(trainer.fit_loop._data_fetcher)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        trainer.should_stop |= not self._trial.goes_on()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._goes_on:
            return
        before, self._logged = self._logged, dict(trainer.callback_metrics)
        self._trial.report(**{name: value for name, value in self._logged.items() if value is not before.get(name)})
        is_last = trainer.should_stop and trainer.fit_loop._can_stop_early  # it has had its min_epochs and min_steps
        trainer.should_stop |= not self._trial.end_epoch(is_last=is_last)


class _State:
    """Lightning's checkpoint, as an object for `trial.keep`."""

    def __init__(self) -> None:
        self.connector: Any = None
        self.saved: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        checkpoint = self.connector.dump_checkpoint(False)
        return {name: part for name, part in checkpoint.items() if "hparams" not in name and "hyper_par" not in name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.saved = state
