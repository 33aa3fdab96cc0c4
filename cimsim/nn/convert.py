"""Turn a model's layers analog, in place or in a copy, and digital again."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cimsim.errors import CimsimError
from cimsim.estimators import DEFAULT_RULE, backward_rule
from cimsim.lasting import lasting
from cimsim.nn import kinds
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.packed import Unpacked
from cimsim.nn.settings import LayerSettings, changed_by_pattern, matching
from cimsim.profile import Profile, load_profile

logger = logging.getLogger("cimsim")


@lasting()
def convert(
    model: nn.Module,
    profile: Profile | str | Path,
    *,
    rule: str = DEFAULT_RULE,
    only: Callable[[str, nn.Module], bool] | None = None,
    keep_digital: Iterable[str] = (),
    layers: Mapping[str, Mapping[str, Any]] | None = None,
    quantize_weights: str | None = None,
    quantize_inputs: str | None = None,
    denoise: float | None = None,
    seed: int = 0,
    inplace: bool = False,
) -> nn.Module:
    """Put every layer of ``model`` that multiplies by its weights on the device of ``profile``.

    Those are ``Linear``, ``Conv1d`` to ``Conv3d``, ``ConvTranspose1d`` to ``ConvTranspose3d`` and
    the ``Conv1D`` of Hugging Face's GPT-2. They change their class and nothing else: parameters
    (tied ones too), names, hooks and training mode stay, so any optimiser and any checkpoint of the
    digital model goes on working (a quantizer or denoiser may add parameters and statistics of its
    own: load with ``strict=False`` then).

    ``MultiheadAttention``, ``RNN``, ``LSTM`` and ``GRU`` hold the weights of several layers: they
    are taken apart into layers, which get new parameters; make the optimiser afterwards. Digital
    checkpoints still load. What has two signals (scores, gates) is computed digitally, and so are
    embeddings, which look up and do not multiply. Subclasses of a layer, whose forward may be
    another, are left digital, with a warning in the log; :func:`cimsim.summary` tells of each layer
    what became of it.

    Args:
        model: any module; also a single layer, or one on the meta device.
        profile: a device, by object, name or file.
        rule: letter of the backward rule, see :mod:`cimsim.estimators.rules`.
        only: ``only(name, module)`` says which layers to convert; all by default.
        keep_digital: names to leave digital, as ``fnmatch`` patterns over dotted module names;
            ``"first"`` and ``"last"`` stand for the first and the last layer.
        layers: other settings for some layers, ``{pattern: {"profile": …, "rule": …}}``, with
            patterns as above; of several that match a layer, later ones go before earlier ones.
            Settings are ``profile``, ``rule``, ``quantize_weights``, ``quantize_inputs``,
            ``denoise``; keys of the profile such as ``"adc.bits": 6``, which change the layer's
            device; and ``"digital": True``, which leaves the layer digital.
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
            layer is left to convert, a layer does not fit the device, or the model is wrapped for
            distributed training (convert what is inside). The model is unchanged then.

    >>> import torch, cimsim
    >>> analog = cimsim.convert(torch.nn.Linear(8, 4), "ideal")
    >>> tuple(analog(torch.zeros(2, 8)).shape)
    (2, 4)
    """
    if not isinstance(profile, Profile):
        profile = load_profile(profile)
    common = LayerSettings(profile).changed(
        {
            "rule": rule,
            "quantize_weights": quantize_weights,
            "quantize_inputs": quantize_inputs,
            "denoise": denoise,
        }
    )
    kept = list(keep_digital)
    special = {pattern: dict(changes) for pattern, changes in (layers or {}).items()}
    _refuse_wrapped(model)
    _rehearse(model, lambda copy: _convert(copy, common, only, kept, special, seed))
    result = model if inplace else copy.deepcopy(model)
    _convert(result, common, only, kept, special, seed)
    return result


@lasting()
def to_digital(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """The ordinary torch model again, with the trained weights (as their quantizers hold them).

    Raises:
        CimsimError: if a layer has an input quantizer or a denoiser, for which a digital layer has
            no place. The model is unchanged then.

    >>> import torch, cimsim
    >>> analog = cimsim.convert(torch.nn.Linear(8, 4), "pcm-ibm-2020")
    >>> cimsim.to_digital(analog)
    Linear(in_features=8, out_features=4, bias=True)
    """
    _rehearse(model, _to_digital)
    result = model if inplace else copy.deepcopy(model)
    _to_digital(result)
    return result


def _to_digital(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, AnalogLayer):
            module.become_digital()
    for module in list(model.modules()):
        if isinstance(module, Unpacked):
            module.pack()


def _convert(
    model: nn.Module,
    common: LayerSettings,
    only: Callable[[str, nn.Module], bool] | None,
    keep_digital: list[str],
    special: dict[str, dict[str, Any]],
    seed: int,
) -> None:
    for module in list(model.modules()):
        if type(module) in kinds.PACKED:
            kinds.PACKED[type(module)].unpack(module)
        if isinstance(module, nn.TransformerEncoderLayer):
            # Its fast path in evaluation reads the layers' weights and never calls the layers.
            module.activation_relu_or_gelu = 0
    names = _chosen(model, only, keep_digital)
    settings = changed_by_pattern(dict.fromkeys(names, common), special)
    if all(chosen.digital for chosen in settings.values()):
        raise CimsimError("layers: every layer is made digital, so none is left to convert")
    for name, chosen in settings.items():
        if chosen.digital:
            continue
        layer = model.get_submodule(name)
        analog = kinds.analog_kind(layer)
        assert analog is not None
        layer.__class__ = analog
        assert isinstance(layer, AnalogLayer)
        try:
            layer.become_analog(chosen.profile, backward_rule(chosen.rule), name, seed)
            layer.quantize(chosen.quantize_weights, chosen.quantize_inputs)
            layer.denoise(chosen.denoise)
        except CimsimError as error:
            raise CimsimError(f"layer '{name}': {error}") from None
    for module in list(model.modules()):
        if isinstance(module, Unpacked) and not any(
            isinstance(part, AnalogLayer) for part in module.modules()
        ):
            module.pack()  # nothing in it is analog, and whole it is faster


def _rehearse(model: nn.Module, change: Callable[[nn.Module], None]) -> None:
    """Do ``change`` to a copy without numbers, so that what is refused is refused in time.

    A model that cannot be copied is changed without that.
    """
    try:
        copied = _skeleton(model)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        logger.info("not rehearsed, for this model cannot be copied: %s", error)
        return
    change(copied)


def _skeleton(model: nn.Module) -> nn.Module:
    """A copy on the meta device: everything but the numbers, and no memory for those."""
    tensors = [*model.parameters(), *model.buffers()]
    memo: dict[int, Any] = {}
    for tensor in tensors:
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = (
            nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty.detach()
        )
    return copy.deepcopy(model, memo)


def _refuse_wrapped(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel):
            raise CimsimError(
                f"{'the model' if not name else repr(name)} is wrapped in {type(module).__name__}; "
                "convert the module inside (model.module), and wrap the result"
            )


def _chosen(
    model: nn.Module, only: Callable[[str, nn.Module], bool] | None, keep_digital: list[str]
) -> list[str]:
    candidates = []
    for name, module in model.named_modules():
        if kinds.analog_kind(module) is not None:
            candidates.append(name)
        elif kinds.resembles(module):
            logger.warning("layer '%s' (%s) stays digital", name, type(module).__name__)
    kept = set()
    for pattern in keep_digital:
        kept.update(matching(pattern, candidates, "keep_digital"))
    chosen = [name for name in candidates if name not in kept]
    if only is not None:
        chosen = [name for name in chosen if only(name, model.get_submodule(name))]
    if not chosen:
        raise CimsimError(
            f"no layer of this {type(model).__name__} is left to convert: it has "
            f"{len(candidates)} that multiply by their weights, {len(kept)} of them kept digital"
        )
    return chosen
