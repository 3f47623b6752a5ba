"""What is searched: `caviar run tune.py`."""

from caviar import Linear, Log, Study

STUDY = Study(
    name="lightning", train="train:train", metric="val_accuracy", direction="maximize", epochs=8, budget=8,
    tiers=(
        {"lr": Log(1e-4, 1e-1, default=0.01)},
        {"hidden": Linear(32, 128, default=64)},
    ),
)  # fmt: skip
