"""Classifiers of scikit-learn's; which hyperparameters there are depends on the kind."""

from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier


def build(trial):
    """Return a classifier that an Optuna trial has chosen."""
    if trial.suggest_categorical("kind", ["network", "linear"]) == "linear":
        return SGDClassifier(alpha=trial.suggest_float("alpha", 1e-6, 1e-1, log=True))
    units = [trial.suggest_int(f"units_{i}", 8, 64) for i in range(trial.suggest_int("layers", 1, 2))]
    return MLPClassifier(units, learning_rate_init=trial.suggest_float("lr", 1e-4, 1e-1, log=True))
