"""The command line. A command parses its arguments, calls one function of the library, and prints what that returns.

The library is loaded when a command runs: `caviar --help`, and the help of each command, load neither PyTorch, Optuna
nor SQLAlchemy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from caviar.studies.cli import panda
from caviar.studies.cli.commands import (
    best,
    check,
    compare,
    control,
    curves,
    dashboard,
    data,
    database,
    delete,
    doctor,
    enqueue,
    export,
    history,
    importance,
    init,
    join,
    launch,
    logs,
    plan,
    report,
    retune,
    status,
    trials,
    workers,
)
from caviar.studies.cli.commands import run as run_command
from caviar.studies.cli.output import fail, out, print_log, set_verbose
from caviar.studies.errors import OptionError
from caviar.text import flaw, shown

app = typer.Typer(
    name="caviar",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tune deep networks by priority, coarse to fine, on a PostgreSQL that any number of machines share.",
    epilog="Begin with: caviar plan digits, then caviar run digits",
)
_COMMANDS: dict[str, tuple[Callable[..., object], ...]] = {  # as the help shows them
    "Begin": (init.init, plan.plan, check.check, run_command.run, join.join, retune.retune),
    "Look": (
        status.ls, status.status, best.best, trials.trials, curves.curves, importance.importance, report.report,
        compare.compare,
        dashboard.dashboard, export.export, history.history, logs.logs,
    ),
    "Steer": (
        control.pause, control.resume, control.stop, control.kill, control.extend, enqueue.enqueue, delete.delete,
    ),
    "Machines": (workers.workers, doctor.doctor),
}  # fmt: skip
for _panel, _commands in _COMMANDS.items():
    for _command in _commands:  # each by its function's name
        app.command(rich_help_panel=_panel)(_command)
app.add_typer(panda.app, name="panda", rich_help_panel="Begin")
app.add_typer(launch.app, name="launch", rich_help_panel="Machines")
app.add_typer(database.app, name="db", rich_help_panel="Machines")
app.add_typer(data.app, name="data", rich_help_panel="Machines")


@app.callback(invoke_without_command=True)
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version, and exit.", is_eager=True)] = False,
) -> None:
    """Apply the options that stand before the command."""
    set_verbose(verbose)
    if version:
        from importlib.metadata import version as version_of

        out().print(f"caviar {version_of('caviar')}")
        raise typer.Exit


def run(arguments: list[str] | None = None) -> int:
    """Run the command line, with this process's arguments by default.

    Returns:
        0, or the `exit_code` of the error's class: 1 for a run that failed, 2 for bad input, 75 for a database that is
        away or takes no writes; 130 for Ctrl-C.
    """
    print_log()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        _check_words(words)
        code = app(args=words or ["--help"], prog_name="caviar", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - sorted by fail(), which raises what it does not expect
        return fail(error)
    return code if isinstance(code, int) else 0


def _check_words(words: Sequence[str]) -> None:
    """Refuse arguments that no message and no table could hold: bytes that are not UTF-8, and control characters."""
    for word in words:
        if why := flaw(word, allowed="\n\t"):
            raise OptionError(f"the argument '{shown(word)}' {why}; give it without")
