"""The command `caviar`, also as `python -m caviar`."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does: the models and data of the project that one stands in
    from caviar.studies.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
