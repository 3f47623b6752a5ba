"""Bad input: one clear line on stderr, exit code 2, no traceback, no password, and nothing left in the database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

import caviar
from caviar.storage.definitions import study_names
from caviar.storage.engine import make_engine
from caviar.studies.cli import run
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.manager import open_study
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

STUDY_FILE = """
from caviar.studies.definition import Study
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo

STUDY = Study(
    name="mine", model="{model}", data="{data}", epochs=2, budget=8,
    tiers=({{"{parameter}": {scale}}},),
)
"""


@pytest.fixture
def url(database_url: URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    address = database_url.render_as_string(hide_password=False)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address)
    yield address
    engine = make_engine(database_url)
    assert [name for name in study_names(engine) if name != "small"] == []
    engine.dispose()


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def refuse(*arguments: str, code: int = 2) -> str:
        assert run(list(arguments)) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("caviar: ")
        assert len(said.err.splitlines()) == 1, said.err
        assert "Traceback" not in said.err
        return said.err

    return refuse


def write(folder: Path, **fields: str) -> str:
    values = {
        "model": "mlp",
        "data": "digits",
        "parameter": "learning_rate",
        "scale": "Log(1e-4, 1, default=0.1)",
        **fields,
    }
    file = folder / "mine.py"
    file.write_text(STUDY_FILE.format(**values))
    return str(file)


def test_unknown_study(url: str, refused: Callable[..., str]) -> None:
    assert "did you mean digits?" in refused("run", "digit")
    assert "in the catalog: cifar10, digits, fashion_mnist, mnist" in refused("plan", "zzz")
    assert "caviar ls lists those in the database" in refused("plan", "zzz")
    assert "there are none yet; begin one with: caviar run" in refused("status", "digits")
    assert "no module 'nowhere'" in refused("run", "nowhere:STUDY")
    assert "no file nowhere.py" in refused("run", "nowhere.py")


def test_a_misspelt_study_of_the_database_is_offered(url: str, refused: Callable[..., str]) -> None:
    engine = make_engine(_url(url))
    register(engine)
    engine.dispose()
    for command in ("run", "plan"):
        assert "no study 'smoll'; did you mean small?" in refused(command, "smoll")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "mpl"}, "did you mean mlp?"),
        ({"data": "digit"}, "no data set 'digit'; did you mean digits?"),
        ({"parameter": "learnin_rate"}, "did you mean learning_rate?"),
        ({"scale": "Lag(1, 2, default=1)"}, "line 7: NameError: name 'Lag' is not defined; did you mean Log"),
        ({"scale": "Log(1e-4, 1, default=2)"}, "line 7: the default 2 is outside its range 0.0001 to 1"),
        ({"scale": "Log(0, 1, default=1)"}, "line 7: a log scale must start above 0; given 0 to 1"),
        ({"scale": "Log(-1, 1, default=1)"}, "line 7: a log scale must start above 0; given -1 to 1"),
        ({"scale": "Linear(2, 1, default=1)"}, "line 7: the range 2 to 1 is empty"),
        ({"scale": "__import__('caviar.studies.space.scales', fromlist=['x']).Logg"}, "line 7: AttributeError"),
        ({"scale": "(1, 2)"}, "line 5: tiers.0.learning_rate: "),
        ({"scale": "Log(1, 2, default=1"}, "line 7: "),
    ],
)
def test_a_broken_study_file(
    url: str, refused: Callable[..., str], tmp_path: Path, fields: dict[str, str], message: str
) -> None:
    said = refused("run", write(tmp_path, **fields))
    assert message in said
    if "line" in message:
        assert str(tmp_path / "mine.py") in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["report", "small", "--json", "-o", "x.json"], "leave out --output and --open"),
        (["report", "small", "--json", "--open"], "leave out --output and --open"),
        (["status", "--watch"], "name it: caviar status STUDY --watch"),
        (["status", "small", "--watch", "--json"], "leave out it or --watch"),
        (["trials", "small", "--json", "--csv"], "leave out one of them"),
    ],
)
def test_options_that_do_not_go_together(url: str, refused: Callable[..., str], words: list[str], told: str) -> None:
    assert told in refused(*words)


def test_a_study_file_without_a_study(url: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    assert "has no STUDY" in refused("run", str(tmp_path / "empty.py"))
    (tmp_path / "wrong.py").write_text("STUDY = 3")
    assert "is of type int, not caviar.Study" in refused("run", str(tmp_path / "wrong.py"))
    (tmp_path / "raises.py").write_text("import json\n\njson.loads('{')\n")
    assert f"{tmp_path / 'raises.py'}, line 3: JSONDecodeError" in refused("run", str(tmp_path / "raises.py"))


def test_a_broken_module_says_file_and_line(
    url: str,
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "__init__.py").write_text("print('hello')\n1 / 0\n")
    (tmp_path / "broken_package" / "st.py").write_text("")
    assert run(["plan", "broken_package.st:STUDY", "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{tmp_path}/broken_package/__init__.py, line 2: ZeroDivisionError" in said.err
    (tmp_path / "good_package").mkdir()
    (tmp_path / "good_package" / "__init__.py").touch()
    (tmp_path / "good_package" / "st.py").write_text("import json\njson.loads('{')\n")
    assert f"{tmp_path}/good_package/st.py, line 2: JSONDecodeError" in refused("plan", "good_package.st:STUDY")
    assert "no module 'good_package.nothing'" in refused("plan", "good_package.nothing:STUDY")
    assert "no module '.foo'" in refused("plan", ".foo:STUDY")


def test_a_role_without_rights_is_one_line(
    url: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(_url(url))
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS rightless"))
        connection.execute(text("CREATE ROLE rightless LOGIN"))
    engine.dispose()
    weak = _url(url).set(username="rightless").render_as_string(hide_password=False)
    for command in (["db", "current"], ["ls"], ["run", "digits"]):
        monkeypatch.setenv("CAVIAR_DATABASE_URL", weak)
        assert "refuses: permission denied" in refused(*command)


def test_a_budget_below_the_number_of_tiers(url: str, refused: Callable[..., str]) -> None:
    assert "a budget of 2 is too small for 3 tiers" in refused("run", "digits", "--budget", "2")
    assert "a budget of 2 is too small for 3 tiers" in refused("plan", "digits", "--budget", "2")


def test_a_study_of_that_name_with_another_definition(url: str, refused: Callable[..., str]) -> None:
    engine = make_engine(_url(url))
    open_study(engine, small_study())
    before = _rows(engine)
    said = refused("run", "small", "--budget", "9", "--seed", "1")
    assert "(budget: 8 before, 9 now; seed: 0 before, 1 now)" in said
    assert "--name small-2" in said
    assert _rows(engine) == before
    engine.dispose()


def _url(address: str) -> URL:
    from caviar.storage.settings import parse_url

    return parse_url(address)


def _rows(engine) -> list[tuple[object, ...]]:  # type: ignore[no-untyped-def]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM caviar.slot ORDER BY number"))]


def test_a_study_that_plain_optuna_made(url: str, refused: Callable[..., str]) -> None:
    import optuna

    optuna.create_study(study_name="digits", storage=_url(url).render_as_string(hide_password=False))
    assert "that Caviar did not create" in refused("run", "digits")


@pytest.mark.parametrize(
    "address", ["postgresql://ann:secret@127.0.0.1:9/db", "postgresql://ann:secret@no-such-host.invalid/db"]
)
def test_an_unreachable_database_names_host_and_port_but_no_password(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address)
    said = refused("status", "digits", code=os.EX_TEMPFAIL)
    assert "secret" not in said
    assert re.search(r"PostgreSQL at (127\.0\.0\.1:9|no-such-host\.invalid:5432) does not answer", said)


def test_a_database_that_refuses_is_one_line_too(
    url: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", url + "&foo=bar")
    assert "refuses: invalid dsn" in refused("ls")


def test_another_database_than_postgresql(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", "sqlite:///x.db")
    assert "'sqlite' databases are not supported: Caviar leases trials with" in refused("ls")


def test_a_newer_schema(url: str, refused: Callable[..., str]) -> None:
    engine = make_engine(_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.schema_version SET version_num = '9999'"))
    engine.dispose()
    for command in (["run", "digits"], ["status", "digits"], ["db", "upgrade"]):
        assert "is 9999, newer than this program's" in refused(*command)
    engine = make_engine(_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.schema_version SET version_num = '0001'"))
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        ("run", "caviar run --help"),
        ("run digits --workers 0", "caviar run --help"),
        ("run digits --up", "caviar run --help"),
        ("fly", "caviar --help"),
        ("db", "caviar db --help"),
        ("panda tri", "caviar panda --help"),
    ],
)
def test_wrong_words_point_to_the_help_of_their_command(refused: Callable[..., str], arguments: str, page: str) -> None:
    assert refused(*arguments.split()).endswith(f"(see: {page})\n")


NOT_UTF8, FIVE_THOUSAND = "caf\udce9", "9" * 5000  # as Python reads the byte E9 of an argument or a variable


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", NOT_UTF8],
        ["db", "grant", NOT_UTF8],
        ["panda", "nudge", "small", "learning_rate=0.1", "--why", NOT_UTF8],
        ["panda", "note", "small", NOT_UTF8],
        ["report", "small", "-o", NOT_UTF8],
        ["status", "small\x1b[2J"],
    ],
)
def test_arguments_that_no_table_and_no_terminal_can_hold(
    url: str, refused: Callable[..., str], arguments: list[str]
) -> None:
    assert "give it without" in refused(*arguments)


@pytest.mark.parametrize("name", ["two\nlines", "x" * 101, "ä", "", "a/../b", "a\0b"])
def test_a_name_that_no_study_can_have(url: str, refused: Callable[..., str], name: str) -> None:
    assert len(refused("status", name)) < 500
    assert (
        "name: give letters, digits and . _ -, at most 100" in refused("run", "digits", "--name", name) or "\0" in name
    )


def test_a_remark_has_a_limit(url: str, refused: Callable[..., str]) -> None:
    assert "the remark has 2,001 characters, more than 2,000" in refused("panda", "note", "small", "x" * 2001)
    assert "--why has 2,001" in refused("panda", "nudge", "small", "learning_rate=1", "--why", "x" * 2001)
    with pytest.raises(OptionError, match="is not UTF-8"):
        caviar.panda.note("small", NOT_UTF8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lease", "inf"], "--lease"),
        (["--lease", "1e15"], "--lease"),
        (["--lease", "nan"], "--lease"),
        (["--renew", "inf"], "--renew"),
        (["--grace", "inf"], "--grace"),
        (["--grace", "nan"], "--grace"),
        (["--cohort", FIVE_THOUSAND], "--cohort 999"),
        (["--cohort", "1025"], "1 to 1,024"),
        (["--budget", "50000000"], "budget: give 100,000 or less; given 50000000"),
        (["--budget", FIVE_THOUSAND], "--budget"),
        (["--seed", str(2**63)], "seed: give 9,223,372,036,854,775,807 or less"),
    ],
)
def test_options_beyond_their_limits(url: str, refused: Callable[..., str], options: list[str], message: str) -> None:
    assert message in refused("run", "digits", *options)


def test_the_library_has_the_same_limits(url: str) -> None:
    for options in ({"lease": inf}, {"renew": nan}, {"grace": -1}, {"patience": 1e9}, {"cohort": 0}, {"workers": 0}):
        with pytest.raises(OptionError):
            caviar.run(small_study(name="mine"), **options)  # type: ignore[arg-type]


def test_extending_beyond_the_limit(url: str, refused: Callable[..., str]) -> None:
    engine = make_engine(_url(url))
    open_study(engine, small_study())
    before = _rows(engine)
    assert "give 100,000 or less; given 999999999" in refused("extend", "small", "--budget", "999999999")
    assert _rows(engine) == before
    engine.dispose()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("epochs=2", "epochs=10**30", "epochs: give 1,000,000 or less"),
        ("epochs=2", "epochs=10**5000", "given a value of type int that cannot be shown"),
        ("budget=8", "budget=8, fixed={'hidden_units': 0}", "hidden_units must be an integer from 1 to 1,000,000"),
        (
            "budget=8",
            "budget=8, fixed={'layers': 10**9}",
            "layers must be an integer from 1 to 1,000; given 1000000000",
        ),
        ("budget=8", "budget=8, fixed={'layers': 10**30}", "give an integer of at most 9,007,199,254,740,992"),
        ("budget=8", "budget=8, fixed={'activation': '\\0'}", "has the control character"),
        ("budget=8", "budget=8, fixed={'layers': 900, 'hidden_units': 10**6}", "parameters, more than 10,000,000,000"),
        ("Log(1e-4, 1, default=0.1)", "Log(5e-324, 1, default=0.1, or_zero=True)", "is beyond what can be searched"),
        ("Log(1e-4, 1, default=0.1)", "Grid(*range(2000), default=1)", "a list of 2,000 values is too long"),
        ('"learning_rate"', '"l" * 101', "has 101 characters, more than 100"),
        ('"learning_rate"', "'l\\n'", "has the control character"),
        ("STUDY =", "import sys\nsys.exit()\nSTUDY =", "line 6: it calls sys.exit(), which would end Caviar"),
        ("STUDY =", "import sys\nsys.exit('bye')\nSTUDY =", "line 6: it calls sys.exit('bye')"),
        ("STUDY =", "raise BaseException\nSTUDY =", "line 5: it raises BaseException, which is no Exception"),
        ("STUDY =", "raise ValueError('a\\nb')\nSTUDY =", "line 5: ValueError: a"),
        ("STUDY =", "class E(Exception):\n    __str__ = None\nraise E\nSTUDY =", "E: its message cannot be read"),
        (
            "tiers=({{",
            "strategy='grid', tiers=({{str(n): Linear(0, 1, default=0) for n in range(20)}}, {{",
            "3,145,728 points, more",
        ),
    ],
)
def test_what_a_study_file_cannot_mean(
    url: str, refused: Callable[..., str], tmp_path: Path, before: str, after: str, message: str
) -> None:
    file, template = (
        tmp_path / "mine.py",
        STUDY_FILE.format(model="mlp", data="digits", parameter="learning_rate", scale="Log(1e-4, 1, default=0.1)"),
    )
    before, after = before.replace("{{", "{").replace("}}", "}"), after.replace("{{", "{").replace("}}", "}")
    assert before in template
    file.write_text(template.replace(before, after))
    for command in ("plan", "run"):
        assert message in refused(command, str(file))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def __new__(cls, *_, **__): return 3", "its class makes a value of type int, no torch.nn.Module"),
        ("def __init__(self, *_, learning_rate=1): super().__init__()", "it has no parameters to train"),
        ("def __init__(self, *_): pass", "cannot be trained: AttributeError"),
        ("def __init__(self, *_): sys.exit(0)", "it calls sys.exit(0), which would end Caviar"),
        ("def __init__(self, *_): raise BaseException", "it raises BaseException"),
        ("sys.exit(3)", "it calls sys.exit(3), which would end Caviar"),
    ],
)
def test_a_model_that_cannot_be_trained(
    url: str,
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    message: str,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bad_net", raising=False)
    (tmp_path / "bad_net.py").write_text(f"import sys\nfrom torch import nn\nclass Net(nn.Module):\n    {body}\n")
    assert message in refused("run", write(tmp_path, model="bad_net:Net"))


def test_a_program_that_ends_itself_has_the_exit_code_of_bad_input(caviar: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nsys.exit()\n")
    done = subprocess.run([*caviar, "plan", "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "mine.py, line 2: it calls sys.exit()" in done.stderr


@pytest.mark.parametrize("address", ["postgresql://h/a%00b", "postgresql://h/caf\udce9", "postgresql://a%0Ab@h/d"])
def test_an_address_that_libpq_cannot_take(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address)
    assert "the database address " in refused("ls")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CAVIAR_HOME", "~nouser", "there is no home folder for ~nouser"),
        ("CAVIAR_HOME", "/tmp/two\nlines", "CAVIAR_HOME has the control character"),
        ("CAVIAR_HOME", f"/tmp/{NOT_UTF8}", "CAVIAR_HOME is not UTF-8"),
        ("CAVIAR_DATABASE_URL_FILE", "~nouser/address", "there is no home folder for ~nouser"),
        ("CAVIAR_DATABASE_URL_FILE", NOT_UTF8, "CAVIAR_DATABASE_URL_FILE is not UTF-8"),
        ("CAVIAR_CHECKPOINTS", f"file:///{NOT_UTF8}", "CAVIAR_CHECKPOINTS is not UTF-8"),
    ],
)
def test_a_variable_that_names_no_place(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    assert message in refused("ls")


@pytest.mark.parametrize("folder", ["~nouser", NOT_UTF8, "file", "file/below", "x" * 300])
def test_a_folder_of_data_sets_that_cannot_be_one(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAVIAR_DATA_DIR", folder)
    refused("data", "fetch", "mnist")


def test_a_study_file_of_an_impossible_name(refused: Callable[..., str]) -> None:
    assert "no file xxx" in refused("plan", "x" * 300 + ".py")


def test_a_working_directory_that_is_gone(caviar: list[str], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path}/gone && rmdir {tmp_path}/gone && {caviar[0]} ls"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("caviar: the working directory cannot be used")


def test_the_traceback_comes_with_v(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-v", "run", "digit"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert run(["run", "digit"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_join_checks_its_options_on_a_study_that_is_done_too(url: str, refused: Callable[..., str]) -> None:
    engine = make_engine(_url(url))
    record, study = register(engine)
    worker(engine, record, study).run()
    engine.dispose()
    assert "--gpus nan: give all, none, or numbers" in refused("join", "small", "--gpus", "nan")
    assert "--gpus : give all, none, or numbers" in refused("join", "small", "--gpus", "")
