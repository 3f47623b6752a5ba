"""One worker of a plain Optuna search on MNIST: what benchmarks/time_to_target.py compares `caviar run mnist` with.

    python benchmarks/plain_optuna.py postgresql+psycopg2://... --data-dir DIR [--study plain] [--seed 0] [--minutes 10]

Written as a good engineer writes it who begins with Optuna's example for PyTorch: DataLoader, ToTensor, the default
TPE sampler, MedianPruner, a database that several of these processes share. Of Caviar's study `mnist` it has the
search space with its scales, the optimizer, the epochs of a trial and the split of the data; all hyperparameters are
searched at once. It imports nothing of Caviar, so that nothing of it makes this faster or slower.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import optuna
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

EPOCHS = 20
HELD_OUT = 10_000
SPLIT_SEED = 20260101  # of models/data.py


def load(data_dir: Path) -> tuple[Subset[object], Subset[object]]:
    """Return the training and the validation part."""
    dataset = datasets.MNIST(data_dir, train=True, transform=transforms.ToTensor())
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    return Subset(dataset, order[:-HELD_OUT]), Subset(dataset, order[-HELD_OUT:])


def define_model(trial: optuna.Trial) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    width = 28 * 28
    units = trial.suggest_int("hidden_units", 50, 100)
    for _ in range(trial.suggest_int("layers", 2, 4)):
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 10))


def objective(trial: optuna.Trial, training: Subset[object], validation: Subset[object]) -> float:
    model = define_model(trial)
    rate = trial.suggest_float("learning_rate", 1e-4, 1, log=True)
    momentum = 1 - trial.suggest_float("one_minus_momentum", 1e-3, 0.1, log=True)
    # One decade below the range stands for no decay at all, which a log axis has no place for.
    decay = trial.suggest_float("decay", 1e-4, 1, log=True)
    decay = decay if decay >= 1e-3 else 0.0
    batch = 2 ** trial.suggest_int("log2_batch_size", 5, 9)
    # With this dampening v = βv + (1-β)g, as in Caviar: without it a large β multiplies the learning rate, and this
    # search would lose its trials of large β.
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, dampening=momentum)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * epoch))
    training_loader = DataLoader(training, batch_size=batch, shuffle=True)
    validation_loader = DataLoader(validation, batch_size=1000)
    accuracy = 0.0
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for x, y in training_loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        schedule.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for x, y in validation_loader:
                right += int(model(x).argmax(1).eq(y).sum())
        accuracy = right / HELD_OUT
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", help="address of the database")
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder that has MNIST/raw")
    parser.add_argument("--study", default="plain")
    parser.add_argument("--seed", type=int, default=0, help="of this process: two with the same make the same trials")
    parser.add_argument("--minutes", type=float, default=10, help="after which no new trial begins")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as many processes as cores
    torch.manual_seed(options.seed)
    training, validation = load(options.data_dir)
    study = optuna.create_study(
        study_name=options.study, storage=options.storage, direction="maximize", load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=options.seed), pruner=optuna.pruners.MedianPruner(),
    )  # fmt: skip
    study.optimize(lambda trial: objective(trial, training, validation), timeout=60 * options.minutes)


if __name__ == "__main__":
    main()
