"""A small convolutional network."""

from torch import Tensor, nn


class Net(nn.Module):
    """Two layers for images of 8 by 8 pixels."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(16 * channels, 10),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
