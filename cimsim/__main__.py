"""``python -m cimsim`` is the command ``cimsim``."""

import os
import sys

# `python -m` looks for modules in the working folder first, which may be one that somebody sent.
if sys.path and sys.path[0] == os.getcwd():
    del sys.path[0]

from cimsim.cli import main

sys.exit(main())
