"""Print the events of a run on this machine: checks, progress, outages, and the end of its workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.table import Table

from caviar.durations import in_words
from caviar.limits import TEXT
from caviar.studies.cli.output import err, print_line, print_remark, spinner
from caviar.studies.results.formatting import duration
from caviar.studies.results.sentences import cohort_sentence, unkept_sentence
from caviar.studies.workers.local import events
from caviar.studies.workers.local.devices import cores
from caviar.text import shown

if TYPE_CHECKING:
    from caviar.storage.status import Progress
    from caviar.studies.cli.display import Display
    from caviar.studies.lifecycle.provenance import Difference


class EventPrinter:
    """Prints events as they come, from `with` to its end; a spinner or a live display ends with it.

    Until there is a display, a spinner says what is being done: a server and PyTorch take seconds to start.

    Attributes:
        progress: the study's when it was last read.
        has_worked: whether workers were started.
    """

    def __init__(self, activity: str, *, then: str = "starting the workers", is_joining: bool = False) -> None:
        self.progress: Progress | None = None
        self.has_worked = False
        self._activity, self._then = activity, then
        self._is_joining = is_joining
        self._shown = ExitStack()
        self._display: Display | None = None

    def __enter__(self) -> EventPrinter:
        self._wait("opening the database")
        return self

    def __exit__(self, *exception: object) -> None:
        self._shown.close()

    def __call__(self, event: events.RunEvent) -> None:
        """Print an event."""
        match event:
            case events.CheckBegan():
                self._wait(f"loading PyTorch, and {self._activity}")
            case events.CheckEnded():
                self._wait(self._then)
            case events.WorkersStarted():
                self._start(event)
            case events.Progressed():
                self.progress = event.snapshot.progress
                if self._display is not None:
                    self._display.show(event.study, event.snapshot)
            case events.WorkersEnded():
                self._shown.close()
                if self._is_joining:
                    print_line(_end(event))
            case events.CohortSized() if self._display is not None and self._display.is_live:
                pass  # the display shows it
            case events.MachineDiffers():
                err().print(_table(event.differences))
            case _:
                print_remark(_remark(event))

    def _wait(self, activity: str) -> None:
        """Show what is being done until something else is."""
        self._shown.close()
        self._shown.enter_context(spinner(activity))

    def _start(self, event: events.WorkersStarted) -> None:
        from caviar.studies.cli.display import Display

        self._shown.close()
        study, devices = event.study, event.devices
        self.has_worked = True
        what = f"{study.budget} trials of {study.subject}, {study.strategy}"
        if self._is_joining:
            workers = ", ".join(f"{count} on {device}" for device, count in Counter(devices).items())
            print_line(f"joining {study.name}: {what}; workers: {workers}")
            if devices.count("cpu") > cores():
                print_remark(
                    f"this machine has {cores()} cores for {devices.count('cpu')} workers, which will share them"
                )
        else:
            print_line(f"{study.name}: {what}, seed {study.seed}; {len(devices)} worker(s)")
            if len(devices) < cores():
                print_remark(f"this machine has {cores()} cores, of which a worker uses one: --workers {cores()} uses "
                             f"them all")  # fmt: skip
        self._display = self._shown.enter_context(Display())


def _remark(event: events.RunEvent) -> str:
    match event:
        case events.DataFetched():
            return f"the data set '{event.name}' is now in {event.folder}"
        case events.CommandFound():
            return f"running this command in {event.folder}: {shown(event.command, TEXT)}"
        case events.ModelFound():
            return f"running the code of {event.model} in {event.file}, a file of the user {event.owner}"
        case events.EarlierVersion():
            what = f" ({'; '.join(event.changes)})" if event.changes else ""
            return f"this is an earlier version of '{event.study}', which goes on with version {event.version}{what}"
        case events.TrialsFreed():
            return f"{event.count} unfinished trial(s) of workers that died on this machine go on"
        case events.WorkerDied():
            return f"a worker is replaced: {event.why}"
        case events.CohortSized():
            return cohort_sentence(vars(event))
        case events.DatabaseLost():
            return (
                f"the database is away; the workers train on and wait for it, for up to {event.patience / 60:.0f} min"
            )
        case events.DatabaseBack():
            return f"the database is back, after {duration(event.seconds)}"
        case events.NoTimeLeft():
            expected, left = in_words(event.expected), in_words(event.left)
            return f"no further trial begins: one takes about {expected}, and {left} are left"
        case events.Stopping():
            return f"stopping: each worker finishes its epoch, for up to {event.grace:g} s; Ctrl-C leaves at once"
        case events.StatesNotKept():
            return unkept_sentence(event.reason)
        case events.WinnerTrainedAgain():
            return (
                f"the weights of the winner, trial {event.trial}, are not kept: it is trained once more for its test, "
                f"up to {event.epochs} epochs"
            )
        case events.TestedElsewhere():
            return f"the winner is tested elsewhere: {event.reason}"
        case events.ServerNotice():
            return event.text
    return str(event)


def _end(event: events.WorkersEnded) -> str:
    restarts = f", {event.restarts} restarted" if event.restarts else ""
    return (
        f"this machine finished {event.trials} trial(s) with {event.workers} worker(s){restarts} "
        f"in {duration(event.seconds)}"
    )


def _table(differences: Sequence[Difference]) -> Table:
    table = Table("", "the study", "this machine", box=None, header_style="bold", pad_edge=False)
    for difference in differences:
        style = "dim" if difference.weight == "note" else "yellow"
        table.add_row(difference.label, difference.there, difference.here, style=style)
    return table
