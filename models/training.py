"""Training as an iterator of epochs: the caller may stop after any epoch, save the state, and continue elsewhere.

Knows nothing of pruning, leases or its caller. A resumed run gives the same curve as one that never stopped, bit for
bit on the same CPU with the same number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn, split
from torch.nn.functional import cross_entropy

from caviar.epoch import ACCURACY, LEARNING_RATE, TRAINING_LOSS, VALIDATION_LOSS, Epoch
from caviar.models.data import Data, Part
from caviar.models.errors import BadCheckpoint
from caviar.models.measures import LOSS, Measures, default_loss
from caviar.models.optim import Settings, learning_rate, make_optimizer
from caviar.models.seeding import derive

_EVALUATION_BATCH = 8192  # examples; limits the memory of an evaluation


class Interrupted(Exception):
    """An epoch was left unfinished; the training is of no further use."""


def never(alive: bool = True) -> bool:  # noqa: ARG001 - as trainings are asked that may hang
    """Return False: the epoch is not to be left."""
    return False


class Training:
    """A network being trained on a data set.

    Args:
        build: makes the network, from the shape of an example and the number of outputs.
        data: the data; the network is put onto their device.
        seed: seed of initial weights, shuffles and dropout.
        measures: the loss to train by, and what else is measured; None for the usual loss of such targets.
        state: the `state()` of an earlier run of the same network, data and seed. Its settings may have been
            different, except for the optimizer.

    Attributes:
        epoch: number of the last epoch that was trained; 0 before the first.
        decay_from: number of the epoch from which the decay of the learning rate is counted.

    Raises:
        BadCheckpoint: `state` does not fit this network.
    """

    def __init__(
        self,
        build: Callable[[tuple[int, ...], int], nn.Module],
        settings: Settings,
        data: Data,
        seed: int,
        state: Mapping[str, Any] | None = None,
        measures: Measures | None = None,
    ) -> None:
        self.build, self.settings, self.data, self.seed = build, settings, data, seed
        self.measures = measures or Measures(default_loss(data.training.y))
        self.model = _network(build, data, seed)
        self.optimizer = make_optimizer(self.model.parameters(), settings)
        self.epoch = self.decay_from = 0
        if state is not None:
            self._restore(state)

    def epochs(self, last: int, leave: Callable[[], bool] = never) -> Iterator[Epoch]:
        """Train up to and including epoch `last`, and yield the result of each epoch; 1 is the first.

        `leave` is called before each batch, of training and of validation. Once it returns True, the epoch is left
        unfinished: Interrupted says so.
        """
        self._leave_cohort()
        self._lay_out()
        while self.epoch < last:
            started = time.perf_counter()
            rate = self.learning_rate()
            training_loss = self._train_epoch(rate, leave)
            validation = evaluate(self.model, self.data.validation, self.measures, leave)
            self.epoch += 1
            yield Epoch(self.epoch, as_metrics(training_loss, validation, rate), time.perf_counter() - started)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on; random states need not be saved, see `seeding`."""
        model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        for name, tensor in model.items():
            model[name] = _whole(tensor)
        moments = {number: {n: _whole(v) for n, v in own.items()} for number, own in optimizer["state"].items()}
        return {"epoch": self.epoch, "model": model, "optimizer": {**optimizer, "state": moments}}

    def close(self, ended: object) -> None:
        """Do nothing: a training of which no epoch is asked for any more has ended."""

    def learning_rate(self) -> float:
        """Return the learning rate of the next epoch."""
        return learning_rate(self.settings, self.epoch - self.decay_from)

    def shuffled(self) -> Tensor:
        """Return the order of the training examples in the next epoch."""
        y = self.data.training.y
        generator = torch.Generator().manual_seed(derive(self.seed, "shuffle", self.epoch))
        return torch.randperm(len(y), generator=generator).to(y.device)

    def dropout_seed(self) -> int:
        """Return the seed of the next epoch's dropout."""
        return derive(self.seed, "dropout", self.epoch)

    def _leave_cohort(self) -> None:
        """Copy the tensors that are views of a cohort's: fused optimizers need tensors of their own."""
        for tensor in (*self.model.buffers(), *self.model.parameters()):
            tensor.data = _whole(tensor.data)

    def _lay_out(self) -> None:
        """Give the optimizer's averages the memory layout of their parameters, which fused optimizers assume."""
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    own = _whole(value)
                    same = own.stride() == parameter.stride()
                    state[name] = own if same else torch.empty_like(parameter).copy_(own)

    def _restore(self, state: Mapping[str, Any]) -> None:
        _load_weights(self.model, state)
        try:
            own = [{n: v for n, v in group.items() if n != "params"} for group in self.optimizer.param_groups]
            self.optimizer.load_state_dict(state["optimizer"])
            for group, settings in zip(self.optimizer.param_groups, own, strict=True):
                group.update(settings)  # the settings of this training, not of the saved one
            self.epoch = int(state["epoch"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise _misfit(error) from error

    def _train_epoch(self, rate: float, leave: Callable[[], bool]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x, y = self.data.training.x, self.data.training.y
        torch.manual_seed(self.dropout_seed())
        order = self.shuffled()
        total = torch.zeros((), dtype=torch.float64, device=y.device)
        self.model.train()
        for batch in split(order, self.settings.batch_size):
            if leave():
                raise Interrupted
            loss = self.measures.loss(self.model(x[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach() * len(batch)  # on the device: no waiting for each step's value
        return float(total) / len(y)


def as_metrics(training_loss: float, validation: Mapping[str, float], rate: float) -> dict[str, float]:
    """Return what this loop measures in an epoch, by name; `validation` is what `evaluate` returned."""
    others = {name: value for name, value in validation.items() if name != LOSS}
    return {TRAINING_LOSS: training_loss, VALIDATION_LOSS: validation[LOSS], **others, LEARNING_RATE: rate}


def _whole(value: Any) -> Any:
    """Return a copy of a tensor that is a view of a larger one; anything else as it is."""
    if isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes:
        return value.clone()
    return value


def trained_network(
    build: Callable[[tuple[int, ...], int], nn.Module], data: Data, seed: int, state: Mapping[str, Any]
) -> nn.Module:
    """Return the network of a training, from its state. It takes no optimizer, whose first one takes a second.

    Args:
        seed: the training's; a network may have random parts that are not in its state.

    Raises:
        BadCheckpoint: the state is not of such a network.
    """
    model = _network(build, data, seed)
    _load_weights(model, state)
    return model


def _network(build: Callable[[tuple[int, ...], int], nn.Module], data: Data, seed: int) -> nn.Module:
    torch.manual_seed(derive(seed, "weights"))
    model = build(data.sample, data.outputs).to(data.training.x.device)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):  # faster with its channels last: 1.2 to 1.7 times on a CPU
            module.to(memory_format=torch.channels_last)
    return model


def _load_weights(model: nn.Module, state: Mapping[str, Any]) -> None:
    try:
        weights, names = state["model"], model.state_dict().keys()
        if len(weights) == len(names):  # a module without weights, such as dropout, renames those behind it
            weights = dict(zip(names, weights.values(), strict=True))
        model.load_state_dict(weights)
    except (KeyError, RuntimeError, ValueError) as error:
        raise _misfit(error) from error


def _misfit(error: Exception) -> BadCheckpoint:
    return BadCheckpoint(f"the checkpoint does not fit this network: {str(error).splitlines()[0]}")


@torch.inference_mode()
def evaluate(model: nn.Module, part: Part, measures: Measures, leave: Callable[[], bool] = never) -> dict[str, float]:
    """Return what is measured of a model on a part of the data, by name: `loss`, `accuracy` of classes, and metrics.

    `leave` is called before each batch.

    Raises:
        Interrupted: `leave` returned True.
        BadMeasure: a metric of the user's cannot be measured.
    """
    model.eval()
    device = part.y.device
    loss, right = torch.zeros((), dtype=torch.float64, device=device), torch.zeros((), device=device)
    outputs: list[Tensor] = []
    for x, y in zip(split(part.x, _EVALUATION_BATCH), split(part.y, _EVALUATION_BATCH), strict=True):
        if leave():
            raise Interrupted
        out: Tensor = model(x)
        if measures.adds_up:
            loss += cross_entropy(out, y, reduction="sum")
            right += (out.argmax(1) == y).sum()
        else:
            outputs.append(out)
    if outputs:
        return measures.of(torch.cat(outputs), part.y)
    return {LOSS: float(loss) / len(part.y), ACCURACY: float(right) / len(part.y)}
