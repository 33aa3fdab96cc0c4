"""Import the folders at the top of a checkout whose file system has no symbolic links.

``cimsim/training``, ``cimsim/analysis`` and ``cimsim/device_profiles`` are links to the folders of
these names at the top of the repository. Git on Windows writes a link as a text file unless it is
configured otherwise; there, and only there, a finder of this module serves these three packages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

LINKS = ("analysis", "device_profiles", "training")
_HERE = Path(__file__).parent


class LinkedFolders:
    """Finds ``cimsim.<link>`` in the folder that the link leads to."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of a linked package; ``None`` for every other module."""
        package, _, name = fullname.rpartition(".")
        if package != "cimsim" or name not in LINKS:
            return None
        folder = _HERE.parent / name
        return spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


if any((_HERE / link).is_file() for link in LINKS):
    sys.meta_path.append(LinkedFolders)
