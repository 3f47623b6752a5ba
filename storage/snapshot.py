"""A study as whoever watches it sees it: how far it is, and what happens in it. Four statements, however large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, text

from caviar.storage.records import EventRecord, Progress, StudyRecord
from caviar.storage.status import STUDY_COLUMNS, one_moment, progress_of
from caviar.storage.timing import SILENT

PARTS = 40  # into which a study's finished trials are cut, for the best value so far
CURVES, MESSAGES = 12, 3  # at most

# Where it was lost, a slot that is open and has not got further waits for whoever takes it over.
_LOOK = """
    SELECT {columns},
      (SELECT json_object_agg(h.host, h.workers) FROM (
        SELECT w.host, count(*) AS workers FROM caviar.worker w
        WHERE w.study_id = s.study_id AND w.ended_at IS NULL
          AND (w.last_seen > now() - make_interval(secs => :alive)
               OR w.worker_id IN (SELECT l.worker_id FROM caviar.slot l
                    WHERE l.study_id = s.study_id AND l.state = 'leased' AND l.expires_at >= now()))
          AND NOT EXISTS (SELECT FROM caviar.event e
                WHERE e.study_id = s.study_id AND e.worker_id = w.worker_id AND e.kind = 'worker died')
        GROUP BY w.host ORDER BY w.host) h) AS hosts,
      (SELECT count(*) FROM caviar.event e
        WHERE e.study_id = s.study_id AND e.kind IN ('lease expired', 'worker died')) AS lost,
      (SELECT count(*) FILTER (WHERE w.state = 'open' AND w.losses > 0 OR w.state = 'abandoned')
        FROM caviar.slot w WHERE w.study_id = s.study_id) AS left_alone,
      (SELECT json_agg(json_build_array(m.at, m.kind, m.slot, m.detail) ORDER BY m.event_id) FROM (
        SELECT * FROM caviar.event e WHERE e.study_id = s.study_id AND e.kind NOT IN ('given back', 'taken over')
        ORDER BY e.event_id DESC LIMIT {messages}
        ) m) AS messages,
      (SELECT json_object_agg(r.number, r.curve) FROM (
        SELECT l.number, (SELECT json_agg(i.intermediate_value ORDER BY i.step)
                          FROM public.trial_intermediate_values i
                          WHERE i.trial_id = l.trial_id AND i.intermediate_value_type = 'FINITE') AS curve
        FROM caviar.slot l WHERE l.study_id = s.study_id AND l.state = 'leased' AND l.expires_at >= now()
        ORDER BY l.number LIMIT {curves}) r WHERE r.curve IS NOT NULL) AS curves,
      (SELECT array_agg(p.best ORDER BY p.part) FILTER (WHERE p.best IS NOT NULL) FROM (
        SELECT part, {most}(best) AS best FROM (
          SELECT ntile({parts}) OVER ended AS part,
                 {most}(v.value) FILTER (WHERE t.state = 'COMPLETE' AND NOT c.there) OVER ended AS best
          FROM caviar.slot d JOIN public.trials t ON t.trial_id = d.trial_id
          LEFT JOIN public.trial_values v ON v.trial_id = d.trial_id AND v.objective = 0
          CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM public.trial_system_attributes a
                           WHERE a.trial_id = d.trial_id AND a.key LIKE 'constraints:%') AS there) c
          WHERE d.study_id = s.study_id AND d.state = 'done'
          WINDOW ended AS (ORDER BY t.datetime_complete, d.number)) q
        GROUP BY part) p) AS trail
    FROM caviar.study s WHERE s.study_id = :study
"""


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment, for whoever watches it.

    Attributes:
        trail: the best value so far, over the trials in the order in which they ended; at most 40 of them, evenly.
        curves: values by epoch of trials that run, by number; of at most 12, those with the lowest numbers.
        hosts: workers that were heard of within a minute or hold a lease, and are not known to be dead, by host.
        lost: leases that were lost so far: they expired, or their worker died.
        taken_over: those of them with which somebody went on.
        messages: the last three events, the oldest first; not who gives back what to whom.
    """

    progress: Progress
    trail: tuple[float, ...] = ()
    curves: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    hosts: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0
    taken_over: int = 0
    messages: tuple[EventRecord, ...] = ()


def read_snapshot(engine: Engine, record: StudyRecord, *, maximize: bool) -> Snapshot:
    """Return how far a study is and what happens in it, all of one moment.

    Raises:
        StudyNotFound: it was deleted.
    """
    query = _LOOK.format(
        columns=STUDY_COLUMNS, messages=MESSAGES, curves=CURVES, parts=PARTS, most="max" if maximize else "min"
    )
    with one_moment(engine) as connection:
        row = connection.execute(text(query), {"study": record.study_id, "alive": SILENT}).one_or_none()
        progress = progress_of(connection, record, row, maximize=maximize)
    assert row is not None  # or it had raised
    return Snapshot(
        progress,
        tuple(row.trail or ()),
        {int(number): tuple(curve) for number, curve in (row.curves or {}).items()},
        row.hosts or {},
        row.lost,
        max(row.lost - row.left_alone, 0),
        tuple(EventRecord(datetime.fromisoformat(at), *rest) for at, *rest in row.messages or ()),
    )
