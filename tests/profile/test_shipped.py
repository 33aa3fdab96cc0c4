"""The numbers of the shipped profiles are the published ones."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pytest

from cimsim.profile import (
    AnyCurve,
    CappedPower,
    ClippedLog,
    OneOverFReadNoise,
    Polynomial,
    PowerLawDrift,
    Profile,
    StateDependentProgrammingNoise,
    TabulatedDrift,
    load_profile,
    profile_names,
)
from cimsim.profile.base import Section, Sourced


def polynomial(curve: AnyCurve, r: float) -> float:
    assert isinstance(curve, Polynomial)
    return sum(c * r**power for power, c in enumerate(curve.coefficients))


def clipped(curve: AnyCurve, r: float) -> float:
    assert isinstance(curve, ClippedLog)
    return min(max(curve.slope * math.log(r) + curve.intercept, curve.min), curve.max)


FIXED_NAMES = {
    "ideal",
    "pcm-ibm-2020",
    "pcm-hermes-2023",
    "pcm-hermes-2023-single",
    "reram-wan-2022",
    "reram-wan-2022-iterated",
    "reram-2t2r-liu-2020",
    "reram-cmo-2025",
    "reram-milo-2021",
    "sonos-agrawal-2022",
    "sram-charge-jia-2020",
    "fefet-jerry-2017",
    "mram-jung-2022",
    "nor-flash-guo-2017",
    "ecram-tang-2018",
    "generic-gaussian",
}


def test_profiles_bear_the_names_of_their_files() -> None:
    assert set(profile_names()) >= FIXED_NAMES
    for name in profile_names():
        assert load_profile(name).name == name


def test_ideal_has_no_effects() -> None:
    ideal = load_profile("ideal")
    cell = ideal.cell
    assert [*cell.programming_noise, *cell.drift, *cell.read_noise] == []
    assert ideal.dac.bits is None
    assert ideal.adc.bits is None
    assert ideal.adc.noise_of_range == 0
    assert ideal.scale_noise(7) == ideal


# Programming noise in uS and drift exponents at g/g_max, computed by hand from the equations of
# Joshi et al. 2020 as the IBM Analog Hardware Acceleration Kit documents them.
@pytest.mark.parametrize(
    ("r", "sigma_uS", "nu_mean", "nu_std", "q"),
    [
        (1.0, 1.05538, 0.049, 0.008, 0.0088),
        (0.5, 0.952705, 0.049, 0.008, 0.013808),
        (0.1, 0.448249, 0.060090, 0.022882, 0.039308),
        (0.001, 0.265444, 0.1, 0.045, 0.2),
    ],
)
def test_pcm_is_joshi_2020(
    r: float, sigma_uS: float, nu_mean: float, nu_std: float, q: float
) -> None:
    cell = load_profile("pcm-ibm-2020").cell
    (programming,), (drift,), (read,) = cell.programming_noise, cell.drift, cell.read_noise
    assert isinstance(programming, StateDependentProgrammingNoise)
    assert isinstance(drift, PowerLawDrift)
    assert isinstance(read, OneOverFReadNoise)
    assert programming.g_ref_uS == drift.g_ref_uS == read.g_ref_uS == cell.g_max_uS == 25
    assert cell.g_min_uS == 0
    assert drift.t0_s == read.t0_s == 20
    assert read.t_read_ns == 250
    assert polynomial(programming.sigma_uS, r) == pytest.approx(sigma_uS, rel=1e-5)
    assert clipped(drift.nu_mean, r) == pytest.approx(nu_mean, rel=1e-4)
    assert clipped(drift.nu_std, r) == pytest.approx(nu_std, rel=1e-4)
    assert isinstance(read.q, CappedPower)
    assert min(read.q.coefficient * r**read.q.exponent, read.q.max) == pytest.approx(q, rel=1e-4)


# An independent fit to the same figure (Wan et al. 2022, Extended Data Fig. 3, 1 s): the cubic of
# CrossSim's RRAM_Wan model. Two readings of one figure agree within 0.6 uS.
def cross_sim_uS(g_uS: float) -> float:
    return 1.536e-4 * g_uS**3 - 1.167e-2 * g_uS**2 + 0.2374 * g_uS + 1.053


def test_reram_is_wan_2022() -> None:
    cell = load_profile("reram-wan-2022").cell
    (relaxation,) = cell.drift
    assert isinstance(relaxation, TabulatedDrift)
    assert relaxation.times_s == (1, 86400, 172800)
    assert relaxation.g_ref_uS == cell.g_max_uS == 40
    at_half = [polynomial(coefficients, 0.5) for coefficients in relaxation.sigma_uS]
    assert at_half == pytest.approx([2.023, 3.909, 3.929], abs=1e-3)
    for coefficients in relaxation.sigma_uS:
        spread = [polynomial(coefficients, step / 100) for step in range(101)]
        assert min(spread) > 0
        assert 0.2 < spread.index(max(spread)) / 100 < 0.45
    for g_uS in (5, 10, 20, 30, 39):
        ours = polynomial(relaxation.sigma_uS[0], g_uS / 40)
        assert ours == pytest.approx(cross_sim_uS(g_uS), abs=0.6)


def test_reram_tile_is_a_core_of_256_by_256_cells_with_a_weight_in_two_rows() -> None:
    array = load_profile("reram-wan-2022").array
    assert (2 * array.rows, array.columns) == (256, 256)


def sourced(section: Section) -> Iterator[Sourced]:
    if isinstance(section, Sourced):
        yield section
    for name in type(section).model_fields:
        value = getattr(section, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Section):
                yield from sourced(part)


@pytest.mark.parametrize("name", profile_names())
def test_every_number_has_a_source_that_is_cited_or_an_assumption(name: str) -> None:
    profile: Profile = load_profile(name)
    for section in sourced(profile):
        for field in section.numbers():
            default = type(section).model_fields[field].default
            if getattr(section, field) not in (None, 0.0, default):
                source = section.source_of(field)
                assert source, f"{type(section).__name__}.{field}"
                cited = re.findall(r"\b[a-z]+20\d\d\b|\bneurram\b|\bcrosssim\b", source)
                assert set(cited) <= set(profile.sources)
                assert cited or source.startswith("assumption: ")
