"""What a training prints is kept to a bound, and only the end of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caviar.storage import trial_logs
from caviar.storage.trial_logs import TrialLogs


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialLogs:
    monkeypatch.setattr(trial_logs, "KEPT", 100)
    return TrialLogs(tmp_path, "study-1")


def write(logs: TrialLogs, number: int | None, text: str) -> None:
    file = logs.open(number)
    os.write(file, text.encode())
    os.close(file)


def test_each_trial_has_a_file_and_the_workers_another(logs: TrialLogs) -> None:
    write(logs, 1, "one\n")
    write(logs, 11, "eleven\n")
    write(logs, None, "none\n")
    write(logs, 1, "more\n")
    assert [logs.read(number) for number in (1, 11, None, 2)] == ["one\nmore\n", "eleven\n", "none\n", None]


def test_a_file_is_cut_at_a_line_and_whoever_writes_it_goes_on_behind_that(logs: TrialLogs) -> None:
    file = logs.open(1)
    os.write(file, b"".join(b"line %d\n" % number for number in range(100)))
    logs.cut(1)
    os.write(file, b"the last\n")
    os.close(file)
    kept = logs.read(1)
    assert kept is not None
    lines = kept.splitlines()
    assert lines[-2:] == ["line 99", "the last"]
    assert lines == [f"line {number}" for number in range(101 - len(lines), 100)] + ["the last"]
    assert len(kept) <= 109
    logs.cut(1)
    assert logs.read(1) == kept  # until it has twice as much


def test_the_oldest_files_make_room(logs: TrialLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_logs, "MOST", 25)
    for number in range(4):
        write(logs, number, "ten bytes\n")
        os.utime(tmp_path / "logs" / f"study-1-{number}.log", (number, number))
    write(TrialLogs(tmp_path, "other"), 0, "")
    assert [logs.read(number) for number in range(4)] == [None, None, "ten bytes\n", "ten bytes\n"]


def test_the_last_lines(logs: TrialLogs) -> None:
    assert logs.last_lines(1) == ""
    write(
        logs,
        1,
        "".join(f"line {number}\n" for number in range(50))
        + "\udcff".encode("utf-8", "surrogatepass").decode("latin1"),
    )
    assert logs.last_lines(1).splitlines()[:2] == ["line 31", "line 32"]
    write(logs, 2, "x" * 10_000)
    assert len(logs.last_lines(2)) == 4000


def test_a_link_is_not_followed(logs: TrialLogs, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "study-1-1.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        logs.open(1)


def test_only_the_study_s_own_files_are_removed(logs: TrialLogs, tmp_path: Path) -> None:
    other = TrialLogs(tmp_path, "study-12")
    for each in (logs, other):
        write(each, 1, "words\n")
    logs.remove()
    assert (logs.read(1), other.read(1)) == (None, "words\n")
