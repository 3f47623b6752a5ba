"""Compare the code, data and versions of this machine with those that a study's trials were computed with."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from caviar.limits import NAME
from caviar.models.metric_calls import parse_metric
from caviar.storage.records import Provenance, StudyRecord
from caviar.studies.definition import Study, from_body, to_body
from caviar.studies.errors import CodeMissing, MachineMismatch
from caviar.studies.lifecycle.code_files import code_files, digest
from caviar.studies.lifecycle.commits import commit_of
from caviar.text import shown

_PACKAGES = ("caviar", "optuna", "torch", "torchvision", "numpy")
_PATHS = ("model", "data", "train", "objective", "loss", "test")  # fields of a study that may name the user's own code
CAVIAR = "Caviar"
_NO_FILE = "no file"
_DIGITS = 12  # of a digest or a commit, as they are shown
_NAMED = 5  # files that a message names
_ONE_DIGEST = "an older Caviar kept one digest of all code, which says no more than that something differs"
_CLOCK_SECONDS = 60.0  # of difference; nothing depends on a worker's clock, but its logs and certificates do


@dataclass(frozen=True)
class Difference:
    """One difference between the study (there) and this machine (here)."""

    what: str
    there: str
    here: str
    weight: Literal["fatal", "mismatch", "note"]  # never allowed, allowed by hand only, worth a line
    of: str = ""  # which code: a file of the user's project, or Caviar

    @property
    def label(self) -> str:
        """What differs, in a word or two."""
        return f"{self.what} of {self.of}" if self.of else self.what


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a trial's values depend on, without importing them."""
    return {**{name: version(name) for name in _PACKAGES}, "python": platform.python_version()}


def provenance_of(study: Study, data_dir: Path, *, run: bool = True) -> Provenance:
    """Return the versions, code and data that this machine would compute the study's trials with.

    Args:
        run: whether the user's function may be called for a digest of the data that it returns; else that is None.

    Raises:
        CodeMissing: a module that the study names is not here, or cannot be read.
        DataUnavailable: the data are not here.
    """
    from caviar.models.fingerprint import data_digest

    files = _files_of(study)
    is_named = study.data is not None and (run or study.data not in own_paths(study))
    data = data_digest(study.data, data_dir) if study.data is not None and is_named else None
    here = replace(code_of(study, files), packages=package_versions(), data=data)
    commit = commit_of(files.values())
    return here if commit is None else replace(here, commit=commit.name, remote=commit.remote)


def code_of(study: Study, files: Mapping[str, Path] | None = None) -> Provenance:
    """Return what `provenance_of` does, of the code alone.

    Raises:
        CodeMissing: as there.
    """
    from caviar.models.fingerprint import code_digest

    files = _files_of(study) if files is None else files
    try:
        return Provenance(code=code_digest(), files={path: digest(file) for path, file in files.items()})
    except OSError as error:
        raise CodeMissing(f"{error.filename} cannot be read: {error.strerror}") from error


def code_key(code: Provenance) -> str:
    """Return one digest for all code."""
    return hashlib.sha256(repr((code.code, sorted((code.files or {}).items()))).encode()).hexdigest()


def _files_of(study: Study) -> dict[str, Path]:
    return code_files(own_paths(study), to_body(study).get("command"))


def own_paths(study: Study) -> list[str]:
    """Return the paths of the user's own classes and functions in a study, `package.module:name`."""
    body = to_body(study)
    paths = [path for field in _PATHS if ":" in (path := body.get(field) or "")]
    return paths + [text for text in study.metrics.values() if isinstance(parse_metric(text), str)]


def compare(there: Provenance, here: Provenance, clock_skew: float = 0.0) -> list[Difference]:
    """Return what differs between a study and this machine, whose clock is so many seconds ahead of the database's."""
    differences = [*_versions(there.packages, here.packages), *_code(there, here)]
    differences += _digests("data", there.data, here.data)
    if abs(clock_skew) > _CLOCK_SECONDS:
        differences.append(Difference("clock", "the database's", f"{clock_skew:+.0f} s", "mismatch"))
    return differences


def _code(there: Provenance, here: Provenance) -> Iterator[Difference]:
    """Compare Caviar's code and the user's files; an older Caviar kept one digest of both."""
    if there.files is None or here.files is None:
        yield from _digests("code", there.code, here.code)
        return
    yield from _digests("code", there.code, here.code, CAVIAR)
    for path in sorted({*there.files, *here.files}):
        before, now = (files.get(path, _NO_FILE) for files in (there.files, here.files))
        yield from _digests("code", before, now, shown(path))


def _digests(what: str, there: str | None, here: str | None, of: str = "") -> Iterator[Difference]:
    if there is not None and here is not None and there != here:
        yield Difference(what, shown(there[:_DIGITS]), here[:_DIGITS], "mismatch", of)


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


def refuse_mismatch(study: str, there: Provenance, differences: Iterable[Difference], *, allowed: bool) -> bool:
    """Return True if code, data or clock differ from the study's, which is refused unless it is allowed."""
    mismatches = [difference for difference in differences if difference.weight == "mismatch"]
    if mismatches and not allowed:
        what = dict.fromkeys(d.what for d in mismatches)
        files = [d.of for d in mismatches if d.of]
        listed = ", ".join(f"code ({listing(files)})" if name == "code" and files else name for name in what)
        raise MachineMismatch(
            f"not the same here as where '{study}' was begun: {listed}; bring them in line"
            f"{_where(there) if 'code' in what else ''}, or join all the same with --allow-mismatch, which is noted"
        )
    return bool(mismatches)


def refuse_other(record: StudyRecord, here: Provenance) -> None:
    """Refuse to train a study's trials again with other code or data than they were trained with."""
    differences = compare(record.provenance, here)
    refuse_fatal(differences)
    others = [f"{d.label} ({d.there} there, {d.here} here)" for d in differences if d.weight == "mismatch"]
    if others:
        raise MachineMismatch(
            f"what '{record.name}' was trained with differs from what is here: {listing(others)}; bring them in "
            f"line to compare its trials{_where(record.provenance)}; or, where other code trains the same, accept it: "
            f"caviar run FILE --accept"
        )


def refuse_other_data(record: StudyRecord, digest: str | None) -> None:
    """Refuse to train on other data than the study's, where the user's function returned them with this digest."""
    if digest is not None and record.provenance.data not in (None, digest):
        raise MachineMismatch(
            f"the data of '{record.name}' differ from those it was begun with ({record.provenance.data[:_DIGITS]} "
            f"there, {digest[:_DIGITS]} here): its function has to return the same each time"
        )


def refuse_other_code(stored: StudyRecord, here: Provenance) -> None:
    """Refuse to run the user's own code, which a stored definition names, if it is not that of the study."""
    others = [d for d in compare(stored.provenance, here) if d.what == "code" and d.of != CAVIAR]
    paths = own_paths(from_body(stored.body))
    if others and paths:
        raise MachineMismatch(
            f"the code of {', '.join(map(shown, paths))} differs from that of '{stored.name}' "
            f"({code_change(stored.provenance, here)}), and was not run; bring it in line, or run it all the same with "
            f"--accept"
        )


def code_change(there: Provenance, here: Provenance) -> str:
    """Return how the code of a study and of this machine differ, with both commits; empty if it does not."""
    of_code = [d for d in compare(there, here) if d.what == "code"]
    files = [d for d in of_code if d.of and d.of != CAVIAR]
    parts = [
        f"{listing([d.of for d in group])} {verb}"
        for verb, group in (
            ("changed", [d for d in files if _NO_FILE not in (d.there, d.here)]),
            ("new", [d for d in files if d.there == _NO_FILE]),
            ("gone", [d for d in files if d.here == _NO_FILE]),
        )
        if group
    ]
    if len(files) < len(of_code):
        versions = [shown(str(p.packages["caviar"])) for p in (there, here) if "caviar" in p.packages]
        known = f" ({versions[0]} before, {versions[1]} now)" if len(set(versions)) == 2 else ""
        parts.append(f"Caviar's own changed{known}" if there.files is not None else _ONE_DIGEST)
    if files and there.commit and here.commit and there.commit != here.commit:
        parts.append(f"commit {short_commit(there)} before, {short_commit(here)} now")
    return "; ".join(parts)


def listing(names: Sequence[str]) -> str:
    """Return names in one line; of many, the first ones."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def code_line(provenance: Provenance) -> str:
    """Return in words which code of the user's own a study is trained with; empty if with none."""
    count = len(provenance.files or {})
    at = f" at {origin(provenance)}" if provenance.commit else ""
    return f"{count} file{'s' if count > 1 else ''}{at}" if count else ""


def short_commit(provenance: Provenance) -> str:
    """Return the commit of the user's code as git abbreviates it, with `-dirty` behind it where there is more."""
    name, dash, dirty = (provenance.commit or "unknown").partition("-")
    return shown(name[:_DIGITS] + dash + dirty)


def origin(provenance: Provenance) -> str:
    """Return where the user's code of a study can be had: the commit and the address of its repository, if known."""
    if provenance.commit is None:
        return ""
    of = f" of {shown(provenance.remote, 2 * NAME)}" if provenance.remote else ""
    dirty = ", with changes that are in no commit" if provenance.commit.endswith("-dirty") else ""
    return f"commit {short_commit(provenance).removesuffix('-dirty')}{of}{dirty}"


def _where(provenance: Provenance) -> str:
    source = origin(provenance)
    return f": the code is {source}" if source else ""
