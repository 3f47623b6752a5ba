"""Data of the user's own: what a function returns becomes tensors that fit, or one line says what is wrong."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset, random_split

from caviar.models import digests
from caviar.models.data import Data, digest, load, load_all, moments, shape
from caviar.models.errors import BadData, UnknownFunction

CPU, NOWHERE = torch.device("cpu"), Path("nowhere")
X, Y = torch.rand(12, 3), torch.arange(12) % 4
Returns = Callable[[Any], str]


@pytest.fixture
def returns() -> Iterator[Returns]:
    """Makes a module `my_data` whose function `load` returns a value, or what a function returns; gives its path."""
    module = ModuleType("my_data")
    sys.modules["my_data"] = module

    def make(value: Any) -> str:
        module.load = value if callable(value) else lambda: value  # type: ignore[attr-defined]
        loaded("my_data:load")
        return "my_data:load"

    yield make
    del sys.modules["my_data"]


def loaded(path: str) -> Data:
    return load(path, NOWHERE, CPU)


def test_tensors_are_taken_as_they_are(returns: Returns) -> None:
    path = returns(((X, Y), (X[:5], Y[:5]), (X[:2] + 1, Y[:2])))
    data, test = load_all(path, NOWHERE, CPU)
    assert torch.equal(data.training.x, X)
    assert torch.equal(data.validation.y, Y[:5])
    assert test is not None
    assert torch.equal(test.x, X[:2] + 1)
    assert (data.sample, data.classes, data.outputs) == ((3,), 4, 4)
    assert shape(path) == ((3,), 4, True)
    assert moments(path, NOWHERE) is None


def test_the_test_part_may_be_missing(returns: Returns) -> None:
    for parts in (((X, Y), (X, Y)), ((X, Y), (X, Y), None)):
        assert load_all(returns(parts), NOWHERE, CPU)[1] is None


def test_arrays_and_other_types_of_numbers_become_those_that_train(returns: Returns) -> None:
    data = loaded(returns((([[0.5], [1.5]], [0, 1]), (np.ones((3, 1)), np.ones(3, dtype=np.uint8)))))
    assert (data.training.x.dtype, data.training.y.dtype) == (torch.float32, torch.int64)
    assert (data.validation.x.dtype, data.validation.y.dtype) == (torch.float32, torch.int64)
    assert loaded(returns(((X, Y > 1), (X, Y > 1)))).classes == 2


def test_numbers_as_targets_are_a_regression(returns: Returns) -> None:
    path = returns(((X, Y.double()), (X, Y.double())))
    data = loaded(path)
    assert (data.training.y.shape, data.training.y.dtype) == ((12, 1), torch.float32)
    assert (data.classes, data.outputs, shape(path)) == (None, 1, ((3,), 1, False))
    assert loaded(returns(((X, X), (X, X)))).outputs == 3


def test_one_number_an_example_is_a_row_of_one(returns: Returns) -> None:
    assert loaded(returns(((X[:, 0], Y), (X[:, 0], Y)))).sample == (1,)


def test_a_map_style_dataset_is_read_example_by_example(returns: Returns) -> None:
    whole = TensorDataset(X, Y)
    data = loaded(returns(lambda: random_split(whole, [8, 4])))
    assert data.training.x.shape == (8, 3)
    rows = torch.cat([data.training.x, data.validation.x])
    assert torch.equal(rows.sort(0).values, X.sort(0).values)


def test_what_is_random_in_the_function_is_the_same_in_every_process(returns: Returns) -> None:
    def drawn() -> Any:
        x = torch.rand(5, 2) + float(np.random.rand()) + random.random()
        return (x, Y[:5]), (x, Y[:5])

    path = returns(drawn)
    state = torch.get_rng_state(), random.getstate()
    first = loaded(path)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    assert torch.equal(loaded(path).training.x, first.training.x)
    assert loaded(path).digest == first.digest


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("of", ["x", "y"])
def test_every_number_of_every_part_counts_in_the_digest(returns: Returns, part: int, of: str) -> None:
    parts = [[X.clone(), Y.clone()] for _ in range(3)]
    before = digest(returns(parts), NOWHERE)
    assert digest(returns(parts), NOWHERE) == before
    parts[part]["xy".index(of)][2] += -1
    assert digest(returns(parts), NOWHERE) != before


def test_a_part_more_and_another_shape_count_too(returns: Returns) -> None:
    two = ((X, Y), (X, Y))
    found = {digest(returns(d), NOWHERE) for d in (two, (*two, (X, Y)), ((X.view(12, 3, 1), Y), (X.view(12, 3, 1), Y)))}
    assert len(found) == 3


def test_any_number_of_a_large_tensor_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of it are hashed, and a sum of all of it besides."""
    monkeypatch.setattr(digests, "_WHOLE", 2**12)
    monkeypatch.setattr(digests, "_BLOCK", 2**4)
    large = torch.zeros(2**14, dtype=torch.uint8)
    before = digests.of_tensors([large])
    for at in (0, 77, 2**13 + 9, 2**14 - 1):
        changed = large.clone()
        changed[at] = 1
        assert digests.of_tensors([changed]) != before
    assert digests.of_tensors([large.clone()]) == before
    swapped = torch.arange(2**14, dtype=torch.int64)
    other = swapped.clone()
    other[:2] = swapped[:2].flip(0)
    assert digests.of_tensors([swapped]) != digests.of_tensors([other])  # a block has the order


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


def bad(x: Any = X, y: Any = Y) -> Any:
    return (X, Y), (x, y)


WRONG = {
    "mapping": ({"training": (X, Y)}, r"'my_data:load' returned of type dict; return \(training, validation\)"),
    "flat": ((X, Y, X, Y), r"returned a tuple of 4; return \(training, validation\)"),
    "none": (None, "returned of type NoneType"),
    "tensor": (torch.rand(2, 2, 3), "returned of type Tensor"),
    "part": ((X, Y), r"the training part of 'my_data:load' is of type Tensor; give \(x, y\) or a map-style dataset"),
    "triple": ((X, Y, X), r"the training part of 'my_data:load' is of type Tensor"),
    "text": (bad(x="cats"), "has as x of type str, which makes no tensor"),
    "ragged": (bad(x=[[1.0], [1.0, 2.0]]), "has as x a list of 2, which makes no tensor"),
    "lengths": (bad(y=Y[:5]), r"x of shape \(12, 3\) and y of shape \(5,\); give as many targets as examples"),
    "scalar": (bad(x=torch.tensor(1.0)), "give as many targets as examples"),
    "empty": (bad(X[:0], Y[:0]), "the validation part of 'my_data:load' is empty"),
    "x of integers": (bad(x=Y.unsqueeze(1)), r"has x of torch.int64; give floating-point numbers, such as x.float\(\)"),
    "nan": (bad(x=torch.full((12, 3), torch.nan)), "has a value in x that is no finite float32, in example 0"),
    "too large": (bad(x=torch.full((12, 3), 1e300, dtype=torch.float64)), "no finite float32, in example 0"),
    "one-hot": (bad(y=torch.zeros(12, 4, dtype=torch.int64)), r"y of torch.int64 and shape \(12, 4\); give the number"),
    "kinds": (bad(y=Y.float()), "has numbers in y, the training part classes"),
    "targets": (((X, X), (X, X[:, :2])), r"has targets of shape \(2,\), the training part of \(3,\)"),
    "nan in y": (((X, X), (X, X / 0)), "has a value in y that is no finite float32"),
    "complex": (bad(y=torch.zeros(12, dtype=torch.complex64)), "y of torch.complex64"),
    "negative": (bad(y=Y - 1), "has the class -1 in y; number the classes from 0"),
    "unseen": (bad(y=Y + 1), "has the class 4, the training part none above 3"),
    "one class": (((X, Y * 0), (X, Y * 0)), "has no class but 0 in y"),
    "samples": (bad(x=X[:, :2]), r"has examples of shape \(2,\), the training part of \(3,\)"),
    "stream": (((X, Y), Stream()), "is of type Stream, which has no length; give a map-style dataset"),
    "no length": ((torch.utils.data.Dataset(), (X, Y)), "which has no length"),
    "no pairs": ((TensorDataset(X), (X, Y)), "whose examples are no pairs of x and y"),
    "no items": ((TensorDataset(X[:0], Y[:0]), (X, Y)), "the training part of 'my_data:load' is empty"),
}


@pytest.mark.parametrize(("value", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_nothing_can_be_trained_on_is_one_line(returns: Returns, value: Any, message: str) -> None:
    with pytest.raises(BadData, match=message) as caught:
        returns(value)
    assert "\n" not in str(caught.value)


def test_a_later_example_is_named(returns: Returns) -> None:
    x = torch.zeros(9000, 2)
    x[8191, 1] = torch.inf
    with pytest.raises(BadData, match="in example 8191"):
        returns(((x, torch.arange(9000) % 2), (X[:, :2], Y % 2)))


def leave() -> None:
    sys.exit(3)


def fail() -> None:
    raise FileNotFoundError("no prices.csv\nin sight")


@pytest.mark.parametrize(
    ("function", "message"),
    [(leave, "sys.exit"), (fail, "FileNotFoundError: no prices.csv$"), (lambda _: 0, "TypeError")],
)
def test_a_function_that_raises_is_one_line(returns: Returns, function: Any, message: str) -> None:
    with pytest.raises(BadData, match=f"the data of 'my_data:load' cannot be loaded: .*{message}"):
        returns(function)


def test_a_path_without_a_function_is_refused(returns: Returns) -> None:
    returns(((X, Y), (X, Y)))
    sys.modules["my_data"].table = 3  # type: ignore[attr-defined]
    for path, message in {
        "my_data:lod": "no function at 'my_data:lod'",
        "my_data:table": "'my_data:table' is no function: 3",
        "nowhere_at_all:load": "give the command in the folder that has nowhere_at_all",
    }.items():
        with pytest.raises(UnknownFunction, match=message):
            loaded(path)
