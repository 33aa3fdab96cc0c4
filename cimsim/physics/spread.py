"""Spread of conductances over all cells, integrated over the distributions of their errors.

The standard deviation of bounded and truncated errors has no closed form in general. Integrals over
a normal number of programming are sums over equally spaced nodes, which are exact to 1e-4 at the
bounds of a cell and to rounding elsewhere. A later normal change has a closed form, given the
conductance after programming.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cimsim.physics.programming import (
    programming_bias_uS,
    programming_sigma_uS,
    truncated_quantile,
)
from cimsim.physics.variation import variation_sigma_uS
from cimsim.profile import CellSpec

_EDGE = 7.0  # beyond, the normal distribution has a mass of 3e-12
_NODES = 257
_NODES_OF_DEVICE = 33
_FAR = 40.0  # beyond, the density of a normal number is 0 in float64


class Programmed:
    """Distribution of the conductance after programming of each target in ``g_uS [targets]``.

    As :func:`cimsim.physics.programmed_uS` samples it: the sum of the programming errors with their
    means, truncated by write-and-verify (given the part of the error that belongs to the device),
    and bounded.
    """

    def __init__(self, g_uS: Tensor, cell: CellSpec) -> None:
        self._target_uS, self._cell = g_uS, cell
        errors_uS, self._mass = _programming_errors_uS(g_uS, cell)
        self._nodes_uS = (g_uS + errors_uS).clamp(*cell.bounds_uS)

    def spread_uS(self, shift_uS: Tensor, sigma_uS: Tensor) -> Tensor:
        """Return the standard deviation in µS with variation and a later normal change.

        The bounds of the cell apply to the sum of both.

        Args:
            shift_uS: mean of the change of each target.
            sigma_uS: standard deviation of the change.
        """
        variance = sigma_uS.square().expand_as(self._nodes_uS)
        for variation in self._cell.variation:
            of_nodes = variation_sigma_uS(variation, self._nodes_uS, self._cell)
            variance = variance + of_nodes.square()
        low, high = self._cell.bounds_uS
        bounds = low - self._target_uS, high - self._target_uS
        off = self._nodes_uS + shift_uS - self._target_uS
        means, squares = _bounded_moments(off, variance.sqrt(), *bounds)
        mean = self._mass @ means
        return (self._mass @ squares - mean.square()).clamp_min(0.0).sqrt()


def _bounded_moments(
    mean: Tensor, sigma: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Return mean and mean square of a normal number that is bounded by ``low`` and ``high``.

    ``y = min(max(mean + sigma xi, low), high)`` with a normal ``xi``; ``a`` and ``b`` are the
    bounds in units of ``xi``, and ``p`` is the probability of a number between them.

        E[y]   = mean p + sigma (phi(a) - phi(b)) + low Phi(a) + high (1 - Phi(b))
        E[y^2] = (mean^2 + sigma^2) p + sigma (phi(a) (mean + low) - phi(b) (mean + high))
                 + low^2 Phi(a) + high^2 (1 - Phi(b))
    """
    width = sigma.clamp_min(torch.finfo(sigma.dtype).tiny)
    a, b = (((bound - mean) / width).clamp(-_FAR, _FAR) for bound in (low, high))
    below, above = torch.special.ndtr(a), torch.special.ndtr(-b)
    low, high = low.nan_to_num(neginf=0.0), high.nan_to_num(posinf=0.0)  # of probability 0
    density_a, density_b = (torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) for x in (a, b))
    inside = 1.0 - below - above
    first = mean * inside + sigma * (density_a - density_b) + low * below + high * above
    edges = sigma * (density_a * (mean + low) - density_b * (mean + high))
    second = (mean.square() + sigma.square()) * inside + edges
    return first, second + low.square() * below + high.square() * above


def _programming_errors_uS(g_uS: Tensor, cell: CellSpec) -> tuple[Tensor, Tensor]:
    """Return errors in µS, ``[nodes, targets]``, and the mass of each node."""
    active = [effect for effect in cell.programming_noise if effect.strength]
    if not active:
        return torch.zeros_like(g_uS).unsqueeze(0), g_uS.new_ones(1)
    means = (programming_bias_uS(effect, g_uS) for effect in active)
    mean_uS = sum((mean for mean in means if mean is not None), torch.zeros_like(g_uS))
    variances = [programming_sigma_uS(effect, g_uS, cell).square() for effect in active]
    xi, mass = _normal(_NODES)
    if cell.write_verify is None:
        return mean_uS + torch.stack(variances).sum(0).sqrt() * xi.unsqueeze(1), mass
    shares = [effect.device_share for effect in active]
    parts = list(zip(shares, variances, strict=True))
    of_device = torch.stack([share * variance for share, variance in parts]).sum(0).sqrt()
    of_write = torch.stack([(1.0 - share) * variance for share, variance in parts]).sum(0).sqrt()
    d, mass_of_device = _normal(_NODES_OF_DEVICE)
    mean_uS = (mean_uS + of_device * d.unsqueeze(1)).unsqueeze(1)
    chance = torch.special.ndtr(xi).unsqueeze(1)
    errors_uS = truncated_quantile(mean_uS, of_write, cell.write_verify.tolerance_uS, chance)
    return errors_uS.flatten(0, 1), torch.outer(mass_of_device, mass).flatten()


def _normal(count: int) -> tuple[Tensor, Tensor]:
    """Return equally spaced nodes of a normal number, and the mass of each."""
    xi = torch.linspace(-_EDGE, _EDGE, count, dtype=torch.float64, device="cpu")
    density = torch.exp(-xi.square() / 2)
    return xi, density / density.sum()
