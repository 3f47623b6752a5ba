"""`models` and `storage` are common names: make sure that they are this clone's before they are imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def check_origin() -> None:
    """Exit with code 2 and both paths where `models` or `storage` come from elsewhere."""
    ours = Path(__file__).resolve().parent.parent
    for name in ("models", "storage"):
        spec = find_spec(name)
        found = Path(next(iter(spec.submodule_search_locations or [])) if spec else "nowhere").resolve()
        if found != ours / name:
            print(
                f"caviar: the package '{name}' comes from {found}, but must be {ours / name}; "
                f"run caviar from its own environment, and not from a folder that has a '{name}' of its own",
                file=sys.stderr,
            )
            sys.exit(2)
