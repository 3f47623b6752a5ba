"""How the definitions of several studies differ: only what is not the same in all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from caviar.storage.records import Provenance, StudyRecord
from caviar.studies.definition import Study, to_body
from caviar.studies.lifecycle.provenance import short_commit
from caviar.studies.results.compare.records import Difference
from caviar.studies.results.formatting import number
from caviar.text import shown

_ELSEWHERE = ("name", "tiers", "fixed", "metric", "direction")  # compared otherwise, or the same in all
_DIGITS = 12  # of a digest
_NONE = "-"


def differences(records: Sequence[StudyRecord], studies: Sequence[Study]) -> tuple[Difference, ...]:
    """Return what is not the same in all studies: their definitions first, then data, code and versions."""
    return (*of_definitions(studies), *_unlike(_made_with([record.provenance for record in records])))


def of_definitions(studies: Sequence[Study]) -> tuple[Difference, ...]:
    """Return what is not the same in all definitions, in their order."""
    return (*_unlike(_fields(studies)), *_unlike(_hyperparameters(studies)))


def _unlike(found: Iterable[Difference]) -> Iterator[Difference]:
    return (difference for difference in found if len(set(difference.values)) > 1)


def _fields(studies: Sequence[Study]) -> Iterator[Difference]:
    bodies = [to_body(study) for study in studies]
    for field in bodies[0]:
        if field not in _ELSEWHERE:
            yield Difference(field, tuple(_brief(body[field]) for body in bodies))


def _brief(value: Any) -> str:
    if value is None or value == {} or value == []:
        return _NONE
    if isinstance(value, list):
        return f"{len(value)} trials of an earlier study"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number(of)}" for name, of in value.items())
    return number(value)


def _hyperparameters(studies: Sequence[Study]) -> Iterator[Difference]:
    """Yield the range, the default and the tier of each hyperparameter, or the value that it is fixed to."""
    names = dict.fromkeys(name for study in studies for name in (*study.scales(), *study.fixed))
    for name in names:
        yield Difference(name, tuple(_range(study, name) for study in studies))
        there = [study for study in studies if name in study.scales()]
        if len(there) == len(studies):
            yield Difference(f"tier of {name}", tuple(str(study.tier_of(name)) for study in studies))
    if any(study.by_trials for study in studies):
        tiers = tuple("; ".join(", ".join(tier) for tier in study.tiers) or _NONE for study in studies)
        yield Difference("tiers", tiers)


def _range(study: Study, name: str) -> str:
    scale = study.scales().get(name)
    if scale is not None:
        return f"{scale}, default {number(scale.default)}"
    return f"fixed to {number(study.fixed[name])}" if name in study.fixed else "not searched"


def _made_with(of: Sequence[Provenance]) -> Iterator[Difference]:
    """Yield data, code and versions."""
    digests: dict[str, Callable[[Provenance], str | None]] = {
        "digest of the data": lambda each: each.data,
        "digest of Caviar's training code": lambda each: each.code,
    }
    for what, digest in digests.items():
        yield Difference(what, tuple(shown((digest(each) or _NONE)[:_DIGITS]) for each in of))
    for path in dict.fromkeys(path for each in of for path in each.files or {}):
        yield Difference(
            f"code of {shown(path)}", tuple(shown((each.files or {}).get(path, _NONE)[:_DIGITS]) for each in of)
        )
    yield Difference("commit", tuple(short_commit(each) or _NONE for each in of))
    for package in sorted({package for each in of for package in each.packages}):
        yield Difference(f"version of {shown(package)}", tuple(shown(each.packages.get(package, _NONE)) for each in of))
