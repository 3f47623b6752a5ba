"""Everything that Accelerate prepared, as one object for `trial.keep`."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator


class Prepared:
    """The state of what an accelerator prepared: models, optimizers, schedules, the gradient scaler, and data loaders.

    Without the loaders an interrupted trial would go on with the order of rows of an earlier epoch: Accelerate counts
    epochs in each process, and in a group its loaders have random numbers of their own.

    Args:
        accelerator: whose `prepare` has been called with everything.

    Example:
        >>> model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        >>> trial.keep(accelerate=Prepared(accelerator))
    """

    def __init__(self, accelerator: Accelerator) -> None:
        scaler = accelerator.scaler
        self._loaders: list[Any] = accelerator._dataloaders
        self._stateful = {
            "models": [accelerator.unwrap_model(model) for model in accelerator._models],
            "optimizers": accelerator._optimizers,
            "schedules": accelerator._schedulers,
            "scalers": [] if scaler is None else [scaler],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the states by kind, each in the order of `prepare`."""
        states = {kind: [each.state_dict() for each in objects] for kind, objects in self._stateful.items()}
        return {**states, "loaders": [_position(loader) for loader in self._loaders]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the states."""
        for kind, objects in self._stateful.items():
            for each, saved in zip(objects, state[kind], strict=True):
                each.load_state_dict(saved)
        for loader, saved in zip(self._loaders, state["loaders"], strict=True):
            loader.iteration = saved["iteration"]
            if saved["generator"] is not None:
                loader.synchronized_generator.set_state(saved["generator"].cpu())


def _position(loader: Any) -> dict[str, Any]:
    generator = loader.synchronized_generator
    return {"iteration": loader.iteration, "generator": None if generator is None else generator.get_state()}
