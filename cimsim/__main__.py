"""``python -m cimsim`` is the command ``cimsim``."""

import sys

from cimsim.cli import main

sys.exit(main())
