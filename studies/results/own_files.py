"""What is saved of a winner that a function of the user's own has trained: states, values, and a script for both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from caviar.studies.definition import Study
from caviar.studies.results.formatting import to_json
from caviar.studies.results.winner import Winner

_EXAMPLE = '''"""Load what the winner has trained: `saved.kept` has what the training function gives to trial.keep().

It needs PyTorch and your own code, and Caviar only if that code imports it; start it in the folder with that code.
"""

import hashlib
import json
import os
import sys
from importlib import import_module
from pathlib import Path

import torch


class Saved:
    """The winner, as the training function gets a trial: everything is restored, and no epoch is left to train."""

    def __init__(self, config, states):
        self.number, self.values, self.last_epoch = config["trial"], config["hyperparameters"], config["epochs"]
        self.epoch, self.ended, self.rank, self.world_size = self.last_epoch, "complete", 0, 1
        self.device, self.kept, self._states = torch.device("cpu"), {}, states

    def __getitem__(self, name):
        return self.values[name]

    def keep(self, **objects):
        for name, part in objects.items():
            part.load_state_dict(self._states[name])
        self.kept.update(objects)

    def epochs(self):
        return iter(())

    def goes_on(self):
        return False

    def begin_epoch(self):
        return False

    def batches(self, batches):
        return iter(batches)

    def report(self, **metrics):
        pass

    def end_epoch(self):
        return False


sys.path.insert(1, os.getcwd())
here = Path(__file__).parent
config = json.loads((here / "config.json").read_text())
for name, digest in config["files"].items():
    if not Path(name).is_file() or hashlib.sha256(Path(name).read_bytes()).hexdigest() != digest:
        print(f"warning: {name} is not as it was when this was saved, and may make another network", file=sys.stderr)
states = torch.load(here / "states.pt", weights_only=True)
saved = Saved(config, states)
module, _, name = config["train"].partition(":")
getattr(import_module(module), name)(saved)
for name, part in saved.kept.items():
    print(name, type(part).__name__)
'''


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of whole files, by their path in the project, for load.py to compare."""
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


def write_own_files(
    folder: Path, study: Study, winner: Winner, state: Mapping[str, Any], files: Mapping[str, Path]
) -> None:
    """Write states.pt (a state_dict of each object in `keep`), config.json and load.py into a folder.

    Args:
        files: of the code that the training is made of, by their path in the project.
    """
    config = {
        "study": study.name, "trial": winner.trial, "train": study.train, "epochs": state["epoch"],
        "hyperparameters": dict(winner.hyperparameters), "metrics": to_json(winner.metrics),
        "test": to_json(winner.test), "files": digests(files),
    }  # fmt: skip
    torch.save(state["parts"], folder / "states.pt")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "load.py").write_text(_EXAMPLE, "utf-8")
