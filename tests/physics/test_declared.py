"""What an effect's class declares is what its physics does, for every kind."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cimsim.physics import (
    ReadContext,
    aged_uS,
    at_temperature_uS,
    sampled_reads_uS,
)
from cimsim.profile import Profile, ProfileError, load_profile, override_profile
from cimsim.seeds import generator
from tests.physics.kinds import (
    CURRENT,
    DRIFT,
    FAMILIES,
    KINDS,
    READ,
    TEMPERATURE,
    Family,
    profile_with,
    the_effect,
)

EVERY = [(family, effect) for family in FAMILIES for effect in KINDS[family]]
every_kind = pytest.mark.parametrize(
    ("family", "effect"), EVERY, ids=[f"{f.keyword}-{e['kind']}" for f, e in EVERY]
)
DAY_S = 86400.0
G_uS = torch.linspace(1.0, 24.0, 2 * 3 * 4 * 16, dtype=torch.float64).view(2, 3, 4, 16)


@every_kind
def test_age(family: Family, effect: dict[str, Any]) -> None:
    profile = profile_with(family, effect)
    early, late = (family.act(profile, G_uS, 1, age_s) for age_s in (60.0, DAY_S))
    declared = the_effect(family, profile).depends_on_age
    assert torch.equal(early, late) == (not declared)
    assert any(e.depends_on_age for e in profile.cell.drift + profile.cell.read_noise) == declared


def at(family: Family, profile: Profile, temperature_C: float) -> Tensor:
    """Cells at a temperature, with the same draws at each."""
    if family is DRIFT:
        return aged_uS(G_uS, G_uS, profile.cell, 300.0, 1, temperature_C=temperature_C)
    if family is TEMPERATURE:
        return at_temperature_uS(G_uS, G_uS, profile.cell, temperature_C)
    if family is READ:
        cells = ReadContext(G_uS, G_uS, profile.cell, DAY_S, temperature_C)
        return sampled_reads_uS(cells, 1, generator("read"), reads=1)
    return family.act(profile, G_uS, 1, DAY_S)


HEATED = [
    (DRIFT, {**effect, "activation_eV": 0.5})
    for effect in KINDS[DRIFT]
    if effect["kind"] != "read-disturb"
]


@pytest.mark.parametrize(("family", "effect"), [*EVERY, *HEATED])
def test_temperature(family: Family, effect: dict[str, Any]) -> None:
    profile = profile_with(family, effect)
    declared = the_effect(family, profile).uses_temperature
    assert torch.equal(at(family, profile, 25.0), at(family, profile, 60.0)) == (not declared)


@every_kind
def test_signed_cells(family: Family, effect: dict[str, Any]) -> None:
    declared = the_effect(family, profile_with(family, effect)).allows_signed_cells
    sourced = {**effect, "source": "a test"}
    change = {f"cell.{family.field}": sourced if family is CURRENT else [sourced]}
    signed = load_profile("generic-gaussian")
    assert signed.cell.signed
    if declared:
        assert override_profile(signed, change).cell.signed
    else:
        with pytest.raises(ProfileError):
            override_profile(signed, change)
