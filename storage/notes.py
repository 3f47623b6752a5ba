"""The note on a study that Optuna's dashboard shows, stored where the dashboard looks for it.

The dashboard keeps a note as system attributes of the study: its pieces, and a version that each writing in a browser
raises by one. Caviar's note ends with the version that it was written as. A note with another version is a person's.
"""

from __future__ import annotations

import json

from sqlalchemy import Engine, text

from caviar.storage.optuna_tables import from_json

LIMIT = 1900  # characters; the dashboard cuts a longer note into several attributes
_VERSION, _TEXT = "dashboard:note_ver", "dashboard:note_str:0"

_READ = text("""
    SELECT key, value_json FROM public.study_system_attributes
    WHERE study_id = :study AND key IN (:version_key, :text_key) FOR UPDATE
""")
_WRITE = text("""
    INSERT INTO public.study_system_attributes (study_id, key, value_json)
    VALUES (:study, :text_key, :note), (:study, :version_key, :version)
    ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json
""")


def write_note(engine: Engine, optuna_study_id: int, note: str) -> bool:
    """Replace Caviar's own note on a study, or write the first one, in Markdown of at most `LIMIT` characters; return
    False where a person has written it."""
    keys = {"study": optuna_study_id, "version_key": _VERSION, "text_key": _TEXT}
    with engine.begin() as connection:
        stored = {row.key: from_json(row.value_json) for row in connection.execute(_READ, keys)}
        version = stored.get(_VERSION, 0)
        before = str(stored.get(_TEXT, ""))
        if not isinstance(version, int) or (version and not before.endswith(_mark(version))):
            return False
        if before == note + _mark(version):
            return True
        written = json.dumps(note + _mark(version + 1))
        connection.execute(_WRITE, {**keys, "note": written, "version": str(version + 1)})
    return True


def _mark(version: int) -> str:
    """Return a line of Markdown that isn't shown."""
    return f'\n\n[caviar]: # "version {version}"\n'
