"""A loader whose workers outlive the epochs: a trial that goes on in another process gets the same batches."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from caviar.studies.workers.user.loaders import with_new_workers
from caviar.studies.workers.user.trial import Trial
from tests.helpers.frameworks import check_resumed


class Augmented(Dataset[torch.Tensor]):
    """Rows with random noise, which the workers draw."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> torch.Tensor:
        return row + torch.rand(())


class Counting(DataLoader[torch.Tensor]):
    """A class that might count its epochs."""


@pytest.mark.parametrize("is_read_before", [False, True])
def test_random_numbers_of_persistent_workers_are_resumed(is_read_before: bool) -> None:
    def train(trial: Trial) -> None:
        loader = DataLoader(Augmented(), batch_size=2, shuffle=True, num_workers=1, persistent_workers=True)
        if is_read_before:
            next(iter(loader))
        trial.keep(net=torch.nn.Linear(1, 1))
        for _ in trial.epochs():
            trial.report(loss=sum(batch.prod() for batch in trial.batches(loader)))
            assert loader.persistent_workers

    check_resumed(train)


def test_a_loader_of_another_class_or_without_persistent_workers_is_read_itself() -> None:
    for source in ([1, 2], DataLoader(Augmented()), Counting(Augmented(), num_workers=1, persistent_workers=True)):
        assert with_new_workers(source) is source
