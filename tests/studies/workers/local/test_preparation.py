"""Before a machine works on a study: no code of a model runs that was not compared with the study's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

import caviar
from caviar.storage.records import StudyRecord
from caviar.storage.settings import read_settings
from caviar.studies.api.running import join, run
from caviar.studies.errors import CodeMissing, MachineMismatch
from caviar.studies.lifecycle.loader import select_stored
from caviar.studies.lifecycle.manager import definition_of, open_study
from caviar.studies.lifecycle.provenance import code_key, code_of, provenance_of
from caviar.studies.workers.local.events import ModelFound, RunEvent, WorkersStarted
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.preparation import begin_or_resume, check_machine
from caviar.studies.workers.local.process import _check_code
from caviar.user_code import NotThere, file_of
from tests.helpers.roles import execute
from tests.helpers.studies import small_study
from tests.helpers.workers import worker

NOT_RUN = r"guest_net\.layers:Net differs .*layers\.py changed; .*, and was not run"
NET = """
from pathlib import Path
from caviar.models.mlp import MLP
Path({ran!r}).touch()
class Net(MLP):
    pass
"""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that the module `guest_net.layers` makes when it is run, or its package is."""
    ran, package = tmp_path / "ran", tmp_path / "guest_net"
    package.mkdir()
    for name in ("__init__", "layers"):
        (package / f"{name}.py").write_text(NET.format(ran=str(ran)))
    monkeypatch.syspath_prepend(tmp_path)
    yield ran
    forget()


def begun(engine: Engine, *, same: bool) -> StudyRecord:
    """Register a study of that model, as a machine with the same or other code did."""
    study = small_study(model="guest_net.layers:Net", budget=4)
    here = provenance_of(study, Path("nowhere"))
    assert here.files is not None
    files = here.files if same else {**here.files, "guest_net/layers.py": "0" * 64}
    return open_study(engine, study, replace(here, files=files, commit="abc123", remote="https://host/shop"))


def forget() -> None:
    for name in list(sys.modules):
        if name.startswith("guest_net"):
            del sys.modules[name]


def test_other_code_is_refused_before_any_of_it_runs(engine: Engine, ran: Path) -> None:
    begun(engine, same=False)
    with pytest.raises(
        MachineMismatch, match=r"begun: code \(guest_net/layers\.py\); .* commit abc123 of https://host/s"
    ):
        join("small", workers=1, database=engine)
    assert not ran.exists()


def trained_with_other_code(engine: Engine, ran: Path) -> None:
    """Spend a study's budget, and let it look as if its code had been other code."""
    record = begun(engine, same=True)
    worker(engine, record, definition_of(record)).run()
    ran.unlink()
    forget()  # as another process, on a machine that has other code
    execute(engine, """UPDATE caviar.definition SET files = '{"guest_net/layers.py": "other"}'""")


def test_nor_does_it_run_to_test_the_winner_of_a_study_that_is_done(engine: Engine, ran: Path) -> None:
    trained_with_other_code(engine, ran)
    with pytest.raises(MachineMismatch, match=r"begun: code \(guest_net/__init__\.py, guest_net/layers\.py\); "):
        join("small", database=engine)
    assert not ran.exists()


@pytest.mark.parametrize("name", [None, "copy"])
def test_nor_does_it_run_for_a_run_of_a_definition_from_the_database(
    engine: Engine, ran: Path, name: str | None
) -> None:
    begun(engine, same=False)
    with pytest.raises(MachineMismatch, match=r"guest_net\.layers:Net differs .*layers\.py changed\), and was not run"):
        run("small", name=name, database=engine)
    assert not ran.exists()


@pytest.mark.parametrize("origin", [{"study": "small"}, {"origin": "small:best"}])
def test_nor_does_it_run_for_a_panda_of_a_study_from_the_database(
    engine: Engine, ran: Path, origin: dict[str, str]
) -> None:
    trained_with_other_code(engine, ran)
    with pytest.raises(MachineMismatch, match=NOT_RUN):
        caviar.panda.start("baby", **origin, database=engine)
    assert not ran.exists()
    assert [study.name for study in caviar.list_studies(database=engine)] == ["small"]
    caviar.panda.start("baby", **origin, accept=True, database=engine)
    assert ran.exists()


def test_nor_does_it_run_for_a_retune(engine: Engine, ran: Path) -> None:
    trained_with_other_code(engine, ran)
    with pytest.raises(MachineMismatch, match=NOT_RUN):
        caviar.retune("small", "again", database=engine)
    assert not ran.exists()
    assert [study.name for study in caviar.list_studies(database=engine)] == ["small"]
    assert caviar.retune("small", "again", accept=True, database=engine).prior
    assert ran.exists()


def test_a_run_of_a_definition_from_the_database_names_the_same_code_before_it_runs(engine: Engine, ran: Path) -> None:
    begun(engine, same=True)
    found: list[tuple[Path, bool]] = []

    class Seen(Exception):
        pass

    def stop(event: RunEvent) -> None:
        if isinstance(event, ModelFound):
            found.append((event.file, ran.exists()))
        if isinstance(event, WorkersStarted):
            raise Seen

    with pytest.raises(Seen):
        run("small", on_event=stop, database=engine)
    assert found == [(ran.parent / "guest_net" / "layers.py", False)]
    assert ran.exists()


def test_other_code_runs_for_a_definition_from_the_database_that_is_accepted(engine: Engine, ran: Path) -> None:
    begun(engine, same=False)
    options = WorkerOptions(read_settings(), "small", Path("nowhere"))
    study, stored = select_stored(engine, "small")
    opened = begin_or_resume(engine, study, options, stored=stored, accept=True)
    assert opened.record.version == 2
    assert ran.exists()


def test_the_same_code_is_named_before_it_runs(engine: Engine, ran: Path) -> None:
    record = begun(engine, same=True)
    found: list[tuple[RunEvent, bool]] = []
    check_machine(engine, record, Path("nowhere"), on_event=lambda event: found.append((event, ran.exists())))
    file = ran.parent / "guest_net" / "layers.py"
    assert (ModelFound("guest_net.layers:Net", file, file.owner()), False) in found
    assert ran.exists()


def test_a_models_file_is_found_where_python_would_find_it_and_nothing_is_run(ran: Path) -> None:
    assert file_of("guest_net.layers:Net") == ran.parent / "guest_net" / "layers.py"
    assert file_of("guest_net:Net") == ran.parent / "guest_net" / "__init__.py"
    assert not ran.exists()
    import guest_net.layers  # type: ignore[import-not-found]

    assert file_of("guest_net.layers:Net") == Path(guest_net.layers.__file__)


def test_a_model_may_be_in_folders_that_are_no_packages(ran: Path) -> None:
    """Without an __init__.py in any of them, as many projects have their `models/`."""
    file = ran.parent / "plain_folder" / "deeper" / "still" / "net.py"
    file.parent.mkdir(parents=True)
    file.touch()
    assert file_of("plain_folder.deeper.still.net:Net") == file
    with pytest.raises(NotThere, match=r"there is no module plain_folder\.deeper\.other"):
        file_of("plain_folder.deeper.other:Net")


def test_code_that_an_older_caviar_kept_as_one_digest_is_not_run_unseen(engine: Engine, ran: Path) -> None:
    begun(engine, same=True)
    execute(engine, "UPDATE caviar.definition SET files = NULL, code = 'of both'")
    with pytest.raises(MachineMismatch, match="an older Caviar kept one digest of all code"):
        run("small", database=engine)
    with pytest.raises(MachineMismatch, match="begun: code; "):
        join("small", workers=1, database=engine)
    assert not ran.exists()
    options = WorkerOptions(read_settings(), "small", Path("nowhere"))
    study, stored = select_stored(engine, "small")
    opened = begin_or_resume(engine, study, options, stored=stored, accept=True)
    assert opened.record.provenance.files == provenance_of(study, Path("nowhere")).files


@pytest.mark.parametrize("command", [join, run])
def test_a_machine_without_the_code_is_told_what_to_check_out(
    engine: Engine, ran: Path, command: Callable[..., object]
) -> None:
    begun(engine, same=True)
    (ran.parent / "guest_net" / "layers.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(CodeMissing, match=r"no module guest_net\.layers; .* commit abc123 of https://host/shop$"):
        command("small", workers=1, database=engine)


def test_a_worker_does_not_begin_with_code_that_was_changed_since_the_comparison(engine: Engine, ran: Path) -> None:
    record = begun(engine, same=True)
    code = check_machine(engine, record, Path("nowhere"))
    options = WorkerOptions(read_settings(), "small", Path("nowhere"), code=code)
    _check_code(options, record)
    with (ran.parent / "guest_net" / "layers.py").open("a") as opened:
        opened.write("# changed\n")
    with pytest.raises(MachineMismatch, match="changed since this command was started"):
        _check_code(options, record)
    now = replace(options, code=code_key(code_of(definition_of(record))))
    with pytest.raises(MachineMismatch, match=r"other code than this machine's \(guest_net/layers\.py changed\)"):
        _check_code(now, record)
    _check_code(replace(now, allow_mismatch=True), record)
