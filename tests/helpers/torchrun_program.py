"""A program that torchrun starts as several processes, which lease the trials of a study together."""

from __future__ import annotations

import json
import os

import caviar
from tests.helpers.rank_trainings import ddp, fsdp, stopping_itself

if __name__ == "__main__":
    study = caviar.Study(
        name="torchrun", train="tests.helpers.rank_trainings:ddp", metric="loss", epochs=4, budget=3, gpus=2,
        tiers=({"lr": caviar.Log(1e-4, 1e-1, default=1e-2)},), pruner="none",
    )  # fmt: skip
    seen = []
    for trial in caviar.lease_trials(study, device="cpu"):
        (ddp, fsdp, stopping_itself)[trial.number](trial)
        seen.append([trial.number, trial.values["lr"], trial.epoch, trial.ended])
    with open(f"{os.environ['NOTES']}-{os.environ['RANK']}", "w") as file:
        json.dump(seen, file)
