"""The command `caviar`, also as `python -m studies`."""

import sys

from studies._origin import check_origin


def main() -> None:
    """Run the command line and exit with its code."""
    check_origin()
    from studies.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
