"""Drift compensation: the digital factor that compensates the mean loss of conductance."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim.circuits.mapping import Mapping
from cimsim.physics import ReadContext, read_variance_uS2
from cimsim.profile import Profile
from cimsim.sampling import standard_normal, uniform
from cimsim.seeds import generator

_Moment = tuple[Tensor, Tensor, float]
"""Cells at one age: conductances in µS, the same behind their wires, the age in s."""


def drift_factor(
    profile: Profile, state_uS: Tensor, fresh: _Moment, aged: _Moment, seed: int
) -> Tensor:
    """``sum |before| / sum |now|``, to be multiplied to the digital scale.

    The sums run over relative weights (``exact``), or over the currents that random probe inputs
    draw through the read noise (``measured``): all of them for a ``global`` factor, those of one
    column for ``per-column``. The result broadcasts against ``[tiles, columns, 1]``.
    """
    array = profile.array
    mapping = Mapping(profile.cell, array)
    now: list[Tensor] = []
    for name, (g_uS, wired_uS, age_s) in (("fresh", fresh), ("aged", aged)):
        response = mapping.weights(mapping.relative(wired_uS))
        if array.drift_probe == "measured":
            at = ReadContext(g_uS, state_uS, profile.cell, age_s, profile.temperature_C)
            variance = read_variance_uS2(at, sessions=True)
            if variance is not None:
                variance = mapping.variances(variance)
                if mapping.by_voltage:
                    variance = variance / mapping.load(wired_uS).square()
            response = _probed(response, variance, mapping, array.probe_vectors, seed, name)
        by_column = response.abs().sum(-1, keepdim=True)
        now.append(by_column.sum() if array.drift_compensation == "global" else by_column)
    return now[0] / now[1].clamp_min(torch.finfo(state_uS.dtype).tiny)


def _probed(
    weights: Tensor,
    variance: Tensor | None,
    mapping: Mapping,
    vectors: int,
    seed: int,
    name: str,
) -> Tensor:
    """Currents of probe inputs, uniform in [-1, 1] and the same at both ages."""
    draws = generator(seed, "probe", device=weights.device)
    probe = uniform(weights, draws, (vectors, weights.shape[-1]), low=-1.0)
    currents = weights @ probe.T
    if variance is None:
        return currents
    variance = mapping.variances_of_weights(variance)
    draws = generator(seed, "probe", name, device=weights.device)
    noise = standard_normal(currents, draws)
    # The gradient treats the variance as constant: it is small, but the slope of its root is not.
    return currents + (variance.detach() @ probe.square().T).sqrt() * noise
