"""What every kind of effect promises, whatever its equation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from cimsim.physics import (
    ReadContext,
    curves,
    drift,
    iv_terms,
    programming,
    read_noise,
    stuck,
    temperature,
    variation,
)
from cimsim.profile import (
    AnyCurve,
    TelegraphReadNoise,
    dump_profile,
    load_profile,
)
from tests.physics.kinds import (
    CURRENT,
    DRIFT,
    FAMILIES,
    FAULTS,
    KINDS,
    PROGRAMMING,
    READ,
    TEMPERATURE,
    VARIATION,
    Family,
    profile_with,
    the_effect,
)

SHAPE = (2, 3, 8, 16)  # wider than the four columns of a tile
DAY_S = 86400.0

EVERY = [(family, effect) for family in FAMILIES for effect in KINDS[family]]


def over(cases: list[tuple[Family, dict[str, Any]]]) -> pytest.MarkDecorator:
    names = [f"{family.keyword}-{effect['kind']}" for family, effect in cases]
    return pytest.mark.parametrize(("family", "effect"), cases, ids=names)


every_kind = over(EVERY)
every_static_kind = over([case for case in EVERY if case[0].static])
every_shapeless_kind = over([case for case in EVERY if case[0].any_shape])
GAUSSIAN_READ = [effect for effect in KINDS[READ] if effect["kind"] != "telegraph"]
REGISTRIES: dict[Family, Mapping[type, Any]] = {
    PROGRAMMING: programming.programming_sigma_uS.registry,
    VARIATION: variation._varied_uS.registry,
    DRIFT: drift.drifted_uS.registry,
    TEMPERATURE: temperature.warmed_uS.registry,
    FAULTS: stuck._faulty.registry,
    READ: {**read_noise.read_sigma_uS.registry, TelegraphReadNoise: read_noise.telegraph_step_uS},
    CURRENT: iv_terms.registry,
}


def field(shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> Tensor:
    """Conductances from 0 to 25 µS, those two included, in no order."""
    g_uS = torch.linspace(0.0, 25.0, torch.Size(shape).numel(), dtype=dtype)
    return g_uS[torch.randperm(len(g_uS), generator=torch.Generator().manual_seed(0))].view(shape)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.keyword)
def test_each_class_of_the_profile_has_physics_and_keeps_this_contract(family: Family) -> None:
    tested = {type(the_effect(family, profile_with(family, kind))) for kind in KINDS[family]}
    assert tested == family.members()
    assert set(REGISTRIES[family]) - {object} == family.members()


def test_each_curve_of_the_profile_has_a_formula() -> None:
    union, _ = get_args(AnyCurve)
    assert set(curves.evaluate.registry) - {object} == set(get_args(union))


@pytest.mark.parametrize(
    "call",
    [
        lambda: curves.evaluate(object(), field()),
        lambda: programming.programming_sigma_uS(object(), field(), None),
        lambda: drift.drifted_uS(object(), field(), field(), 1.0, None),
        lambda: drift.relaxation_uS(object(), field(), 1.0),
        lambda: temperature.warmed_uS(object(), field(), field(), 25.0),
        lambda: stuck._faulty(object(), field(), None, None),
        lambda: variation._varied_uS(object(), field(), None, None, ()),
        lambda: variation.variation_sigma_uS(object(), field(), None),
        lambda: read_noise.read_sigma_uS(object(), ReadContext(field(), field(), None)),
        lambda: iv_terms(object(), field()),
    ],
)
def test_what_has_no_physics_is_named(call: Any) -> None:
    with pytest.raises(NotImplementedError, match="object"):
        call()


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_are_kept_and_values_are_finite(
    family: Family, effect: dict[str, Any], dtype: torch.dtype
) -> None:
    g_uS = field(dtype=dtype)
    changed = family.act(profile_with(family, effect), g_uS, 1, DAY_S)
    assert changed.shape == g_uS.shape
    assert changed.dtype == dtype
    assert changed.isfinite().all()
    assert not torch.equal(changed, g_uS)


@every_kind
@pytest.mark.gpu
def test_the_device_is_kept(family: Family, effect: dict[str, Any]) -> None:
    g_uS = field().cuda()
    profile = profile_with(family, effect)
    changed = family.act(profile, g_uS, 1, DAY_S)
    assert changed.device == g_uS.device
    assert torch.equal(changed, family.act(profile, g_uS, 1, DAY_S))


@every_shapeless_kind
@pytest.mark.parametrize("shape", [(), (1,), (0,), (40,), (3, 5), (2, 1, 3, 2, 2)])
def test_cells_may_lie_in_any_shape(
    family: Family, effect: dict[str, Any], shape: tuple[int, ...]
) -> None:
    changed = family.act(profile_with(family, effect), field(shape), 1, DAY_S)
    assert changed.shape == shape
    assert changed.isfinite().all()


@every_kind
def test_a_chip_does_not_depend_on_the_layout_in_memory(
    family: Family, effect: dict[str, Any]
) -> None:
    g_uS = field()
    profile = profile_with(family, effect)
    across = g_uS.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(family.act(profile, across, 1, DAY_S), family.act(profile, g_uS, 1, DAY_S))
    one = g_uS[:, :, :, :1]
    repeated = one.repeat(1, 1, 1, 16)
    expanded = family.act(profile, one.expand(*SHAPE), 1, DAY_S)
    assert torch.equal(expanded, family.act(profile, repeated, 1, DAY_S))


@every_kind
def test_a_seed_is_a_chip_and_only_noise_differs_from_chip_to_chip(
    family: Family, effect: dict[str, Any]
) -> None:
    g_uS = field()
    profile = profile_with(family, effect)
    one, again, other = (family.act(profile, g_uS, seed, DAY_S) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(one, other) is not the_effect(family, profile).random


@every_kind
def test_strength_zero_is_exactly_absent(family: Family, effect: dict[str, Any]) -> None:
    g_uS = field()
    off = family.act(profile_with(family, {**effect, "strength": 0.0}), g_uS, 1, DAY_S)
    assert torch.equal(off, g_uS)


@every_kind
def test_at_noise_factor_zero_every_chip_is_the_same(
    family: Family, effect: dict[str, Any]
) -> None:
    g_uS = field()
    quiet = profile_with(family, effect).scale_noise(0.0)
    one, other = (family.act(quiet, g_uS, seed, DAY_S) for seed in (1, 2))
    assert torch.equal(one, other)
    if not the_effect(family, quiet).random:
        assert torch.equal(one, family.act(profile_with(family, effect), g_uS, 1, DAY_S))


@every_kind
def test_more_strength_is_more_of_the_effect(family: Family, effect: dict[str, Any]) -> None:
    g_uS = field()
    deviations = [
        (family.act(profile_with(family, {**effect, "strength": s}), g_uS, 2, DAY_S) - g_uS).norm()
        for s in (0.0, 0.3, 0.6, 1.0, 2.0)
    ]
    if effect["kind"] == "map":  # a known bad cell is as it was measured, or left out
        assert deviations[0] < deviations[1] == deviations[2] == deviations[3] == deviations[4]
    else:
        assert deviations == sorted(deviations)
        assert len(set(map(float, deviations))) == 5


@every_kind
def test_a_profile_with_it_survives_a_file(
    family: Family, effect: dict[str, Any], tmp_path: Path
) -> None:
    profile = profile_with(family, {**effect, "strength": 0.5})
    path = tmp_path / f"{profile.name}.yaml"
    path.write_text(dump_profile(profile), encoding="utf-8")
    assert load_profile(path) == profile


@every_kind
@pytest.mark.parametrize("age_s", [0.0, 1e-9, 20.0, 1e10])
def test_every_age_works(family: Family, effect: dict[str, Any], age_s: float) -> None:
    assert family.act(profile_with(family, effect), field(), 1, age_s).isfinite().all()


@every_kind
def test_its_input_stays_as_it_was(family: Family, effect: dict[str, Any]) -> None:
    g_uS = field()
    before = g_uS.clone()
    family.act(profile_with(family, effect), g_uS, 1, DAY_S)
    assert torch.equal(g_uS, before)


@every_static_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_even_in_the_off_state(
    family: Family, effect: dict[str, Any], dtype: torch.dtype
) -> None:
    g_uS = field(dtype=dtype).requires_grad_()
    assert (g_uS == 0).any()
    family.act(profile_with(family, effect), g_uS, 1, DAY_S).sum().backward()
    assert g_uS.grad is not None
    assert g_uS.grad.isfinite().all()
    assert g_uS.grad.any()


@every_static_kind
def test_gradients_are_those_of_the_same_chip(family: Family, effect: dict[str, Any]) -> None:
    profile = profile_with(family, effect)
    # Away from the corners of the curves.
    g_uS = torch.linspace(3.1, 23.3, 64, dtype=torch.float64).view(2, 1, 4, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda g: family.act(profile, g, 1, DAY_S), (g_uS,))


@pytest.mark.parametrize("effect", GAUSSIAN_READ, ids=lambda effect: effect["kind"])
def test_gradients_of_the_read_noise_are_finite_too(effect: dict[str, Any]) -> None:
    g_uS = field().requires_grad_()
    profile = profile_with(READ, effect)
    sigma_uS = read_noise.read_sigma_uS(
        the_effect(READ, profile), ReadContext(g_uS, g_uS, profile.cell)
    )
    (sigma_uS + g_uS).sum().backward()
    assert g_uS.grad is not None
    assert g_uS.grad.isfinite().all()
