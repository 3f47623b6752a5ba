"""Classify scikit-learn's digits."""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split

from models.net import Net


def train(trial):
    images, labels = load_digits(return_X_y=True)
    digits = TensorDataset(torch.tensor(images).float().reshape(-1, 1, 8, 8) / 16, torch.tensor(labels))
    rows, others = random_split(digits, [0.8, 0.2], torch.Generator().manual_seed(0))
    loader = DataLoader(rows, batch_size=64, shuffle=True)
    x_other, y_other = others[:]

    net = Net(trial["channels"], trial["dropout"])
    optimizer = torch.optim.SGD(net.parameters(), lr=trial["learning_rate"], momentum=0.9)
    trial.keep(net=net, optimizer=optimizer)
    for _ in trial.epochs():
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            accuracy = (net(x_other).argmax(1) == y_other).float().mean()
        trial.report(loss=loss, accuracy=accuracy)
