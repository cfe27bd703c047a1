"""`python -m bench NAME`, and `flo bench NAME`, which runs this file as a program."""

import sys
from pathlib import Path

if not __package__:  # run as a file: this directory must not stand on the path, its names could hide others
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
