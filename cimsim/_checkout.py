"""Import of the top-level folders of a checkout without symbolic links.

``cimsim/training``, ``cimsim/analysis`` and ``cimsim/device_profiles`` are links to the folders of
these names at the top of the repository. Git on Windows writes links as text files unless it is
configured otherwise; only in this case, a finder of this module imports these three packages.
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
    """Finds ``cimsim.<link>`` in the target folder of the link."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a linked package; None for all other modules."""
        package, _, name = fullname.rpartition(".")
        if package != "cimsim" or name not in LINKS:
            return None
        folder = _HERE.parent / name
        return spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


if any((_HERE / link).is_file() for link in LINKS):
    sys.meta_path.append(LinkedFolders)
