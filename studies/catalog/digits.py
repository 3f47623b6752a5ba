"""Handwritten digits, 1,797 images of 8 x 8 pixels: a study of half a minute."""

from caviar.studies.definition import Study
from caviar.studies.space.scales import Grid, Linear, Log, LogOneMinus, PowersOfTwo

STUDY = Study(
    name="digits",
    model="mlp",
    data="digits",
    epochs=30,
    budget=40,
    tiers=(
        {"learning_rate": Log(1e-4, 1, default=0.1)},
        {
            "momentum": LogOneMinus(0.9, 0.999, default=0.9),
            "hidden_units": Linear(50, 100, default=64),
            "batch_size": PowersOfTwo(16, 256, default=64),
        },
        {"layers": Grid(2, 3, 4, default=2), "decay": Log(1e-3, 1, default=0, or_zero=True)},
    ),
)
