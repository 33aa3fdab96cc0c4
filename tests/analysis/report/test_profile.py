"""Every device that comes with cimsim can be shown."""

from __future__ import annotations

import pytest
from torch import nn

import cimsim
from cimsim.analysis.report.blocks import Folded, Picture, ReportRun, Table
from cimsim.analysis.report.sections.profile import section
from cimsim.analysis.subjects import ModelSubject
from cimsim.profile import load_profile, profile_names


@pytest.mark.parametrize("name", profile_names())
def test_every_device(name: str) -> None:
    net = cimsim.convert(nn.Linear(4, 2), load_profile(name))
    subject = ModelSubject(net, lambda model: 1.0)
    runs = [ReportRun(i, f"run {i}", subject) for i in range(2)]
    found = section(runs)
    assert found is not None
    assert sum(isinstance(block, Picture) for block in found.blocks) == 1  # both runs' device
    tables = [b for f in found.blocks if isinstance(f, Folded) for b in f.blocks]
    profile = tables[-1]
    assert isinstance(profile, Table)
    assert ("cell", "g_max_uS") in [row[:2] for row in profile.rows]
