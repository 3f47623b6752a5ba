"""The command of a study: its line, the expression that reads its output, and where it runs."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from caviar.storage.settings import home_folder
from caviar.studies.definition import Study
from caviar.studies.errors import DefinitionError
from caviar.studies.workers.user.command_line import GIVEN, CommandLine
from caviar.text import shown


@dataclass(frozen=True)
class Program:
    """The command of a study, for all of its trials.

    Args:
        name: the study's.
        line: with placeholders.
        expression: finds the metrics in a line of output; None for a command that reports them itself.
        metric: the study's.
        working_folder: where it runs.
        place: the folder on this machine for the files of trials.
    """

    name: str
    line: CommandLine
    expression: re.Pattern[str] | None
    metric: str
    working_folder: Path
    place: Path


def program_of(study: Study) -> Program:
    """Return the command of a study, which runs in this process's working directory.

    Raises:
        BadSetting: CAVIAR_HOME cannot be used.
    """
    assert study.command is not None, "the study has a command"
    expression = None if study.report is None else re.compile(study.report)
    line, place = CommandLine.parse(study.command), home_folder() / "trials"
    return Program(study.name, line, expression, study.metric, Path.cwd(), place)


def check_command(study: Study) -> None:
    """Check that a study's command gets every hyperparameter, and that its program is here.

    Raises:
        DefinitionError: it does not, or it is not.
    """
    assert study.command is not None, "the study has a command"
    values = {**study.fixed, **{name: scale.default for name, scale in study.scales().items()}}
    try:
        line = CommandLine.parse(study.command)
        line.check(values)
        program = line.fill_in(values, dict.fromkeys(GIVEN, ""))[0]
        if shutil.which(program) is None:
            raise DefinitionError(_why_not(program))
    except DefinitionError as error:
        raise DefinitionError(f"study '{study.name}': {error}") from None


def _why_not(program: str) -> str:
    """Return why a program cannot be executed, and what to do."""
    if "/" not in program:
        return f"there is no program '{shown(program)}' on the PATH of this machine"
    if os.path.isdir(program):
        return f"'{shown(program)}' is a folder; give the program in it"
    if os.path.exists(program):
        return f"'{shown(program)}' cannot be executed; allow it by chmod +x, or name what reads it, such as sh"
    where = "" if os.path.isabs(program) else f" in {os.getcwd()}"
    return f"there is no program '{shown(program)}'{where}"
