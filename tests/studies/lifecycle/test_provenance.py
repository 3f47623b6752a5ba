"""What a study's trials were computed with, and what is made of it where two machines differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from caviar.models.fingerprint import code_digest, data_digest
from caviar.storage.records import Provenance
from caviar.studies.definition import change
from caviar.studies.errors import CodeMissing
from caviar.studies.lifecycle.provenance import (
    Difference,
    code_change,
    code_key,
    code_line,
    compare,
    package_versions,
    provenance_of,
)
from tests.helpers.studies import small_study

SHA, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40


def test_what_this_machine_computes_with_differs_in_nothing_from_itself() -> None:
    here = provenance_of(small_study(), Path("nowhere"))
    assert (here.code, here.files, here.data) == (code_digest(), {}, data_digest("digits", Path("nowhere")))
    assert {"optuna", "torch", "numpy", "python"} <= set(here.packages)
    assert compare(here, provenance_of(small_study(), Path("nowhere"))) == []
    assert dict(here.packages) == package_versions()


def test_the_same_code_and_data_are_all_that_is_asked_for() -> None:
    there = Provenance({"optuna": "5.0.0"}, "c" * 64, "d" * 64)
    found = compare(there, Provenance({"optuna": "5.0.0"}, "e" * 64, "f" * 64))
    assert found == [
        Difference("code", "c" * 12, "e" * 12, "mismatch"),
        Difference("data", "d" * 12, "f" * 12, "mismatch"),
    ]


def test_what_was_not_written_down_is_not_compared() -> None:
    for there, here in (
        (Provenance(), Provenance({"optuna": "5.0.0"}, "c", "d")),
        (Provenance({"optuna": "5.0.0"}, "c", "d"), Provenance()),
    ):
        assert compare(there, here) == []


@pytest.mark.parametrize(
    ("name", "there", "here", "weight"),
    [
        ("optuna", "5.0.0", "6.0.0", "fatal"),
        ("optuna", "10.1", "1.0.1", "fatal"),
        ("optuna", "5.0.0", "5.1.0", "note"),
        ("torch", "2.9.0", "3.0.0", "note"),
        ("python", "3.11.4", "3.13.0", "note"),
    ],
)
def test_only_optunas_major_version_is_fatal(name: str, there: str, here: str, weight: str) -> None:
    found = compare(Provenance({name: there}), Provenance({name: here}))
    assert found == [Difference(name, there, here, weight)]


@pytest.mark.parametrize(("skew", "told"), [(59.0, []), (-59.0, []), (61.0, ["+61 s"]), (-61.0, ["-61 s"])])
def test_a_clock_that_is_far_off_is_a_mismatch(skew: float, told: list[str]) -> None:
    found = compare(Provenance(), Provenance(), skew)
    assert [(d.what, d.here, d.weight) for d in found] == [("clock", here, "mismatch") for here in told]


def test_files_are_compared_one_by_one() -> None:
    there = Provenance({"caviar": "1.0"}, "c" * 64, files={"tune.py": "a" * 64, "old.py": "b", "same.py": "s"})
    here = Provenance({"caviar": "1.1"}, "d" * 64, files={"tune.py": "e" * 64, "new.py": "b", "same.py": "s"})
    found = compare(there, here)
    assert [(d.label, d.there, d.here, d.weight) for d in found] == [
        ("caviar", "1.0", "1.1", "note"),
        ("code of Caviar", "c" * 12, "d" * 12, "mismatch"),
        ("code of new.py", "no file", "b", "mismatch"),
        ("code of old.py", "b", "no file", "mismatch"),
        ("code of tune.py", "a" * 12, "e" * 12, "mismatch"),
    ]
    assert (
        code_change(there, here)
        == "tune.py changed; new.py new; old.py gone; Caviar's own changed (1.0 before, 1.1 now)"
    )
    assert code_change(here, here) == ""
    assert code_key(there) != code_key(here)


def test_a_change_names_both_commits_and_few_files() -> None:
    many = {f"f{n}.py": "a" for n in range(9)}
    there = Provenance(files=many, commit=SHA, remote="https://host/shop")
    here = Provenance(files=dict.fromkeys(many, "b"), commit=f"{OTHER}-dirty")
    assert code_change(there, here) == (
        "f0.py, f1.py, f2.py, f3.py, f4.py and 4 more changed; commit 0123456789ab before, ffffffffffff-dirty now"
    )
    assert code_line(there) == "9 files at commit 0123456789ab of https://host/shop"
    assert code_line(here) == "9 files at commit ffffffffffff, with changes that are in no commit"
    assert code_line(Provenance(files={"a.py": "b"})) == "1 file"


def test_what_an_older_caviar_kept_as_one_digest_is_said_so() -> None:
    there, here = Provenance(code="c"), Provenance(code="d", files={"tune.py": "e"})
    assert [(d.label, d.weight) for d in compare(there, here)] == [("code", "mismatch")]
    assert "an older Caviar kept one digest" in code_change(there, here)


def test_what_the_database_says_of_files_is_printed_without_escapes() -> None:
    there = Provenance(files={"\x1b[31mtune.py\n": "\x1b]0;"}, commit="\x1b[2J-dirty", remote="\x07" * 5000)
    here = Provenance(files={}, commit=SHA)
    for text in (code_change(there, here), code_line(there), *(d.label + d.there for d in compare(there, here))):
        assert text.isprintable()
        assert len(text) < 3000


def test_code_that_is_not_here_or_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = change(small_study(), model="my_missing.net:Net")
    with pytest.raises(CodeMissing, match=r"no module my_missing\.net"):
        provenance_of(study, Path("nowhere"))
    (tmp_path / "my_missing").mkdir()
    (tmp_path / "my_missing" / "net.py").symlink_to(tmp_path / "gone.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CodeMissing):
        provenance_of(study, Path("nowhere"))
