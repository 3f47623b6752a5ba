"""Studies with a planted fault, for `caviar.check`: a file `planted.py` in a project's folder."""

from __future__ import annotations

from pathlib import Path

import caviar
from caviar.studies.check.report import CheckReport
from caviar.studies.findings import Finding, Level


def check_planted(project: Path, sound: str, *changes: tuple[str, str]) -> CheckReport:
    """Write a sound study with some of its code changed, and check it."""
    code = sound
    for before, after in changes:
        assert before in code
        code = code.replace(before, after)
    (project / "planted.py").write_text(code)
    return caviar.check("planted.py", workers=2, device="cpu")


def worst(report: CheckReport) -> list[Finding]:
    """Return what is not in order."""
    return [finding for finding in report.findings if finding.level != Level.OK]


def line_of(project: Path, text: str) -> int:
    """Return the number of the first line that has a text."""
    lines = (project / "planted.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)
