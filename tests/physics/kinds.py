"""Every kind of effect that a cell can have, with numbers, and what it does to a field of cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from cimsim.physics import (
    ReadContext,
    aged_uS,
    at_temperature_uS,
    broken_uS,
    iv_terms,
    programmed_uS,
    sampled_reads_uS,
    varied_uS,
)
from cimsim.profile import (
    IV,
    Drift,
    Effect,
    Faults,
    Profile,
    ProgrammingNoise,
    ReadNoise,
    TemperatureEffect,
    Variation,
)
from cimsim.seeds import generator
from tests.building import ONE_OVER_F, POLYNOMIAL, POWER_LAW, device, gaussian

G_MAX_uS = 25.0
HOT_C = 85.0

Act = Callable[[Profile, Tensor, int, float], Tensor]
"""``(profile, g [devices, tiles, columns, rows] in µS, seed, age in s)`` -> the same, changed."""


@dataclass(frozen=True)
class Family:
    """Effects of one kind of place in a cell.

    Attributes:
        keyword: what :func:`tests.building.device` calls it.
        field: what the profile's cell calls it.
        union: the profile's classes.
        act: what such an effect does.
        static: drawn once per chip, and differentiable in the conductances.
        any_shape: whether cells are all alike, so that fields of any shape are possible.
    """

    keyword: str
    field: str
    union: Any
    act: Act
    static: bool = True
    any_shape: bool = True

    def members(self) -> set[type[Effect]]:
        """The classes of the union."""
        kinds, _ = get_args(self.union)
        return set(get_args(kinds))


def _program(profile: Profile, g_uS: Tensor, seed: int, age_s: float) -> Tensor:
    return programmed_uS(g_uS, profile.cell, seed)


def _vary(profile: Profile, g_uS: Tensor, seed: int, age_s: float) -> Tensor:
    return varied_uS(g_uS, profile.cell, profile.array, seed)


def _age(profile: Profile, g_uS: Tensor, seed: int, age_s: float) -> Tensor:
    return aged_uS(g_uS, g_uS, profile.cell, age_s, seed)


def _warm(profile: Profile, g_uS: Tensor, seed: int, age_s: float) -> Tensor:
    return at_temperature_uS(g_uS, g_uS, profile.cell, HOT_C)


def _break(profile: Profile, g_uS: Tensor, seed: int, age_s: float) -> Tensor:
    return broken_uS(g_uS, profile.cell, profile.array, seed)[0]


def _read(profile: Profile, g_uS: Tensor, seed: int, age_s: float) -> Tensor:
    draws = generator("read", seed, device=g_uS.device)
    reads = sampled_reads_uS(
        ReadContext(g_uS, g_uS, profile.cell, age_s, HOT_C), seed, draws, reads=1
    )
    return reads[0]


def _conduct(profile: Profile, g_uS: Tensor, seed: int, age_s: float) -> Tensor:
    """Current at full scale, over ``v_read``: the conductance of an ohmic cell."""
    assert profile.cell.iv is not None
    full_scale = torch.ones((), dtype=g_uS.dtype, device=g_uS.device)
    return sum(
        (shape(full_scale) * part for shape, part in iv_terms(profile.cell.iv, g_uS, seed)),
        torch.zeros_like(g_uS),
    )


PROGRAMMING = Family("programming", "programming_noise", ProgrammingNoise, _program)
VARIATION = Family("variation", "variation", Variation, _vary, any_shape=False)
DRIFT = Family("drift", "drift", Drift, _age)
TEMPERATURE = Family("temperature", "temperature", TemperatureEffect, _warm)
FAULTS = Family("faults", "faults", Faults, _break, any_shape=False)
READ = Family("read", "read_noise", ReadNoise, _read, static=False)
CURRENT = Family("iv", "iv", IV, _conduct)
FAMILIES = (PROGRAMMING, VARIATION, DRIFT, TEMPERATURE, FAULTS, READ, CURRENT)

SATURATING = {"kind": "saturating", "amplitude": 0.9, "scale": 0.4}
TABLE = {"kind": "table", "r": [0.0, 0.3, 1.0], "values": [0.2, 0.8, 0.5]}
LINE = {"kind": "polynomial", "coefficients": [0.1, 0.4]}
FALLING = {"kind": "polynomial", "coefficients": [0.0, -0.6]}

BIASED = {
    "kind": "state-dependent",
    "g_ref_uS": 20.0,
    "sigma_uS": SATURATING,
    "bias_uS": {"kind": "piecewise", "at": 0.5, "below": TABLE, "above": FALLING},
}
RELATIVE = {"kind": "relative", "sigma_of_g": 0.05}
CORRELATED = {
    "kind": "correlated",
    "sigma_of_g": 0.05,
    "length_in_rows": 8.0,
    "length_in_columns": 2.0,
}
TILES = {"kind": "tile", "sigma_gain": 0.03, "sigma_offset_of_g_max": 0.01}
LOG_RELAXATION = {
    "kind": "log-relaxation",
    "t0_s": 10.0,
    "shift_uS": -0.08,
    "sigma0_uS": 0.3,
    "slope_uS": 0.02,
}
TABULATED = {
    "kind": "tabulated",
    "g_ref_uS": 25.0,
    "times_s": [1.0, 100.0, 1e4],
    "sigma_uS": [LINE, SATURATING, TABLE],
    "shift_uS": [FALLING, FALLING, {**FALLING, "coefficients": [-0.1, -0.9]}],
}
READ_DISTURB = {
    "kind": "read-disturb",
    "reads": 1e4,
    "reads_per_s": 2.0,
    "g_ref_uS": 25.0,
    "reads_of_table": [10.0, 1e3, 1e6],
    "sigma_uS": [LINE, SATURATING, TABLE],
    "shift_uS": [FALLING, FALLING, LINE],
}
SPREADING = {key: value for key, value in TABULATED.items() if key != "shift_uS"}
LINEAR_TEMPERATURE = {
    "kind": "linear",
    "reference_C": 25.0,
    "g_ref_uS": 25.0,
    "alpha_per_K": {"kind": "polynomial", "coefficients": [0.002, -0.001]},
}
ARRHENIUS = {"kind": "arrhenius", "reference_C": 25.0, "activation_eV": 0.05}
STUCK = {"kind": "stuck", "at": "g_max", "rate": 0.2}
DEAD_LINES = {"kind": "dead-lines", "row_rate": 0.1, "column_rate": 0.1}
FAULT_MAP = {"kind": "map", "cells": [(0, 0, 0, 25.0), (3, 2, 1, 7.5)]}
ABSOLUTE_ONE_OVER_F = {
    "kind": "one-over-f-absolute",
    "t_read_ns": 250.0,
    "g_ref_uS": 25.0,
    "amplitude_uS": {"kind": "capped-power", "coefficient": 0.05, "exponent": 0.5, "max": 0.04},
}
STATE_DEPENDENT_READ = {"kind": "state-dependent", "g_ref_uS": 25.0, "sigma_uS": TABLE}
THERMAL = {"kind": "thermal", "v_read_V": 0.2, "t_read_ns": 10.0}
TELEGRAPH = {"kind": "telegraph", "share_of_cells": 0.3, "step_of_g": 0.1, "occupancy": 0.2}
POLYNOMIAL_IV = {
    "kind": "polynomial",
    "v_read_V": 0.5,
    "g_ref_uS": 25.0,
    "a2_uA_per_V2": {"kind": "polynomial", "coefficients": [0.0, 8.0]},
    "a3_uA_per_V3": {"kind": "polynomial", "coefficients": [0.0, 5.0, 3.0]},
}
SINH_IV = {"kind": "sinh", "v_read_V": 0.5, "k_per_V": 3.0}
POOLE_FRENKEL_IV = {
    "kind": "poole-frenkel",
    "v_read_V": 0.5,
    "g_ref_uS": 25.0,
    "c_ref_uS": 15.0,
    "c_exponent": 1.1,
    "beta_ref_per_sqrt_V": 1.5,
    "beta_exponent": -0.1,
    "sigma_ln_c": 0.1,
    "sigma_ln_beta": 0.2,
    "correlation": -0.8,
}

KINDS: dict[Family, tuple[dict[str, Any], ...]] = {
    PROGRAMMING: (POLYNOMIAL, BIASED, RELATIVE, gaussian(0.05)),
    VARIATION: (CORRELATED, {**CORRELATED, "kernel": "gaussian", "pair": "adjacent"}, TILES),
    DRIFT: (POWER_LAW, LOG_RELAXATION, TABULATED, SPREADING, READ_DISTURB),
    TEMPERATURE: (LINEAR_TEMPERATURE, ARRHENIUS),
    FAULTS: (STUCK, {**STUCK, "at": "random"}, {**STUCK, "at": "g_min"}, DEAD_LINES, FAULT_MAP),
    READ: (
        ONE_OVER_F,
        ABSOLUTE_ONE_OVER_F,
        STATE_DEPENDENT_READ,
        RELATIVE,
        gaussian(0.05),
        THERMAL,
        TELEGRAPH,
    ),
    CURRENT: (POLYNOMIAL_IV, SINH_IV, POOLE_FRENKEL_IV),
}


def profile_with(family: Family, effect: dict[str, Any]) -> Profile:
    """A device whose only non-ideality is ``effect``."""
    ideal: dict[str, Any] = {"g_max_uS": G_MAX_uS, "rows": 16, "columns": 4}
    if family is CURRENT:
        # A voltage needs a full scale, and so a DAC with codes.
        return device(**ideal, dac=8, iv=effect)
    ideal[family.keyword] = [effect]
    return device(**ideal)


def the_effect(family: Family, profile: Profile) -> Effect:
    """The effect of a profile from :func:`profile_with`."""
    held = getattr(profile.cell, family.field)
    effect: Effect = held if family is CURRENT else held[0]
    return effect
