"""``python -m cgjobs``."""

from __future__ import annotations

import sys

from cgjobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
