"""Studies: budgets, maps, tolerances and so on, one file each.

:data:`STUDIES` lists their descriptors. A study that is listed gets a command, files, a table, a
figure and a section of the report.

The list is in ``listed.py`` and imported on first use, so that one study can be imported alone.
"""

import lazy_loader as _lazy_loader

__getattr__, __dir__, _names = _lazy_loader.attach_stub(__name__, __file__)
