"""The characteristics of a device are those of 200,000 sampled cells, for every shipped profile."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cimsim.physics import (
    ReadContext,
    aged_uS,
    programmed_uS,
    reachable_uS,
    sampled_reads_uS,
    varied_uS,
)
from cimsim.physics.characteristics import (
    Characteristic,
    characteristics,
    mean_conductances_uS,
)
from cimsim.profile import (
    PowerLawDrift,
    Profile,
    TabulatedDrift,
    load_profile,
    profile_names,
)

N = 200_000
SEED = 5
AGES_s = (0.0, 1.0, 3600.0, 2 * 86400.0)
# A standard deviation of N cells is exact to 0.16 %, and more for heavy tails; four times that.
CLOSE = 0.01

WINDOW = "cell.write_verify={tolerance_uS: 0.8}"
BIAS = "cell.programming_noise.0.bias_uS={kind: polynomial, coefficients: [0.5, -1.4]}"
SHARE = "cell.programming_noise.0.device_share=0.6"
SECOND = (
    "cell.programming_noise=[{kind: gaussian, sigma_of_g_max: 0.04, device_share: 0.3}, "
    "{kind: relative, sigma_of_g: 0.1, device_share: 0.9}]"
)
FAR = "cell.programming_noise.0.bias_uS={kind: polynomial, coefficients: [6]}"
TILES = "cell.variation=[{kind: tile, sigma_gain: 0.05, sigma_offset_of_g_max: 0.02}]"
FIELD = "cell.variation=[{kind: correlated, sigma_of_g: 0.1, length_in_rows: 2}]"
MADE_UP = (
    ("pcm-ibm-2020", WINDOW),
    ("pcm-ibm-2020", "cell.write_verify={tolerance_uS: 0.1}"),
    ("pcm-ibm-2020", WINDOW, BIAS),
    ("pcm-ibm-2020", WINDOW, BIAS, SHARE),
    ("pcm-ibm-2020", WINDOW, FAR),
    ("pcm-ibm-2020", WINDOW, SECOND),
    ("pcm-ibm-2020", BIAS, "cell.g_ceiling_uS=25.2"),
    ("pcm-ibm-2020", SECOND, TILES),
    ("reram-2t2r-liu-2020", TILES, "cell.programming_noise.0.device_share=0.5"),
    ("pcm-ibm-2020", WINDOW, TILES),
)
DEVICES = [*((name,) for name in profile_names()), *MADE_UP]


@pytest.fixture(params=DEVICES, ids=" ".join)
def profile(request: pytest.FixtureRequest) -> Profile:
    name, *overrides = request.param
    return load_profile(name, overrides)


def rows(profile: Profile) -> Iterator[Characteristic]:
    """At the ends of the range, in its middle, and close to its ends."""
    low, high = profile.cell.g_min_uS, profile.cell.g_max_uS
    targets = [low + share * (high - low) for share in (0.0, 0.05, 0.3, 0.5, 0.9, 1.0)]
    yield from characteristics(profile, targets, AGES_s)


def cells(profile: Profile, row: Characteristic) -> Tensor:
    """Cells of the target of ``row``, each on another tile."""
    target = torch.full((1, N, 1, 1), row.g_uS, dtype=torch.float64)
    return reachable_uS(target, profile.cell)


def test_programming_spread(profile: Profile) -> None:
    for row in rows(profile):
        assert row.sigma_prog_uS == pytest.approx(sampled(profile, row), rel=CLOSE, abs=1e-9)


def test_variation_and_a_tabulated_spread_add_up() -> None:
    """Far from the bounds, which apply to their sum in the characteristics."""
    profile = load_profile("reram-wan-2022", [TILES])
    for row in characteristics(profile, [20.0, 35.0], AGES_s):
        assert row.sigma_prog_uS == pytest.approx(sampled(profile, row), rel=CLOSE)


def test_variation_at_a_bound_has_a_closed_form() -> None:
    """Half of the cells are at the bound, the others half a normal distribution."""
    offset = "cell.variation=[{kind: tile, sigma_gain: 0.0, sigma_offset_of_g_max: 0.02}]"
    free = math.sqrt(0.5 - 1 / (2 * math.pi))
    for ceiling, target in (("", 0.0), ("cell.g_ceiling_uS=25.0", 25.0)):
        keys = ["cell.g_min_uS=0", "cell.g_max_uS=25", offset, *([ceiling] if ceiling else [])]
        (row,) = characteristics(load_profile("ideal", keys), [target], [0.0])
        assert row.sigma_prog_uS == pytest.approx(0.02 * 25 * free, rel=1e-12)


def test_means_alone_are_those_of_the_characteristics(profile: Profile) -> None:
    low, high = profile.cell.g_min_uS, profile.cell.g_max_uS
    targets = [low, (low + high) / 2, high]
    means = mean_conductances_uS(profile, targets, AGES_s)
    expected = [row.g_mean_uS for row in characteristics(profile, targets, AGES_s)]
    assert [mean for of_target in means for mean in of_target] == expected


def sampled(profile: Profile, row: Characteristic) -> float:
    """Standard deviation in µS of cells with the drift whose spread counts as programming."""
    tables = tuple(drift for drift in profile.cell.drift if isinstance(drift, TabulatedDrift))
    cell, target = profile.cell.model_copy(update={"drift": tables}), cells(profile, row)
    g_uS = programmed_uS(target, cell, SEED)
    g_uS = varied_uS(g_uS, cell, profile.array, SEED)
    g_uS = aged_uS(g_uS, target, cell, row.t_s, SEED, 0, profile.temperature_C)
    return g_uS.std().item()


def test_drift_exponent(profile: Profile) -> None:
    """Exponents are magnitudes of normal numbers."""
    laws = tuple(d for d in profile.cell.drift if isinstance(d, PowerLawDrift))
    assert len(laws) <= 1
    cell = profile.cell.model_copy(update={"drift": laws})
    for row in rows(profile):
        if not laws:
            assert row.drift_nu_mean is None
            assert row.drift_nu_std is None
            continue
        if not row.t_s:
            continue
        assert row.drift_nu_mean is not None
        assert row.drift_nu_std is not None
        target = cells(profile, row)
        start = torch.ones_like(target)
        aged = aged_uS(start, target, cell, row.t_s, SEED, 0, profile.temperature_C)
        nu = -aged.log() / math.log1p(laws[0].reference_age_s(row.t_s, 25.0) / laws[0].t0_s)
        mean, std = folded(row.drift_nu_mean, row.drift_nu_std)
        assert nu.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(N), rel=1e-9)
        assert nu.std().item() == pytest.approx(std, rel=CLOSE, abs=1e-9)


def folded(mean: float, std: float) -> tuple[float, float]:
    """Mean and standard deviation of the magnitude of a normal number."""
    ratio = mean / std if std else math.inf
    inside = std * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2)
    average = inside + mean * math.erf(ratio / math.sqrt(2))
    return average, math.sqrt(mean**2 + std**2 - average**2) if std else 0.0


def test_relaxation_spread(profile: Profile) -> None:
    """From conductances that no bound limits."""
    others = tuple(d for d in profile.cell.drift if not isinstance(d, PowerLawDrift))
    cell = profile.cell.model_copy(update={"drift": others, "g_ceiling_uS": None})
    for row in rows(profile):
        if not others:
            assert row.sigma_drift_uS is None
            continue
        target = cells(profile, row)
        start = torch.full_like(target, 100 * profile.cell.g_max_uS)
        aged = aged_uS(start, target, cell, row.t_s, SEED, 0, profile.temperature_C)
        assert row.sigma_drift_uS == pytest.approx(aged.std().item(), rel=CLOSE, abs=1e-9)


def test_read_spread(profile: Profile) -> None:
    """One read of each cell, whose slow noise differs from cell to cell."""
    for row in rows(profile):
        target = cells(profile, row)
        g_uS = torch.full_like(target, row.g_mean_uS)
        at = ReadContext(g_uS, target, profile.cell, row.t_s, profile.temperature_C)
        read = sampled_reads_uS(at, SEED, torch.Generator().manual_seed(SEED), reads=1)
        assert row.sigma_read_uS == pytest.approx(read.std().item(), rel=CLOSE, abs=1e-9)
