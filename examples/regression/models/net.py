"""A network for a table of numbers."""

from itertools import pairwise

from torch import Tensor, nn


class Net(nn.Module):
    """Layers with batch norm, and one output."""

    def __init__(self, columns: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [columns] + [hidden] * layers
        blocks = [
            nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.SiLU(), nn.Dropout(0.05)) for a, b in pairwise(widths)
        ]
        self.layers = nn.Sequential(*blocks, nn.Linear(hidden, 1))

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(rows).squeeze(1)
