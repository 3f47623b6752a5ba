"""Studies that are ready to run: one file each, with a `STUDY` in it.

They differ in data, network and length, and search the same hyperparameters in the same order: α first, then momentum,
width and batch size, then depth and decay.
"""

from caviar.studies.definition import Study
from caviar.studies.space.scales import Grid, Linear, Log, LogOneMinus, PowersOfTwo


def image_study(name: str, model: str, epochs: int, batch_size: PowersOfTwo, layers: int = 2) -> Study:
    """Return a study of 40 trials on the data set of that name; `layers` is the default depth, of 2 to 4."""
    return Study(
        name=name,
        model=model,
        data=name,
        epochs=epochs,
        budget=40,
        tiers=(
            {"learning_rate": Log(1e-4, 1, default=0.1)},
            {
                "momentum": LogOneMinus(0.9, 0.999, default=0.9),
                "hidden_units": Linear(50, 100, default=64),
                "batch_size": batch_size,
            },
            {"layers": Grid(2, 3, 4, default=layers), "decay": Log(1e-3, 1, default=0, or_zero=True)},
        ),
    )
