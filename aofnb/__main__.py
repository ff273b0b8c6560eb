"""``python -m aofnb``: the same as ``aofnb``."""

import sys

from aofnb.cli import main

if __name__ == "__main__":
    sys.exit(main())
