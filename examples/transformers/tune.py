"""What is searched: `caviar run tune.py`."""

from caviar import Grid, Log, Study

STUDY = Study(
    name="transformers", train="train:train", metric="eval_accuracy", direction="maximize", epochs=6, budget=8,
    tiers=(
        {"lr": Log(1e-4, 1e-1, default=0.003)},
        {"hidden": Grid(8, 16, 32, default=16), "layers": Grid(1, 2, default=1)},
    ),
)  # fmt: skip
