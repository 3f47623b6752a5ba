"""What is searched: `caviar run tune.py`."""

from caviar import Study

STUDY = Study(
    name="objective", objective="search:objective", direction="maximize", budget=8,
    tiers=[["kind"], ["lr", "alpha"], ["layers"]],
)  # fmt: skip
