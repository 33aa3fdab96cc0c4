"""The slow part of read noise: its variance in closed form, and what it remembers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cimsim.physics import ReadContext, read_variance_uS2, slow_flicker, slow_telegraph_uS
from cimsim.physics.draws import sum_of_normals
from cimsim.physics.sessions import fast_variance, flicker_variance, slow_parts
from cimsim.profile import FlickerTimes
from tests.building import ONE_OVER_F, device
from tests.physics.kinds import TELEGRAPH

DAY_S = 86400.0
N = 100_000
PCM = FlickerTimes(read_s=250e-9, session_s=1e-4, before_s=20.0)
TIMES = st.builds(
    FlickerTimes, st.floats(1e-9, 1e-3), st.floats(1e-8, 1e3), st.sampled_from([0.0, 20.0])
)


@given(TIMES, st.floats(0, 1e9), st.booleans())
def test_both_parts_are_the_whole(times: FlickerTimes, age_s: float, single_use: bool) -> None:
    parts = slow_parts(times, 0, age_s, 1, single_use)
    slow = sum(part.size**2 for part in parts)
    whole = flicker_variance(times, age_s)
    assert slow + fast_variance(times, age_s) == pytest.approx(whole, rel=1e-9, abs=1e-12)
    assert len(parts) <= 1 or not single_use


def test_a_session_of_one_second_leaves_44_percent_after_a_day() -> None:
    """And one of a read pulse of 100 us 80 %: ln(f_high / f_low) of both."""
    shares = []
    for session_s in (1.0, 1e-4):
        times = PCM._replace(session_s=session_s)
        shares.append(1 - fast_variance(times, DAY_S) / flicker_variance(times, DAY_S))
    assert shares == pytest.approx([0.44, 0.80], abs=0.005)


def noise(age_s: float, seed: int = 1, **changed: object) -> Tensor:
    cell = device(read=[{**ONE_OVER_F, **changed}]).cell
    g_uS = torch.full((N,), 25.0, dtype=torch.float64)
    ((sigma_uS, parts),) = slow_flicker(
        ReadContext(g_uS, g_uS, cell, age_s, 25.0), seed, single_use=False
    )
    return sigma_uS * sum_of_normals(g_uS, parts)


def correlation(one: Tensor, other: Tensor) -> float:
    return torch.corrcoef(torch.stack([one, other]))[0, 1].item()


@pytest.mark.parametrize("age_s", [0.0, DAY_S, 3.2e7])
def test_its_spread_is_that_of_its_spectrum(age_s: float) -> None:
    sigma_uS = 25 * 0.0088 * math.sqrt(math.log((age_s + 20) / 1e-4))
    assert noise(age_s).mean().item() == pytest.approx(0.0, abs=4 * sigma_uS / math.sqrt(N))
    assert noise(age_s).std().item() == pytest.approx(sigma_uS, rel=0.01)


@pytest.mark.parametrize("later_s", [1.0, 60.0, 3600.0])
def test_sessions_share_what_is_slower_than_the_time_between_them(later_s: float) -> None:
    """ln(T / tau) / ln(T / t_session), to the width of a band: a decade."""
    found = [
        correlation(noise(age_s), noise(age_s + later_s))
        for age_s in (1.00 * DAY_S, 1.17 * DAY_S, 1.31 * DAY_S, 1.73 * DAY_S)
    ]
    expected = math.log(DAY_S / later_s) / math.log(DAY_S / 1e-4)
    decade = math.log(10) / math.log(DAY_S / 1e-4)
    assert sum(found) / len(found) == pytest.approx(expected, abs=decade)


def test_a_session_is_the_same_twice_and_another_on_another_chip() -> None:
    assert torch.equal(noise(DAY_S), noise(DAY_S))
    assert correlation(noise(DAY_S), noise(DAY_S, seed=2)) == pytest.approx(0, abs=4 / math.sqrt(N))
    assert correlation(noise(DAY_S), noise(400 * DAY_S)) == pytest.approx(0, abs=0.05)
    assert correlation(noise(DAY_S), noise(DAY_S + 1e-5)) > 0.99


def test_a_session_as_long_as_the_age_is_white() -> None:
    cell = device(read=[{**ONE_OVER_F, "t_session_s": 1e9}]).cell
    g_uS = torch.full((3,), 25.0)
    assert not [*slow_flicker(ReadContext(g_uS, g_uS, cell, DAY_S, 25.0), 1, single_use=False)]
    now, ever = (
        read_variance_uS2(ReadContext(g_uS, g_uS, cell, DAY_S), sessions=sessions)
        for sessions in (False, True)
    )
    assert now is not None
    assert ever is not None
    assert torch.equal(now, ever)


def traps(age_s: float, t_switch_s: float = 3600.0) -> Tensor:
    slow = {**TELEGRAPH, "share_of_cells": 1.0, "t_switch_s": t_switch_s}
    cell = device(read=[slow]).cell
    g_uS = torch.full((N,), 10.0, dtype=torch.float64)
    change = slow_telegraph_uS(g_uS, cell, age_s, 1)
    assert change is not None
    return change


def test_a_slow_trap_keeps_its_state_and_forgets_it_in_time() -> None:
    p, step_uS = 0.2, 1.0
    now = traps(7200.0)
    assert now.unique().tolist() == pytest.approx([-step_uS * (1 - p), step_uS * p])
    variance = p * (1 - p)
    assert (now < 0).double().mean().item() == pytest.approx(p, abs=4 * math.sqrt(variance / N))
    for lag in (0.0, 0.25, 0.5, 1.0, 3.0):
        later = traps(7200.0 + lag * 3600.0)
        assert correlation(now, later) == pytest.approx(max(0.0, 1 - lag), abs=0.02)


def test_a_fast_trap_is_new_for_every_read() -> None:
    cell = device(read=[{**TELEGRAPH, "t_switch_s": 1e-6}]).cell
    g_uS = torch.full((3,), 10.0)
    assert slow_telegraph_uS(g_uS, cell, DAY_S, 1) is None
