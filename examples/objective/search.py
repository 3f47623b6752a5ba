"""An Optuna program as there are many: an objective with conditional hyperparameters, which prunes."""

import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from models.classifier import build


def objective(trial):
    x, x_other, y, y_other = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)
    classifier = build(trial)
    for step in range(10):
        classifier.partial_fit(x / 16, y, classes=range(10))
        accuracy = classifier.score(x_other / 16, y_other)
        trial.report(accuracy, step)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return accuracy


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=20)
    print(study.best_trial)
