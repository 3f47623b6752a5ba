"""Check this machine for `caviar doctor`. Each check returns its findings, none of which it can mend."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from caviar.models.data_sets import DATA_SETS
from caviar.storage.settings import Settings
from caviar.studies.findings import Finding, Level, format_size
from caviar.studies.lifecycle.provenance import package_versions
from caviar.studies.workers.local.devices import cores, visible_gpus

_SCARCE, _FULL = 1e9, 1e8  # bytes left on a disk
_DEVICES, _DRIVER = Path("/dev"), Path("/proc/driver/nvidia/version")


def disk(settings: Settings) -> list[Finding]:
    """Check that the folders for files have room and can be written to."""
    folders = {"CAVIAR_HOME": settings.home}
    if settings.checkpoints and settings.checkpoints.startswith("file://"):
        place = Path(settings.checkpoints.removeprefix("file://"))
        if settings.home not in place.parents:
            folders["CAVIAR_CHECKPOINTS"] = place
    return [_room(name, folder) for name, folder in folders.items()]


def _room(name: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    free = shutil.disk_usage(there).free
    message = f"{format_size(free)} free for {name}, {folder}"
    if not os.access(there, os.W_OK | os.X_OK):
        message += f", but nobody may write in {there}"
        return Finding(Level.ERROR, "disk", message, f"set {name} to a folder of yours")
    level = Level.ERROR if free < _FULL else Level.WARNING if free < _SCARCE else Level.OK
    return Finding(level, "disk", message, "" if level == Level.OK else f"make room, or set {name} to another folder")


def software() -> list[Finding]:
    """Return the versions of the packages that results depend on."""
    import psycopg2
    import sqlalchemy

    drivers = {"sqlalchemy": sqlalchemy.__version__, "psycopg2": psycopg2.__version__.split(" ")[0]}
    versions = ", ".join(f"{name} {version}" for name, version in (package_versions() | drivers).items())
    return [Finding(Level.OK, "software", versions)]


def gpus() -> list[Finding]:
    """Count the GPUs that PyTorch can use, or else those that the system has."""
    import torch

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    count = visible_gpus()
    if count:
        names = sorted({torch.cuda.get_device_name(number) for number in range(count)})
        return [Finding(Level.OK, "gpus", f"{count}: {', '.join(names)}; {built}{_driver()}")]
    there = len(list(_DEVICES.glob("nvidia[0-9]*")))
    if there:
        has_any = torch.version.cuda or torch.version.hip
        message = f"this machine has {there}{_driver()}; torch {torch.__version__} can use none, built for "
        message += built if has_any else "CPUs alone"
        step = "see nvidia-smi and CUDA_VISIBLE_DEVICES, and https://pytorch.org for a torch that fits the driver"
        return [Finding(Level.WARNING, "gpus", message, step)]
    return [Finding(Level.OK, "gpus", f"none: CPU only, {cores()} cores")]


def _driver() -> str:
    """Return the version of NVIDIA's driver, where there is one."""
    version = re.search(r"Kernel Module.*?\s(\d[\d.]+)\s", _DRIVER.read_text()) if _DRIVER.exists() else None
    return f", driver {version[1]}" if version else ""


def data(folder: Path, needed: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Check that the data sets are here; `needed` names, by data set, the unfinished studies that train on it."""
    here = [name for name, known in DATA_SETS.items() if known.is_in(folder)]
    missing = [name for name in DATA_SETS if name not in here]
    wanted = [
        Finding(
            Level.WARNING, "data", f"'{name}' is not in {folder}, and {', '.join(needed[name])} needs it",
            f"caviar data fetch {name} (caviar run and caviar join do that, too)",
        )
        for name in missing if name in needed
    ]  # fmt: skip
    absent = f"; not needed, not in {folder}: {', '.join(missing)}" if missing else ""
    return wanted or [Finding(Level.OK, "data", f"here: {', '.join(here)}{absent}")]
