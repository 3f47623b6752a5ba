"""Build the documentation into site/, and end with an error where anything is amiss.

Zensical's strict mode counts broken links, but not what mkdocstrings and griffe say of a docstring: any line that they
print is an error here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_COMPLAINT = re.compile(r"^(griffe|mkdocstrings|\S*[Ww]arning)", re.MULTILINE)


def main() -> int:
    """Write the reference of the commands, build the site, and return the exit code."""
    subprocess.run([sys.executable, "docs/commands.py"], cwd=ROOT, check=True)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    said = built.stdout + built.stderr
    print(said, end="")
    failed = built.returncode != 0 or _COMPLAINT.search(said) is not None
    print("the documentation has errors" if failed else "the documentation is in site/index.html")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
