"""Turn a model's layers analog, in place or in a copy, and digital again."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from cimsim.errors import CimsimError
from cimsim.estimators import DEFAULT_RULE, backward_rule
from cimsim.lasting import lasting
from cimsim.nn import registry
from cimsim.nn.adapters import (
    bases_of_adapters,
    check_adapters,
    names_without_adapters,
    parts_of_adapters,
)
from cimsim.nn.compact import make_compact, restore_plain
from cimsim.nn.computed import cast, leave_graph, settled
from cimsim.nn.fast_paths import close_fast_paths, open_fast_paths
from cimsim.nn.forms import Model, require_module
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.layer_settings import LayerSettings, changed_by_pattern, matching
from cimsim.nn.loads import unwatch_loads, watch_loads
from cimsim.nn.pretrained import hook_save_pretrained, unhook_save_pretrained
from cimsim.nn.unpacking import Ties, Unpacked, packable
from cimsim.profile import (
    CONVERTERS,
    Profile,
    load_profile,
    require_learnable,
    with_learned_ranges,
)
from cimsim.seeds import seed_of_training
from cimsim.suggest import unknown

logger = logging.getLogger("cimsim")

_LINES = 3  # of layers that stay digital, in an error
_REGISTERED = frozenset(vars(nn.Module()))  # torch's own attributes of a module


@lasting()
def convert(
    model: Model,
    profile: Profile | str | Path,
    *,
    rule: str = DEFAULT_RULE,
    only: Callable[[str, nn.Module], bool] | None = None,
    keep_digital: str | Iterable[str] = (),
    layers: Mapping[str, Mapping[str, Any]] | None = None,
    quantize_weights: str | None = None,
    quantize_inputs: str | None = None,
    denoise: float | None = None,
    learn_ranges: str | Iterable[str] = (),
    adapters: str = "digital",
    seed: int = 0,
    inplace: bool = False,
) -> Model:
    """Put every layer of ``model`` that multiplies by its weights on an array of ``profile``.

    Those are ``Linear``, ``Conv1d`` to ``Conv3d``, ``ConvTranspose1d`` to ``ConvTranspose3d`` and
    the ``Conv1D`` of Hugging Face's GPT-2. They change their class and nothing else: parameters
    (tied ones too), parametrizations (weight norm, spectral norm, …), pruning, names, hooks and
    training mode stay, so any optimizer and any checkpoint of the digital model continues to work
    (a quantizer or denoiser may add parameters and statistics: load with ``strict=False`` then). If
    a parametrization or a hook computes the weight, the computed weight is programmed, and
    gradients go through it.

    ``MultiheadAttention``, ``RNN``, ``LSTM``, ``GRU`` and the cells ``RNNCell``, ``LSTMCell`` and
    ``GRUCell`` contain the weights of several layers: they are unpacked to layers. The parameters
    of attention are new; make the optimizer afterwards. Digital checkpoints still load. Products of
    two signals (scores, gates) are computed digitally, and so are embeddings, which are look-ups.

    ``ReLU``, ``ReLU6``, ``GELU``, ``SiLU``, ``MaxPool1d`` and ``MaxPool2d`` modules change their
    class, too: they compute the same numbers, and keep less for backward (:mod:`cimsim.nn.relu`,
    :mod:`cimsim.nn.smooth_activations`, :mod:`cimsim.nn.max_pooling`).

    Adapters of the PEFT library stay digital, and the layers that they are added to become analog.
    A model can be converted before or after PEFT wraps it, with the same result.

    ``model.save_pretrained(folder)`` of a converted Hugging Face model also saves profiles, rules
    and chip, which :func:`cimsim.load` reads.

    The following stay digital, each with a warning in the log: subclasses of a layer, which may
    have another forward; layers whose own attribute ``forward`` replaces it (hooks of Accelerate do
    not); recurrences, cells and attention with a computed weight; layers without weights; modules
    that multiply by their own parameter (``Bilinear``, or ``F.linear`` in a module's forward); and
    layers in a plain list or dict, which torch does not register either. A module that reads the
    weight of a converted layer, ``F.linear(x, self.layer.weight)``, is not detected: it uses the
    digital weight. :func:`cimsim.summary` lists the result for each layer.

    ``torch.compile``, ``torch.func.functional_call`` and ``torch.fx.symbolic_trace`` work on the
    result. ``torch.jit``, ``torch.onnx``, ``torch.export``, the other transforms of ``torch.func``
    and second derivatives raise a :class:`CimsimError`; they work on the models that
    :func:`to_digital` returns, and within :func:`cimsim.nn.digital`.

    Args:
        model: any module, including a single layer, or a module on the meta device.
        profile: a profile: an object, a name or a file.
        rule: letter or name of the backward rule, such as ``"output-ste"``; see
            :mod:`cimsim.estimators.rules`.
        only: ``only(name, module)`` returns whether to convert a layer; all by default.
        keep_digital: names to leave digital, as ``fnmatch`` patterns over dotted module names, or
            one such pattern; ``"first"`` and ``"last"`` select the first and the last layer.
        layers: other settings for some layers, ``{pattern: {"profile": …, "rule": …}}``, with
            patterns as above; later patterns override earlier ones.
            Settings are ``profile``, ``rule``, ``quantize_weights``, ``quantize_inputs``,
            ``denoise``; keys of the profile such as ``"adc.bits": 6``; and ``"digital": True``,
            which leaves the layer digital.
        quantize_weights, quantize_inputs: a quantizer for the weight and one for the input of every
            converted layer, as :func:`cimsim.quantizers.make_quantizer` accepts them.
        denoise: ridge of a digital gain and offset after every column's ADC, see
            :class:`cimsim.nn.ColumnDenoiser`; None for no correction.
        learn_ranges: converters whose ranges become trained parameters of the model: ``"dac"``
            (the inputs), ``"adc"``, or both. Ranges that a layer's profile fixes are not learned,
            and ideal converters have no range; it is an error if no layer has a range to learn.
            Calibration sets the initial values. Rules whose gradient does not stop at saturated
            inputs (A, B and C) can diverge with a learned range of the inputs.
        adapters: ``"digital"``, or ``"analog"`` to convert the layers of PEFT's adapters, too.
        seed: seed of the chips in training, a whole number.
        inplace: change ``model`` itself instead of a deep copy.

    Returns:
        The model with analog layers, which need :func:`cimsim.calibrate` unless both converters of
        the profile are ideal.

    Raises:
        CimsimError: if an argument is of another type, the profile, rule or a quantizer is unknown,
            a pattern matches no layer, no layer is left to convert, no layer has a range that is
            to be learned, a layer does not fit the profile or is lazy and has no weight
            yet, the model is wrapped for distributed training (convert the wrapped module) or
            scripted, or it cannot be copied and ``inplace`` is false. The model is unchanged then.

    >>> import torch, cimsim
    >>> analog = cimsim.convert(torch.nn.Linear(8, 4), "ideal")
    >>> tuple(analog(torch.zeros(2, 8)).shape)
    (2, 4)
    """
    _require_plain_model(model)
    if not isinstance(profile, Profile):
        profile = load_profile(profile)
    if only is not None and not callable(only):
        raise CimsimError(
            "only must be a function of a layer's name and the layer, not a "
            f"{type(only).__name__}; to name layers, use keep_digital= or layers="
        )
    check_adapters(adapters)
    number = seed_of_training(seed)
    if not isinstance(learn_ranges, Iterable):
        raise CimsimError(
            f"learn_ranges must be 'dac', 'adc' or both, not a {type(learn_ranges).__name__}"
        )
    learned = [learn_ranges] if isinstance(learn_ranges, str) else list(learn_ranges)
    for name in learned:
        if name not in CONVERTERS:
            raise CimsimError(unknown("converter in learn_ranges", name, CONVERTERS))
    common = LayerSettings(profile).changed(
        {
            "rule": rule,
            "quantize_weights": quantize_weights,
            "quantize_inputs": quantize_inputs,
            "denoise": denoise,
        }
    )
    patterns = [keep_digital] if isinstance(keep_digital, str) else list(keep_digital or ())
    if not isinstance(layers or {}, Mapping):
        raise CimsimError(
            "layers must be a dict of settings by pattern, such as {'head': {'digital': True}}, "
            f"not a {type(layers).__name__}"
        )
    special = dict(layers or {})

    def change(given: nn.Module) -> None:
        ties = unpack(given)
        kept = parts_of_adapters(given) if adapters == "digital" else set()
        names, digital = _chosen(given, only, patterns, kept)
        settings = changed_by_pattern(dict.fromkeys(names, common), special, digital)
        analog = {name: chosen for name, chosen in settings.items() if not chosen.digital}
        if not analog:
            raise CimsimError("layers: every layer is digital, so no layer is left to convert")
        require_learnable((chosen.profile for chosen in analog.values()), learned)
        plain = names_without_adapters(given)
        for name, chosen in analog.items():
            own = replace(chosen, profile=with_learned_ranges(chosen.profile, learned))
            make_analog(given.get_submodule(name), own, plain[name], number)
        finish(given, ties)

    _try_on_copy(model, change)
    result = model if inplace else copied(model)
    change(result)
    hook_save_pretrained(result)
    return result


@lasting()
def to_digital(model: Model, *, inplace: bool = False) -> Model:
    """Return the ordinary torch model, with the trained (and quantized) weights.

    A layer whose range of the inputs was learned clips its input in a forward pre-hook, because its
    weights were trained with clipped inputs. A hook is not part of a ``state_dict``, and
    recurrences and attention have no place for one: a warning in the log names the layers.

    Raises:
        CimsimError: if ``model`` is not a module; if a layer has an input quantizer, a denoiser, or
            a weight quantizer behind a parametrization, which a torch layer cannot have; or if the
            model cannot be copied and ``inplace`` is false. The model is unchanged then.

    >>> import torch, cimsim
    >>> analog = cimsim.convert(torch.nn.Linear(8, 4), "pcm-ibm-2020")
    >>> cimsim.to_digital(analog)
    Linear(in_features=8, out_features=4, bias=True)
    """
    require_module(model)
    _try_on_copy(model, _to_digital)
    result = model if inplace else copied(model)
    _warn_of_clips(result)
    _to_digital(result)
    return result


def _warn_of_clips(model: nn.Module) -> None:
    """Log which learned ranges of inputs the digital model has in hooks, and which it loses."""
    unpacked = [
        f"{name}." if name else "" for name, m in model.named_modules() if isinstance(m, Unpacked)
    ]
    layers = {n: m for n, m in model.named_modules() if isinstance(m, AnalogLayer)}
    kept: list[str] = []
    lost: list[str] = []
    for name, layer in layers.items():
        if layer.clips_at_known_range:
            (lost if any(map(name.startswith, unpacked)) else kept).append(f"'{name}'")
    if kept:
        logger.warning(
            "to_digital: %s clip their inputs at learned ranges, in forward pre-hooks, which a "
            "state_dict does not contain; without them, the network gives different results",
            ", ".join(kept),
        )
    if lost:
        logger.warning(
            "to_digital: %s were trained with inputs clipped at learned ranges, but do not clip "
            "them any more; to keep the ranges, use the converted model within "
            "cimsim.nn.digital(model)",
            ", ".join(lost),
        )


def _to_digital(model: nn.Module) -> None:
    open_fast_paths(model)
    restore_plain(model)
    unhook_save_pretrained(model)
    unwatch_loads(model)
    for module in list(model.modules()):
        if isinstance(module, AnalogLayer):
            module.revert_in_place()
    ties = Ties()
    for module in list(model.modules()):
        if isinstance(module, Unpacked):
            module.pack(ties)


def unpack(model: nn.Module) -> Ties:
    """Unpack all modules of ``model`` that contain the weights of several layers, in place; return
    their parameters, for :func:`finish`."""
    ties, adapted = Ties(), bases_of_adapters(model)
    for module in list(model.modules()):
        unpacked = registry.unpacked_kind(module)
        if unpacked is not None and module not in adapted:
            unpacked.unpack(module, ties)
    return ties


def make_analog(layer: nn.Module, settings: LayerSettings, name: str, seed: int) -> AnalogLayer:
    """Turn ``layer`` into an analog layer in place, which draws as ``name``.

    Raises:
        CimsimError: if it does not fit the settings; the message names the layer.
    """
    analog = registry.analog_kind(layer)
    assert analog is not None
    cast(layer, analog)
    assert isinstance(layer, AnalogLayer)
    try:
        with settled(layer):
            layer.convert_in_place(settings.profile, backward_rule(settings.rule), name, seed)
            layer.quantize(settings.quantize_weights, settings.quantize_inputs)
            layer.denoise(settings.denoise)
    except CimsimError as error:
        raise CimsimError(f"layer '{name}': {error}") from None
    return layer


def finish(model: nn.Module, ties: Ties) -> None:
    """Pack modules of which no layer became analog, close torch's paths around layers, let
    activations and max pooling layers keep less, and watch loads."""
    for module in packable(model):
        module.pack(ties)  # packed, it is faster
    close_fast_paths(model)
    make_compact(model)
    watch_loads(model)


def copied(model: Model, otherwise: str = "change the model itself, with inplace=True") -> Model:
    """A deep copy.

    Raises:
        CimsimError: if a part of ``model`` cannot be copied; the message ends with ``otherwise``.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        leave_graph(module, memo)
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # of any object in the model
        reason = str(error).strip().partition("\n")[0]
        raise CimsimError(
            f"this {type(model).__name__} cannot be copied ({reason}); {otherwise}"
        ) from error


def _try_on_copy(model: nn.Module, change: Callable[[nn.Module], None]) -> None:
    """Apply ``change`` to a copy on the meta device, so that errors occur before the model changes.

    A model that cannot be copied, or whose weights cannot be computed there, is not tried.
    """
    try:
        skeleton = _skeleton(model)
    except Exception as error:  # of any object in the model
        logger.info(
            "the conversion was not tried on a copy first, because this model cannot be copied: %s",
            error,
        )
        return
    try:
        with _quiet():
            change(skeleton)
    except (RuntimeError, NotImplementedError) as error:
        logger.info(
            "the conversion was not tried on a copy first, because a weight cannot be computed on "
            "the meta device: %s",
            error,
        )


def _skeleton(model: nn.Module) -> nn.Module:
    """A copy on the meta device, which needs no memory for numbers."""
    tensors = [*model.parameters(), *model.buffers()]
    for module in model.modules():  # tensors that hooks have computed
        tensors += [t for t in vars(module).values() if isinstance(t, Tensor)]
    memo: dict[int, Any] = {}
    for tensor in tensors:
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = (
            nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty.detach()
        )
    return copy.deepcopy(model, memo)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block, log nothing: the conversion itself repeats the warnings."""
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _require_plain_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise CimsimError(f"only a torch.nn.Module can be converted, not a {type(model).__name__}")
    for name, module in model.named_modules():
        if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel):
            raise CimsimError(
                f"{'the model' if not name else repr(name)} is wrapped in {type(module).__name__}; "
                "convert the module inside (model.module), and wrap the result"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise CimsimError(
                f"{'the model' if not name else repr(name)} is compiled by torch.jit; convert the "
                "original module"
            )
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if any(is_lazy(tensor) for tensor in own):
            raise CimsimError(
                f"layer '{name}' ({type(module).__name__}) has no weights before its first "
                "input; run the model once, model(x), and convert it then"
            )


def _chosen(
    model: nn.Module,
    only: Callable[[str, nn.Module], bool] | None,
    keep_digital: list[str],
    never: set[nn.Module],
) -> tuple[list[str], list[str]]:
    """The names of the layers to convert, and of those that are kept digital instead."""
    candidates, digital = [], []
    computing: set[nn.Module] = set()  # a weight, not a signal
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            computing.update(module.parametrizations.modules())
        if module in computing or module in never:
            continue
        if registry.analog_kind(module) is not None:
            candidates.append(name)
        elif reason := registry.obstacle(module) or _packed_by_adapters(module):
            digital.append(f"layer '{name}' ({type(module).__name__}) stays digital: {reason}")
    digital += _out_of_sight(model)
    for line in digital:
        logger.warning("%s", line)
    kept_digital = set()
    for pattern in keep_digital:
        kept_digital.update(matching(pattern, candidates, "keep_digital"))
    chosen = [name for name in candidates if name not in kept_digital]
    if only is not None:
        chosen = [name for name in chosen if only(name, model.get_submodule(name))]
    if not chosen:
        raise CimsimError(
            f"no layer of this {type(model).__name__} is left to convert: it has "
            f"{len(candidates)} that can become analog, {len(kept_digital)} of them kept digital"
            + "".join(f"; {line}" for line in [*_already_analog(model), *digital][:_LINES])
        )
    return chosen, [name for name in candidates if name not in set(chosen)]


def _packed_by_adapters(module: nn.Module) -> str | None:
    """The reason why ``module`` was not unpacked, if it was not because of its adapters."""
    if registry.unpacked_kind(module) is None:
        return None
    return (
        "PEFT adds its adapters to the packed weights in each call; convert the model first, and "
        "add adapters to the layers of this module, such as target_modules=['q_proj', 'v_proj']"
    )


def _already_analog(model: nn.Module) -> Iterator[str]:
    analog = sum(isinstance(module, AnalogLayer) for module in model.modules())
    if analog:
        yield f"{analog} are analog already (cimsim.nn.set_profile changes their profile)"


def _out_of_sight(model: nn.Module) -> Iterator[str]:
    """A line for each attribute with layers that torch does not register."""
    registered = set(model.modules())
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute in _REGISTERED or not isinstance(value, list | tuple | dict):
                continue
            parts = value.values() if isinstance(value, dict) else value
            hidden = [m for m in parts if isinstance(m, nn.Module) and m not in registered]
            if any(registry.analog_kind(part) for m in hidden for part in m.modules()):
                yield (
                    f"the layers in '{f'{name}.' if name else ''}{attribute}' stay digital, "
                    f"because torch does not register modules in a plain {type(value).__name__}; "
                    "use nn.ModuleList or nn.ModuleDict"
                )
