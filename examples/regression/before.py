"""Predict prices from a table: AdamW, a one-cycle schedule, clipped gradients."""

import torch
from sklearn.datasets import make_friedman1
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from models.net import Net


def train(trial):
    columns, prices = (torch.tensor(part).float() for part in make_friedman1(2000, noise=0.5, random_state=0))
    loader = DataLoader(TensorDataset(columns[:1600], prices[:1600]), batch_size=64, shuffle=True, drop_last=True)

    net = Net(columns.shape[1], trial["hidden"], trial["layers"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"], weight_decay=trial["decay"])
    steps = 12 * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=trial["lr"], total_steps=steps)
    for epoch in range(1, 13):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = mse_loss(net(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            rmse = mse_loss(net(columns[1600:]), prices[1600:]).sqrt()
        print(f"epoch {epoch}: loss {loss:.4f}, rmse {rmse:.4f}")


if __name__ == "__main__":
    train({"lr": 0.01, "decay": 0.01, "hidden": 64, "layers": 2})
