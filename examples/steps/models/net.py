"""A model of characters."""

from torch import Tensor, nn


class Net(nn.Module):
    """A recurrent network that predicts the next character."""

    def __init__(self, characters: int, units: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 16)
        self.memory = nn.GRU(16, units, batch_first=True)
        self.output = nn.Linear(units, characters)

    def forward(self, text: Tensor) -> Tensor:
        return self.output(self.memory(self.embedding(text))[0]).transpose(1, 2)
