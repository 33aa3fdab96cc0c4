"""The base of all analog layers: an ordinary module whose product runs on an array.

In training mode every forward pass programs another chip. Evaluation mode uses the chip that
:func:`cimsim.program` selects (chip 0 by default), at the age that :func:`cimsim.age` sets, and
programs it again when the weights have changed; training mode, too, if ``program`` was called with
``in_training=True``. Gradients follow the layer's backward rule in both.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cimsim.array import Array, Chip, Readout, SaveOptions, known_faults
from cimsim.circuits.mapping import weight_scale
from cimsim.dtypes import as_dtype
from cimsim.errors import CimsimError
from cimsim.estimators import BackwardRule, MvmCall, analog_matmul
from cimsim.estimators.function import without_autocast
from cimsim.nn import operation
from cimsim.nn.adapted import Adapted, require_no_correction
from cimsim.nn.chip_cache import ChipCache, SharedChip
from cimsim.nn.computed import cast, computed, computed_once, leave_graph
from cimsim.nn.converter_ranges import (
    CALIBRATED,
    Ranged,
    SignalObserver,
    compute_dtype,
    is_known,
    range_key,
)
from cimsim.nn.draws import NamedDraws
from cimsim.nn.forms import refuse_dtype, refuse_input, refuse_weight
from cimsim.nn.held_conditions import HeldConditions
from cimsim.nn.input_clip import InputClip, clipped
from cimsim.nn.no_effect import without_effect
from cimsim.nn.patches import hides_forward
from cimsim.nn.repeated_calls import RepeatedCalls
from cimsim.nn.training_conditions import OF_ONE_TRAINING, TrainedApart, TrainingConditions
from cimsim.nn.transforms import is_traced, node_of_graph, refuse_script, refuse_transforms
from cimsim.profile import LearnedRange, Profile, learned_ranges
from cimsim.seeds import attempt_cycle, seed_for
from cimsim.torch_private import ddp_needs_all_gradients, not_compiled

logger = logging.getLogger("cimsim")

Stage: TypeAlias = (
    "tuple[bool, Array, float, Callable[[Tensor], Tensor] | None, bool, TrainingConditions | None]"
)


class AnalogLayer(Ranged, Adapted, TrainedApart, NamedDraws):
    """Base of the analog layers; a subclass also inherits the torch layer that it replaces.

    Attributes:
        dac_range, adc_range: full scales of the converters, see
            :class:`cimsim.nn.converter_ranges.Ranged`.
        keeps_chip: whether the chip of evaluation mode stays in memory between uses, or is
            programmed for each of them; the numbers are the same.
        chip_in_training: whether training mode uses the chip of evaluation mode, too, instead of
            another chip in every forward pass.
    """

    calls: Tensor
    handle: Tensor
    held_conditions: HeldConditions
    rule: BackwardRule
    _chip: ChipCache
    _laid_out: tuple[object, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the torch layer if a library calls ``type(layer)(…)``: there is no profile then.

        PEFT creates adapters of convolutions in this way.
        """
        return cls.torch_class(*args, **kwargs) if args or kwargs else super().__new__(cls)

    def convert_in_place(self, profile: Profile, rule: BackwardRule, name: str, seed: int) -> None:
        """Add the state that an analog layer needs and its torch layer lacks; for ``convert``."""
        if not self.weight.is_floating_point():
            raise CimsimError(
                f"its weights are {self.weight.dtype}, and cells hold real numbers; leave it "
                f"digital: keep_digital=['{name}']"
            )
        refuse_weight(self.weight)
        of_torch = dict(vars(self))
        for buffer in CALIBRATED:
            self.register_buffer(buffer, None)
        device = self.weight.device
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64, device=device), False)
        self.handle, self.held_conditions = operation.register(self), HeldConditions()
        self._start_draws(name, seed)
        self.rule = rule
        self.digital = False
        self.train_as_evaluated()
        self.keeps_chip, self.chip_in_training = True, False
        self.observer: SignalObserver | None = None
        self.weight_quantizer = self.input_quantizer = None
        self._start_unadapted()
        self.quantizer_specs = (None, None)
        self.perturbation: Callable[[Tensor], Tensor] | None = None
        self._shared: SharedChip | None = None
        self._calibrated = self.ranges_left_out = False
        self._chip = ChipCache()
        self.profile = profile
        self.program(0)
        self._hidden = {n: v for n, v in of_torch.items() if vars(self)[n] is not v}
        if self._hidden:
            logger.warning(
                "layer '%s' had attributes with names that an analog layer uses itself (%s); "
                "to_digital restores them",
                *(name, ", ".join(f"'{attribute}'" for attribute in self._hidden)),
            )
        self._ours = [*(set(vars(self)) - set(of_torch)), *CALIBRATED, "calls", "_ours"]

    def revert_in_place(self) -> None:
        """Become the torch layer again, with the quantized weight.

        Raises:
            CimsimError: if the layer has a part that a torch layer cannot have.
        """
        if self.input_quantizer is not None:
            raise CimsimError(
                f"layer '{self.name}' has a quantizer of its input, which a digital layer cannot "
                "have"
            )
        if hides_forward(self):
            raise CimsimError(
                f"layer '{self.name}': its own attribute 'forward' replaces the forward of its "
                "class, and may call that of the analog layer; remove the attribute first"
            )
        require_no_correction(self)
        bound = self.input_bound.detach().clone() if self.clips_at_known_range else None
        computing = computed(self)
        if self.weight_quantizer is not None and computing is not None:
            raise CimsimError(
                f"layer '{self.name}': {computing} computes the weight, so the quantized weight "
                "cannot be stored; remove the parametrization or the quantizer first"
            )
        if self.weight_quantizer is not None and not self.weight.is_meta:
            with torch.no_grad():
                self.weight.copy_(self.from_matrix(self.effective_weight()))
        hidden = self._hidden
        for name in self._ours:
            delattr(self, name)
        vars(self).update(hidden)
        cast(self, self.torch_class)
        if bound is not None:
            self.register_forward_pre_hook(InputClip(bound))

    def quantize(self, weight: str | None, input: str | None) -> None:
        """See :meth:`Quantized.quantize`."""
        super().quantize(weight, input)
        self._chip.clear()

    def _chip_changed(self) -> None:
        self._chip.clear()

    # The array and its chip.

    def _match_sign(self) -> None:
        super()._match_sign()
        apart = self._training_array
        if apart is not None and apart.unsigned != self._array.unsigned:
            self._renew_training_array()

    @property
    def profile(self) -> Profile:
        """The profile of the layer's array in evaluation mode, and in training mode unless
        :meth:`train_on` sets another. Setting it keeps the calibrated ranges if converters
        and tile rows are the same, and clears them otherwise; a learned range of the inputs
        stays where it is learned."""
        return self._array.profile

    @profile.setter
    def profile(self, profile: Profile) -> None:
        array = Array(profile, self.tiling(self, profile.array))  # raises before any change
        self._refuse_other_columns(array)
        old, tiles = None, 0
        if hasattr(self, "_array"):
            old, tiles = self._array.profile, self._array.tiling.tiles
        self._array = array
        self._renew_training_array()
        self._chip.clear()
        if (
            old is None
            or range_key(old) != range_key(profile)
            or tiles != array.tiling.tiles
            or self.adc_range.shape != self._range_groups.shape  # of a weight of another size
        ):
            # In units of the input, a learned range does not depend on anything else.
            still = old is not None and "dac" in {*learned_ranges(old)} & {*learned_ranges(profile)}
            self._forget_ranges(keep_dac=still)
        self._match_sign()
        self._set_fixed_ranges()
        self._laid_out = self._layout(self.weight)

    def program(self, chip_seed: int, cycle: int = 0) -> None:
        """Use the chip named ``chip_seed`` in evaluation, at age 0; ``cycle`` counts how often it
        was written before."""
        self._select_chip(chip_seed, cycle)
        self.age_s = 0.0
        self._chip.clear()

    def age(self, age_s: float) -> None:
        """Set the age of chips to ``age_s`` seconds after programming."""
        self.age_s = age_s
        self._chip.clear()

    @contextmanager
    def staged(self, stage: Stage) -> Iterator[None]:
        """Within the block, restore the state in which :attr:`stage` was ``stage``."""
        before = self.stage
        self._go_to(stage)
        try:
            yield
        finally:
            self._go_to(before)

    @property
    def stage(self) -> Stage:
        """The state that a training step may change: whether the layer is digital, its array, age,
        perturbation, and conditions of training mode."""
        present = self.digital, self._array, self.age_s, self.perturbation
        return *present, self.digital_in_training, self.training_conditions

    def _go_to(self, stage: Stage) -> None:
        self.digital, self._array, self.age_s, self.perturbation = stage[:4]
        self.digital_in_training, self.training_conditions = stage[4:]
        self._renew_training_array()
        self._chip.clear()

    def programmed_weight(self) -> Tensor:
        """The weights that the chip of evaluation mode holds at its age, in the weight's own
        shape, with the slow part of read noise."""
        with torch.no_grad():
            held = self._array.programmed_weight(self._programmed())
            return self.from_matrix(self._unplaced(held, shifted=False)).clone()

    @torch.no_grad()
    def known_faults(self) -> tuple[Tensor, float]:
        """Faulty cells of the chip of evaluation mode, see :func:`cimsim.array.known_faults`, and
        the factor by which drift compensation multiplies what they contribute at its age."""
        weight = self._fixed_weight()
        full = self.full_weight(weight).mean()
        factor = (self._programmed().scale.mean() / full).item()
        return known_faults(self._array, weight, self.chip_seed), factor

    @torch.no_grad()
    def verified_weight(self, attempt: int | None = None) -> Tensor:
        """The weights on the cells of the chip of evaluation mode right after their last write, or
        after attempt ``attempt`` of all of them, in the order of the cells; see
        :meth:`cimsim.array.Array.verified_weight`."""
        weight, seed = self._fixed_weight(), self.chip_seed
        if attempt is None:
            return self._array.verified_weight(weight, seed, self.cycle, self.attempts)
        return self._array.verified_weight(weight, seed, attempt_cycle(self.cycle, attempt))

    @torch.no_grad()
    def written_weight(self) -> Tensor:
        """The weights to write on the cells, in their order."""
        return self._fixed_weight()

    def full_weight(self, weight: Tensor) -> Tensor:
        """The weight of full conductance at each place of ``weight``, in its shape."""
        tiling = self._array.tiling
        cells = tiling.to_cells(weight.contiguous())
        scale = weight_scale(cells, self.profile.array)
        return tiling.from_cells(scale.expand_as(cells).contiguous())

    def _lay_out_again(self, weight: Tensor) -> None:
        """Lay the weight out as the layer is now, if it was resized, as transformers resizes
        embeddings, or a convolution has another stride, as networks for segmentation need."""
        if self._layout(weight) != self._laid_out:
            self.profile = self.profile

    def _fixed_weight(self) -> Tensor:
        """The weight to write as a constant, in the dtype of the computation."""
        with torch.no_grad():
            return self._operand().detach()

    def _programmed(self, operand: Tensor | None = None) -> Chip:
        """The chip of evaluation mode at its age, holding ``operand`` or the layer's weight."""
        if operand is not None:
            return self._programmed_with(operand.detach())
        if self.perturbation is not None or not self.keeps_chip:  # it may differ at every use
            return self._programmed_with(self._fixed_weight())
        held = self.weight
        refuse_weight(held, self.name)
        quantizer, tensors, training = self.weight_quantizer, [held], False
        if quantizer is not None:
            tensors += [*quantizer.parameters(), *quantizer.buffers()]
            training = quantizer.training
        return self._chip.get(
            lambda: self._programmed_with(self._fixed_weight()), tensors, training
        )

    def _programmed_with(self, weight: Tensor) -> Chip:
        name = self.chip_seed, self.age_s
        return self._array.chip(weight, *name, cycle=self.cycle, attempts=self.attempts)

    # Calibration.

    def start_observing(self, on_chip: bool = False) -> None:
        """Start to observe the signals at the converters: of a perfect chip, or (``on_chip``) of
        the chip of evaluation mode at its age."""
        self._lay_out_again(self.weight)
        perfect = replace(self._array, profile=self.profile.scale_noise(0.0))
        array = self._array if on_chip else perfect
        self.observer = SignalObserver(array, self._range_groups.count, on_chip)

    # Not compiled: it programs a chip, once for a batch of a calibration.
    @not_compiled
    def observe(self, x: Tensor) -> None:
        """Pass one batch of inputs to the observer."""
        assert self.observer is not None
        vectors = self._array_input(x).to(compute_dtype(self.weight))
        observer = self.observer
        observer.input.observe(vectors)
        array = (
            observer.array
            if observer.on_chip
            else self._with_observed_sign(observer, observer.array)
        )
        drive, gain = vectors, vectors.new_ones(())
        if not array.linear_drive:
            assert array.dac is not None
            # The range of the inputs so far is enough: the currents depend on it only slightly.
            step = self._dac_scales(observer, array).to(vectors).squeeze() / array.dac.levels
            drive = array.drive(array.dac.encode(vectors / step, want_inside=False)[0])
            gain = gain if self.profile.dac.bit_serial else step
        # A perfect chip is not cached: the chips of all layers together may be too large.
        chip = self._programmed() if observer.on_chip else array.chip(self._fixed_weight(), seed=0)
        read_seed = self._next_read() if observer.on_chip else None
        z, _ = array.currents(drive, chip, gain, read_seed)
        observer.columns.observe(self._by_range_group(z, observer.columns.groups))

    def _by_range_group(self, z: Tensor, count: int) -> Tensor:
        """The currents ``z`` of each of ``count`` groups that share a full scale, without those of
        spare columns that are not used."""
        groups, unused = self._range_groups, self._unused_columns
        if unused is None and count == 1:
            return z
        by_column, used = self._array.tiling.by_column(z), None
        if unused is not None:
            tiles_of_group = len(by_column) // len(unused)
            used = ~unused.repeat(1, groups.slices).repeat_interleave(tiles_of_group, 0)
            used = used.to(z.device)
        return groups.gathered(by_column, used)

    # Forward.

    @contextmanager
    def shared_chip(self) -> Iterator[None]:
        """Within the block, all calls in training use one chip, each with its own read noise: a
        recurrence uses one array at every time step."""
        unneeded = self._computes_digitally or self._shared is not None or self.weight.is_meta
        if not self._draws_chips or unneeded:
            yield
            return
        with computed_once(self):
            weight = self._operand()
        seed = self._next_training_chip()
        with torch.no_grad():
            chip = self.array.chip(weight.detach(), seed, self._present_age_s)
        self._shared = SharedChip(seed, weight, chip)
        try:
            yield
        finally:
            self._shared = None

    @property
    def _draws_chips(self) -> bool:
        """Whether every forward pass programs another chip."""
        return self.training and not self.chip_in_training

    def _next_training_chip(self) -> int:
        """See :meth:`NamedDraws._next_training_chip`."""
        seed = super()._next_training_chip()
        # Trained weights change; FSDP changes them by writing to the same tensor.
        self._chip.clear()
        return seed

    def _operand(self) -> Tensor:
        """The weight of the array."""
        held = self.weight
        if not torch.compiler.is_compiling():
            refuse_weight(held, self.name)
        self._lay_out_again(held)
        if self._shared is not None:
            return self._shared.weight
        return self._written().contiguous()

    def next_call(
        self,
        dtype: torch.dtype,
        precision: torch.dtype | None = None,
        operand: Tensor | None = None,
    ) -> MvmCall:
        """The next multiplication to simulate; counts chips and reads.

        Args:
            dtype: that of the computation. It is not read from the weight, which may be computed
                whenever it is read.
            precision: dtype of the products; None for the dtype of the operands.
            operand: the weight, if it is not the layer's own.
        """
        cycle, attempts = 0, None  # a chip of training is written once
        if self._shared is not None:
            shared, chip = self._shared, self._shared.chip
            chip_seed, read_seed = shared.seed, seed_for(shared.seed, "read", shared.reads)
            shared.reads += 1
        elif self._draws_chips:
            chip, chip_seed = None, self._next_training_chip()
            read_seed = seed_for(chip_seed, "read")
        else:
            chip_seed, chip, cycle = self.chip_seed, self._programmed(operand), self.cycle
            read_seed, attempts = self._next_read(), self.attempts
        ranges = self._ranges(dtype)
        array = self.array
        learns_dac, learns_adc = array.learns_ranges
        learned = (
            self.dac_range if learns_dac else None,
            self.adc_range if learns_adc else None,
        )
        return MvmCall(
            *(array, self.rule, ranges, chip_seed, self._present_age_s, read_seed, chip),
            *(learned, precision, cycle, attempts),
        )

    @torch.no_grad()
    def read(self, x: Tensor, *others: Any) -> tuple[Tensor, Readout]:
        """Run the layer on the chip of evaluation mode.

        Returns:
            The output in the dtype of the computation, and the readout with masks of the saturated
            converters.
        """
        x = self._quantized_input(x)
        weight = self._operand()
        call = self.next_call(weight.dtype)
        vectors = self._array_input(self._input_of_chip(x)).to(weight.dtype)
        bias = self._column_bias(weight.dtype)
        readout = call.read(vectors, call.chip_for(weight), bias, SaveOptions(codes=False))
        y = self._layer_output(readout.y, x, *others)
        return self._corrected(y, x, None, *others), readout

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output, of the dtype of the torch layer's output.

        Under autocast the products have its dtype, and the physics around them float32; a layer
        with weights in float64 ignores it, as in torch.

        Raises:
            CimsimError: if the layer is not calibrated, ``input`` is not a tensor of the layer's
                width, or an unsupported transform is active (see :mod:`cimsim.nn.transforms`).
        """
        return self._call(input)

    def _call(self, x: Tensor, *others: Any) -> Tensor:
        node: Tensor | None = node_of_graph(self, x, *others)
        if node is not None:
            return node
        if not isinstance(x, Tensor):
            raise CimsimError(f"layer '{self.name}' expects a tensor, but got a {type(x).__name__}")
        analog = not self._computes_digitally
        if analog:
            refuse_transforms(self.name, x)
        with computed_once(self):
            if analog or not is_traced():
                computes = analog or self.observer is not None
                if computes and not torch.compiler.is_compiling():
                    refuse_input(self.name, x, self.weight)
                self._refuse_shape(x)
            return self._multiplied(x, *others)

    def _multiplied(self, x: Tensor, *others: Any) -> Tensor:
        held = self.weight
        if not (x.is_floating_point() and held.is_floating_point()):
            refuse_dtype(self.name, x, held)
        if not x.numel() or x.is_meta:  # torch computes the shape, and gradients of zero
            return self._ranges_in_graph(self._digital(x, self.effective_weight(), *others))
        x = self._quantized_input(x)
        if self.observer is not None:
            self.observe(x)
        if self._computes_digitally:
            # Not in training mode: there, digital steps come before the ranges are learned.
            x = x if self.training else self._clipped(x)
            return self._ranges_in_graph(self._digital(x, self.effective_weight(), *others))
        device, dtype, precision = x.device.type, x.dtype, None
        if held.dtype is not torch.float64 and torch.is_autocast_enabled(device):
            dtype = precision = torch.get_autocast_dtype(device)
        with without_autocast(device):
            compute = compute_dtype(held)
            weight = self._operand()
            bias = self._column_bias(compute)
            given = self._input_of_chip(x)
            vectors, compiled = self._array_input(given), torch.compiler.is_compiling()
            exact = compiled or self.own_chip is not None
            if exact or not self.array.reads_low(vectors, weight, bias, precision):
                vectors = as_dtype(vectors, compute)
            if self.own_chip is not None:
                y = self.own_chip.product(vectors, weight, bias, self._tiling_of_all_rows)
            elif compiled:
                y = operation.analog(self, vectors, weight, bias, precision)
            else:
                y = analog_matmul(vectors, weight, bias, self.next_call(compute, precision))
            y = as_dtype(self._layer_output(y, x, *others), dtype)
        # Training uses the statistics of the batch, as in batch normalization.
        target = None
        if self.denoiser is not None and self.denoiser.training:
            digital_weight = self._unplaced(weight).to(held.dtype)
            target = self._digital(self._clipped(x), digital_weight, *others)
        return self._corrected(y, x, target, *others)

    def _ranges_in_graph(self, y: Tensor) -> Tensor:
        """``y`` of a digital step, on which learned ranges have no effect; where
        ``DistributedDataParallel`` waits for their gradients, these are 0 instead of None."""
        if not ddp_needs_all_gradients():
            return y
        ranges = [known for known in self.learned_ranges if known.requires_grad]
        return without_effect(y, ranges) if ranges else y

    @property
    def clips_input(self) -> bool:
        """Whether the range of the inputs is learned, so that the digital layer clips them, too."""
        return isinstance(self.profile.dac.range, LearnedRange)

    @property
    def clips_at_known_range(self) -> bool:
        """Whether the digital layer clips its inputs now, as it does where the range is known."""
        return self.clips_input and is_known(self.input_bound)

    def _input_of_chip(self, x: Tensor) -> Tensor:
        """``x``, clipped at a learned range if no DAC of a simulated chip does it."""
        saturates = self.own_chip is None and self.profile.dac.bits is not None
        return x if saturates else self._clipped(x)

    def _clipped(self, x: Tensor) -> Tensor:
        """The input of the digital layer: ``x``, clipped at a learned range of the DAC."""
        return clipped(x, self.input_bound) if self.clips_input else x

    @property
    def input_bound(self) -> Tensor:
        """The learned magnitude at which the layer's input is clipped; NaN if it is unknown."""
        gains = self.input_gains
        return self.dac_range if gains is None or gains.clip is None else gains.clip

    def __prepare_scriptable__(self) -> AnalogLayer:
        refuse_script(self)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> AnalogLayer:
        leave_graph(self, memo)
        replica: AnalogLayer = self.__new__(type(self))
        memo[id(self)] = replica
        state = {**vars(self), "_shared": None, **OF_ONE_TRAINING}
        replica.__dict__ = copy.deepcopy(state, memo)
        replica.handle = operation.register(replica)
        return replica

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, **OF_ONE_TRAINING})  # type: ignore[no-untyped-call]
        # A copy is another layer.
        self.handle, self.held_conditions = operation.register(self), HeldConditions()
        self._repeated = RepeatedCalls()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        self._drop_ranges_of_others(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        # A digital layer's checkpoint has no ranges: they stay unchanged.
        missing_keys = arguments[2]
        ours = {f"{prefix}{key}" for key in (*CALIBRATED, "_extra_state")}
        missing_keys[:] = [key for key in missing_keys if key not in ours]
        self._keep_precise()  # assign=True may have set ranges in half precision
        self._match_sign()
        self._calibrated = False  # checked again at the next use
        self._chip.clear()
        self._materialize_buffers(self.dac_range.is_meta)

    def _apply(self, fn: Any, recurse: bool = True) -> AnalogLayer:
        self._chip.clear()
        was_meta = self.dac_range.is_meta
        super()._apply(fn, recurse)
        self._materialize_buffers(was_meta)
        return self

    def _materialize_buffers(self, was_meta: bool) -> None:
        """Create the buffers when the weight has moved from the meta device to a real one."""
        if was_meta and not self.weight.is_meta:
            self.calls = torch.zeros((), dtype=torch.int64, device=self.weight.device)
            self._forget_ranges()
            self._set_fixed_ranges()
            if self.denoiser is not None:
                self.denoiser.materialize(self.weight.device)

    def extra_repr(self) -> str:
        """The torch layer's text, then profile and rule."""
        return f"{super().extra_repr()}, profile={self.profile.name}, rule={self.rule.name}"
