"""Check a study: a few epochs at its defaults, interrupted and resumed, and one epoch at each end of each range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from caviar.epoch import in_order, is_loss
from caviar.limits import CHECKPOINT
from caviar.studies.check.blame import blame, doubt
from caviar.studies.check.files import changed_files, finding_of, snapshot
from caviar.studies.check.probe import Failure, Outcome, Request, train
from caviar.studies.check.ranks import compare_ranks
from caviar.studies.check.report import CheckReport, Cost
from caviar.studies.check.states import first_difference, first_metric
from caviar.studies.definition import Study, to_body
from caviar.studies.findings import Finding, Level, format_size
from caviar.studies.metric import of_missing
from caviar.studies.results.formatting import number
from caviar.studies.space.base import BaseScale, Value
from caviar.studies.way import Way

_EPOCHS = 3  # at the defaults: a curve that one can see the direction of
_NOISE = 1e-12
_SAVED_BY = {  # what lets a training be saved
    Way.TRAIN: "call trial.keep(net=..., optimizer=...)",
    Way.COMMAND: "write what it goes on from into the folder that {folder} stands for",
}
RESUMES = "the epoch after an interruption is the same to the last bit; what matters only later is not seen"


@dataclass(frozen=True)
class Check:
    """The check of one study on one device."""

    study: Study
    device: str
    data_dir: Path
    keeps_files: bool  # whether states of any size can be kept
    timeout: float | None = None  # seconds of an epoch without a batch; None as in a search
    on_step: Callable[[str], None] = lambda step: None  # noqa: ARG005

    def run(self, workers: int) -> CheckReport:
        """Try the study; return what was found, the worst first."""
        before = snapshot(Path.cwd())
        defaults = self._defaults
        epochs = min(_EPOCHS, self.study.last_epoch)
        outcome = self._train("the defaults", defaults, epochs)
        findings = [
            *self._at_defaults(outcome, epochs),
            *compare_ranks(outcome.reports, [self.study.metric, *self.study.constraints]),
        ]
        cost = None
        if outcome.numbers:
            cost = self._cost(outcome, workers)
            findings += self._resumption(outcome, defaults)
            findings += self._test(outcome, defaults)
            findings += self._direction(outcome)
            findings += self._state(cost)
            findings += self._corners(outcome)
        findings += [finding_of(path) for path in changed_files(Path.cwd(), before)]
        order = list(Level)[::-1]
        return CheckReport(self.study.name, tuple(sorted(findings, key=lambda f: order.index(f.level))), cost)

    @property
    def _defaults(self) -> dict[str, Value]:
        return {name: scale.default for name, scale in self.study.scales().items()}

    def _train(
        self, what: str, values: Mapping[str, Value], epochs: int, state: bytes | None = None, *, tests: bool = False
    ) -> Outcome:
        self.on_step(what)
        request = Request(to_body(self.study), dict(values), self.device, str(self.data_dir), epochs, state, tests)
        return train(request, self.timeout)

    def _at_defaults(self, outcome: Outcome, epochs: int) -> Iterator[Finding]:
        measured = outcome.measured
        missing = [name for name in (self.study.metric, *self.study.constraints) if name not in measured]
        if outcome.failure is not None:
            yield Finding(Level.ERROR, "the defaults", _told(outcome.failure), "mend it, and check again")
        elif outcome.numbers and missing:
            which = "the metric" if self.study.metric in missing else "the constraints"
            what = of_missing(missing, measured, "there is")
            yield Finding(
                Level.ERROR, which, f"none of the first {len(outcome.numbers)} epochs has {what}",
                "report it in the training, or give the study the name that is reported",
            )  # fmt: skip
        else:
            yield Finding(Level.OK, "the defaults", f"{min(epochs, len(outcome.numbers))} epochs are trained")

    def _resumption(self, outcome: Outcome, defaults: Mapping[str, Value]) -> Iterator[Finding]:
        """Go on from the state after the first epoch, in another process, and compare the second epoch."""
        what, state = "resuming", outcome.states[0]
        if state is None:
            how = _SAVED_BY.get(self.study.way, "")
            yield Finding(Level.WARNING, what, "nothing is saved: an interrupted trial begins again", how)
            return
        if len(outcome.numbers) < 2:
            return
        again = self._train("an interruption after the first epoch", defaults, 1, state)
        if again.failure is not None or again.refused is not None:
            why = again.refused or (_told(again.failure) if again.failure else "")
            yield Finding(Level.ERROR, what, f"a trial that was interrupted after its first epoch cannot go on: {why}")
            return
        if again.uses_folder is False:
            yield Finding(
                Level.WARNING, what, f"it was interrupted after epoch {outcome.numbers[0]}, and begins again with "
                "epoch 1: what was saved is not used", "read the folder that {folder} stands for when it starts",
            )  # fmt: skip
            return
        if self.study.way is Way.COMMAND and again.uses_folder is None:
            yield Finding(Level.OK, what, "not tried: the command had reported all epochs before it was interrupted")
            return
        if again.numbers[:1] != [outcome.numbers[1]]:
            yield Finding(
                Level.WARNING, what, f"it was interrupted after epoch {outcome.numbers[0]}, and goes on with epoch "
                f"{again.numbers[0] if again.numbers else 'none'}: what was saved is not used",
                "read the state that it is given when it starts",
            )  # fmt: skip
            return
        # A command's folder may be of a later epoch than the one that was taken.
        is_command = self.study.way is Way.COMMAND
        metric = first_metric(outcome.metrics[1], again.metrics[0])
        difference = metric if is_command else first_difference(outcome, again)
        if difference is not None:
            yield from self._why_different(outcome, defaults, difference)
        elif doubts := list(doubt(outcome.unsaved)):
            yield from doubts
        else:
            yield Finding(Level.OK, what, RESUMES)

    def _why_different(self, outcome: Outcome, defaults: Mapping[str, Value], difference: str) -> Iterator[Finding]:
        what = "resuming"
        once_more = self._train("the first epoch once more", defaults, 1)
        if once_more.metrics[:1] != outcome.metrics[:1]:
            metric = first_metric(outcome.metrics[0], once_more.metrics[0] if once_more.metrics else {})
            yield Finding(
                Level.WARNING, what, "two trainings of the same first epoch differ: it depends on more than the seed "
                f"that Caviar sets ({metric})",
                "draw from the generators of random, numpy and torch, or seed your own by trial.number",
            )  # fmt: skip
            yield from doubt(outcome.unsaved)
            return
        message = f"epoch 2 differs after an interruption, first in {difference}"
        suspects = list(blame(outcome.unsaved, message))
        yield from suspects
        if not suspects:
            how = "give trial.keep() all that the next epoch depends on"
            yield Finding(Level.ERROR, what, message, _SAVED_BY[Way.COMMAND] if self.study.way is Way.COMMAND else how)
        yield from doubt([each for each in outcome.unsaved if not each.changes])

    def _test(self, outcome: Outcome, defaults: Mapping[str, Value]) -> Iterator[Finding]:
        """Let the study's `test=` function measure the last state, in another process."""
        if self.study.test is None:
            return
        what, state = "the test", outcome.states[-1]
        if state is None:
            yield Finding(
                Level.ERROR, what, f"'{self.study.test}' has nothing to measure: nothing is saved",
                "give trial.keep() the network that it is to measure",
            )  # fmt: skip
            return
        tested = self._train("the test function", defaults, 0, state, tests=True)
        if tested.failure is not None:
            yield Finding(
                Level.ERROR, what, f"'{self.study.test}' cannot measure a trial: {_told(tested.failure)}",
                "mend it now, for the winner is measured when the search is over",
            )  # fmt: skip
        else:
            yield Finding(Level.OK, what, f"it measures {', '.join(in_order(tested.metrics[0]))}")

    def _direction(self, outcome: Outcome) -> Iterator[Finding]:
        """Compare the metric with the losses: one falls where the other gets worse."""
        metric, sign = self.study.metric, 1 if self.study.maximize else -1
        values = [sign * metrics[metric] for metrics in outcome.metrics if metric in metrics]
        if is_loss(metric) or len(values) < 2:
            return
        gets_worse = all(after < before - _NOISE for before, after in itertools.pairwise(values))
        for name in outcome.metrics[0]:
            losses = [metrics[name] for metrics in outcome.metrics if name in metrics]
            falls = all(after < before for before, after in itertools.pairwise(losses))
            if is_loss(name) and len(losses) == len(values) and falls and gets_worse:
                first, last = (number(outcome.metrics[place][metric]) for place in (0, -1))
                yield Finding(
                    Level.WARNING, "the metric", f"{metric} goes from {first} to {last} while {name} falls, and the "
                    f"study is to {self.study.direction} it",
                    f"is it to be {'minimized' if self.study.maximize else 'maximized'}? then: "
                    f"direction=\"{'minimize' if self.study.maximize else 'maximize'}\"",
                )  # fmt: skip
                return

    def _state(self, cost: Cost) -> Iterator[Finding]:
        if cost.state is not None and cost.state > CHECKPOINT and not self.keeps_files:
            yield Finding(
                Level.ERROR, "the state", f"it has {format_size(cost.state)}, more than the database keeps "
                f"({format_size(CHECKPOINT)}): interrupted trials begin again, and the winner's weights are lost",
                "name a place for states in CAVIAR_CHECKPOINTS, a folder or s3://BUCKET/PATH",
            )  # fmt: skip

    def _corners(self, defaults: Outcome) -> Iterator[Finding]:
        """Train one epoch at each end of each range, all others at their defaults."""
        sound = 0
        for name, value in self._ends(defaults):
            where = f"{name} = {number(value)}"
            outcome = self._train(where, {**self._defaults, name: value}, 1)
            metrics = outcome.metrics[0] if outcome.metrics else {}
            bad = [m for m, v in metrics.items() if self._must_be_finite(m) and not math.isfinite(v)]
            verb = "are" if len(bad) > 1 else "is"
            if outcome.failure is not None:
                yield Finding(Level.ERROR, where, _told(outcome.failure), "mend it, or make the range smaller")
            elif bad:
                yield Finding(
                    Level.WARNING, where,
                    f"{' and '.join(bad)} {verb} not finite after one epoch: such trials diverge",
                    "make the range smaller if many are lost by it",
                )  # fmt: skip
            else:
                sound += 1
        if sound:
            yield Finding(Level.OK, "the ranges", f"{sound} of their ends are trained for one epoch")

    def _ends(self, defaults: Outcome) -> Iterator[tuple[str, Value]]:
        """Yield each hyperparameter with each end of its range, but for the defaults.

        An objective names its hyperparameters as it runs: those that it did not ask for at the defaults are not known.
        """
        scales: Mapping[str, BaseScale] = self.study.scales()
        if defaults.suggested:
            from optuna.distributions import json_to_distribution

            from caviar.studies.search.optuna_space import OptunaScale

            scales = {name: OptunaScale(json_to_distribution(kind)) for name, kind in defaults.suggested.items()}
        for name, scale in scales.items():
            points = max(2, scale.bins) if scale.unordered else 2
            yield from ((name, value) for value in scale.grid(points) if value != scale.default)

    def _must_be_finite(self, metric: str) -> bool:
        return metric == self.study.metric or is_loss(metric)

    def _cost(self, outcome: Outcome, workers: int) -> Cost:
        later = outcome.seconds[1:] or outcome.seconds  # the first one may load data and compile
        seconds = sum(later) / len(later)
        states = [len(state) for state in outcome.states if state is not None]
        planned = self.study.planned_epochs(self.study.budget)
        total = None if planned is None else planned * seconds / workers
        return Cost(seconds, outcome.memory, max(states, default=None), workers, total)


def _told(failure: Failure) -> str:
    return f"{failure.error} ({failure.place})" if failure.place else failure.error
