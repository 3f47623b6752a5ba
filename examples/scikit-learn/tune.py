"""What is searched: `caviar run tune.py`."""

from caviar import Log, Study

STUDY = Study(
    name="scikit-learn", train="train:train", metric="accuracy", direction="maximize", epochs=10, budget=8,
    tiers=(
        {"eta0": Log(1e-3, 1, default=0.1)},
        {"alpha": Log(1e-6, 1e-2, default=1e-4)},
    ),
)  # fmt: skip
