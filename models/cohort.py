"""Cohorts: many trainings run as one program, with stacked weights and one matrix product for all.

Each member is an ordinary `Training` with settings of its own. While it is in a cohort its tensors are views of the
cohort's, so that after any epoch it may be saved, leave, and continue alone or in another cohort. Its curve is the same
as alone, except for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn, split
from torch.nn.functional import cross_entropy

from caviar.epoch import ACCURACY, Epoch
from caviar.models.cohort_kinds import kind
from caviar.models.data import Part
from caviar.models.measures import LOSS, Loss
from caviar.models.mlp import MLP
from caviar.models.stacked_mlp import StackedMLP
from caviar.models.stacked_module import StackedModule
from caviar.models.stacked_optim import Members
from caviar.models.training import Interrupted, Training, as_metrics, never

_EVALUATION_BATCH = 1024  # examples; the activations of all members should stay in the cache


class Cohort:
    """Trains several trainings together, one at least, for all of which `cohort_kinds.kind` is the same."""

    def __init__(self, members: Sequence[Training]) -> None:
        if len({kind(member) for member in members}) != 1:
            raise ValueError("a cohort needs members of one kind")
        self.members = tuple(members)
        self._stack = _stack([member.model for member in members], members[0].measures.loss)
        settings, optimizers = [m.settings for m in members], [m.optimizer for m in members]
        self._update = Members(settings, optimizers, self._stack.parameters, self._stack.views).update()

    def epoch(self, leave: Callable[[], bool] = never) -> list[Epoch]:
        """Train one epoch, and return the result of each member; its seconds are its share of the time.

        `leave` is as for `Training.epochs`; after Interrupted no member is of further use.
        """
        started = time.perf_counter()
        rates = [member.learning_rate() for member in self.members]
        with torch.no_grad():
            training = self._train(rates, leave)
            validation = self._evaluate(self.members[0].data.validation, leave)
        share = (time.perf_counter() - started) / len(self.members)
        results = []
        for member, rate, loss, measured in zip(self.members, rates, training, validation, strict=True):
            member.epoch += 1
            results.append(Epoch(member.epoch, as_metrics(loss, measured, rate), share))
        return results

    def _train(self, rates: Sequence[float], leave: Callable[[], bool]) -> list[float]:
        part, size = self.members[0].data.training, self.members[0].settings.batch_size
        orders = torch.stack([member.shuffled() for member in self.members])
        generators = [torch.Generator(part.y.device).manual_seed(member.dropout_seed()) for member in self.members]
        total = torch.zeros(len(self.members), dtype=torch.float64, device=part.y.device)
        self._update.begin(rates)
        for index in torch.split(orders, size, dim=1):
            if leave():
                raise Interrupted
            x = part.x.index_select(0, index.flatten()).view(*index.shape, *part.x.shape[1:])
            losses = self._stack.step(x, part.y[index], self._update, generators)
            total += losses * index.shape[1]
        self._update.settle()
        return (total / len(part.y)).tolist()

    def _evaluate(self, part: Part, leave: Callable[[], bool]) -> list[dict[str, float]]:
        """Return what is measured of each member, as `training.evaluate` does."""
        members, measures, outputs = len(self.members), self.members[0].measures, list[Tensor]()
        loss = torch.zeros(members, dtype=torch.float64, device=part.y.device)
        right = torch.zeros_like(loss)
        for x, y in zip(split(part.x, _EVALUATION_BATCH), split(part.y, _EVALUATION_BATCH), strict=True):
            if leave():
                raise Interrupted
            out = self._stack.outputs(x)
            if not measures.adds_up:
                outputs.append(out)
                continue
            own = y.expand(members, -1)
            loss += cross_entropy(out.mT, own, reduction="none").sum(1)
            right += (out.argmax(2) == own).sum(1)
        if outputs:
            return [measures.of(own, part.y) for own in torch.cat(outputs, 1)]
        # Divided here, as for one network: a GPU multiplies by the reciprocal, which changes the last digit.
        count = len(part.y)
        pairs = zip(loss.tolist(), right.tolist(), strict=True)
        return [{LOSS: a / count, ACCURACY: b / count} for a, b in pairs]


def _stack(models: Sequence[nn.Module], loss: Loss) -> StackedMLP | StackedModule:
    perceptrons = [model for model in models if type(model) is MLP]
    return StackedMLP(perceptrons, loss) if len(perceptrons) == len(models) else StackedModule(models, loss)
