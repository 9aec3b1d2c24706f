"""Runs the command line as ``python -m hyperalign``."""

from hyperalign.cli import main

if __name__ == "__main__":
    main()
