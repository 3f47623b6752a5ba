"""What a panda's curves say, what its settings are after any epoch, and which states are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caviar.epoch import Epoch
from caviar.storage.nudges import NudgeRecord
from caviar.storage.pandas import DayRecord, Life, PandaRecord
from caviar.storage.states import SlotState
from caviar.studies.errors import OptionError
from caviar.studies.panda.advice import Advice, Outcome, Verdict, Window, advise, judge
from caviar.studies.panda.candidates import parse_candidates, within_noise
from caviar.studies.panda.length import DayLength, parse_length
from caviar.studies.panda.lineage import branches, kept_days, path
from caviar.studies.panda.records import JournalDay
from caviar.studies.panda.settings import (
    change_settings,
    check_names,
    settings_after,
)
from caviar.studies.space.scales import Log, LogOneMinus
from caviar.studies.space.words import parse_settings
from tests.helpers.epochs import measured
from tests.helpers.studies import small_study

RATES = {"learning_rate": Log(1e-4, 1, default=0.1), "momentum": LogOneMinus(0.9, 0.999, default=0.9)}


def epochs(
    losses: list[float], accuracies: list[float] | None = None, first: int = 0, rate: float = 0.1
) -> list[Epoch]:
    accuracies = accuracies or [max(0.0, 1 - loss / 3) for loss in losses]
    return [
        measured(first + i, loss, loss, accuracy, rate, 1.0)
        for i, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True))
    ]


def window(before: list[float], own: list[float], rate: float = 0.1, earlier: float = 1.0, **fields: Any) -> Window:
    settings = fields.pop("settings", {})
    return Window(epochs(before, rate=earlier), epochs(own, first=len(before), rate=rate), settings, 1, **fields)


def advice(given: Window) -> Advice:
    return advise(given, judge(given, "validation_loss", maximize=False, examples=1000), RATES)


def test_a_step_within_the_noise_is_no_difference() -> None:
    flat = Window(epochs([1, 1, 1], [0.90, 0.91, 0.90]), epochs([1], [0.905], 3), {}, 1)
    assert judge(flat, "accuracy", maximize=True, examples=10_000).word == "no different"
    assert judge(flat, "accuracy", maximize=True, examples=100).noise == pytest.approx(0.029, abs=0.001)
    up, down = (Window(epochs([1, 1], [0.5, 0.9]), epochs([1], [a], 2), {}, 1) for a in (0.93, 0.85))
    assert judge(up, "accuracy", maximize=True, examples=10_000).word == "better"
    assert judge(down, "accuracy", maximize=True, examples=10_000).word == "worse"
    assert judge(window([2, 1], [0.5]), "validation_loss", maximize=False, examples=10).word == "better"


def test_a_loss_that_rises_asks_for_a_smaller_rate_and_to_go_back() -> None:
    seen = window([2.3, 1.0], [1.5], rate=0.3)
    assert advice(seen) == Advice(
        "the training loss rose from 1 to 1.5: the learning rate is too high", {"learning_rate": 0.1}, back=1
    )


def test_the_rate_comes_first_with_momentum_at_its_default() -> None:
    seen = window([2.3, 1.0], [1.5], rate=0.3, settings={"momentum": 0.99})
    assert advice(seen).settings == {"learning_rate": 0.1, "momentum": 0.9}


def test_a_loss_that_oscillates_asks_for_a_smaller_rate() -> None:
    found = advice(window([2.3, 1.0], [0.9, 1.0, 0.85, 0.95, 0.9, 0.95], rate=0.3))
    assert "oscillates: it turned 5 times in 6 epochs" in found.why
    assert found.settings == {"learning_rate": 0.1}


@pytest.mark.parametrize(
    ("own", "raised", "rate"),
    [([2.29], False, 0.069), ([2.2999], False, 0.1), ([1.8], False, 0.003), ([1.8], True, 0.01), ([1.0], False, None)],
)
def test_slow_and_smooth_asks_for_a_larger_rate(own: list[float], raised: bool, rate: float | None) -> None:
    found = advice(window([2.31, 2.3], own, rate=0.001, earlier=0.0001 if raised else 0.001))
    assert found.settings.get("learning_rate") == rate


def test_a_rate_is_not_raised_to_one_that_was_too_high_nor_out_of_its_range() -> None:
    assert advice(window([2.3], [2.29], rate=0.1, too_high=(0.9, 0.6))).settings == {"learning_rate": 0.2}
    assert "learning_rate" not in advice(window([2.3], [2.0], rate=0.1, too_high=(0.3,))).settings
    assert advice(window([2.3], [2.29], rate=0.5)).settings == {"learning_rate": 1.0}
    assert "learning_rate" not in advice(window([2.3], [2.29], rate=1.0)).settings


def test_what_is_nearly_there_is_not_slow() -> None:
    assert advice(window([2.3, 0.2], [0.19])).why == "it still improves: go on"


def test_overfitting_is_named() -> None:
    before = [measured(0, 2.3, 2.3, 0.1, 0.1, 1)]
    own = [measured(i, 0.2 - i / 50, 0.3 + i / 50, 0.9, 0.1, 1) for i in range(1, 5)]
    found = advise(Window(before, own, {}, 0), Verdict(Outcome.NO_DIFFERENT), RATES, lowest=7)
    assert "for 3 epochs the validation loss rose, while the training loss fell: it overfits" in found.why
    assert not found.settings
    assert found.back == 7


def test_what_does_not_improve_is_told_to_take_smaller_steps() -> None:
    found = advice(window([2.3, 0.1, 0.105], [0.1055]))
    assert found.why == "it does not improve beyond the noise: smaller steps average that out"
    assert found.settings == {"learning_rate": 0.033}
    low = advice(window([2.3, 0.1, 0.105], [0.1055], rate=1e-4))
    assert "at its lower bound: stop here" in low.why
    assert not low.settings


def test_a_validation_loss_that_still_falls_is_left_to_fall() -> None:
    before = [measured(i, loss, loss, 0.95, 0.1, 1) for i, loss in enumerate([2.3, 0.19])]
    own = [measured(2, 0.08, 0.165, 0.9505, 0.1, 1)]
    seen = Window(before, own, {}, 1)
    found = advise(seen, judge(seen, "accuracy", maximize=True, examples=359), RATES)
    assert found == Advice("its validation loss still falls: go on")


def test_advice_is_of_the_rate_that_there_is_with_its_decay() -> None:
    seen = window([2.3, 0.3], [0.5], rate=0.0048, settings={"learning_rate": 0.1, "decay": 1.0})
    assert advice(seen).settings == {"learning_rate": 0.0016}


def test_advice_stays_in_the_range_to_the_last_digit() -> None:
    narrow = {"learning_rate": Log(0.000125, 0.256, default=0.1)}
    up = advise(window([2.3], [2.29], rate=0.1), Verdict(Outcome.BETTER), narrow).settings["learning_rate"]
    down = advise(window([2.3, 1.0], [1.5], rate=0.0002), Verdict(Outcome.WORSE), narrow).settings["learning_rate"]
    assert (up, down) == (0.256, 0.000125)


def test_out_of_memory_is_not_too_high_a_rate() -> None:
    found = advise(window([2.3], [2.0], settings={"batch_size": 64}), Verdict(Outcome.OUT_OF_MEMORY), RATES)
    assert "ran out of memory" in found.why
    assert (found.settings, found.back) == ({"batch_size": 32}, 1)


def nudge(epoch: int, settings: dict[str, float], day: int = 1) -> NudgeRecord:
    return NudgeRecord(epoch, datetime.now(UTC), settings, None, "me", "taken", day, epoch)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["learning_rate", "momentum", "decay"]), st.floats(0, 1)))
)
def test_settings_after_an_epoch_are_those_of_the_nudges_up_to_it(given_: list[tuple[int, str, float]]) -> None:
    nudges = [nudge(epoch, {name: value}) for epoch, name, value in sorted(given_, key=lambda n: n[0])]
    day = DayRecord(0, 0, {"learning_rate": 0.1, "momentum": 0.9, "decay": 0.0}, 0, number=1)
    now = settings_after(day, [], 0)
    for epoch in range(21):
        for one in nudges:
            if one.epoch == epoch:
                now = change_settings(now, one.settings, epoch)
        assert settings_after(day, [*nudges, nudge(0, {"learning_rate": 7}, day=2)], epoch) == now


def life(*parents: int | None, head: int, looks: tuple[int, ...] = (), values: dict[int, float] | None = None) -> Life:
    days = tuple(
        DayRecord(
            parent, 0, {}, 0, is_look=number in looks, number=number, state="done", saved=True,
            value=(values or {}).get(number, 0.5),
        )
        for number, parent in enumerate(parents)
    )  # fmt: skip
    return Life(PandaRecord(head, 1, None, False, 0, None), days, ())


def test_branches_of_a_life() -> None:
    #   0 - 1 - 2 - 3      3 was left, 5 is where it is; 6 and 7 left 4
    #           '- 4 - 5
    lived = life(None, 0, 1, 2, 2, 4, 4, 6, head=5, values={7: 0.9, 6: 0.4})
    assert [d.number for d in path(lived, 7)] == [0, 1, 2, 4, 6, 7]
    assert [[d.number for d in branch] for branch in branches(lived)] == [[0, 1, 2, 4, 5], [6, 7], [3]]
    assert kept_days(lived, maximize=True) == {0, 1, 2, 3, 4, 5, 7}
    assert kept_days(lived, maximize=False) == {0, 1, 2, 3, 4, 5, 6}


def test_looks_are_kept_until_the_panda_goes_on() -> None:
    assert kept_days(life(None, 0, 1, 1, head=1, looks=(2, 3)), maximize=True) == {0, 1, 2, 3}
    assert kept_days(life(None, 0, 1, 1, 1, head=4, looks=(2, 3)), maximize=True) == {0, 1, 4}
    assert kept_days(life(None, 0, 1, 1, 3, head=4, looks=(2, 3)), maximize=True) == {0, 1, 3, 4}


def test_a_day_is_epochs_or_a_time() -> None:
    given_ = ["5", "5epochs", "1 epoch", "8h", "30m", "90s", "1.5h"]
    read = [
        DayLength(5, None),
        DayLength(5, None),
        DayLength(1, None),
        *(DayLength(None, s) for s in (28800, 1800, 90, 5400)),
    ]
    assert [parse_length(g) for g in given_] == read
    assert [str(length) for length in read] == ["5 epochs", "5 epochs", "1 epoch", "8 h", "30 m", "1.5 m", "1.5 h"]
    for bad in ("", "0", "-1h", "0h", "day", "5 days", "99999999999999999999epochs", "9" * 400 + "h"):
        with pytest.raises(OptionError, match="give epochs, such as 5epochs, or a time"):
            parse_length(bad)


def test_words_become_settings() -> None:
    words = ["learning_rate=1", "batch_size=64", "activation=gelu", "dropout=.5"]
    read = check_names(small_study(), parse_settings(words), is_born=False)
    assert read == {"learning_rate": 1.0, "batch_size": 64, "activation": "gelu", "dropout": 0.5}
    assert isinstance(read["learning_rate"], float)
    assert isinstance(read["batch_size"], int)
    words = ["learning_rate=0.1,1", "momentum=0.9"]
    assert parse_candidates(words) == [{"learning_rate": 0.1}, {"learning_rate": 1}, {"momentum": 0.9}]
    for bad, why in {"x": "is no setting", "momentum=fast": "must be a number", "layers=3": "cannot be changed",
                     "learning_rate=nan": "must be a number"}.items():  # fmt: skip
        with pytest.raises(OptionError, match=why):
            check_names(small_study(), parse_settings([bad]))


def test_candidates_that_differ_by_noise_alone_are_said_to() -> None:
    def day(number: int, value: float | None) -> JournalDay:
        return JournalDay(
            day=number, parent=2, look=True, state=SlotState.DONE, branch=1, current=False, saved=True, began=None,
            begins_at=2, epoch=3, settings={}, changed={}, ended_with={}, why=None, nudges=(), epochs=(3,),
            curve=(value,), training_loss=(1.0,), validation_loss=(1.0,), seconds=1.0,
            verdict=Verdict(Outcome.BETTER, noise=0.002), notes=(),
        )  # fmt: skip

    warning = within_noise([day(4, 0.951), day(3, 0.95)])
    assert warning == "day 4 is not better than the unchanged settings by more than the noise (0.0020)"
    assert within_noise([day(4, 0.953), day(3, 0.95)]) is None
    assert within_noise([day(3, 0.951), day(4, 0.95)]) is None
    assert within_noise([day(4, 0.951), day(3, None)]) is None
