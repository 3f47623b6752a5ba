"""The code of Caviar's own models is copied so that it runs without Caviar."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from caviar.models.registry import MODELS
from caviar.studies.results.model_files import _class_path, _copy_code


@pytest.mark.parametrize("model", MODELS)
def test_a_copied_model_needs_no_caviar(model: str, tmp_path: Path) -> None:
    _copy_code(MODELS[model].partition(":")[0], tmp_path / "network")
    module, _, name = _class_path(model).partition(":")
    script = (
        f"import sys; sys.modules['caviar'] = None; sys.path.insert(0, '.')\n"
        f"import torch; from {module} import {name}\n"
        f"print(tuple({name}((1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "(2, 10)\n"


def test_the_class_of_a_model_of_the_users_own_stays_where_it_is() -> None:
    assert _class_path("shop.nets:Net") == "shop.nets:Net"
    assert _class_path("mlp") == "network.mlp:MLP"
