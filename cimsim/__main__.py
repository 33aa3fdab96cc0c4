"""Entry point of ``python -m cimsim``, which runs the command ``cimsim``."""

import os
import sys

# `python -m` searches modules in the working folder first, whose content may be untrusted.
if sys.path and sys.path[0] == os.getcwd():
    del sys.path[0]

from cimsim.cli import main

sys.exit(main())
