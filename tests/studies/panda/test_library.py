"""Pandas from Python, and pandas of a model of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import caviar
from caviar.storage.errors import UnknownDay
from caviar.studies.panda.records import DayEpoch
from tests.helpers.command import Caviar
from tests.helpers.studies import small_study

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, sample, classes, *, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, x):
        return self.layers(x)
"""
TUNE = """
from caviar import Log, PowersOfTwo, Study

STUDY = Study(name="own", model="models.net:Net", data="digits", epochs=2, budget=4, fixed={"batch_size": 256},
              tiers=[{"learning_rate": Log(1e-3, 1, default=0.1)}, {"width": PowersOfTwo(4, 32, default=8)}])
"""


def test_a_life_from_python(engine: Engine) -> None:
    events: list[Any] = []
    born = caviar.panda.start("baby", study=small_study(), settings={"learning_rate": 0.3}, database=engine)
    assert born.is_done
    assert born.journal.last_day.verdict.word == "born"
    trained = caviar.panda.train("baby", days=2, on_event=events.append, database=engine)
    assert (trained.is_done, trained.was_asked_to_stop, trained.journal.head) == (True, False, 2)
    assert [(e.day, e.epoch.epoch) for e in events if isinstance(e, DayEpoch)] == [(1, 1), (2, 2)]
    nudged = caviar.panda.nudge("baby", {"learning_rate": 1}, why="to see", database=engine)
    assert [(n.settings, n.why) for n in nudged.waiting] == [({"learning_rate": 1.0}, "to see")]
    tried = caviar.panda.try_("baby", [{"momentum": 0.95}], epochs=1, pick=True, database=engine)
    assert sorted(day.day for day in tried.candidates) == [3, 4]
    assert tried.picked == tried.candidates[0].day == tried.journal.head
    assert [str(remark) for remark in tried.journal.last_day.notes] == ["picked: the next day builds on it"]
    back = caviar.panda.back("baby", to=1, database=engine)
    assert (back.day, back.journal.head, back.dropped) == (1, 1, ())
    noted = caviar.panda.note("baby", "enough", database=engine)
    assert [str(remark) for remark in noted.days[1].notes] == [f"went back here from day {tried.picked}", "enough"]
    assert caviar.panda.log("baby", database=engine) == noted


def test_what_is_refused_leaves_no_worker_behind(engine: Engine) -> None:
    caviar.panda.start("baby", study=small_study(), settings={"learning_rate": 1.0}, database=engine)
    before = [w.started for w in caviar.workers("baby", include_ended=True, database=engine)]
    with pytest.raises(caviar.OptionError, match="learning_rate 5"):
        caviar.panda.try_("baby", [{"learning_rate": 5}], database=engine)
    with pytest.raises(caviar.OptionError, match="0 epochs: give 1 to 1,000,000"):
        caviar.panda.try_("baby", [{"learning_rate": 0.5}], epochs=0, database=engine)
    with pytest.raises(caviar.OptionError, match="0 days: give 1 to 100,000"):
        caviar.panda.train("baby", 0, database=engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM caviar.checkpoint"))
    with pytest.raises(UnknownDay, match="nothing can build on it"):
        caviar.panda.train("baby", database=engine)
    assert [w.started for w in caviar.workers("baby", include_ended=True, database=engine)] == before


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"keep": "some"}, "--keep some: give branch or all"),
        ({"day": "5 days"}, "--day 5 days: give epochs"),
        ({"origin": "small:best"}, "give either --study STUDY"),
        ({"settings": {"learning_rate": "fast"}}, "learning_rate must be a number; given 'fast'"),
    ],
)
def test_an_option_that_is_not_valid_is_named(engine: Engine, given: dict[str, Any], why: str) -> None:
    with pytest.raises(caviar.OptionError, match=why):
        caviar.panda.start("baby", study=small_study(), database=engine, **given)


@pytest.mark.slow
def test_a_model_of_ones_own_is_found_from_its_folder_and_by_its_studys_path(
    caviar: list[str], engine: Engine, tmp_path: Path
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "models").mkdir(parents=True)
    elsewhere.mkdir()
    (project / "models" / "__init__.py").touch()
    (project / "models" / "net.py").write_text(NET)
    (project / "tune.py").write_text(TUNE)
    here, there = Caviar(caviar, engine.url, project), Caviar(caviar, engine.url, elsewhere)
    study = ("--study", str(project / "tune.py"))
    again = f"caviar panda train baby --study {project / 'tune.py'}"
    assert again in there.run("panda", "start", "baby", *study)
    assert "there is no module models.net" in there.run("panda", "train", "baby", code=2)
    assert again in there.run("panda", "train", "baby", *study)
    assert again in there.run("panda", "nudge", "baby", "learning_rate=0.05", *study)
    assert again in there.run("panda", "try", "baby", "learning_rate=0.2", "--epochs", "1", *study)
    said = here.run("panda", "train", "baby")
    assert "learning rate 0.05" in said
    assert "width 8" in said
