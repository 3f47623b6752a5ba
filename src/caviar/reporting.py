"""Report metrics from a Python program that a study starts as its `command=`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from caviar.epoch import check_metrics, to_document

_VARIABLE, _ANSWERS = "CAVIAR_REPORT", "answers"  # the pipe for reports, and beside it the one for answers


def report_epoch(epoch: int | None = None, **metrics: float) -> None:
    """Report metrics of an epoch, from a Python program that a study starts as its `command=`.

    Returns once the epoch is written and the folder `$CAVIAR_FOLDER` is saved, if that is due: write what the program
    goes on from into the folder first. In a program that Caviar did not start, nothing happens.

    Args:
        epoch: its number; the program's first one is 0 or 1. Without it, reports are counted, and a trial that is
            interrupted begins again.
        metrics: numbers by name; the study's metric is the last one that an epoch reports.

    Raises:
        ValueError: a metric is no number, or its name cannot be stored.

    Example:
        >>> caviar.report_epoch(3, loss=0.4, val_rmse=5.1)
    """
    document = to_document(check_metrics(metrics))
    path = os.environ.get(_VARIABLE)
    if not path:
        return
    answers = Path(path).with_name(_ANSWERS)
    waits = answers.is_fifo()  # not where somebody gives a file, to see what would be reported
    line = json.dumps({"epoch": epoch, **document} | ({"answer": True} if waits else {}))
    with open(path, "ab", buffering=0) as reports:
        reports.write(line.encode() + b"\n")  # in one piece, so that no other process writes into its middle
    if waits:
        with open(answers, "rb", buffering=0) as answered:
            answered.read(1)
