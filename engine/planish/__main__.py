"""`python -m planish`: the command line."""

import sys

from planish.cli import main

if __name__ == "__main__":
    sys.exit(main())
