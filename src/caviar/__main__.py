"""The command `caviar`, also as `python -m caviar`."""

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        here = os.getcwd()
    except OSError as error:
        print(f"caviar: the working directory cannot be used: {error.strerror}; change to another", file=sys.stderr)
        sys.exit(2)
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does: the models and data of the project that one stands in
    from caviar.studies.cli import run
    from caviar.studies.cli.output import print_crash

    sys.excepthook = print_crash
    code = run()
    gc.freeze()  # what is loaded needs no collection any more; that of torch takes Python some seconds at its end
    sys.exit(code)


if __name__ == "__main__":
    main()
