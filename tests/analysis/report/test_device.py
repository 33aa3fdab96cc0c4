"""Every device that comes with cimsim can be shown."""

from __future__ import annotations

import pytest

from cimsim.analysis.report.blocks import Folded, Picture, Shown, Table
from cimsim.analysis.report.sections.device import section
from cimsim.profile import load_profile, profile_names


class Stub:
    """A run, as far as this section looks at it."""

    def __init__(self, name: str) -> None:
        self.profile = load_profile(name)


@pytest.mark.parametrize("name", profile_names())
def test_every_device(name: str) -> None:
    runs = [Shown(i, f"run {i}", Stub(name)) for i in range(2)]  # type: ignore[arg-type]
    found = section(runs)
    assert found is not None
    assert sum(isinstance(block, Picture) for block in found.blocks) == 1  # both runs' device
    tables = [b for f in found.blocks if isinstance(f, Folded) for b in f.blocks]
    profile = tables[-1]
    assert isinstance(profile, Table)
    assert ("cell", "g_max_uS") in [row[:2] for row in profile.rows]
