"""What a training measured is kept as it was, whatever its names and values are."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from caviar.epoch import BUILT_IN, Epoch, check_metrics, from_document, metric_names, to_document

FLOATS = some.floats(allow_nan=True, allow_infinity=True)


@given(some.dictionaries(some.text(min_size=1), FLOATS))
def test_metrics_come_back_from_json_as_they_were(metrics: dict[str, float]) -> None:
    text = json.dumps(to_document(metrics), allow_nan=False)
    back = from_document(json.loads(text))
    assert back.keys() == metrics.keys()
    assert all(back[name] == value or (math.isnan(back[name]) and math.isnan(value)) for name, value in metrics.items())


def test_the_metric_and_every_loss_must_be_finite() -> None:
    epoch = Epoch(1, {"rmse": 1.0, "Focal_Loss": math.nan, "memory": math.inf}, 0.1)
    assert epoch.losses("rmse").keys() == {"rmse", "Focal_Loss"}
    assert not epoch.is_finite("rmse")
    assert Epoch(1, {"rmse": 1.0, "memory": math.inf}, 0.1).is_finite("rmse")
    assert Epoch(1, {}, 0.1).is_finite("rmse")
    assert epoch.value("loss") is None


def test_names_are_listed_once_those_of_the_own_loop_first() -> None:
    epochs = [Epoch(1, {"z": 1, "accuracy": 1}, 0), Epoch(2, {"a": 1, "training_loss": 1, "z": 1}, 0)]
    assert metric_names(epochs) == ["training_loss", "accuracy", "a", "z"]
    assert metric_names([Epoch(1, dict.fromkeys(reversed(BUILT_IN), 0.0), 0)]) == list(BUILT_IN)


def test_what_can_be_a_number_is_one() -> None:
    assert check_metrics({"count": 3, "ok": True, "text": "1.5"}) == {"count": 3.0, "ok": 1.0, "text": 1.5}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"loss": None}, "the metric 'loss' is None, which is no number"),
        ({"loss": "low"}, "the metric 'loss' is 'low', which is no number"),
        ({"loss": 10**400}, "which is no number"),
        ({"": 1.0}, "a metric is called ''; give it a name of 1 to 100 characters"),
        ({7: 1.0}, "a metric is called 7"),
        ({"a\x1b[2J": 1.0}, "has the control character"),
        ({"m" * 101: 1.0}, "has 101 characters, more than 100"),
        ({str(n): 1.0 for n in range(1001)}, "there are 1,001 metrics; 1,000 are most"),
    ],
)
def test_what_cannot_be_kept_says_why(metrics: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_metrics(metrics)
    assert "\n" not in str(caught.value)


def test_a_loss_with_its_gradient_is_a_number(recwarn: pytest.WarningsRecorder) -> None:
    torch = pytest.importorskip("torch")

    assert check_metrics({"loss": torch.tensor(0.5, requires_grad=True)}) == {"loss": 0.5}
    assert not recwarn.list
