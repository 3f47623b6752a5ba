"""Classify scikit-learn's digits with Lightning."""

import torch
from lightning.pytorch import Trainer
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

from models.net import Net


def train(trial):
    images, labels = load_digits(return_X_y=True)
    digits = TensorDataset(torch.tensor(images).float() / 16, torch.tensor(labels))
    rows, others = random_split(digits, [0.8, 0.2], torch.Generator().manual_seed(0))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}

    module = Net(trial["lr"], trial["hidden"])
    trainer = Trainer(max_epochs=8, **quiet)
    trainer.fit(module, DataLoader(rows, 64, shuffle=True), DataLoader(others, 512))
    print(trainer.callback_metrics)


if __name__ == "__main__":
    train({"lr": 0.01, "hidden": 64})
