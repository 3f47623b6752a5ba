"""A small convolutional network."""

from __future__ import annotations

from torch import Tensor, nn

from caviar.limits import UNITS
from caviar.models.mlp import ACTIVATIONS, check_architecture, check_count


class CNN(nn.Module):
    """`layers` blocks of 3 x 3 convolution, activation and 2 x 2 max-pooling, then one hidden layer.

    There is no more pooling once a side would become 0. What is not named here is as in `mlp.MLP`.

    Args:
        sample: shape of one example as (channels, height, width).
        hidden_units: number of units of the hidden layer behind the convolutions.
        layers: L, the number of convolutions; at least 1.
        channels: output channels of the first convolution; each later one has twice as many.
    """

    def __init__(
        self,
        sample: tuple[int, ...],
        classes: int,
        *,
        hidden_units: int = 64,
        layers: int = 2,
        channels: int = 16,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        check_architecture(layers, hidden_units, activation)
        check_count("channels", channels, UNITS)
        check_count("the channels of the last layer", channels * 2 ** (layers - 1), UNITS)
        super().__init__()
        depth, height, width = sample
        modules: list[nn.Module] = []
        for layer in range(layers):
            out = channels * 2**layer
            modules += [nn.Conv2d(depth, out, kernel_size=3, padding=1), ACTIVATIONS[activation]()]
            if min(height, width) >= 2:
                modules.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            depth = out
        modules += [nn.Flatten(), nn.Linear(depth * height * width, hidden_units), ACTIVATIONS[activation]()]
        if dropout:
            modules.append(nn.Dropout(dropout))
        self.network = nn.Sequential(*modules, nn.Linear(hidden_units, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map examples (batch, channels, height, width) to logits (batch, classes)."""
        return self.network(x)  # type: ignore[no-any-return]
