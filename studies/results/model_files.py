"""Write a study's winner as files that a program can use: weights, configuration, and an example that loads both."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Engine

from caviar.models.checkpoint import from_bytes
from caviar.models.constructor import sizes
from caviar.models.data import moments, shape
from caviar.models.errors import BadCheckpoint
from caviar.models.optim import SETTINGS
from caviar.models.registry import MODELS, model_class
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.records import StudyRecord
from caviar.studies.definition import Study
from caviar.studies.errors import CodeMissing, NothingToDo
from caviar.studies.lifecycle.code_files import code_files
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.lifecycle.provenance import code_change, code_of, own_paths
from caviar.studies.results.atomic_write import atomic_write
from caviar.studies.results.formatting import to_json
from caviar.studies.results.own_files import digests, write_own_files
from caviar.studies.results.winner import Winner
from caviar.studies.way import Way
from caviar.studies.workers.trial.resumption import load_checkpoint
from caviar.studies.workers.user.folder import unpack

_EXAMPLE = '''"""Load the model and look at one example.

It needs PyTorch, but not Caviar; for a model of your own, start it in the folder with its code.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch



def as_argument(size):
    return tuple(size) if isinstance(size, list) else size


sys.path.insert(1, os.getcwd())  # for a model of your own
here = Path(__file__).parent
config = json.loads((here / "config.json").read_text())
for name, digest in config["files"].items():
    if not Path(name).is_file() or hashlib.sha256(Path(name).read_bytes()).hexdigest() != digest:
        print(f"warning: {name} is not as it was when this was saved, and may make another network", file=sys.stderr)
module, _, name = config["class"].partition(":")
model = getattr(import_module(module), name)(
    *map(as_argument, config["sizes"]["positional"]),
    **{size: as_argument(value) for size, value in config["sizes"]["named"].items()},
    **config["hyperparameters"],
)
model.load_state_dict(torch.load(here / "model.pt", weights_only=True))
model.eval()
x = torch.rand(1, *config["sample"])  # an example, as the data set has it
x = (x - torch.tensor(config["mean"])) / torch.tensor(config["deviation"])
y = model(x)
print("class", y.argmax(dim=1).item()) if config["classified"] else print("value", *y.flatten().tolist())
'''
_NETWORK = "network"  # the folder with a copy of the code of one of Caviar's own models
_OWN_IMPORT = re.compile(r"^from caviar\.([\w.]*?)(\w+) import", re.MULTILINE)


def save_winner(engine: Engine, record: StudyRecord, winner: Winner | None, folder: Path, data_dir: Path) -> str | None:
    """Write the weights, config.json and load.py, which needs no Caviar, into a new folder.

    Of a command it is the winning trial's own folder that is written.

    The code of one of Caviar's own models is copied beside them.

    Args:
        winner: the study's winner; None where it has none yet.

    Returns:
        Why the code here may make another network than the saved one; None if it is that of the study.

    Raises:
        NothingToDo: there is no winner, its weights are not kept, or the folder is there already.
        OutputError: the folder cannot be made.
        DataUnavailable: the data are not here, by whose mean and deviation its inputs are normalised.
    """
    if os.path.lexists(folder):  # Path.exists() raises an error for some names that no folder can have
        raise NothingToDo(f"'{folder}' is there already; name a new folder, or remove it")
    if winner is None:
        raise NothingToDo(f"no trial of '{record.name}' is complete yet; go on with: caviar join {record.name}")
    study, number = definition_of(record), winner.trial
    checkpoint = load_checkpoint(CheckpointStore(engine, record), number)
    try:
        state = from_bytes(checkpoint.state, torch.device("cpu")) if checkpoint.state is not None else None
    except BadCheckpoint as error:
        raise NothingToDo(f"the weights of trial {number} cannot be read: {error}") from error
    if study.way is Way.OBJECTIVE:
        raise NothingToDo(f"'{record.name}' trains by {study.way}=, of which no weights are known; see its own files")
    if state is None or state["epoch"] < winner.epochs:
        why = checkpoint.refused or "they are removed, or were too large for the database"
        raise NothingToDo(
            f"the weights of trial {number} are not kept ({why}); a study keeps large ones in the place that "
            f"CAVIAR_CHECKPOINTS names when it is trained"
        )
    files, warning = _code(record, study)
    with atomic_write(folder, "--save") as unfinished:
        unfinished.mkdir(parents=True)
        if study.way is Way.MODEL:
            _write_model(unfinished, study, winner, state, data_dir, files)
        elif study.way is Way.COMMAND:
            _write_folder(unfinished, winner, state)
        else:
            write_own_files(unfinished, study, winner, state, files)
    return warning


def _code(record: StudyRecord, study: Study) -> tuple[Mapping[str, Path], str | None]:
    """Return the files of the study's code here, none of which runs, and how they differ from those that trained it."""
    if study.way is Way.COMMAND:
        return {}, None
    try:
        files = code_files(own_paths(study))
    except CodeMissing as error:
        return {}, f"{error}: load.py needs the code that trained it"
    if not (change := code_change(record.provenance, code_of(study, files))):
        return files, None
    return files, f"the code here is not that which trained it ({change}): load.py may make another network"


def _write_folder(folder: Path, winner: Winner, state: Mapping[str, Any]) -> None:
    """Write the trial's own folder of a command, as it was at its end."""
    try:
        unpack(state.get("files"), folder)
    except BadCheckpoint as error:
        raise NothingToDo(f"the folder of trial {winner.trial} cannot be written: {error}") from error


def _write_model(
    folder: Path,
    study: Study,
    winner: Winner,
    state: Mapping[str, Any],
    data_dir: Path,
    files: Mapping[str, Path],
) -> None:
    values = winner.hyperparameters
    sample, outputs, is_classified = shape(study.built_in.data)
    positional, named = sizes(model_class(study.built_in.model), sample, outputs)
    scale = moments(study.built_in.data, data_dir)
    mean, deviation = scale if scale is not None else (torch.zeros(1), torch.ones(1))  # such data are taken as they are
    config = {
        "model": study.model, "class": _class_path(study.built_in.model), "sample": list(sample), "outputs": outputs,
        "classified": is_classified, "sizes": {"positional": positional, "named": named},
        "mean": mean.tolist(), "deviation": deviation.tolist(),
        "hyperparameters": {n: v for n, v in values.items() if n not in SETTINGS},
        "training": {n: v for n, v in values.items() if n in SETTINGS}, "data": study.data, "study": study.name,
        "trial": winner.trial, "metrics": to_json(winner.metrics), "test": to_json(winner.test),
        "files": digests(files),
    }  # fmt: skip
    torch.save(state["model"], folder / "model.pt")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "load.py").write_text(_EXAMPLE)
    if study.built_in.model in MODELS:
        _copy_code(MODELS[study.built_in.model].partition(":")[0], folder / _NETWORK)


def _class_path(model: str) -> str:
    """Return where load.py finds the class of a model: for Caviar's own, in the copy beside it."""
    module, _, name = MODELS[model].rpartition(".")[2].partition(":") if model in MODELS else ("", "", "")
    return f"{_NETWORK}.{module}:{name}" if module else model


def _copy_code(module: str, folder: Path) -> None:
    """Copy a module of Caviar's, and those of Caviar's that it imports, as a package of their own."""
    folder.mkdir(exist_ok=True)
    source = Path(import_module(module).__file__ or "").read_text(encoding="utf-8")
    (folder / f"{module.rpartition('.')[2]}.py").write_text(_OWN_IMPORT.sub(r"from .\2 import", source), "utf-8")
    for above, last in _OWN_IMPORT.findall(source):
        _copy_code(f"caviar.{above}{last}", folder)
