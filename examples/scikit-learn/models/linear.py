"""A linear model of scikit-learn's, whose state can be kept."""

import torch
from sklearn.linear_model import SGDClassifier


class Linear(SGDClassifier):
    """A classifier with a falling rate."""

    def __init__(self, alpha: float = 1e-4, eta0: float = 0.1) -> None:
        super().__init__(loss="log_loss", learning_rate="invscaling", power_t=0.25, alpha=alpha, eta0=eta0)

    def state_dict(self) -> dict[str, torch.Tensor | float]:
        """Return what it has learned, as tensors and numbers."""
        arrays = {name: torch.tensor(getattr(self, name)) for name in ("classes_", "coef_", "intercept_")}
        return {**arrays, "t_": self.t_}

    def load_state_dict(self, state: dict[str, torch.Tensor | float]) -> None:
        """Go on from what was learned."""
        for name, value in state.items():
            setattr(self, name, value.numpy() if isinstance(value, torch.Tensor) else value)
