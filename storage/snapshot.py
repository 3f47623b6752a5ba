"""Snapshots: the progress and the latest events of a study at one moment, in four statements however large it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, text

from caviar.storage.events import mapping
from caviar.storage.optuna_tables import VIOLATED
from caviar.storage.records import EventRecord, StudyRecord
from caviar.storage.status import STUDY_COLUMNS, Progress, one_moment, progress_of
from caviar.storage.timing import SILENT

PARTS = 40  # values of `Snapshot.trail`, at most
CURVES, MESSAGES = 12, 3  # of a snapshot, at most

# A slot that was lost, and is open without a new epoch, still waits for a worker to continue it.
_SNAPSHOT = """
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
      (SELECT count(*) FROM caviar.slot w  -- the two states are those of the index of unspent slots
        WHERE w.study_id = s.study_id AND w.state IN ('open', 'leased') AND w.state = 'open' AND w.losses > 0) AS alone,
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
      CASE WHEN (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = s.study_id)
             IS DISTINCT FROM :version
        OR (SELECT count(*) FROM caviar.slot u WHERE u.study_id = s.study_id AND u.state IN ('open', 'leased'))
             NOT BETWEEN :unspent - :few AND :unspent
      THEN (SELECT coalesce(array_agg(p.best ORDER BY p.part) FILTER (WHERE p.best IS NOT NULL), '{{}}') FROM (
        SELECT part, {most}(best) AS best FROM (
          SELECT ntile({parts}) OVER ended AS part,
                 {most}(v.value) FILTER (WHERE t.state = 'COMPLETE' AND c.trial_id IS NULL) OVER ended AS best
          FROM caviar.slot d JOIN public.trials t ON t.trial_id = d.trial_id
          LEFT JOIN public.trial_values v ON v.trial_id = d.trial_id AND v.objective = 0
          LEFT JOIN (SELECT DISTINCT a.trial_id FROM public.trial_system_attributes a
                     WHERE {violated} AND a.trial_id IN (SELECT x.trial_id FROM caviar.slot x WHERE x.study_id = :study)
            ) c ON c.trial_id = d.trial_id
          WHERE d.study_id = s.study_id AND d.state = 'done'
          WINDOW ended AS (ORDER BY t.datetime_complete, d.number)) q
        GROUP BY part) p) END AS trail
    FROM caviar.study s WHERE s.study_id = :study
"""


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment, for display while it runs."""

    progress: Progress
    trail: tuple[float, ...] = ()  # best values so far, over the finished trials in order of their ends, evenly spread
    trail_of: int = 0  # so many finished trials; of the few that ended since, only the best value is in the last one
    curves: Mapping[int, tuple[float, ...]] = field(default_factory=dict)  # of running trials, by number, the lowest
    hosts: Mapping[str, int] = field(default_factory=dict)  # workers of each that live or hold a lease
    lost: int = 0  # leases, by expiry or because their worker died
    taken_over: int = 0  # of these slots, by another worker
    messages: tuple[EventRecord, ...] = ()  # the last events, oldest first, without releases and continuations


def read_snapshot(engine: Engine, record: StudyRecord, *, maximize: bool, before: Snapshot | None = None) -> Snapshot:
    """Return the progress and the latest events of a study, all of one moment.

    Args:
        before: an earlier snapshot of it, whose trail is taken where so few trials have ended since that a new one, of
            all of them, would look the same.

    Raises:
        StudyNotFound: the study was deleted.
    """
    query = _SNAPSHOT.format(
        columns=STUDY_COLUMNS,
        violated=VIOLATED,
        messages=MESSAGES,
        curves=CURVES,
        parts=PARTS,
        most="max" if maximize else "min",
    )
    with one_moment(engine) as connection:
        seen = {"version": None, "unspent": -1, "few": 0} if before is None else _seen(before)
        row = connection.execute(text(query), {"study": record.study_id, "alive": SILENT, **seen}).one_or_none()
        progress = progress_of(connection, record, row, maximize=maximize)
    assert row is not None  # or `progress_of` has raised
    trail, trail_of = (
        _grown(before, progress) if before is not None and row.trail is None else (tuple(row.trail), progress.done)
    )
    return Snapshot(
        progress,
        trail,
        trail_of,
        {int(number): tuple(curve) for number, curve in (row.curves or {}).items()},
        row.hosts or {},
        row.lost,
        max(row.lost - row.alone - progress.abandoned, 0),
        tuple(
            EventRecord(datetime.fromisoformat(at), kind, slot, mapping(detail))
            for at, kind, slot, detail in row.messages or ()
        ),
    )


def _seen(before: Snapshot) -> dict[str, int]:
    """Return the definition's version and the number of unspent slots when a trail was read, and how many of them may
    be spent before it looks another way: half of what one of its values stands for."""
    now = before.progress
    few = before.trail_of // (2 * PARTS) if before.trail else 0
    return {"version": now.version, "unspent": now.open + now.leased + now.done - before.trail_of, "few": few}


def _grown(before: Snapshot, now: Progress) -> tuple[tuple[float, ...], int]:
    """Return a trail that ends with today's best value, and of how many finished trials the rest of it is."""
    last = () if now.best is None or now.best.value is None else (now.best.value,)
    return (*before.trail[:-1], *last) if before.trail else before.trail, before.trail_of
