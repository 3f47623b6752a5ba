"""A trial, as the training function of a user gets it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Never, NoReturn, TypeVar

from caviar.studies.errors import TrialMisused
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.training import Ended
from caviar.suggestions import did_you_mean
from caviar.text import quoted

if TYPE_CHECKING:
    import torch

    from caviar.studies.workers.user.loop import Loop

Batch = TypeVar("Batch")


class Trial:
    """A trial that is to be trained: its hyperparameters, its epochs, and what they report.

    Example:
        >>> def train(trial: caviar.Trial) -> None:
        ...     net = Net(units=trial["hidden_units"]).to(trial.device)
        ...     optimizer = torch.optim.AdamW(net.parameters(), lr=trial["learning_rate"])
        ...     trial.keep(net=net, optimizer=optimizer)
        ...     for epoch in trial.epochs():
        ...         loss = train_epoch(net, optimizer)
        ...         trial.report(loss=loss, rmse=evaluate(net))

    Attributes:
        number: number of the trial, from 0.
        values: the value of each hyperparameter, by name, the fixed ones too.
        device: the device to train on.
        rank: number of this process among those that train the trial together, from 0.
        world_size: how many processes train the trial together.
    """

    def __init__(
        self, number: int, values: Mapping[str, Value], device: torch.device, loop: Loop, rank: int = 0,
        world_size: int = 1,
    ) -> None:  # fmt: skip
        self.number, self.values, self.device = number, dict(values), device
        self.rank, self.world_size = rank, world_size
        self._loop = loop

    def __getitem__(self, name: str) -> Any:
        """Return the value of a hyperparameter.

        Raises:
            TrialMisused: the study has no such hyperparameter.
        """
        if name not in self.values:
            raise TrialMisused(
                f"no hyperparameter '{name}'; {did_you_mean(name, self.values)}the study has: {', '.join(self.values)}"
            )
        return self.values[name]

    def __getattr__(self, name: str) -> NoReturn:
        """Say how it is done instead: where a hyperparameter is, and where Optuna's methods are.

        Raises:
            AttributeError: always; Python asks for what is not there.
        """
        how = ""
        if name in self.__dict__.get("values", ()):
            how = f"; write trial['{name}']"
        elif name == "should_prune" or name.startswith("suggest_"):
            how = "; name a function of Optuna's trials by objective=, or read hyperparameters as trial['lr']"
        raise AttributeError(f"a caviar.Trial has no '{name}'{how}", name=name, obj=self)

    @property
    def epoch(self) -> int:
        """Number of the last epoch that is trained; 0 before the first."""
        return self._loop.epoch

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch that the trial is to have."""
        return self._loop.last

    @property
    def ended(self) -> Ended | None:
        """Why the trial goes on no more in this process; None while it does. It is set once `epochs()` has ended."""
        return self._loop.ended

    def keep(self, *unnamed: Never, **objects: Any) -> None:
        """Save the states of these objects between epochs, and restore them at once if the trial goes on.

        To be called before the loop over `epochs()`, with all that the next epoch depends on: network, optimizer,
        schedule, a scaler of gradients. Random states need not be saved: each epoch is seeded. Without it an
        interrupted trial begins again.

        Args:
            objects: by name, anything with `state_dict()` and `load_state_dict()`. The states are tensors and plain
                values, since nothing is unpickled.

        Raises:
            TrialMisused: an object has no name or no such methods, or a state that would have to be unpickled.
        """
        _refuse_unnamed("keep", "an object", "net=net", unnamed)
        self._loop.keep(objects)

    def epochs(self) -> Iterator[int]:
        """Yield the number of each epoch that is to be trained, from the first that is not trained yet.

        It goes on behind the last epoch that was saved, and ends when the trial is complete, pruned, paused, killed or
        handed back; `ended` says which. `random`, NumPy and PyTorch are seeded anew for each epoch, so that an
        interrupted trial draws what it would have drawn. An epoch is whatever reports: an epoch of the data, or so many
        steps. Of several ranks each draws numbers of its own in an epoch, and all of them leave the loop together.

        Raises:
            TrialMisused: an epoch reported nothing.
        """
        return self._loop.epochs()

    def report(self, *unnamed: Never, **metrics: float) -> None:
        """Report metrics of the epoch in progress, such as `loss=0.3, rmse=1.2`; one of them is the study's metric.

        It may be called several times in an epoch; the last value of a name counts. They are written, with their
        epoch, when the loop over `epochs()` goes on. Of several ranks, what the first one reports counts.

        Args:
            metrics: by any name, a number, or a tensor of one. A loss that is not finite ends the trial: it diverged.

        Raises:
            TrialMisused: it is called outside of the loop, or a value has no name or is no number.
        """
        _refuse_unnamed("report", "a metric", "loss=0.3", unnamed)
        self._loop.report(metrics)

    def batches(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches of a loader, and let the trial be left between two of them.

        Without it, a request to stop at once is heard at the end of the epoch, and an epoch without an end is noticed
        later: each batch is a sign of life. A `DataLoader` with `persistent_workers` gets new ones in each epoch: else
        an interrupted trial could not draw the random numbers that they would have drawn.
        """
        return self._loop.batches(batches)

    def goes_on(self) -> bool:
        """Give a sign of life between two batches, as `batches` does; return False if the epoch is to be left.

        For the callback of a framework that has the loop over the batches.
        """
        return self._loop.goes_on()

    def begin_epoch(self) -> bool:
        """Begin the next epoch, as `epochs` does; return False if there is none, since the trial goes on no more.

        For the callback of a framework that has the loop over the epochs: when it begins one, and has read none of its
        batches. What `keep` named is saved by `end_epoch`.

        Example:
            >>> class Tuned(Callback):
            ...     def on_epoch_begin(self):
            ...         trial.begin_epoch()
            ...     def on_epoch_end(self, logs):
            ...         trial.report(**logs)
            ...         self.model.stop_training = not trial.end_epoch()
        """
        return self._loop.begin_epoch()

    def end_epoch(self, *, is_last: bool = False) -> bool:
        """End the epoch that `begin_epoch` began, with what it reported; return False if the trial goes on no more.

        Args:
            is_last: whether the framework ends its training with it, such as by early stopping: the trial is complete
                then, and no other worker goes on with it.

        Raises:
            TrialMisused: the epoch reported nothing.
        """
        return self._loop.end_epoch(is_last=is_last)


def _refuse_unnamed(method: str, what: str, example: str, unnamed: tuple[object, ...]) -> None:
    if unnamed:
        raise TrialMisused(
            f"trial.{method}() got {what} without a name, {quoted(unnamed[0])}; give each by name, such as "
            f"trial.{method}({example})"
        )
