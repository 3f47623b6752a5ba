"""What is searched: `caviar run tune.py`."""

from caviar import Grid, Linear, Log, Study

STUDY = Study(
    name="regression", train="train:train", metric="rmse", direction="minimize", epochs=12, budget=8,
    tiers=(
        {"lr": Log(1e-4, 1e-1, default=0.01)},
        {"hidden": Linear(32, 128, default=64), "layers": Grid(1, 2, 3, default=2)},
        {"decay": Log(1e-4, 1, default=0.01)},
    ),
)  # fmt: skip
