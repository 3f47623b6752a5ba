"""Classify scikit-learn's digits with several processes: `torchrun --nproc-per-node 2 before.py`."""

import os

import torch
from sklearn.datasets import load_digits
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from models.net import Net


def train(trial):
    if not distributed.is_initialized():
        distributed.init_process_group()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float().reshape(-1, 1, 8, 8) / 16
    sampler = DistributedSampler(rows := TensorDataset(images[:1400], labels[:1400]))
    loader = DataLoader(rows, batch_size=32, sampler=sampler)

    net = Net(trial["channels"], dropout=0.1).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    model = DistributedDataParallel(net)
    for epoch in range(1, 7):
        sampler.set_epoch(epoch)
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            accuracy = (net(images[1400:].to(device)).argmax(1).cpu() == labels[1400:]).float().mean()
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {accuracy:.4f}")


if __name__ == "__main__":
    train({"lr": 0.01, "channels": 8})
