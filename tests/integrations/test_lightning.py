"""Lightning trains trials: they report what it logs, end when they should, and go on bit for bit."""

from __future__ import annotations

import os
import signal
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from caviar.models.training import Interrupted, never
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.trial import Trial
from tests.helpers.frameworks import Train, check_resumed, curve, open_training, saved

lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed: pip install '.[lightning]'")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
X = torch.linspace(-2, 2, 192).sin().reshape(64, 3)
ROWS = TensorDataset(X, X.sum(1, keepdim=True))


class Stream(IterableDataset):
    """Rows in random order, without a length: Lightning reads one batch ahead."""

    def __iter__(self) -> Any:
        return iter([ROWS[i] for i in torch.randint(0, 64, (40,)).tolist()])


class Net(lightning.LightningModule):
    """A network with a batch norm, dropout, and a schedule; one metric is logged late."""

    def __init__(self, lr: float, schedule: str, loss: Any = torch.nn.functional.mse_loss) -> None:
        super().__init__()
        self.save_hyperparameters()  # a function among them, which could not be read again
        self.net = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
        )

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self.hparams["loss"](self.net(batch[0]), batch[1])
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("rmse", (self.net(batch[0]) - batch[1]).square().mean().sqrt())

    def on_train_epoch_end(self) -> None:
        self.log("rate", self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])
        if self.hparams["schedule"] == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "rmse"}}
        falling = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.8)
        return [optimizer], [{"scheduler": falling, "interval": self.hparams["schedule"]}]


def fitting(schedule: str = "epoch", rows: Any = ROWS, more: tuple[Any, ...] = (), **options: Any) -> Train:
    """Return a function that trains a trial by Lightning, with these options of its trainer."""
    from caviar.integrations.lightning import TrialCallback

    def train(trial: Trial) -> None:
        shuffle = not isinstance(rows, IterableDataset)
        callbacks = [TrialCallback(trial), *more]
        trainer = lightning.Trainer(max_epochs=trial.last_epoch, callbacks=callbacks, **QUIET, **options)
        trainer.fit(Net(trial["lr"], schedule), DataLoader(rows, 16, shuffle=shuffle), DataLoader(ROWS, 32))
        assert not os.path.exists("checkpoints")

    return train


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ("epoch", {}),
        ("step", {"rows": Stream(), "accumulate_grad_batches": 2, "check_val_every_n_epoch": 2}),
        ("plateau", {"val_check_interval": 0.5}),
        ("epoch", {"reload_dataloaders_every_n_epochs": 1, "num_sanity_val_steps": 0}),
    ],
)
def test_a_trial_goes_on_bit_for_bit(schedule: str, options: dict[str, Any]) -> None:
    check_resumed(fitting(schedule, **options))


def test_an_epoch_reports_what_was_logged_in_it() -> None:
    epochs = curve(open_training(fitting(check_val_every_n_epoch=2)))

    assert [set(metrics) for metrics in epochs] == [{"loss", "rate"}, {"loss", "rate", "rmse"}] * 2


def test_a_trial_that_ends_ends_the_fit() -> None:
    seen: list[object] = []

    def train(trial: Trial) -> None:
        fitting()(trial)
        seen.append(trial.ended)

    training = open_training(train)
    next(iter(training.epochs(4, never)))
    training.close(Ended.PRUNED)

    assert seen == [Ended.PRUNED]
    assert training.epoch == 1


@pytest.mark.parametrize(("least", "epochs"), [(None, 2), (3, 3)])
def test_a_fit_that_stops_early_ends_the_trial_with_that_epoch(least: int | None, epochs: int) -> None:
    """Lightning stops behind its least number of epochs, and not before."""

    class Stop(lightning.Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop |= trainer.current_epoch >= 1 and not trainer.sanity_checking

    train = fitting(more=(Stop(),), min_epochs=least)
    training = open_training(train)
    assert [epoch.is_last for epoch in islice(training.epochs(4, never), epochs)] == [False] * (epochs - 1) + [True]
    assert list(open_training(train, saved(training)).epochs(4, never)) == []  # another process trains nothing more


def test_an_epoch_is_left_between_two_batches() -> None:
    batches: list[int] = []

    class Counting(lightning.Callback):
        def on_train_batch_end(self, *of: Any) -> None:
            batches.append(1)

    training = open_training(fitting(more=(Counting(),)))
    with pytest.raises(Interrupted):
        next(iter(training.epochs(4, lambda: len(batches) == 2)))

    assert len(batches) == 2


def test_sigterm_is_caviars() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda *of: heard.append(1))

    class Terminating(lightning.Callback):
        def on_train_batch_end(self, *of: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        assert len(curve(open_training(fitting(more=(Terminating(),))))) == 4
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard


def test_a_lightning_that_restores_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector

    first = open_training(fitting())
    curve(first, 2)
    monkeypatch.setattr(_CheckpointConnector, "restore_training_state", lambda self: None)

    with pytest.raises(TrialMisused, match="Lightning begins behind epoch 0, not 2"):
        open_training(fitting(), saved(first))
