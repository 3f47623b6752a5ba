"""Fingerprints of studies: a text for each that changes with whatever a page about it shows, from one statement.

Of the slots only those that are not spent are read, by their own index: a spent slot never changes, and one that was
spent meanwhile is no longer among the others. Nothing is locked or written, so that looking slows no worker down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from caviar.storage.timing import SILENT

# Time alone changes two things: a lease expires, and a worker has been silent for too long.
# Trials that somebody enqueued, and studies begun beside this one, stand on its own page alone, and not in the list.
_FINGERPRINTS = text("""
    SELECT st.study_id, st.optuna_study_id, st.name, p.head IS NOT NULL AS is_panda,
           greatest(st.created_at, w.seen, e.at) AS last_seen,
           concat_ws(' ', st.study_id, st.control, st.at_once, s.slots, p.head, e.event_id, w.workers, w.seen,
             (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = st.study_id),
             (SELECT count(*) FROM caviar.test_result r WHERE r.study_id = st.study_id),
             (SELECT concat_ws(',', max(n.nudge_id), count(*) FILTER (WHERE n.state = 'waiting'))
                FROM caviar.nudge n WHERE n.study_id = st.study_id),
             CASE WHEN CAST(:name AS text) IS NOT NULL THEN concat_ws(' ',
               (SELECT count(*) FROM public.trials t
                WHERE t.study_id = st.optuna_study_id AND t.state = 'WAITING'),
               (SELECT string_agg(b.name || CASE WHEN EXISTS (
                         SELECT FROM caviar.slot s WHERE s.study_id = b.study_id AND s.state IN ('open', 'leased'))
                       THEN '' ELSE '.' END, ',' ORDER BY b.name)
                FROM caviar.study b JOIN public.studies bo ON bo.study_id = b.optuna_study_id
                WHERE starts_with(b.name, st.name || '-'))) END) AS fingerprint
    FROM caviar.study st
    JOIN public.studies o ON o.study_id = st.optuna_study_id
    LEFT JOIN caviar.panda p ON p.study_id = st.study_id
    CROSS JOIN LATERAL (
      SELECT concat_ws(',', count(*), count(s.trial_id), count(*) FILTER (WHERE s.expires_at >= now()),
                       sum(s.epoch), sum(s.attempts), sum(s.losses), count(*) FILTER (WHERE s.kill)) AS slots
      FROM caviar.slot s WHERE s.study_id = st.study_id AND s.state IN ('open', 'leased')) s
    CROSS JOIN LATERAL (
      SELECT concat_ws(',', count(*), count(w.ended_at),
                       count(*) FILTER (WHERE w.last_seen > now() - make_interval(secs => :silent))) AS workers,
             max(w.last_seen) AS seen
      FROM caviar.worker w WHERE w.study_id = st.study_id) w
    LEFT JOIN LATERAL (
      SELECT e.event_id, e.at FROM caviar.event e WHERE e.study_id = st.study_id ORDER BY e.event_id DESC LIMIT 1) e
      ON true
    WHERE CAST(:name AS text) IS NULL OR st.name = :name ORDER BY st.name
""")


@dataclass(frozen=True)
class Fingerprint:
    """A study at one moment; `text` differs from an earlier one's, of the same page, where anything that is shown has
    changed.

    Attributes:
        last_seen: the last sign of life, of a worker or of somebody who steers the study.
    """

    name: str
    optuna_study_id: int
    is_panda: bool
    last_seen: datetime
    text: str


def read_fingerprints(engine: Engine, name: str | None = None) -> Mapping[str, Fingerprint]:
    """Return the fingerprints of all studies by name, in alphabetical order, or of the one that has the name.

    That of one study also changes with what only its own page shows: how many enqueued trials wait, and which studies
    whose names begin with its own and a dash there are and have ended.

    A study whose trials another Optuna program deleted has none.
    """
    with engine.connect() as connection:
        rows = connection.execute(_FINGERPRINTS, {"name": name, "silent": SILENT})
        return {
            row.name: Fingerprint(row.name, row.optuna_study_id, row.is_panda, row.last_seen, row.fingerprint)
            for row in rows
        }
