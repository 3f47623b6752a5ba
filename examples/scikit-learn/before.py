"""Classify scikit-learn's digits by a linear model that is trained pass by pass."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from models.linear import Linear


def train(trial):
    x, x_other, y, y_other = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)

    model = Linear(trial["alpha"], trial["eta0"])
    for epoch in range(1, 11):
        for rows in np.array_split(np.random.permutation(len(x)), 10):
            model.partial_fit(x[rows] / 16, y[rows], classes=np.arange(10))
        print(f"epoch {epoch}: accuracy {model.score(x_other / 16, y_other):.4f}")


if __name__ == "__main__":
    train({"alpha": 1e-4, "eta0": 0.1})
