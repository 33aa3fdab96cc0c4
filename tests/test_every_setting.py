"""Every setting of a profile does on every back end what its equation says, on a user's path.

The cases are generated from the models of a profile (``tests/schema.py``), so that a setting added
later is among them; ``tests/reference.py`` is a second simulator, which shares no code.
"""

from __future__ import annotations

import copy
import itertools
import math
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import Profile
from tests import reference
from tests.building import ONE_OVER_F, SOURCE
from tests.reference import Numbers, Reference
from tests.schema import Case, cases, effect_kinds

DAY_S = 86400.0
CHIPS, COPIES = 16, 24
CHIPS_OF = {"dead-lines": 200, "variation": 200}  # few lines, or tiles, on each
BASE: dict[str, Any] = {
    "schema_version": 1,
    "name": "base",
    "title": "a device with nothing but a range of conductances and converters",
    "cell": {"technology": "none", "g_min_uS": 2.0, "g_max_uS": 25.0},
    "array": {"rows": 6, "columns": 16},
    "dac": {"bits": 6},
    "adc": {"bits": 7},
}
CASES = cases()
# Begins as the range of least error, and moves in training only.
UNCHANGED = {"dac.range.learned", "adc.range.learned"}

_drawn = torch.Generator().manual_seed(0)
PATTERNS = torch.randn(4, 12, generator=_drawn)
X = torch.randn(6, 12, generator=_drawn)
X[5] = X[0]  # so that two reads of one vector can be compared


def every(function: Callable[..., None]) -> Callable[..., None]:
    made: Callable[..., None] = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)(
        function
    )
    return made


def inputs(case: Case) -> Tensor:
    """Without values below 0 where it matters whether there are any."""
    return X.abs() if case.name.startswith("dac.sign") else X


def layer(profile: Profile, copies: int = COPIES, x: Tensor = X) -> AnalogLayer:
    """Four different outputs, each so many times."""
    digital = nn.Linear(12, 4 * copies, bias=False, device=x.device)
    with torch.no_grad():
        digital.weight.copy_(PATTERNS.repeat_interleave(copies, 0))
    made = cimsim.calibrate(cimsim.convert(digital, profile), [x])
    assert isinstance(made, AnalogLayer)
    return cimsim.age(made, DAY_S)


def step(made: AnalogLayer, training: bool, data: Tensor = X) -> list[Tensor]:
    """Output and gradients, on a chip that the arguments name."""
    made.draws = 0
    made.train(training)
    if not training:
        cimsim.age(cimsim.program(made, 3), DAY_S)
    x = data.clone().requires_grad_()
    y = made(x)
    delta = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(x.device)
    wanted = [t for t in (x, made.weight, made.dac_range, made.adc_range) if t.requires_grad]
    return [y.detach(), *torch.autograd.grad(y, wanted, delta)]


def serve_with_triton(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the Triton kernels serve everything: on a GPU, or interpreted on the CPU."""
    pytest.importorskip("triton")
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("no CUDA device, and Triton does not interpret")
    from cimsim.kernels import cuda

    def serving(*tensors: Tensor | None) -> ModuleType | None:
        plain = all(t is None or t.dtype == torch.float32 for t in tensors)
        return cuda if plain else None

    monkeypatch.setattr(kernels, "_serving", serving)
    return "cuda" if torch.cuda.is_available() else "cpu"


def steps(
    case: Case,
    on: bool,
    which: kernels.Use = "fused",
    copies: int = COPIES,
    base: dict[str, Any] = BASE,
    device: str = "cpu",
) -> list[list[Tensor]]:
    """In training and in evaluation."""
    x = inputs(case).to(device)
    made = layer(case.profile(base, on), copies, x)
    with kernels.use(which):
        return [step(made, training, x) for training in (True, False)]


_without: dict[str, list[list[Tensor]]] = {}


@every
def test_it_changes_the_result_and_natively_as_plainly(case: Case) -> None:
    """In training and evaluation, forward and backward, with the same draws."""
    needs = repr((case.needs, inputs(case) is X))
    if needs not in _without:
        _without[needs] = steps(case, on=False)
    native, plain = (steps(case, True, which) for which in ("fused", "numbers"))
    for one, other, without in zip(native, plain, _without[needs], strict=True):
        assert all(tensor.isfinite().all() for tensor in one)
        same(one, other, few=0.05)
        change = (one[0] - without[0]).abs().max() / without[0].abs().max()
        if case.name in UNCHANGED:
            assert change < 1e-5
            assert len(one) > len(without)  # the range has a gradient
        else:
            assert change > 2e-3


@every
def test_the_chip_is_the_same_in_float64(case: Case) -> None:
    """A seed names a chip, whatever precision the network has."""
    made, x = layer(case.profile(BASE, True), x=inputs(case)), inputs(case)
    single = step(made, False, x)
    double = step(copy.deepcopy(made).double(), False, x.double())
    same(single, [tensor.float() for tensor in double], few=0.05)


@pytest.mark.parametrize(
    "case",
    # Most of them in the long tests: interpreted, they take their time.
    [
        pytest.param(c, marks=[pytest.mark.long] * (i % 6 > 0 or c.of_a_curve), id=c.name)
        for i, c in enumerate(sorted(CASES, key=lambda c: c.of_a_curve))
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_triton_does_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, or interpreted."""
    device = serve_with_triton(monkeypatch)
    fused, plain = (
        steps(case, True, which, copies=2, device=device) for which in ("fused", "numbers")
    )
    for one, other in zip(fused, plain, strict=True):
        same(one, other, few=0.15)  # they keep variances in bf16


@every
def test_what_the_kernels_do_not_cover_is_said(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the summary of a model; and what it does not name, they do compute."""
    made = layer(case.profile(BASE), 1)
    slow = set(made.array.not_fused)
    fields = {key for key, _ in (*case.needs, *case.sets)}
    names = {field for name in slow for field in fields if field.startswith(name)}
    assert bool(slow) == bool(names), "it names another setting than those of the case"
    text = str(cimsim.summary(made))
    assert all(name in text for name in slow)
    if kernels.cpu.build().library is None:
        return
    used: list[str] = []
    for name in ("program", "digitize"):
        plain = getattr(kernels.cpu, name)

        def counted(*args: Any, _name: str = name, _plain: Any = plain, **kwargs: Any) -> Any:
            used.append(_name)
            return _plain(*args, **kwargs)

        monkeypatch.setattr(kernels.cpu, name, counted)
    with torch.no_grad():
        cimsim.program(made.eval(), 3)(X)
    if not slow:
        assert set(used) == {"program", "digitize"}
    else:
        assert set(used) != {"program", "digitize"}


def same(fused: list[Tensor], plain: list[Tensor], few: float) -> None:
    """But for a ``few`` currents that rounding moves over a threshold, which are off by one code,
    and their gradients with them: one current is in those of a whole row of ``dx`` and ``dw``."""
    for name, one, other in zip(("y", "dx", "dw", "dac", "adc"), fused, plain, strict=False):
        wrong = (one - other).abs() > 2e-3 * other.abs().max()
        assert wrong.float().mean() <= max(few, 1 / len(one)) if one.dim() else not wrong, name
        assert (one - other).norm() <= 0.05 * other.norm(), name


# The amount.


def samples(made: AnalogLayer, chips: int, x: Tensor = X) -> Numbers:
    """``[chips, vectors, patterns, copies]``."""
    found = []
    with torch.no_grad():
        for chip in range(chips):
            cimsim.age(cimsim.program(made.eval(), chip), DAY_S)
            found.append(made(x).double().view(len(x), 4, COPIES))
    return torch.stack(found).numpy()


def expected(made: AnalogLayer, profile: Profile, chips: int, x: Tensor = X) -> Numbers:
    """The same of the second simulator, with the full scales of ``made``."""
    rng = np.random.default_rng(0)
    ranges = made.dac_range.item(), made.adc_range.double().detach().numpy()
    weight = made.weight.detach().double().numpy()
    unsigned = made.dac_unsigned is not None and bool(made.dac_unsigned)
    fitted = None if made.adc_values is None else made.adc_values.double().numpy()
    other = Reference(profile, weight, ranges, rng, unsigned, fitted)
    found = []
    for _ in range(chips):
        other.chip(DAY_S)
        found.append(other.read(x.double().numpy()).reshape(len(x), 4, COPIES))
    return np.stack(found)


def compare(case: Case, profile: Profile, base: dict[str, Any] = BASE) -> None:
    """Our simulation of ``case`` with the other one of ``profile``: mean, variance, and what two
    reads of one chip share, of every output."""
    x = inputs(case)
    made = layer(case.profile(base), x=x)
    random = made.profile.has_noise
    more = [chips for kind, chips in CHIPS_OF.items() if kind in case.name]
    chips = (more or [CHIPS])[0] if random else 1
    ours, theirs = samples(made, chips, x), expected(made, profile, chips, x)
    size = float(np.abs(theirs).max())
    if not random:
        # Codes at an edge aside, nothing may differ; of some devices every bit has its own.
        assert (np.abs(ours - theirs) > 1e-4 * size).mean() < (0.03 if base is BASE else 0.1)
        return
    middle = (ours.mean((0, 3)) + theirs.mean((0, 3))) / 2
    code = float(made.adc_range.max()) / 64 * size  # rounding is not the same at an edge
    each = []
    for values in (ours, theirs):
        away = values - middle[None, :, :, None]
        shared = away[:, :1] * away[:, -1:]
        each.append([a.mean(3).reshape(chips, -1) for a in (values, away**2, shared)])
    for name, one, other in zip(("mean", "variance", "shared"), *each, strict=True):
        floor = 1e-3 * size if name == "mean" else 1e-3 * code * size
        error = np.sqrt((one.var(0, ddof=1) + other.var(0, ddof=1)) / chips)
        pull = (one.mean(0) - other.mean(0)) / (error + floor)
        assert np.abs(pull).max() < 6, name
        pooled = abs(one.mean() - other.mean())
        spread = math.hypot(*(a.mean(1).std(ddof=1) for a in (one, other))) / math.sqrt(chips)
        assert pooled < 5 * spread + floor, name


@pytest.mark.parametrize(
    "case",
    # All curves are evaluated by one function, which has tests of its own.
    [pytest.param(c, marks=[pytest.mark.long] * c.of_a_curve, id=c.name) for c in CASES],
)
def test_it_does_as_much_as_its_equation_says(case: Case) -> None:
    compare(case, case.profile(BASE))


@every
def test_without_noise_chips_and_reads_are_the_same(case: Case) -> None:
    profile = case.profile(BASE).scale_noise(0.0)
    if profile.has_noise:  # which the factor does not scale
        assert case.name in ("array.drift_probe=measured", "array.probe_vectors=2")
        return
    x = inputs(case)
    made, outputs = layer(profile, x=x).eval(), []
    with torch.no_grad():
        for chip in (1, 1, 2):
            cimsim.age(cimsim.program(made, chip, cycle=3), DAY_S)
            outputs += [made(x), made(x)]
    assert all(torch.equal(y, outputs[0]) for y in outputs)


def based(**sections: dict[str, Any]) -> dict[str, Any]:
    """The plain device with other numbers in its sections."""
    return {
        key: {**value, **sections[key]} if key in sections else value for key, value in BASE.items()
    }


# What other settings act on: other ways to lay weights on cells, and to send inputs.
OTHERS = {
    "offset-column": based(array={"mapping": "offset-column"}),
    "single-device": based(array={"mapping": "single-device"}),
    "offset-current": based(array={"mapping": "offset-current"}),
    "slices": based(array={"slices": 2}, cell={"levels": 4}),
    "bit-serial": based(dac={"bit_serial": True}),
    "column-ranges": based(adc={"range_per": "column"}),
}


def on_others() -> list[Any]:
    """Every setting on every other device; a twelfth of them in the long tests."""
    each = [case for case in CASES if not case.of_a_curve]
    return [
        pytest.param(
            *(case, other),
            marks=pytest.mark.long if (i + j) % 12 == 0 else pytest.mark.exhaustive,
            id=f"{case.name}-{other}",
        )
        for i, case in enumerate(each)
        for j, other in enumerate(OTHERS)
    ]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name.startswith("cell.faults.")], ids=lambda c: c.name
)
def test_faulty_cells_have_the_read_noise_of_what_they_hold(case: Case) -> None:
    """Not that of their target: relative to the conductance, small targets are the noisiest."""
    base = based(cell={"g_min_uS": 0.0, "read_noise": [ONE_OVER_F | {"source": SOURCE}]})
    compare(case, case.profile(base), base)


@pytest.mark.parametrize(("case", "other"), on_others())
def test_it_does_so_on_other_devices_too(case: Case, other: str) -> None:
    base = OTHERS[other]
    changed = [
        (section, key)
        for section, values in base.items()
        if isinstance(values, dict)
        for key in values
        if key not in BASE[section]
    ]
    fields = {key for key, _ in (*case.needs, *case.sets)}
    if any(f"{section}.{key}" in fields for section, key in changed):
        pytest.skip("the case has a setting of its own there")
    try:
        profile = case.profile(base)
    except ValidationError as error:
        pytest.skip(f"no such device: {error.errors()[0]['msg']}")
    compare(case, profile, base)
    fused, plain = (steps(case, True, which, 4, base) for which in ("fused", "numbers"))
    for one, two in zip(fused, plain, strict=True):
        same(one, two, few=0.15)


def of_two_effects() -> list[Any]:
    """Every pair of effects as they are by default: some of them, more in the long tests, and all
    in the exhaustive ones."""
    kinds = {f"{place}.{model.model_fields['kind'].default}" for place, model in effect_kinds()}
    found = []
    for one, other in itertools.combinations([c for c in CASES if c.name in kinds], 2):
        both = one.along(other)
        if both is not None:
            marks = [pytest.mark.long] if len(found) % 6 == 0 else [pytest.mark.exhaustive]
            marks = [] if len(found) % 36 == 0 else marks
            found.append(pytest.param(both, marks=marks, id=both.name))
    return found


@pytest.mark.parametrize("case", of_two_effects())
def test_two_effects_act_on_each_other_as_their_equations_say(case: Case) -> None:
    if "cell.iv" in case.name and "cell.read_noise" in case.name:
        pytest.skip("slow noise follows the current of a cell, fast noise its voltage")
    try:
        profile = case.profile(BASE)
    except ValidationError as error:
        pytest.skip(f"no such device: {error.errors()[0]['msg']}")
    compare(case, profile)


@pytest.mark.long
@pytest.mark.parametrize("case", [c for c in CASES if c.stronger], ids=lambda c: c.name)
def test_a_quarter_more_would_be_noticed(case: Case) -> None:
    assert case.stronger is not None
    with pytest.raises(AssertionError):
        compare(case, case.stronger.profile(BASE))


def test_the_second_simulator_has_every_kind() -> None:
    """A kind that is added to a profile needs its equation there."""
    places = {
        "cell.programming_noise": reference.PROGRAMMING,
        "cell.endurance": {"tabulated"},
        "cell.variation": reference.VARIATION,
        "cell.faults": reference.FAULTS,
        "cell.drift": reference.DRIFT,
        "cell.temperature": reference.TEMPERATURE,
        "cell.read_noise": {*reference.WHITE, *reference.FLICKER, "telegraph"},
        "cell.iv": reference.IV,
        "dac.errors": {"bow"},
        "adc.errors": {*reference.READOUT, *reference.CONVERSIONS},
        "wires": {"nodal"},
    }
    for place, kind in effect_kinds():
        assert kind.model_fields["kind"].default in places[place], (place, kind.__name__)
