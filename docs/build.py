"""Build the documentation into site/, and end with an error where anything is amiss.

Zensical's strict mode counts broken links, but not what mkdocstrings and griffe print about a docstring: each of these
lines is an error here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_COMPLAINT = re.compile(r"^(griffe|mkdocstrings)\b.*|\S*[Ww]arning:.*", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """Write the two pages of reference, build the site, and return the exit code."""
    for script in ("docs/commands.py", "docs/names.py"):
        subprocess.run([sys.executable, script], cwd=ROOT, check=True)
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    output = _COLOUR.sub("", done.stdout)
    print(output, end="")
    failed = done.returncode != 0 or complaints(output)
    print("the documentation has errors" if failed else "the documentation is in site/index.html")
    return int(bool(failed))


def complaints(output: str) -> list[str]:
    """Return what the build printed about broken links and docstrings, one entry a line."""
    return [line.group() for line in _COMPLAINT.finditer(output)]


if __name__ == "__main__":
    sys.exit(main())
