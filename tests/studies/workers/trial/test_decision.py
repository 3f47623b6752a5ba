"""What comes after an epoch, for every combination that can happen."""

from __future__ import annotations

import math

import pytest

from caviar.storage.records import Asked
from caviar.studies.workers.trial.decision import Next, after_epoch

GOOD = {"validation_loss": 0.1, "accuracy": 0.2}
NAN, INF = {**GOOD, "validation_loss": math.nan}, {**GOOD, "accuracy": math.inf}


@pytest.mark.parametrize(
    ("epoch", "losses", "bad_curve", "stop_asked", "expected"),
    [
        (1, GOOD, None, False, Next.GO_ON),
        (3, GOOD, None, False, Next.COMPLETE),
        (1, GOOD, "bad", False, Next.PRUNE),
        (1, GOOD, None, True, Next.GIVE_BACK),
        (1, NAN, None, False, Next.DIVERGE),
        (1, INF, None, False, Next.DIVERGE),
        (3, NAN, None, False, Next.DIVERGE),  # a last epoch that diverged is no result
        (3, GOOD, "bad", False, Next.COMPLETE),  # nothing is saved by stopping at the end
        (3, GOOD, None, True, Next.COMPLETE),  # nor is a finished trial given back
        (1, GOOD, "bad", True, Next.PRUNE),
        (1, NAN, "bad", True, Next.DIVERGE),
    ],
)
def test_after_an_epoch(
    epoch: int, losses: dict[str, float], bad_curve: str | None, stop_asked: bool, expected: Next
) -> None:
    verdict = after_epoch(epoch=epoch, last=3, losses=losses, bad_curve=bad_curve, asked=Asked(), stop_asked=stop_asked)
    assert verdict.next is expected
    assert verdict.why or expected is Next.GO_ON


@pytest.mark.parametrize(
    ("epoch", "losses", "asked", "expected"),
    [
        (1, GOOD, Asked("pause"), Next.GIVE_BACK),
        (1, GOOD, Asked("stop", at_once=True), Next.GIVE_BACK),
        (1, GOOD, Asked(kill=True), Next.PRUNE),
        (1, GOOD, Asked("stop", kill=True), Next.PRUNE),  # it is ended for good: nobody need go on with it
        (3, GOOD, Asked("stop", kill=True), Next.COMPLETE),
        (1, NAN, Asked("stop", kill=True), Next.DIVERGE),
    ],
)
def test_what_is_asked_from_elsewhere(epoch: int, losses: dict[str, float], asked: Asked, expected: Next) -> None:
    verdict = after_epoch(epoch=epoch, last=3, losses=losses, bad_curve=None, asked=asked, stop_asked=False)
    assert verdict.next is expected


def test_what_is_not_finite_is_named() -> None:
    bad = after_epoch(epoch=2, last=3, losses=NAN, bad_curve=None, asked=Asked(), stop_asked=False)
    assert bad.why == "diverged at epoch 2: validation_loss is not finite"


def test_an_epoch_that_measured_nothing_of_that_goes_on() -> None:
    verdict = after_epoch(epoch=2, last=3, losses={}, bad_curve=None, asked=Asked(), stop_asked=False)
    assert verdict.next is Next.GO_ON
