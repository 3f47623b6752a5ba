"""`caviar panda`: one model that is babysat for days."""

from __future__ import annotations

import typer

from caviar.studies.cli.panda import changes, log, start, train

app = typer.Typer(
    help="Babysit one model for days: look at its curve, nudge a hyperparameter, go back when it got worse.",
    epilog="Begin with: caviar panda start baby --study mnist, then caviar panda train baby",
    no_args_is_help=True,
)
app.command("start")(start.start)
app.command("train")(train.train)
app.command("nudge")(changes.nudge)
app.command("back")(changes.back)
app.command("log")(log.log)
app.command("try")(train.try_)
app.command("note")(changes.note)
