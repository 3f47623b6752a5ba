"""What is searched: `caviar run tune.py`."""

from caviar import Linear, Log, Study

STUDY = Study(
    name="accelerate", train="train:train", metric="accuracy", direction="maximize", epochs=8, budget=8,
    tiers=(
        {"lr": Log(1e-4, 1e-1, default=0.01)},
        {"channels": Linear(4, 16, default=8)},
    ),
)  # fmt: skip
