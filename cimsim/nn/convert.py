"""Turn a model's layers analog, in place or in a copy."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.estimators import DEFAULT_RULE, backward_rule
from cimsim.nn.conv import AnalogConv2d
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.linear import AnalogLinear
from cimsim.profile import Profile, load_profile
from cimsim.profile.suggest import unknown
from cimsim.quantizers import make_quantizer

logger = logging.getLogger("cimsim")

_ANALOG: dict[type[nn.Module], type[AnalogLayer]] = {
    nn.Linear: AnalogLinear,
    nn.Conv2d: AnalogConv2d,
}


def convert(
    model: nn.Module,
    profile: Profile | str | Path,
    *,
    rule: str = DEFAULT_RULE,
    only: Callable[[str, nn.Module], bool] | None = None,
    keep_digital: Iterable[str] = (),
    quantize_weights: str | None = None,
    quantize_inputs: str | None = None,
    denoise: float | None = None,
    seed: int = 0,
    inplace: bool = False,
) -> nn.Module:
    """Put every ``Linear`` and ``Conv2d`` of ``model`` on the device of ``profile``.

    The layers change their class and nothing else: parameters, names, hooks and training mode stay,
    so any optimiser and any checkpoint of the digital model goes on working (a quantizer or
    denoiser may add parameters and statistics of its own: load with ``strict=False`` then).
    Subclasses of the two (such as the projections inside ``nn.MultiheadAttention``, whose forward
    is never called) are left digital, with a warning in the log.

    Args:
        model: any module; also a single layer.
        profile: a device, by object, name or file.
        rule: letter of the backward rule, see :mod:`cimsim.estimators.rules`.
        only: ``only(name, module)`` says which layers to convert; all by default.
        keep_digital: names to leave digital, as ``fnmatch`` patterns over dotted module names;
            ``"first"`` and ``"last"`` stand for the first and the last layer.
        quantize_weights, quantize_inputs: a quantizer for the weight and one for the input of every
            converted layer, as :func:`cimsim.quantizers.make_quantizer` takes them.
        denoise: ridge of a digital gain and offset behind every column's ADC, see
            :class:`cimsim.nn.ColumnDenoiser`; None for none.
        seed: names the draws of the chips met in training.
        inplace: change ``model`` itself instead of a deep copy.

    Returns:
        The model with analog layers, which need :func:`cimsim.calibrate` unless both converters of
        the profile are ideal.

    Raises:
        CimsimError: if the profile, rule or a quantizer is unknown, a pattern matches no layer, no
            layer is left to convert, or a layer does not fit the device.

    >>> import torch, cimsim
    >>> analog = cimsim.convert(torch.nn.Linear(8, 4), "ideal")
    >>> tuple(analog(torch.zeros(2, 8)).shape)
    (2, 4)
    """
    if not isinstance(profile, Profile):
        profile = load_profile(profile)
    backward = backward_rule(rule)
    for spec in filter(None, (quantize_weights, quantize_inputs)):
        make_quantizer(spec)  # refuses before anything is changed
    names = _chosen(model, only, list(keep_digital))
    for name in names:
        _check_fit(model.get_submodule(name), name, profile)
        if quantize_weights is not None:
            _check_quantizer(model.get_submodule(name), name, quantize_weights)
    result = model if inplace else copy.deepcopy(model)
    for name in names:
        layer = result.get_submodule(name)
        layer.__class__ = _ANALOG[type(layer)]
        assert isinstance(layer, AnalogLayer)
        layer.become_analog(profile, backward, name, seed)
        layer.quantize(quantize_weights, quantize_inputs)
        layer.denoise(denoise)
    for module in result.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            # Its fast path in evaluation reads the layers' weights and never calls the layers.
            module.activation_relu_or_gelu = 0
    return result


def _check_fit(layer: nn.Module, name: str, profile: Profile) -> None:
    """Refuse before anything is changed."""
    try:
        _ANALOG[type(layer)].tiling(layer, profile.array)
    except CimsimError as error:
        raise CimsimError(f"layer '{name}': {error}") from None


def _check_quantizer(layer: nn.Module, name: str, spec: str) -> None:
    assert isinstance(layer.weight, Tensor)
    try:
        with torch.no_grad():
            make_quantizer(spec)(layer.weight.float())
    except CimsimError as error:
        raise CimsimError(f"layer '{name}': {error}") from None


def _chosen(
    model: nn.Module, only: Callable[[str, nn.Module], bool] | None, keep_digital: list[str]
) -> list[str]:
    candidates = []
    for name, module in model.named_modules():
        if type(module) in _ANALOG:
            candidates.append(name)
        elif isinstance(module, tuple(_ANALOG)) and not isinstance(module, AnalogLayer):
            logger.warning("layer '%s' (%s) stays digital", name, type(module).__name__)
    kept = set()
    for pattern in keep_digital:
        matched = _matching(pattern, candidates)
        if not matched:
            raise CimsimError(f"keep_digital: {unknown('layer', pattern, candidates)}")
        kept.update(matched)
    chosen = [name for name in candidates if name not in kept]
    if only is not None:
        chosen = [name for name in chosen if only(name, model.get_submodule(name))]
    if not chosen:
        raise CimsimError(
            f"no layer of this {type(model).__name__} is left to convert: it has "
            f"{len(candidates)} Linear or Conv2d layers, {len(kept)} of them kept digital"
        )
    return chosen


def _matching(pattern: str, names: list[str]) -> list[str]:
    if pattern == "first":
        return names[:1]
    if pattern == "last":
        return names[-1:]
    return [name for name in names if fnmatchcase(name, pattern)]
