"""Accelerate prepares what a trial trains: it goes on bit for bit, with the order of its rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from caviar.studies.workers.user.trial import Trial
from tests.helpers.frameworks import Train, check_resumed

accelerate = pytest.importorskip("accelerate", reason="it is not installed: pip install '.[accelerate]'")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
X = torch.linspace(-2, 2, 192).sin().reshape(64, 3)


def training(*, whole: bool = True, seedable: bool = True) -> Train:
    """Return a function that trains a trial with Accelerate; not `whole`: its loader is not in `keep`."""
    from caviar.integrations.accelerate import Prepared

    def train(trial: Trial) -> None:
        of_data = accelerate.utils.DataLoaderConfiguration(use_seedable_sampler=seedable)
        accelerator = accelerate.Accelerator(cpu=True, dataloader_config=of_data)
        net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.8)
        rows = DataLoader(TensorDataset(X, X.sum(1, keepdim=True)), 16, shuffle=True)
        net, optimizer, rows, schedule = accelerator.prepare(net, optimizer, rows, schedule)
        kept: dict[str, Any] = {"net": net, "optimizer": optimizer, "schedule": schedule}
        trial.keep(**({"accelerate": Prepared(accelerator)} if whole else kept))
        for _ in trial.epochs():
            for x, y in trial.batches(rows):
                loss = (net(x) - y).square().mean()
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
            trial.report(loss=loss)

    return train


@pytest.mark.parametrize("seedable", [True, False])
def test_a_trial_goes_on_bit_for_bit(seedable: bool) -> None:
    check_resumed(training(seedable=seedable))


def test_objects_that_accelerate_prepared_can_be_given_one_by_one() -> None:
    check_resumed(training(whole=False, seedable=False))


def test_without_the_loader_a_seedable_sampler_begins_again() -> None:
    with pytest.raises(AssertionError, match="behind epoch 1"):
        check_resumed(training(whole=False))
