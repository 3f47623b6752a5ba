"""The command `caviar`, also as `python -m studies`."""

import os
import sys

from studies._origin import check_origin


def main() -> None:
    """Run the command line and exit with its code."""
    check_origin()
    sys.path.append(os.getcwd())  # for package.module:NAME; last, so that nothing of ours is hidden by it
    from studies.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
