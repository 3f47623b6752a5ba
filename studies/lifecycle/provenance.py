"""Compare the code, data and versions of this machine with those that a study's trials were computed with."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from caviar.models.registry import MODELS
from caviar.storage.records import Provenance, StudyRecord
from caviar.studies.definition import Study
from caviar.studies.errors import MachineMismatch

_PACKAGES = ("caviar", "optuna", "torch", "torchvision", "numpy")
_CLOCK_SECONDS = 60.0  # of difference; nothing depends on a worker's clock, but its logs and certificates do


@dataclass(frozen=True)
class Difference:
    """One difference between the study (there) and this machine (here)."""

    what: str
    there: str
    here: str
    weight: Literal["fatal", "mismatch", "note"]  # never allowed, allowed by hand only, worth a line


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a trial's values depend on, without importing them."""
    return {**{name: version(name) for name in _PACKAGES}, "python": platform.python_version()}


def provenance_of(study: Study, data_dir: Path) -> Provenance:
    """Return the versions, code and data that this machine would compute the study's trials with."""
    from caviar.models.fingerprint import code_digest, data_digest

    return Provenance(package_versions(), code_digest(study.model), data_digest(study.data, data_dir))


def compare(there: Provenance, here: Provenance, clock_skew: float = 0.0) -> list[Difference]:
    """Return what differs between a study and this machine, whose clock is so many seconds ahead of the database's."""
    differences = [*_versions(there.packages, here.packages)]
    for what, before, now in (("code", there.code, here.code), ("data", there.data, here.data)):
        if before is not None and now is not None and before != now:
            differences.append(Difference(what, before[:12], now[:12], "mismatch"))
    if abs(clock_skew) > _CLOCK_SECONDS:
        differences.append(Difference("clock", "the database's", f"{clock_skew:+.0f} s", "mismatch"))
    return differences


def _versions(there: Mapping[str, str], here: Mapping[str, str]) -> list[Difference]:
    """Optuna's major version changes what its tables hold; other versions change results in the last digits."""
    differences = []
    for name in here:
        if name in there and there[name] != here[name]:
            major = name == "optuna" and there[name].split(".")[0] != here[name].split(".")[0]
            differences.append(Difference(name, there[name], here[name], "fatal" if major else "note"))
    return differences


def refuse_fatal(differences: Iterable[Difference]) -> None:
    """Refuse what no user may allow: rows of another major version of Optuna would be read wrongly by either."""
    for difference in differences:
        if difference.weight == "fatal":
            name, there = difference.what, difference.there
            raise MachineMismatch(
                f"the study was begun with {name} {there}, and this machine has {difference.here}: "
                f"their rows do not mean the same; install {name} {there.split('.')[0]} here"
            )


def refuse_mismatch(study: str, differences: Iterable[Difference], *, allowed: bool) -> bool:
    """Return True if code, data or clock differ from the study's, which is refused unless it is allowed."""
    mismatches = [difference.what for difference in differences if difference.weight == "mismatch"]
    if mismatches and not allowed:
        raise MachineMismatch(
            f"not the same here as where '{study}' was begun: {', '.join(mismatches)}; bring them in line, or join all "
            f"the same with --allow-mismatch, which is noted"
        )
    return bool(mismatches)


def refuse_other(record: StudyRecord, here: Provenance) -> None:
    """Refuse to train a study's trials again with other code or data than they were trained with."""
    differences = compare(record.provenance, here)
    refuse_fatal(differences)
    others = [f"{d.what} ({d.there} there, {d.here} here)" for d in differences if d.weight == "mismatch"]
    if others:
        raise MachineMismatch(
            f"what '{record.name}' was trained with differs from what is here: {' and '.join(others)}; bring them in "
            f"line to compare its trials"
        )


def refuse_other_model(stored: StudyRecord, study: Study, here: Provenance) -> None:
    """Refuse to run a model of the user's own, which a stored definition names, if its code is not the study's."""
    for difference in compare(stored.provenance, here):
        if difference.what == "code" and study.model not in MODELS:
            raise MachineMismatch(
                f"the code of the model {study.model} differs from that of '{stored.name}' ({difference.there} there, "
                f"{difference.here} here), and was not run; bring it in line, or run it all the same with --accept"
            )
