"""Errors of training code, which may raise anything, apart from those of the database and of Caviar itself.

A study whose trials fail one after the other with the same error is stopped; so is one whose first trial did not
measure what the study needs.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from sqlalchemy import Engine

from caviar import foreign_code
from caviar.errors import CaviarError
from caviar.foreign_code import LeftPython, no_exit, reason_of
from caviar.models.training import Interrupted
from caviar.storage.control import set_control
from caviar.storage.curves import never_measured
from caviar.storage.events import read_events
from caviar.storage.states import Control, EventKind
from caviar.storage.status import last_finished
from caviar.studies.errors import CommandFailed
from caviar.studies.workers.local.pulse import Pulse
from caviar.text import shown, storable
from caviar.user_code import is_of_user

SAME_ERRORS = 3  # trials in a row


class TrainingRaised(Exception):
    """Training code raised `error`; the database or this worker did not."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class RaisedElsewhere(Exception):
    """Training code raised an error in another process.

    Attributes:
        failure: what `describe` returned there.
    """

    failure: Mapping[str, str]


@contextmanager
def training_code(pulse: Pulse | None = None) -> Iterator[None]:
    """Run code of a model or its training; whatever it raises but `Interrupted` becomes `TrainingRaised`.

    So does `sys.exit()`, which would end the worker without a word.

    Args:
        pulse: the worker's, whose silence means from here to the end that the code hangs.
    """
    try:
        with pulse.training() if pulse else nullcontext(), no_exit():
            yield
    except Interrupted:
        raise
    except Exception as error:
        _let_go(error)
        raise TrainingRaised(error) from error
    except KeyboardInterrupt as error:
        if pulse is None or not pulse.is_supervised:
            raise  # a person's Ctrl-C, which a worker handles before
        _let_go(error)
        raise TrainingRaised(LeftPython("it raises KeyboardInterrupt, which is no Exception")) from error


def _let_go(error: BaseException | None) -> None:
    """Clear the frames of a traceback, which hold the activations that filled a GPU; its lines stay."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def describe(error: Exception) -> dict[str, str]:
    """Return the message of an error, its class, the file and line that raised it, and its whole traceback.

    The line is the last one of the user's own, also where a package has raised the error for what that line asks.

    Of a command that failed: what is the same in failures like it, and the end of its output.
    """
    if isinstance(error, RaisedElsewhere):
        return dict(error.failure)
    if isinstance(error, CommandFailed):  # where it was raised says nothing of the command
        failure = {"place": "", "traceback": str(error), "cause": error.cause}
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != foreign_code.__file__]
        places = [f"{f.filename}:{f.lineno}" for f in frames]
        of_users = [place for f, place in zip(frames, places, strict=True) if is_of_user(f.filename)]
        is_of_caviar = not of_users and isinstance(error, CaviarError)  # its own line says nothing to a user
        place, cause = ("" if is_of_caviar else (of_users or places or [""])[-1]), (places or [""])[-1]
        failure = {"place": place, "cause": place or cause, "traceback": "".join(traceback.format_exception(error))}
    described: dict[str, str] = storable({"error": reason_of(error), "class": type(error).__name__, **failure})
    return described


def missing_of(error: Exception) -> list[str]:
    """Return the metrics for want of which a training failed that came to a good end otherwise."""
    return [error.missing] if isinstance(error, CommandFailed) and error.missing else []


def stop_if_hopeless(engine: Engine, study_id: int, failure: Mapping[str, str], missing: Sequence[str] = ()) -> None:
    """Stop a study after a failure that is a mistake in the code or in the study, and no bad setting.

    That is the same error in its last three trials, of the same class and from the same line: the message may well name
    this trial's batch size. And it is a trial without a result, for want of metrics that no trial has measured yet.

    Args:
        missing: what the study needs and the trial has never measured.
    """
    if missing and (never := never_measured(engine, study_id, missing)):
        names = " or ".join(map(shown, never))
        why = f"{failure['error']}; no trial has measured {names} so far: name in the study what its training reports"
        set_control(engine, study_id, Control.STOP, why=why, unmeasured=list(never))
        return
    raised = {event.slot: _kind(event.detail) for event in read_events(engine, study_id, EventKind.TRIAL_FAILED)}
    last = [raised.get(number) for number in last_finished(engine, study_id, SAME_ERRORS)]
    if last == [_kind(failure)] * SAME_ERRORS:
        where = f" ({failure['place']})" if failure["place"] else ""
        why = f"{SAME_ERRORS} trials in a row raised the same: {failure['error']}{where}"
        set_control(engine, study_id, Control.STOP, why=why)


def _kind(failure: Mapping[str, str]) -> tuple[str, str]:
    kind = failure.get("class", failure["error"].partition(":")[0])
    return kind, failure.get("cause", failure["place"])
