"""What every analog layer is: an ordinary module whose product happens on an array.

Training mode programs a fresh chip at every forward pass; evaluation mode uses the chip that
:func:`cimsim.program` named (chip 0 if none was), at the age that :func:`cimsim.age` set, and
writes it anew when the weights have changed. Gradients follow the layer's backward rule in both.

Weight and input may pass a quantizer before they meet the array, also in the digital layer.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from cimsim.array import Array, Chip, Readout, Tiling, Wanted
from cimsim.errors import CimsimError
from cimsim.estimators import BackwardRule, Call, analog_matmul
from cimsim.estimators.function import without_autocast
from cimsim.kernels.fingerprint import fingerprint
from cimsim.lasting import lasting
from cimsim.nn import operation
from cimsim.nn.computed import cast, computed, computed_once, leave_graph
from cimsim.nn.converter_ranges import CALIBRATED, Ranged, SignalObserver, compute_dtype, range_key
from cimsim.nn.denoiser import ColumnDenoiser
from cimsim.nn.forms import refuse_input, refuse_weight
from cimsim.nn.transforms import is_traced, node_of_graph, refuse_script, refuse_transforms
from cimsim.profile import ArraySpec, LearnedRange, Profile
from cimsim.quantizers import Quantizer, make_quantizer
from cimsim.seeds import cycle_seed, seed_for
from cimsim.torch_private import in_backward, not_compiled, saved_tensors_are_hooked

_REMEMBERED = 4096  # calls that backward may want again


Stage: TypeAlias = "tuple[bool, Array, float, Callable[[Tensor], Tensor] | None]"


@dataclass
class _Shared:
    """A training chip that several calls meet: its seed, what it was written from, its reads."""

    seed: int
    weight: Tensor
    chip: Chip
    reads: int = 0


class AnalogLayer(Ranged):
    """Base of the analog layers; a subclass also inherits the torch layer that it stands for.

    Attributes:
        dac_range, adc_range: full scales of the converters, see
            :class:`cimsim.nn.converter_ranges.Ranged`.
        digital: while true the layer is its digital self.
        name, seed: name this layer's draws; ``draws`` counts the chips it was trained on.
        weight_quantizer, input_quantizer: what weight and input pass first; None for nothing.
        denoiser: a digital gain and offset behind the ADC, None for nothing.
        perturbation: a change of the weight on top of that, None for nothing; see
            :func:`cimsim.nn.perturbed`.
        keeps_chip: whether the chip of evaluation mode is kept from one use to the next, or
            written anew to save its memory; the numbers are the same.
    """

    bias: Any  # Tensor or None, which torch declares differently for each layer
    calls: Tensor
    handle: int
    chip_seed: int
    cycle: int
    _chip: Chip | None
    _chip_content: tuple[object, ...]
    _laid_out: torch.Size
    weight_quantizer: Quantizer | None
    input_quantizer: Quantizer | None
    denoiser: ColumnDenoiser | None
    stands_for: ClassVar[type[nn.Module]]  # the torch layer
    columns_dim: ClassVar[int]  # where the columns lie in the layer's output

    def become_analog(self, profile: Profile, rule: BackwardRule, name: str, seed: int) -> None:
        """Add what an analog layer has beside its torch layer; called once, by ``convert``."""
        if not self.weight.is_floating_point():
            raise CimsimError(
                f"its weights are {self.weight.dtype}, and cells hold real numbers; leave it "
                f"digital: keep_digital=['{name}']"
            )
        refuse_weight(self.weight)
        of_torch = set(vars(self))
        for buffer in CALIBRATED:
            self.register_buffer(buffer, None)
        device = self.weight.device
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64, device=device), False)
        self.handle = operation.register(self)
        self.rule, self.name, self.seed = rule, name, seed
        self.digital = False
        self.keeps_chip = True
        self.observer: SignalObserver | None = None
        self.weight_quantizer = self.input_quantizer = self.denoiser = None
        self.perturbation: Callable[[Tensor], Tensor] | None = None
        self.draws = 0
        self._tokens: deque[int] = deque(maxlen=_REMEMBERED)
        self._shared: _Shared | None = None
        self._calibrated = False
        self._chip_content = ()
        self.profile = profile
        self.program(0)
        self._ours = [*(set(vars(self)) - of_torch), *CALIBRATED, "calls", "_ours"]

    def become_digital(self) -> None:
        """Become the torch layer again, with the weight that the quantizer makes of it.

        Raises:
            CimsimError: if something behind or before the product has no place in a torch layer.
        """
        extras = {"a quantizer of its input": self.input_quantizer, "a denoiser": self.denoiser}
        for what, extra in extras.items():
            if extra is not None:
                raise CimsimError(
                    f"layer '{self.name}' has {what}, which a digital layer cannot hold"
                )
        computing = computed(self)
        if self.weight_quantizer is not None and computing is not None:
            raise CimsimError(
                f"layer '{self.name}': {computing} computes the weight, which leaves no place for "
                "what its quantizer makes of it; remove one of the two first"
            )
        if self.weight_quantizer is not None and not self.weight.is_meta:
            with torch.no_grad():
                self.weight.copy_(self.restored(self.effective_weight()))
        for name in self._ours:
            delattr(self, name)
        cast(self, self.stands_for)

    def quantize(self, weight: str | None, input: str | None) -> None:
        """Let weight and input pass quantizers first, each made from its text; None is nothing.

        Raises:
            CimsimError: if there is no such quantizer, or it does not fit this layer.
        """
        self.weight_quantizer = self._quantizer(weight, "weight")
        if weight is not None and self.weight.is_meta:
            make_quantizer(weight)(torch.zeros(self.arranged(self.weight).shape))  # does it fit?
        elif self.weight_quantizer is not None:
            self.weight_quantizer.setup(self.arranged(self.weight.detach()))
            self.effective_weight()
        self.input_quantizer = self._quantizer(input, "input")
        if self.input_quantizer is not None and not self.input_quantizer.for_inputs:
            raise CimsimError(f"quantizer '{input}' is for weights, not for inputs")
        self._chip = None

    def denoise(self, ridge: float | None) -> None:
        """Correct every column behind the ADC, see :class:`ColumnDenoiser`; None for nothing.

        Raises:
            CimsimError: if the ridge is negative or not finite.
        """
        self.denoiser = None
        if ridge is not None:
            if not (isinstance(ridge, int | float) and math.isfinite(ridge) and ridge >= 0):
                raise CimsimError(
                    f"the ridge of a denoiser must be a number of 0 or more, not {ridge!r}"
                )
            denoiser = ColumnDenoiser(self.outputs, ridge).to(self.weight.device)
            self.denoiser = denoiser.train(self.training)

    def _quantizer(self, spec: str | None, role: str) -> Quantizer | None:
        if spec is None:
            return None
        quantizer = make_quantizer(spec).to(self.weight)
        quantizer.name_draws(self.seed, self.name, role)
        return quantizer.train(self.training)

    # What a subclass says about its kind of layer.

    @staticmethod
    def tiling(layer: nn.Module, array: ArraySpec) -> Tiling:
        """How the weights of ``layer`` (analog or still digital) lie on the tiles of ``array``."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """How many outputs, or output channels, the layer has."""
        raise NotImplementedError

    def restored(self, arranged: Tensor) -> Tensor:
        """Inverse of :meth:`arranged`."""
        return arranged

    @property
    def _array_bias(self) -> Tensor | None:
        """What is added to every column's output right behind the array."""
        bias: Tensor | None = self.bias
        return bias

    def _digital(self, x: Tensor, weight: Tensor, *others: Any) -> Tensor:
        """The torch layer's own forward, with ``weight`` as it is arranged; ``others`` are further
        arguments of that forward."""
        raise NotImplementedError

    def _refuse_shape(self, x: Tensor) -> None:
        """Refuse an input of another shape than the layer takes.

        Raises:
            CimsimError: see there.
        """
        raise NotImplementedError

    def _samples(self, x: Tensor) -> Tensor:
        """The input with one sample for each entry of its first axis, as quantizers want it."""
        raise NotImplementedError

    def _vectors(self, x: Tensor) -> Tensor:
        """The input in the shape that the tiling multiplies."""
        raise NotImplementedError

    def _output(self, y: Tensor, x: Tensor, *others: Any) -> Tensor:
        """The array's output in the layer's output shape."""
        raise NotImplementedError

    # The device.

    @property
    def array(self) -> Array:
        """The cells and converters that the layer's product happens on."""
        return self._array

    @property
    def profile(self) -> Profile:
        """The device that this layer runs on. Setting it keeps the calibrated ranges if the
        converters and the tiles' rows stay what they were, and forgets them otherwise."""
        return self._array.profile

    @profile.setter
    def profile(self, profile: Profile) -> None:
        array = Array(profile, self.tiling(self, profile.array))  # refuses before any change
        old, tiles = None, 0
        if hasattr(self, "_array"):
            old, tiles = self._array.profile, self._array.tiling.tiles
        self._array = array
        self._chip = None
        if (
            old is None
            or range_key(old) != range_key(profile)
            or tiles != array.tiling.tiles
            or self.adc_range.shape != self._range_groups.shape  # of a weight of another size
        ):
            self._forget_ranges()
        self._array = self._with_sign(self._array)
        self._set_fixed_ranges()
        self._laid_out = self.weight.shape

    def program(self, chip_seed: int, cycle: int = 0) -> None:
        """Use the chip named ``chip_seed`` in evaluation, freshly programmed; ``cycle`` counts how
        often it was written before."""
        self.chip_seed = seed_for("chip", chip_seed, self.name)
        self.cycle = cycle
        self.age_s = 0.0
        self.reads = 0
        self._chip = None

    def age(self, age_s: float) -> None:
        """Look at the chip ``age_s`` seconds after its programming."""
        self.age_s = age_s
        self._chip = None

    @contextmanager
    def staged(self, stage: Stage) -> Iterator[None]:
        """Within the block the layer is as it was when :attr:`stage` was ``stage``."""
        before = self.stage
        self.digital, self._array, self.age_s, self.perturbation = stage
        self._chip = None
        try:
            yield
        finally:
            self.digital, self._array, self.age_s, self.perturbation = before
            self._chip = None

    @property
    def stage(self) -> Stage:
        """What a training step may set: whether the layer is digital, its device, age and
        perturbation."""
        return self.digital, self._array, self.age_s, self.perturbation

    def programmed_weight(self) -> Tensor:
        """The weights that the chip of evaluation mode holds, in the weight's own shape; as they
        are read in the session at its age, with the slow part of read noise."""
        with torch.no_grad():
            return self.restored(self._array.held_weight(self._programmed())).clone()

    def effective_weight(self) -> Tensor:
        """The weight that is put on the array, as it is arranged there: through quantizer and
        perturbation."""
        weight = self._quantized(self.arranged(self.weight), self.weight_quantizer)
        return weight if self.perturbation is None else self.perturbation(weight)

    def _quantized(self, x: Tensor, quantizer: Quantizer | None) -> Tensor:
        """``x`` through a quantizer, which computes in float32 at least."""
        if quantizer is None or not x.numel():
            return x
        try:
            with without_autocast(x.device.type):
                held: Tensor = quantizer(x.to(compute_dtype(x)))
                return held.to(x.dtype)
        except CimsimError as error:
            raise CimsimError(f"layer '{self.name}': {error}") from None

    def _quantized_input(self, x: Tensor) -> Tensor:
        """``x`` through the quantizer of inputs, if there is one."""
        if self.input_quantizer is None:
            return x
        return self._quantized(self._samples(x), self.input_quantizer).view(x.shape)

    def _fixed_weight(self) -> Tensor:
        """:meth:`effective_weight` as a constant, in the dtype that is computed in."""
        with torch.no_grad():
            return self._operand().detach()

    def _programmed(self, operand: Tensor | None = None) -> Chip:
        if operand is not None:
            return self._written(operand.detach())
        if self.perturbation is not None or not self.keeps_chip:  # it may be another at every use
            return self._written(self._fixed_weight())
        self._refuse_weight()
        content = self._content()
        if self._chip is None or self._chip_content != content:
            with lasting():
                self._chip = self._written(self._fixed_weight())
            self._chip_content = content
        return self._chip

    def _written(self, weight: Tensor) -> Chip:
        """The chip of evaluation mode at its age, holding ``weight``."""
        return self._array.chip(weight, self.chip_seed, self.age_s, cycle=self.cycle)

    def _content(self) -> tuple[object, ...]:
        """The numbers that the chip is programmed with: equal as long as none of them changes.

        Version counters do not serve here: fused optimizers and writes through ``.data`` leave
        them as they are.
        """
        quantizer = self.weight_quantizer
        tensors = [self.weight]
        if quantizer is not None:
            tensors += [*quantizer.parameters(), *quantizer.buffers()]
        training = quantizer is not None and quantizer.training
        return training, *((t.shape, t.dtype, t.device, fingerprint(t)) for t in tensors)

    # Calibration.

    def start_observing(self, on_chip: bool = False) -> None:
        """From now on, look at every input: what the converters of a perfect chip would meet, or
        ``on_chip`` those of the chip of evaluation mode at its age."""
        perfect = replace(self._array, profile=self.profile.scale_noise(0.0))
        array = self._array if on_chip else perfect
        self.observer = SignalObserver(array, self._range_groups.count, on_chip)

    # Not compiled: it programs a chip, once for a batch of a calibration.
    @not_compiled
    def observe(self, x: Tensor) -> None:
        """Show one batch of inputs to the observer."""
        assert self.observer is not None
        vectors = self._vectors(x).to(compute_dtype(self.weight))
        observer = self.observer
        observer.input.observe(vectors)
        array = observer.array if observer.on_chip else self._sees(observer, observer.array)
        drive, gain = vectors, vectors.new_ones(())
        if not array.plain_drive:
            assert array.dac is not None
            # The range as far as it is known by now; what the columns see depends on it little.
            step = self._dac_scales(observer, array).to(vectors).squeeze() / array.dac.levels
            drive = array.drive(array.dac.encode(vectors / step, want_inside=False)[0])
            gain = gain if self.profile.dac.bit_serial else step
        # A perfect chip is made anew: those of all layers at once may be too large.
        chip = self._programmed() if observer.on_chip else array.chip(self._fixed_weight(), seed=0)
        read_seed = self._next_read() if observer.on_chip else None
        z, _ = array.currents(drive, chip, gain, read_seed)
        if observer.columns.groups > 1:
            z = self._range_groups.gathered(array.tiling.by_column(z))
        observer.columns.observe(z)

    # The module's own life.

    @contextmanager
    def one_chip(self) -> Iterator[None]:
        """Within the block, all calls in training meet one and the same fresh chip: a recurrence
        uses one array time after time. Every call is a read of its own."""
        unneeded = self.digital or self._shared is not None or self.weight.is_meta
        if not self.training or unneeded:
            yield
            return
        with computed_once(self):
            weight = self._operand()
        seed = self._fresh_chip()
        with torch.no_grad():
            chip = self._array.chip(weight.detach(), seed, self.age_s)
        self._shared = _Shared(seed, weight, chip)
        try:
            yield
        finally:
            self._shared = None

    def _fresh_chip(self) -> int:
        """The seed of the next chip in training; every process of a distributed one has its own."""
        if getattr(self, "_is_replica", False):
            raise CimsimError(
                "nn.DataParallel throws its replicas' state away, so that every step would meet "
                "the same chip; use torch.nn.parallel.DistributedDataParallel"
            )
        # What is trained changes, and FSDP does not tell: it writes weights into the same tensor.
        self._chip = None
        occasion = self._occasion()
        if occasion is None:
            occasion = (self.draws,)
            self.draws += 1
        return seed_for("training", self.seed, self.name, *occasion, *_rank())

    def _next_read(self) -> int:
        """The seed of the next read of the chip in evaluation."""
        occasion = self._occasion()
        if occasion is None:
            occasion = (self.reads,)
            self.reads += 1
        return seed_for(cycle_seed(self.chip_seed, self.cycle), "read", *occasion)

    def _occasion(self) -> tuple[object, ...] | None:
        """A name for what is drawn now that is found again if this call is repeated in backward, as
        activation checkpointing does; None if it is not going to be.

        Checkpointing restores torch's global random state, so a number from it is the same again.
        """
        repeated = in_backward()
        if not repeated and not saved_tensors_are_hooked():
            return None
        token = int(torch.randint(2**62, ()))
        if not repeated:
            self._tokens.append(token)
        elif token not in self._tokens:
            raise CimsimError(
                f"layer '{self.name}' is run again within backward and would meet another chip "
                "than before; checkpoint with use_reentrant=False and preserve_rng_state=True, and "
                "outside of torch.compile"
            )
        return "token", token

    def _operand(self) -> Tensor:
        """The weight as the array takes it."""
        if not torch.compiler.is_compiling():
            self._refuse_weight()
        if self.weight.shape != self._laid_out:  # resized, as transformers resizes embeddings
            self.profile = self.profile
        if self._shared is not None:
            return self._shared.weight
        return self.effective_weight().to(compute_dtype(self.weight)).contiguous()

    def next_call(
        self, precision: torch.dtype | None = None, operand: Tensor | None = None
    ) -> Call:
        """What the next multiplication is to simulate; counts the chips and reads.

        ``precision`` is the dtype of its products, that of the operands if None; ``operand`` the
        weight, where the layer itself does not hold the one that is meant.
        """
        cycle = 0  # every chip of training is a fresh one
        if self._shared is not None:
            shared, chip = self._shared, self._shared.chip
            chip_seed, read_seed = shared.seed, seed_for(shared.seed, "read", shared.reads)
            shared.reads += 1
        elif self.training:
            chip, chip_seed = None, self._fresh_chip()
            read_seed = seed_for(chip_seed, "read")
        else:
            chip_seed, chip, cycle = self.chip_seed, self._programmed(operand), self.cycle
            read_seed = self._next_read()
        ranges = self._ranges()
        learned = (
            self.dac_range if isinstance(self.profile.dac.range, LearnedRange) else None,
            self.adc_range if isinstance(self.profile.adc.range, LearnedRange) else None,
        )
        return Call(
            *(self._array, self.rule, ranges, chip_seed, self.age_s, read_seed, chip, learned),
            *(precision, cycle),
        )

    @torch.no_grad()
    def read(self, x: Tensor, *others: Any) -> tuple[Tensor, Readout]:
        """The layer's output on the chip of evaluation mode, in the dtype that is computed in, and
        with it which values the converters cut off."""
        x = self._quantized_input(x)
        weight, call = self._operand(), self.next_call()
        vectors = self._vectors(x).to(weight.dtype)
        bias = None if self._array_bias is None else self._array_bias.to(weight.dtype)
        readout = call.read(vectors, call.held(weight), bias, Wanted(codes=False))
        y = self._output(readout.y, x, *others)
        return y if self.denoiser is None else self.denoiser(y, None, self.columns_dim), readout

    def vectors(self, x: Tensor) -> Tensor:
        """The input ``x`` as the array meets it: through the input's quantizer, in the shape that
        the tiling multiplies."""
        return self._vectors(self._quantized_input(x))

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output, of the dtype that the torch layer would give.

        Under autocast the products are done in its dtype, and the physics around them in float32.

        Raises:
            CimsimError: if the layer is not calibrated, ``input`` is no tensor of the layer's
                width, or torch looks into the layer (see :mod:`cimsim.nn.transforms`).
        """
        return self._call(input)

    def _call(self, x: Tensor, *others: Any) -> Tensor:
        node: Tensor | None = node_of_graph(self, x, *others)
        if node is not None:
            return node
        if not isinstance(x, Tensor):
            raise CimsimError(f"layer '{self.name}' takes a tensor, not a {type(x).__name__}")
        if not self.digital:
            refuse_transforms(self.name, x)
        with computed_once(self):
            if not is_traced():
                computes = not self.digital or self.observer is not None
                if computes and not torch.compiler.is_compiling():
                    refuse_input(self.name, x, self.weight)
                self._refuse_shape(x)
            return self._multiplied(x, *others)

    def _multiplied(self, x: Tensor, *others: Any) -> Tensor:
        if not (x.is_floating_point() and self.weight.is_floating_point()):
            self._refuse_dtype(x)
        if not x.numel() or x.is_meta:  # torch gives the shape, and gradients of zero
            return self._digital(x, self.effective_weight(), *others)
        x = self._quantized_input(x)
        if self.observer is not None:
            self.observe(x)
        if self.digital:
            return self._digital(x, self.effective_weight(), *others)
        device, dtype, precision = x.device.type, x.dtype, None
        if torch.is_autocast_enabled(device):
            dtype = precision = torch.get_autocast_dtype(device)
        with without_autocast(device):
            compute = compute_dtype(self.weight)
            vectors = self._vectors(x).to(compute)
            bias = None if self._array_bias is None else self._array_bias.to(compute)
            weight = self._operand()
            if torch.compiler.is_compiling():
                y = operation.analog(self, vectors, weight, bias, precision)
            else:
                y = analog_matmul(vectors, weight, bias, self.next_call(precision))
            y = self._output(y, x, *others).to(dtype)
        if self.denoiser is None:
            return y
        # As in batch normalization, the batch's own statistics in training.
        target = None
        if self.denoiser.training:
            target = self._digital(x, weight.to(self.weight.dtype), *others)
        return self.denoiser(y, target, self.columns_dim)  # type: ignore[no-any-return]

    def _refuse_weight(self) -> None:
        """Refuse a weight that has become something else than numbers since :func:`convert`.

        Raises:
            CimsimError: see there.
        """
        try:
            refuse_weight(self.weight)
        except CimsimError as error:
            raise CimsimError(f"layer '{self.name}': {error}") from None

    def _refuse_dtype(self, x: Tensor) -> None:
        if not self.weight.is_floating_point():
            raise CimsimError(
                f"layer '{self.name}' has weights of {self.weight.dtype}, and cells hold real "
                "numbers; leave the layer digital (keep_digital=) or use floating-point weights"
            )
        raise CimsimError(
            f"layer '{self.name}' got an input of {x.dtype}; an analog layer takes floating-point "
            "inputs, such as x.float()"
        )

    def __prepare_scriptable__(self) -> AnalogLayer:
        refuse_script(self)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> AnalogLayer:
        leave_graph(self, memo)
        replica = self.__new__(type(self))
        memo[id(self)] = replica
        # The copy writes its chip itself: the same one, from weights of its own.
        state = {**vars(self), "_chip": None, "_shared": None}
        replica.__dict__ = copy.deepcopy(state, memo)
        replica.handle = operation.register(replica)
        return replica

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.handle = operation.register(self)  # a copy is another layer

    def get_extra_state(self) -> Tensor:
        """``[seed, draws]``: enough to go on with the same fresh chips after loading."""
        return torch.tensor([self.seed, self.draws], dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        """Inverse of :meth:`get_extra_state`.

        Raises:
            CimsimError: if ``state`` is no such pair.
        """
        numbers = state.flatten().tolist() if isinstance(state, Tensor) else []
        if len(numbers) != 2 or not all(map(math.isfinite, numbers)):
            raise CimsimError(
                f"layer '{self.name}': '_extra_state' of the checkpoint is not the pair of seed "
                "and draws that state_dict() gives; remove that entry, and load with strict=False"
            )
        # Somebody may have cast the whole checkpoint, or averaged those of several models.
        self.seed, self.draws = map(round, numbers)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        # A digital layer's checkpoint knows no ranges: they stay as they are.
        missing_keys = arguments[2]
        ours = {f"{prefix}{key}" for key in (*CALIBRATED, "_extra_state")}
        missing_keys[:] = [key for key in missing_keys if key not in ours]
        self._keep_precise()  # assign=True takes what a checkpoint in half precision holds
        self._calibrated = False  # to be looked at anew
        self._chip = None
        self._leave_meta(self.dac_range.is_meta)

    def _apply(self, fn: Any, recurse: bool = True) -> AnalogLayer:
        self._chip = None  # a chip is drawn where it is used; it does not move
        was_meta = self.dac_range.is_meta
        super()._apply(fn, recurse)
        self._leave_meta(was_meta)
        return self

    def _leave_meta(self, was_meta: bool) -> None:
        """What the meta device did not hold, once the weight is on a real one."""
        if was_meta and not self.weight.is_meta:
            self.calls = torch.zeros((), dtype=torch.int64, device=self.weight.device)
            self._forget_ranges()
            self._set_fixed_ranges()

    def extra_repr(self) -> str:
        """The torch layer's own words, then the device and the rule."""
        return f"{super().extra_repr()}, profile={self.profile.name}, rule={self.rule.letter}"


def _rank() -> tuple[int, ...]:
    """What tells this process's chips from those of the others; nothing for the first, which meets
    the chips of an undistributed training."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ()
    rank = torch.distributed.get_rank()
    return (rank,) if rank else ()
