"""What is searched: `caviar run tune.py`."""

from caviar import Linear, Log, Study

STUDY = Study(
    name="steps", train="train:train", metric="averaged_loss", direction="minimize", epochs=10, budget=8,
    tiers=(
        {"lr": Log(1e-4, 1e-1, default=0.003)},
        {"units": Linear(32, 96, default=64), "averaging": Linear(0.5, 0.99, default=0.9)},
    ),
)  # fmt: skip
