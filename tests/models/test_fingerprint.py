"""Digests of code and data, and what is made of it where two machines differ."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import caviar.models
from caviar.models.data import files
from caviar.models.errors import DataUnavailable, UnknownData, UnknownModel
from caviar.models.fingerprint import code_digest, data_digest
from caviar.storage.records import Provenance
from caviar.studies.lifecycle.provenance import Difference, compare, package_versions, provenance_of
from tests.helpers.studies import small_study

NET = "from torch import nn\n\nclass Net(nn.Module):\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that models can be imported from, and what was imported is forgotten."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def anew(model: str) -> str:
    """The digest, as another process would have it."""
    top = model.replace(":", ".").partition(".")[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == top]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return code_digest(model)


def test_the_code_is_the_same_again_and_the_package_s_own() -> None:
    assert code_digest("mlp") == code_digest("mlp")
    assert len(code_digest("mlp")) == 64
    with pytest.raises(UnknownModel, match="did you mean mlp"):
        code_digest("mpl")


def test_the_package_s_code_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "models"
    copy.mkdir()
    for file in Path(caviar.models.__file__).parent.glob("*.py"):
        (copy / file.name).write_bytes(file.read_bytes())
    same = code_digest("mlp")
    monkeypatch.setattr("caviar.models.fingerprint._OURS", copy)
    monkeypatch.setattr("caviar.models.fingerprint._of_model", lambda model: [])
    assert code_digest("mlp") == same  # wherever the clone is
    with (copy / "optim.py").open("a") as opened:
        opened.write("# changed\n")
    assert code_digest("mlp") != same


def test_a_model_s_own_file_counts_and_no_other(folder: Path) -> None:
    (folder / "my_net.py").write_text(NET)
    before = anew("my_net:Net")
    assert before != code_digest("mlp")
    (folder / "other.py").write_text("x = 1\n")
    assert anew("my_net:Net") == before
    (folder / "my_net.py").write_text(NET + "# changed\n")
    assert anew("my_net:Net") != before


def test_what_a_model_s_file_imports_from_beside_it_counts(folder: Path) -> None:
    (folder / "net.py").write_text("import os\nfrom my_layers import Layer\n\n" + NET)
    (folder / "my_layers.py").write_text("import my_blocks.deep\n\nLayer = 1\n")
    (folder / "my_blocks").mkdir()
    (folder / "my_blocks" / "deep.py").write_text("import net\n")
    (folder / "my_layers").mkdir()  # of data, say: Python imports the file
    (folder / "my_blocks" / "template.py").write_text("{{ not Python }}")
    (folder / "other.py").write_text("")
    before = anew("net:Net")
    (folder / "other.py").write_text("# changed")
    assert anew("net:Net") == before
    (folder / "my_layers.py").write_text("import my_blocks.deep\n\nLayer = 2\n")
    changed = anew("net:Net")
    assert changed != before
    (folder / "my_blocks" / "deep.py").write_text("# changed\n")
    assert anew("net:Net") not in (before, changed)


@pytest.mark.parametrize("where", ["net.py", "__init__.py", "blocks/deep.py"])
@pytest.mark.parametrize("model", ["my_package.net:Net", "my_package:Net", "my_package:Own"])
def test_every_file_of_a_model_s_package_counts(folder: Path, model: str, where: str) -> None:
    """Whether its class stands in a module, is offered by the package, or stands in the package itself."""
    package = folder / "my_package"
    (package / "blocks").mkdir(parents=True)
    (package / "net.py").write_text(NET)
    (package / "blocks" / "deep.py").write_text("")
    own = NET.replace("class Net", "class Own")
    (package / "__init__.py").write_text(f"from my_package.net import Net\n{own}")
    before = anew(model)
    with (package / where).open("a") as opened:
        opened.write("# changed\n")
    assert anew(model) != before


def test_a_file_under_another_name_is_other_code(folder: Path) -> None:
    package = folder / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text(NET)
    (package / "blocks.py").write_text("")
    before = anew("my_package:Net")
    (package / "blocks.py").rename(package / "blocks_2.py")
    assert anew("my_package:Net") != before


def test_data_are_told_by_their_bytes_wherever_they_are(tmp_path: Path) -> None:
    digests = []
    for place, content in (("here", b"images"), ("there", b"images"), ("elsewhere", b"imagos")):
        data_dir = tmp_path / place
        (data_dir / "MNIST" / "raw").mkdir(parents=True)
        with pytest.raises(DataUnavailable, match="caviar data fetch mnist"):
            data_digest("mnist", data_dir)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("caviar.models.data.check_available", lambda name, folder: None)
            for file in files("mnist", data_dir):
                file.write_bytes(content)
        digests.append(data_digest("mnist", data_dir))
    assert digests[0] == digests[1] != digests[2]


def test_data_that_change_places_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caviar.models.data.check_available", lambda name, folder: None)
        paths = files("mnist", tmp_path)
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    before = data_digest("mnist", tmp_path)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
    assert data_digest("mnist", tmp_path) != before


def test_digits_come_with_their_package_and_unknown_data_are_told() -> None:
    assert data_digest("digits", Path("nowhere")) == data_digest("digits", Path("elsewhere"))
    with pytest.raises(UnknownData, match="did you mean digits"):
        data_digest("digit", Path("nowhere"))


def test_what_this_machine_computes_with_differs_in_nothing_from_itself() -> None:
    here = provenance_of(small_study(), Path("nowhere"))
    assert (here.code, here.data) == (code_digest("mlp"), data_digest("digits", Path("nowhere")))
    assert {"optuna", "torch", "numpy", "python"} <= set(here.packages)
    assert compare(here, provenance_of(small_study(), Path("nowhere"))) == []
    assert dict(here.packages) == package_versions()


def test_the_same_code_and_data_are_all_that_is_asked_for() -> None:
    there = Provenance({"optuna": "5.0.0"}, "c" * 64, "d" * 64)
    found = compare(there, Provenance({"optuna": "5.0.0"}, "e" * 64, "f" * 64))
    assert found == [
        Difference("code", "c" * 12, "e" * 12, "mismatch"),
        Difference("data", "d" * 12, "f" * 12, "mismatch"),
    ]


def test_what_was_not_written_down_is_not_compared() -> None:
    for there, here in (
        (Provenance(), Provenance({"optuna": "5.0.0"}, "c", "d")),
        (Provenance({"optuna": "5.0.0"}, "c", "d"), Provenance()),
    ):
        assert compare(there, here) == []


@pytest.mark.parametrize(
    ("name", "there", "here", "weight"),
    [
        ("optuna", "5.0.0", "6.0.0", "fatal"),
        ("optuna", "10.1", "1.0.1", "fatal"),
        ("optuna", "5.0.0", "5.1.0", "note"),
        ("torch", "2.9.0", "3.0.0", "note"),
        ("python", "3.11.4", "3.13.0", "note"),
    ],
)
def test_only_optunas_major_version_is_fatal(name: str, there: str, here: str, weight: str) -> None:
    found = compare(Provenance({name: there}), Provenance({name: here}))
    assert found == [Difference(name, there, here, weight)]


@pytest.mark.parametrize(("skew", "told"), [(59.0, []), (-59.0, []), (61.0, ["+61 s"]), (-61.0, ["-61 s"])])
def test_a_clock_that_is_far_off_is_a_mismatch(skew: float, told: list[str]) -> None:
    found = compare(Provenance(), Provenance(), skew)
    assert [(d.what, d.here, d.weight) for d in found] == [("clock", here, "mismatch") for here in told]
