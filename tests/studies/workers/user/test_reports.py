"""What a command reports, line by line: epochs that follow one another, or one sentence that says what is wrong."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest

from caviar.studies.errors import CommandFailed
from caviar.studies.workers.user import epoch_stream
from caviar.studies.workers.user.epoch_stream import EpochStream
from caviar.studies.workers.user.lines import LONGEST, Lines
from caviar.studies.workers.user.process_group import Source
from caviar.studies.workers.user.reports import RanAhead, from_json, from_output

PATTERN = re.compile(r"epoch (?P<epoch>\S+) .*rmse (?P<rmse>\S+)")


@pytest.mark.parametrize("cuts", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_they_arrive(cuts: int) -> None:
    data = b"one\ntwo\r\n\xff\xfe\n\n 10%\r 50%\r100%\nb\xc3\xa4r\nno end"
    lines = Lines()
    read = [line for at in range(0, len(data), cuts) for line in lines.add(data[at : at + cuts])]
    assert read == ["one", "two", "\ufffd\ufffd", "100%", "bär"]
    assert lines.rest() == ["no end"]
    assert lines.rest() == []


def test_a_line_without_an_end_takes_little_memory() -> None:
    lines = Lines()
    for _ in range(100):
        assert not list(lines.add(b"x" * 2**20))
    assert len(lines._line) == LONGEST
    assert [len(line) for line in lines.add(b"\nnext\n")] == [LONGEST, 4]


def test_a_line_of_json_is_a_report() -> None:
    assert from_json('{"epoch": 3, "rmse": 5.1, "loss": 2}') == (3, {"rmse": 5.1, "loss": 2.0}, False)
    assert from_json('{"rmse": 5.1, "answer": true}') == (None, {"rmse": 5.1}, True)
    assert from_json('{"epoch": 3.0, "rmse": 1}').epoch == 3
    assert math.isnan(from_json('{"rmse": NaN}').metrics["rmse"])
    assert from_json('{"rmse": "-Infinity"}').metrics["rmse"] == -math.inf


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"epoch": 3, "rmse": 5', r"no line of JSON .*: \{\"epoch\": 3, \"rmse\": 5$"),
        ('{"rmse": 5, "rmse": 6}', "'rmse' stands twice"),
        ("[1]", "no JSON object"),
        ("1" * 5000, "no line of JSON"),
        ("[" * 100_000, "no line of JSON"),
        ('{"epoch": "three", "rmse": 5}', "no whole number"),
        ('{"epoch": 2.5, "rmse": 5}', "no whole number"),
        ('{"epoch": NaN, "rmse": 5}', "no whole number"),
        ('{"epoch": true, "rmse": 5}', "no whole number"),
        ('{"epoch": -1, "rmse": 5}', "epoch -1 is out of the range of 0 to 1,000,000"),
        ('{"rmse": true}', "no number"),
        ('{"rmse": null}', "no number"),
        ('{"rmse": {"mean": 5}}', "no number"),
        ('{"rmse": "low"}', "'low', which is no number"),
        ('{"": 1}', "give it a name"),
        ('{"a\\u0000b": 1}', r"control character \\x00"),
        (f'{{"rmse": {"1" * 400}}}', "no number"),
        ('{"x": ' + "1" * LONGEST, "longer than 262,144 bytes"),
    ],
)
def test_what_is_no_report_is_said_in_one_line(line: str, why: str) -> None:
    with pytest.raises(CommandFailed, match=why) as raised:
        from_json(line)
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 600


def test_an_expression_finds_the_metrics_in_a_line() -> None:
    assert from_output(PATTERN, "epoch 3  lr 0.1 rmse 5.1") == (3, {"rmse": 5.1}, False)
    assert from_output(PATTERN, "epoch 3 begins") is None
    assert from_output(re.compile("(?P<rmse>x)|y"), "y") == (None, {}, False)
    for line, why in (("epoch three rmse 5", "matched 'three', no whole number"), ("epoch 3 rmse low", "'low'")):
        with pytest.raises(CommandFailed, match=why):
            from_output(PATTERN, line)


def stream(**given: object) -> EpochStream:
    return EpochStream("rmse", PATTERN, **given)  # type: ignore[arg-type]


def taken(one: EpochStream, *lines: str) -> list[tuple[int, dict[str, float]]]:
    for line in lines:
        one.take(Source.REPORT, f"{line}\n".encode())
    epochs = [(epoch.epoch, dict(epoch.metrics)) for epoch in one.waiting]
    one.waiting.clear()
    return epochs


def test_time_in_which_the_job_is_stopped_is_none_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    now, stopped = [100.0], [0.0]
    monkeypatch.setattr(epoch_stream, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(epoch_stream, "stopped_seconds", lambda: stopped[0])
    one = stream()
    now[0] += 20
    one.take(Source.REPORT, b'{"epoch": 1, "rmse": 5}\n')
    now[0], stopped[0] = now[0] + 3620, 3600.0
    one.take(Source.REPORT, b'{"epoch": 2, "rmse": 4}\n{"epoch": 3, "rmse": 3}\n')
    assert [epoch.seconds for epoch in one.waiting] == [20, 20, 0]


def test_an_epoch_is_over_with_the_metric_or_with_the_next_one() -> None:
    one = stream()
    assert taken(one, '{"epoch": 1, "loss": 3}') == []
    assert taken(one, '{"epoch": 1, "rmse": 5}') == [(1, {"loss": 3, "rmse": 5})]
    assert taken(one, '{"epoch": 2, "loss": 2}') == []
    assert taken(one, '{"epoch": 3, "rmse": 4}') == [(2, {"loss": 2}), (3, {"rmse": 4})]
    assert taken(one, "", '{"epoch": 4, "loss": 1}') == []
    assert one.finish()
    assert taken(one) == [(4, {"loss": 1})]
    assert not one.finish()
    assert one.error is None


def test_reports_without_an_epoch_are_counted() -> None:
    one = stream()
    assert taken(one, '{"loss": 3}', '{"rmse": 5}', '{"rmse": 4}') == [(1, {"loss": 3, "rmse": 5}), (2, {"rmse": 4})]
    assert one.first is None


def test_a_command_may_count_from_0() -> None:
    one = stream()
    assert taken(one, '{"epoch": 0, "rmse": 5}', '{"epoch": 1, "rmse": 4}') == [(1, {"rmse": 5}), (2, {"rmse": 4})]
    assert one.first == 0
    again = stream(known=2, first=0, goes_on=True)
    assert taken(again, '{"epoch": 2, "rmse": 3}') == [(3, {"rmse": 3})]


def test_output_and_reports_are_read_side_by_side() -> None:
    one = stream()
    one.take(Source.OUTPUT, b"epoch 1 ")
    one.take(Source.REPORT, b'{"epoch": 1, "loss": 3}\n{"epo')
    one.take(Source.OUTPUT, b"rmse 5\n")
    assert taken(one) == [(1, {"loss": 3, "rmse": 5})]
    one.take(Source.REPORT, b'ch": 2, "rmse": 4}')
    assert one.finish()
    assert taken(one) == [(2, {"rmse": 4})]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (['{"epoch": 5, "rmse": 1}'], "the first report is of epoch 5; report each epoch"),
        (['{"epoch": 1, "rmse": 1}', '{"epoch": 3, "rmse": 1}'], "epoch 1 was followed by epoch 3"),
        (['{"epoch": 0, "rmse": 1}', '{"epoch": 2, "rmse": 1}'], "epoch 0 was followed by epoch 2"),
        (
            ['{"epoch": 1, "rmse": 1}', '{"epoch": 2, "rmse": 1}', '{"epoch": 1, "rmse": 1}'],
            "2 was followed by epoch 1",
        ),
        (['{"epoch": 1, "loss": 1}', '{"epoch": 1, "loss": 2}'], "epoch 1 has two values of loss"),
        (['{"epoch": 1, "rmse": 1}', '{"epoch": 1, "rmse": 2}'], "epoch 1 was reported once more, with rmse"),
        (['{"epoch": 1, "rmse": 1}', '{"epoch": 1, "loss": 2}'], "with loss; it is over with its rmse"),
        (['{"loss": 1}', '{"loss": 2}'], "epoch 1 has two values of loss"),
    ],
)
def test_epochs_follow_one_another(lines: list[str], why: str) -> None:
    one = stream()
    taken(one, *lines, '{"epoch": 1, "rmse": 1}')
    assert one.error is not None
    assert why in str(one.error)


def test_what_was_reported_before_an_error_counts() -> None:
    one = stream()
    assert taken(one, '{"epoch": 1, "rmse": 1}', "oops", '{"epoch": 2, "rmse": 1}') == [(1, {"rmse": 1})]
    assert "no line of JSON" in str(one.error)


@pytest.mark.parametrize("begins", [1, 2, 3, 4])
def test_a_command_that_goes_on_may_repeat_epochs(begins: int) -> None:
    again = stream(known=3, first=1, goes_on=True)
    lines = [f'{{"epoch": {number}, "rmse": {number}}}' for number in range(begins, 6)]
    assert taken(again, *lines) == [(4, {"rmse": 4}), (5, {"rmse": 5})]


def test_a_folder_that_is_ahead_of_the_reports_is_no_mistake_of_the_command() -> None:
    with pytest.raises(RanAhead):
        taken(stream(known=3, first=1, goes_on=True), '{"epoch": 5, "rmse": 1}')
    begun_again = stream(known=3)
    assert taken(begun_again, '{"epoch": 5, "rmse": 1}') == []
    assert begun_again.error is not None


def test_who_waits_for_an_answer_is_answered_once() -> None:
    """With the turn that its epoch gets, or at once where there is none."""
    one = stream(known=1, first=1, goes_on=True)

    def counts() -> tuple[int, int]:
        return one.answers, one.unanswered

    taken(one, '{"epoch": 1, "rmse": 1, "answer": true}')
    assert counts() == (1, 0)
    taken(one, '{"epoch": 2, "loss": 1, "answer": true}')
    assert counts() == (2, 0)
    taken(one, '{"epoch": 2, "rmse": 1, "answer": true}')
    assert counts() == (2, 1)
