"""How long a study kept devices busy: each GPU, and each core of a worker without one, while a trial was held there.

Trials that one worker trains as one program share its device, and workers on one GPU share that: its time counts once.
Every attempt counts, also one that was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from caviar.studies.results.report.holdings import Holding
from caviar.studies.results.report.records import DeviceTime

Span = tuple[float, float]  # begin and end, in seconds since the study's first trial began


class DeviceClock:
    """Tells how long devices had been busy at any moment of a study.

    Args:
        held: the times in which workers held trials.
        devices: the devices of each worker, by its `host:pid`: such as `cpu`, or `cuda:0,cuda:1`.
    """

    def __init__(self, held: Iterable[Holding], devices: Mapping[str, str]) -> None:
        spans: dict[tuple[str, str], list[Span]] = defaultdict(list)  # by kind and place
        for holding in held:
            worker = holding.worker or "?"
            for place, device in enumerate(devices.get(worker, "cpu").split(",")):
                kind = device.partition(":")[0]
                of = f"{worker} {place}" if kind == "cpu" else f"{worker.rpartition(':')[0]} {device}"
                spans[kind, of].append((holding.began, holding.ended))
        self._spans = {key: _joined(busy) for key, busy in spans.items()}

    def until(self, moment: float) -> tuple[DeviceTime, ...]:
        """Return the time of each kind of device up to a moment."""
        seconds: dict[str, float] = defaultdict(float)
        for (kind, _), busy in self._spans.items():
            seconds[kind] += sum(max(min(end, moment) - begin, 0.0) for begin, end in busy)
        return tuple(DeviceTime(kind, round(of, 1)) for kind, of in sorted(seconds.items()))


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Return the spans as ones that do not overlap."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined
