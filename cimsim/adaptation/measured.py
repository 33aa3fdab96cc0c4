"""Parts that measure digital or peripheral settings again, and train nothing."""

from __future__ import annotations

from torch import Tensor, nn

from cimsim.adaptation.bench import Bench
from cimsim.adaptation.part import CONVERTERS, Change, Part, on_chip
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, batch_norms, denoise, recalibrate, reestimate
from cimsim.nn.denoiser import checked_ridge
from cimsim.profile import Profile

MEASURED_BATCHES = 8
"""Batches that settings are measured on, if the budget allows."""


class Ranges(Part):
    """Full scales of the converters, measured again on this chip.

    The batches run on the chip; each layer observes its inputs and its columns' currents, and all
    ranges are set by the method of the profile. See :func:`cimsim.nn.recalibrate`.

    Source: C. Lammie et al., "Improving the accuracy of analog-based in-memory computing
    accelerators post-training" (ISCAS 2024, arXiv:2401.09859), who optimize input ranges after
    programming.
    """

    name, title = "ranges", "converter ranges"
    needs = frozenset({CONVERTERS})

    def __init__(self, batches: int = MEASURED_BATCHES) -> None:
        self.batches = checked_count(batches)

    def obstacle(self, model: nn.Module) -> str | None:
        """See :class:`Part`."""
        if any(has_measured_range(layer.profile) for layer in on_chip(model).values()):
            return None
        return "its converters have no range that is measured"

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        recalibrate(bench.model, bench.inputs(self.batches), forward=bench.forward)
        layers = on_chip(bench.model).values()
        measured = [layer for layer in layers if has_measured_range(layer.profile)]
        return Change(changed=sum(x.dac_range.numel() + x.adc_range.numel() for x in measured))


class GainOffset(Part):
    """A digital gain and offset of each column, by least squares.

        y~ = c (y - mean y) + mean t,   c = Cov(t, y) / (Var(y) + ridge Var(t))

    ``y`` is the column's output on the chip and ``t`` the digital output for the same input. It is
    the :class:`cimsim.nn.ColumnDenoiser` of :func:`cimsim.convert`, which is added to layers that
    have none and measured again in the others, layer after layer within one pass.

    Source: C. Lammie et al. (ISCAS 2024, arXiv:2401.09859).
    """

    name, title = "gain-offset", "gain and offset of columns"

    def __init__(self, batches: int = MEASURED_BATCHES, ridge: float = 1e-3) -> None:
        self.batches, self.ridge = checked_count(batches), checked_ridge(ridge)

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        layers = on_chip(bench.model)
        new = {name: layer for name, layer in layers.items() if layer.denoiser is None}
        for layer in layers.values():
            if layer.denoiser is None:
                layer.denoise(self.ridge)
            else:
                layer.denoiser.ridge = self.ridge
        denoise(bench.model, bench.inputs(self.batches), forward=bench.forward)
        unseen = [name for name, layer in layers.items() if not has_statistics(layer)]
        if len(unseen) == len(layers):
            raise CimsimError(
                f"{self.name}: the batches have fewer than 16 vectors for layer '{unseen[0]}', too "
                "few for a least-squares fit; use larger batches"
            )
        for name in new.keys() & unseen:
            new.pop(name).denoise(None)
        old = [layer for name, layer in layers.items() if name not in (*new, *unseen)]
        return Change(*(2 * sum(layer.outputs for layer in each) for each in (new.values(), old)))


class BatchNormStatistics(Part):
    """Means and variances of batch normalization, measured again on this chip (AdaBS).

    Source: V. Joshi et al., "Accurate deep neural network inference using computational
    phase-change memory", Nat. Commun. 11, 2473 (2020).
    """

    name, title = "batch-norm", "batch norm statistics"

    def __init__(self, batches: int = MEASURED_BATCHES) -> None:
        self.batches = checked_count(batches)

    def obstacle(self, model: nn.Module) -> str | None:
        """See :class:`Part`."""
        return None if batch_norms(model) else "it has no batch normalization"

    def apply(self, bench: Bench) -> Change:
        """See :class:`Part`."""
        reestimate(bench.model, bench.inputs(self.batches), forward=bench.forward)
        buffers = (norm.running_mean for norm in batch_norms(bench.model))
        return Change(changed=sum(2 * mean.numel() for mean in buffers if isinstance(mean, Tensor)))


def has_statistics(layer: AnalogLayer) -> bool:
    """Whether the denoiser of ``layer`` was measured."""
    return layer.denoiser is not None and bool(layer.denoiser.seen)


def has_measured_range(profile: Profile) -> bool:
    """Whether calibration measures the range of a converter."""
    return any(
        converter.bits is not None and converter.range.kind not in ("fixed", "learned")
        for converter in (profile.dac, profile.adc)
    )


def checked_count(batches: int) -> int:
    """Return ``batches``.

    Raises:
        CimsimError: if it is below 1.
    """
    if batches < 1:
        raise CimsimError(f"batches must be 1 or more, not {batches}")
    return batches
