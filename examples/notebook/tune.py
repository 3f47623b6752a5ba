"""What is searched: by the cells of search.ipynb."""

from caviar import Linear, Log, Study

STUDY = Study(
    name="notebook", train="train:train", metric="accuracy", direction="maximize", epochs=10, budget=8,
    tiers=(
        {"learning_rate": Log(1e-3, 1, default=0.1)},
        {"channels": Linear(4, 16, default=8), "dropout": Linear(0.0, 0.5, default=0.1)},
    ),
)  # fmt: skip
