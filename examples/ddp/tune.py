"""What is searched: `caviar run tune.py`."""

from caviar import Linear, Log, Study

STUDY = Study(
    name="ddp", train="train:train", gpus=2, metric="accuracy", direction="maximize", epochs=6, budget=8,
    tiers=(
        {"lr": Log(1e-4, 1e-1, default=0.01)},
        {"channels": Linear(4, 16, default=8)},
    ),
)  # fmt: skip
