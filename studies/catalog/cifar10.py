"""CIFAR-10, 60,000 colour photographs of 32 x 32 pixels: a small CNN, better on a GPU."""

from caviar.studies.definition import Study
from caviar.studies.space.scales import Grid, Linear, Log, LogOneMinus, PowersOfTwo

STUDY = Study(
    name="cifar10",
    model="cnn",
    data="cifar10",
    epochs=20,
    budget=40,
    tiers=(
        {"learning_rate": Log(1e-4, 1, default=0.1)},
        {
            "momentum": LogOneMinus(0.9, 0.999, default=0.9),
            "hidden_units": Linear(50, 100, default=64),
            "batch_size": PowersOfTwo(32, 512, default=64),
        },
        {"layers": Grid(2, 3, 4, default=3), "decay": Log(1e-3, 1, default=0, or_zero=True)},
    ),
)
