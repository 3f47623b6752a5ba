"""Classify scikit-learn's digits on whatever Accelerate finds."""

import torch
from accelerate import Accelerator
from caviar.integrations.accelerate import Prepared  # Caviar
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split

from models.net import Net


def train(trial):
    images, labels = load_digits(return_X_y=True)
    digits = TensorDataset(torch.tensor(images).float().reshape(-1, 1, 8, 8) / 16, torch.tensor(labels))
    rows, others = random_split(digits, [0.8, 0.2], torch.Generator().manual_seed(0))

    accelerator = Accelerator()
    net = Net(trial["channels"], dropout=0.1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    parts = net, optimizer, DataLoader(rows, 64, shuffle=True), DataLoader(others, 512)
    net, optimizer, loader, other_loader = accelerator.prepare(*parts)
    trial.keep(accelerate=Prepared(accelerator))  # Caviar
    for _ in trial.epochs():  # Caviar
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(net(x), y)
            accelerator.backward(loss)
            optimizer.step()
        net.eval()
        with torch.no_grad():
            accuracy = torch.stack([(net(x).argmax(1) == y).float().mean() for x, y in other_loader]).mean()
        trial.report(loss=loss, accuracy=accuracy)  # Caviar
