"""``python -m scannable``: the same as the command ``scannable``."""

import sys

from scannable.cli import main

if __name__ == "__main__":
    sys.exit(main())
