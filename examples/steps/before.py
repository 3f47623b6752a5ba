"""Learn a text, character by character: training by steps, with averaged weights."""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.net import Net


def train(trial):
    text = torch.tensor(list(load_digits().DESCR.encode()))
    characters, text = text.unique(return_inverse=True)
    pieces = text.unfold(0, 33, 1)  # each is 32 characters and the one behind them

    net = Net(len(characters), trial["units"])
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(trial["averaging"]))
    optimizer = torch.optim.Adam(net.parameters(), lr=trial["lr"])
    for chunk in range(10):
        for _ in range(20):
            batch = pieces[torch.randint(len(pieces), (16,))]
            optimizer.zero_grad()
            loss = cross_entropy(net(batch[:, :-1]), batch[:, 1:])
            loss.backward()
            optimizer.step()
            averaged.update_parameters(net)
        with torch.no_grad():
            mean = cross_entropy(averaged(pieces[::40, :-1]), pieces[::40, 1:])
        print(f"step {20 * chunk + 20}: loss {loss:.4f}, averaged {mean:.4f}")


if __name__ == "__main__":
    train({"lr": 0.003, "units": 64, "averaging": 0.9})
