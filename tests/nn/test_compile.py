"""``torch.compile`` on converted models: one graph, the same numbers, nothing traced again."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import NoiseAware
from cimsim.errors import CimsimError
from cimsim.estimators.rules import backward_rule
from cimsim.nn import analog_layers
from cimsim.nn.rewrites import Rewrites
from tests.nn.layer_kinds import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def small_cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
    )


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def twins(profile: str, rule: str = "F") -> tuple[nn.Module, nn.Module]:
    model = cimsim.calibrate(cimsim.convert(small_cnn(), profile, rule=rule), [images()])
    return model, copy.deepcopy(model)


class Graphs:
    """A backend that runs graphs as they are and counts them."""

    def __init__(self) -> None:
        from torch._dynamo.backends.debugging import aot_eager

        self.count, self._run = 0, aot_eager

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        self.count += 1
        run: Callable[..., object] = self._run(graph, inputs)
        return run


class CheckedGraphs(Graphs):
    """A backend that compares the results of analog layers with what it was traced with: shapes,
    strides, dtypes and devices, on which compiled code relies."""

    def __init__(self) -> None:
        from torch._dynamo.backends.common import aot_autograd

        self.count, self.checked = 0, 0
        self._run = aot_autograd(fw_compiler=self._checked)

    def _checked(self, graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        from functorch.compile import make_boxed_func

        outer = self

        class Checked(torch.fx.Interpreter):
            def run_node(self, n: torch.fx.Node) -> Any:
                result = super().run_node(n)
                if "cimsim" in str(n.target):
                    outer.checked += 1
                    assert list(map(form, result)) == list(map(form, n.meta["val"]))
                    owners = {t.untyped_storage().data_ptr() for t in result if t.numel()}
                    assert len(owners) == sum(bool(t.numel()) for t in result)
                return result

        run: Callable[..., object] = make_boxed_func(Checked(graph).run)
        return run


def form(tensor: Tensor) -> tuple[object, ...]:
    strides = tensor.stride() if tensor.numel() else None
    return tuple(tensor.shape), strides, tensor.dtype, tensor.device


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.movedim(1, -1).contiguous().movedim(-1, 1),
    "transposed": lambda x: (
        x.permute(*reversed(range(x.dim()))).contiguous().permute(*reversed(range(x.dim())))
    ),
    "expanded": lambda x: x[:1].expand(x.shape),
    "sliced": lambda x: torch.stack((x, x), -1)[..., 0],
}
CONVERTERS: dict[str, tuple[str, list[str]]] = {
    "pcm": ("pcm-ibm-2020", []),
    "ideal DAC": ("pcm-ibm-2020", ["dac.bits=null"]),
    "ideal ADC": ("pcm-ibm-2020", ["adc.bits=null"]),
    "many bits": ("pcm-ibm-2020", ["dac.bits=12"]),
    "most bits, unsigned": ("pcm-ibm-2020", ["dac.bits=16", "dac.sign=if-needed"]),
    "learned": (
        "pcm-ibm-2020",
        ["dac.range={kind: learned}", "adc.range={kind: learned}", "adc.range_per=column"],
    ),
    "bit by bit": ("sram-charge-jia-2020", []),
    "one by one": ("reram-wan-2022", []),
    "small tiles, slices": ("pcm-ibm-2020", ["array.rows=18", "array.slices=2", "cell.levels=16"]),
    "wires": ("pcm-ibm-2020", ["wires={r_bit_ohm: 1.0}"]),
}


def check_results(kind: str, layout: str, converters: str) -> None:
    """In training and evaluation, with and without gradients of everything."""
    torch._dynamo.reset()
    make, shape = LAYERS[kind]
    name, changes = CONVERTERS[converters]
    x = LAYOUTS[layout](torch.rand(shape))
    model = cimsim.convert(make(), cimsim.load_profile(name, changes))
    cimsim.calibrate(model, [x])
    graphs = CheckedGraphs()
    compiled = torch.compile(model, backend=graphs)
    for training in (True, False):
        model.train(training)
        compiled(x.detach().requires_grad_()).square().sum().backward()
        with torch.no_grad():
            compiled(x)
    assert graphs.checked >= 6


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::UserWarning")  # a recurrence is several graphs
@pytest.mark.parametrize("kind", [k for k in LAYERS if k != "linear, no vector"])
def test_results_are_as_traced_for_every_layer(kind: str) -> None:
    layout = "channels last" if "conv" in kind or "transposed" in kind else "transposed"
    check_results(kind, layout, "pcm")


@pytest.mark.parametrize("converters", CONVERTERS)
@pytest.mark.parametrize(
    "kind", ["conv, everything", pytest.param("linear, many axes", marks=pytest.mark.slow)]
)
def test_results_are_as_traced_on_every_array(kind: str, converters: str) -> None:
    check_results(kind, "transposed", converters)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["linear, many axes", "conv, everything", "transposed 2d"])
def test_results_are_as_traced_in_every_layout(kind: str) -> None:
    for layout in LAYOUTS:
        for converters in ("pcm", "ideal DAC", "learned"):
            check_results(kind, layout, converters)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_the_input_change_nothing(layout: str) -> None:
    torch._dynamo.reset()
    x = LAYOUTS[layout](images())
    model = cimsim.convert(nn.Conv2d(2, 4, 3), "pcm-ibm-2020")
    cimsim.calibrate(model, [x])
    other = copy.deepcopy(model)
    compiled = torch.compile(other, fullgraph=True, backend=Graphs())
    assert torch.equal(model(x), compiled(x))
    model(x).square().sum().backward()
    compiled(x).square().sum().backward()
    alike(gradients(model), gradients(other), 2)


def gradients(model: nn.Module) -> list[Tensor]:
    found = [p.grad for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


def alike(mine: list[Tensor], theirs: list[Tensor], count: int) -> None:
    """The same gradients but for rounding: a compiled graph may pass them in another layout."""
    assert len(mine) == len(theirs) == count
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-5 * a.abs().max().item())


@pytest.mark.parametrize(
    ("profile", "rule"),
    [
        *(("pcm-ibm-2020", rule) for rule in "BEF"),
        *(("ideal", "E"), ("reram-wan-2022", "F"), ("sram-charge-jia-2020", "B")),
    ],
)
def test_a_compiled_model_trains_alike_in_one_graph(profile: str, rule: str) -> None:
    torch._dynamo.reset()
    model, other = twins(profile, rule)
    graphs = Graphs()
    compiled = torch.compile(other, fullgraph=True, backend=graphs)
    for step in range(4):
        for each in (model, other):
            cimsim.age(each, 10.0**step)
        y, z = model(images()), compiled(images())
        assert torch.equal(y, z)
        y.square().sum().backward()
        z.square().sum().backward()
        alike(gradients(model), gradients(other), 4)
    assert graphs.count == 1
    for layer in analog_layers(other).values():
        assert layer.draws == 4


def test_a_compiled_model_evaluates_alike_on_every_chip() -> None:
    torch._dynamo.reset()
    model, other = (m.eval() for m in twins("pcm-ibm-2020"))
    graphs = Graphs()
    compiled = torch.compile(other, fullgraph=True, backend=graphs)
    with torch.no_grad():
        for chip in range(3):
            for each in (model, other):
                cimsim.program(each, chip)
                cimsim.age(each, "1 day")
            for _ in range(2):  # two reads
                assert torch.equal(model(images()), compiled(images()))
    assert graphs.count == 1


def test_batches_of_any_size() -> None:
    torch._dynamo.reset()
    model, other = twins("pcm-ibm-2020")
    graphs = Graphs()
    compiled = torch.compile(other, fullgraph=True, dynamic=True, backend=graphs)
    for n in (3, 5, 8):
        y, z = model(images(n)), compiled(images(n))
        assert torch.equal(y, z)
        z.sum().backward()
    assert graphs.count == 1


def test_learned_ranges() -> None:
    torch._dynamo.reset()
    profile = cimsim.load_profile(
        "pcm-ibm-2020", ["dac.range={kind: learned}", "adc.range={kind: learned}"]
    )
    model = cimsim.calibrate(cimsim.convert(small_cnn(), profile), [images()])
    other = copy.deepcopy(model)
    compiled = torch.compile(other, fullgraph=True, backend=Graphs())
    model(images()).square().sum().backward()
    compiled(images()).square().sum().backward()
    alike(gradients(model), gradients(other), 8)


def test_a_layer_called_twice_is_read_twice() -> None:
    torch._dynamo.reset()
    layer = cimsim.convert(nn.Linear(16, 16), "generic-gaussian")
    x = images(8).view(-1, 16)
    cimsim.calibrate(layer, [x])
    compiled = torch.compile(lambda x: layer(x) - layer(x), fullgraph=True, backend=Graphs())
    assert compiled(x).abs().max() > 0


def test_copies_are_layers_of_their_own() -> None:
    _, other = twins("pcm-ibm-2020")
    again = copy.deepcopy(other)
    handles = [layer.handle.item() for m in (other, again) for layer in analog_layers(m).values()]
    assert len(set(handles)) == 4


@pytest.fixture(scope="module")
def inductor() -> None:
    """Skip where torch cannot compile: without a C++ compiler, or without Python's headers."""
    torch._dynamo.reset()
    try:
        torch.compile(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()))(torch.ones(2, 4))
    except (torch._inductor.exc.InductorError, RuntimeError) as error:
        pytest.skip(f"torch.compile does not work here: {error}")


@pytest.mark.slow
def test_the_default_compiler(inductor: None) -> None:
    """The code that inductor makes of everything around the layers."""
    torch._dynamo.reset()
    model, other = twins("pcm-ibm-2020")
    compiled = torch.compile(other, fullgraph=True)
    z = compiled(images())
    assert torch.allclose(model(images()), z, atol=1e-6)
    z.sum().backward()
    assert len(gradients(other)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear, many axes", "conv, everything", "transposed 2d"])
def test_the_default_compiler_in_every_layout(kind: str, inductor: None) -> None:
    make, shape = LAYERS[kind]
    for layout, given in LAYOUTS.items():
        torch._dynamo.reset()
        x = given(torch.randn(shape))
        model = nn.Sequential(make(), nn.Sigmoid())
        analog = cimsim.calibrate(cimsim.convert(model, "pcm-ibm-2020"), [x])
        other = copy.deepcopy(analog)
        compiled = torch.compile(other, fullgraph=True)
        for training in (True, False):
            for each in (analog, other):
                each.train(training)
            y, z = analog(x), compiled(x)
            assert torch.allclose(y, z, atol=1e-6), layout
            y.square().sum().backward()
            z.square().sum().backward()
            alike(gradients(analog), gradients(other), len(list(analog.parameters())))


PROFILES = (
    ["array.rows=8"],
    ["adc.bits=null"],
    ["dac.bits=12"],
    ["adc.range_per=column"],
    ["wires={r_bit_ohm: 1.0}"],
)


@pytest.mark.parametrize("converters", CONVERTERS)
def test_gradients_by_the_backend_without_autograd_of_its_own(converters: str) -> None:
    torch._dynamo.reset()
    name, changes = CONVERTERS[converters]
    model = cimsim.convert(small_cnn(), cimsim.load_profile(name, changes))
    cimsim.calibrate(model, [images()])
    other = copy.deepcopy(model)
    compiled = torch.compile(other, fullgraph=True, backend="eager")
    for run in (model, compiled):
        run(images()).square().sum().backward()
    alike(gradients(model), gradients(other), 8 if converters == "learned" else 4)


def test_another_profile_after_compiling() -> None:
    """One with another number of tiles has other results to save."""
    torch._dynamo.reset()
    layer = nn.Sequential(nn.Linear(16, 8), nn.Sigmoid(), nn.Linear(8, 4))
    x = torch.randn(32, 16)
    model = cimsim.calibrate(cimsim.convert(layer, "pcm-ibm-2020"), [x])
    other, graphs = copy.deepcopy(model), CheckedGraphs()
    compiled = torch.compile(other, fullgraph=True, backend=graphs)
    for changes in ([], *PROFILES):
        profile = cimsim.load_profile("pcm-ibm-2020", changes)
        for each in (model, other):
            cimsim.nn.set_profile(each, profile)
            cimsim.calibrate(each, [x])
        y, z = model(x), compiled(x)
        assert torch.allclose(y, z, atol=1e-6)
        y.square().sum().backward()
        z.square().sum().backward()
        alike(gradients(model), gradients(other), 4)


def test_training_on_another_array_than_evaluation() -> None:
    torch._dynamo.reset()
    profile = cimsim.load_profile("pcm-ibm-2020", ["wires={r_bit_ohm: 1.0}"])
    model = cimsim.calibrate(cimsim.convert(small_cnn(), profile), [images()])
    compiled = torch.compile(model, fullgraph=True, backend=CheckedGraphs())
    training = cimsim.NoiseAware(model, steps=4, noise=0.0)
    for _ in range(2):
        compiled(images()).sum().backward()
        model.eval()
        compiled(images()).sum().backward()
        model.train()
        training.step()
    training.detach()
    compiled(images()).sum().backward()


ONE_STEP = """
import sys, torch, cimsim
torch.manual_seed(0)
x = torch.randn(32, 16)
model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 4))
profile = cimsim.load_profile("pcm-ibm-2020", sys.argv[1:])
analog = cimsim.calibrate(cimsim.convert(model, profile), [x])
torch.compile(analog)(x).sum().backward()
"""


@pytest.mark.long
def test_graphs_on_the_disk_are_not_those_of_another_profile(
    tmp_path: Path, inductor: None
) -> None:
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    for changes in ([], PROFILES[0]):
        command = [sys.executable, "-c", ONE_STEP, *changes]
        subprocess.run(command, env=environment, check=True, timeout=300)


def test_one_graph_serves_all_models_of_the_same_shapes() -> None:
    torch._dynamo.reset()
    graphs, x = Graphs(), images(8).view(-1, 16)
    for _ in range(12):
        layers = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
        model = cimsim.calibrate(cimsim.convert(layers, "pcm-ibm-2020"), [x])
        other = copy.deepcopy(model)
        compiled = torch.compile(other, fullgraph=True, backend=graphs)
        y, z = model(x), compiled(x)
        assert torch.equal(y, z)
        y.square().sum().backward()
        z.square().sum().backward()
        alike(gradients(model), gradients(other), 4)
    assert graphs.count == 1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own
def test_one_graph_serves_all_blocks_of_a_model() -> None:
    torch._dynamo.reset()
    graphs, x = Graphs(), images(8).view(-1, 16)
    blocks = (nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(12))
    model = cimsim.calibrate(cimsim.convert(nn.Sequential(*blocks), "pcm-ibm-2020"), [x])
    other = copy.deepcopy(model)
    for block in other:
        block.compile(fullgraph=True, backend=graphs)
    assert torch.equal(model(x), other(x))
    assert graphs.count <= 2  # the first input needs no gradient


def test_the_handle_is_no_state() -> None:
    torch._dynamo.reset()
    model, other = twins("pcm-ibm-2020")
    assert not any("handle" in name for name in model.state_dict())
    again = pickle.loads(pickle.dumps(other))
    layers = [layer for m in (model, other, again) for layer in analog_layers(m).values()]
    assert len({layer.handle.item() for layer in layers}) == 6
    for each in (other, again):
        each.load_state_dict(model.state_dict())
        compiled = torch.compile(each.to(torch.float64).float(), backend=Graphs())
        assert torch.equal(copy.deepcopy(model)(images()), compiled(images()))
    moved = other.to("meta").to_empty(device="cpu")
    assert all(layer.handle.device.type == "cpu" for layer in analog_layers(moved).values())


def louder(model: nn.Module) -> None:
    profile = cimsim.load_profile("pcm-ibm-2020").scale_noise(4.0)
    cimsim.nn.set_profile(model, profile)


def on_rule_c(model: nn.Module) -> None:
    for layer in analog_layers(model).values():
        layer.rule = backward_rule("C")


def write_again(model: nn.Module) -> None:
    for layer in analog_layers(model).values():
        rewrites = Rewrites(layer.written_weight())
        rewrites.attempts.fill_(1)
        layer.rewrite(rewrites)


BETWEEN: dict[str, Callable[[nn.Module], object]] = {
    "evaluation": lambda model: model.eval()(images()),
    "another chip": lambda model: cimsim.program(model, 1),
    "another age": lambda model: cimsim.age(model, "1 year"),
    "another profile": louder,
    "another rule": on_rule_c,
    "weights written again": write_again,
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("between", BETWEEN)
def test_backward_has_the_conditions_of_its_forward(
    between: str, training: bool, frozen: bool
) -> None:
    torch._dynamo.reset()
    model, other = (m.train(training) for m in twins("pcm-ibm-2020"))
    compiled = torch.compile(other, fullgraph=True, backend=Graphs())
    xs = [images().requires_grad_() for _ in range(2)]
    for each, called, x in zip((model, other), (model, compiled), xs, strict=True):
        for layer in analog_layers(each).values():
            layer.weight.requires_grad_(not frozen)
        loss = called(x).square().sum()
        BETWEEN[between](each)
        loss.backward()
    alike(gradients(model), gradients(other), 2 if frozen else 4)
    expected, found = (x.grad for x in xs)
    assert expected is not None
    assert found is not None
    alike([expected], [found], 1)


@pytest.mark.parametrize("step", [NoiseAware.step, NoiseAware.detach])
def test_backward_after_a_step_of_training_with_noise(step: Callable[[NoiseAware], None]) -> None:
    torch._dynamo.reset()
    model, other = twins("pcm-ibm-2020")
    compiled = torch.compile(other, fullgraph=True, backend=Graphs())
    for each, called in ((model, model), (other, compiled)):
        training = NoiseAware(each, steps=4, noise=8.0, ramp=1.0, clip_sigma=None)
        training.step()
        loss = called(images()).square().sum()
        step(training)
        loss.backward()
    alike(gradients(model), gradients(other), 4)


def test_conditions_are_held_for_some_changes() -> None:
    torch._dynamo.reset()
    _, other = twins("pcm-ibm-2020")
    compiled = torch.compile(other, fullgraph=True, backend=Graphs())
    training = NoiseAware(other, steps=100, noise=4.0, ramp=1.0, clip_sigma=None)
    losses = []
    for _ in range(40):
        losses.append(compiled(images()).square().sum())
        training.step()
    losses[-16].backward()
    with pytest.raises(CimsimError, match="changed more than 15 times between a forward pass"):
        losses[-17].backward()
    for layer in analog_layers(other).values():
        assert len(layer.held_conditions._held) == 16
        assert not copy.deepcopy(layer).held_conditions._held


def test_a_graph_whose_model_was_deleted() -> None:
    def loss() -> Tensor:
        model, _ = twins("pcm-ibm-2020")
        total: Tensor = torch.compile(model, backend="aot_eager")(images()).sum()
        return total

    total = loss()
    gc.collect()
    with pytest.raises(CimsimError, match="was deleted; keep the model until backward has run"):
        total.backward()


def test_any_number_of_chips_of_frozen_weights() -> None:
    torch._dynamo.reset()
    model, other = twins("generic-gaussian")
    compiled = torch.compile(other, fullgraph=True, backend=Graphs())
    found = []
    for run, module in ((model, model), (compiled, other)):
        module.eval().requires_grad_(False)
        x = images().requires_grad_()
        total = torch.zeros(())
        for seed in range(20):
            cimsim.program(module, seed)
            total = total + run(x).sum()
        found.append(torch.autograd.grad(total, x)[0])
    assert torch.allclose(*found, rtol=1e-4, atol=1e-4 * found[0].abs().max().item())


@pytest.mark.parametrize("calls", [1, 3])
def test_a_chip_of_frozen_weights_is_released_after_backward(calls: int) -> None:
    """Once the layer has another chip, the one before takes no memory."""
    torch._dynamo.reset()
    model, other = twins("generic-gaussian")
    compiled = torch.compile(other, fullgraph=True, backend=Graphs())
    found = []
    for run, module in ((model, model), (compiled, other)):
        cimsim.program(module.eval().requires_grad_(False), 0)
        x = images().requires_grad_()
        total = sum((run(x).sum() for _ in range(calls)), torch.zeros(()))
        for _ in range(2):  # the second pass programs the chip again
            found.append(torch.autograd.grad(total, x, retain_graph=True)[0])
    chips = [weakref.ref(layer._chip.chip.scale) for layer in analog_layers(other).values()]
    cimsim.program(other, 1)
    gc.collect()
    assert not any(chip() is not None for chip in chips)
    for gradient in found[1:]:
        assert torch.allclose(gradient, found[0], rtol=1e-4, atol=1e-4 * found[0].abs().max())


def test_measurements_and_adaptations_compile_nothing() -> None:
    """They change layers so often that torch would compile them many times, and then give up."""
    model, graphs = twins("pcm-ibm-2020")[0].eval(), Graphs()
    compiled: Any = torch.compile(model, backend=graphs)
    compiled(images())
    before = graphs.count
    cimsim.calibrate(compiled, [images(8)])
    cimsim.nn.recalibrate(compiled, [images(8)])
    cimsim.adapt(compiled, [images(8)] * 4, "gain-offset, low-rank, affine", budget=12)
    assert graphs.count == before
    with torch.no_grad():
        outputs = [cimsim.program(model, 3) and run(images()) for run in (compiled, model)]
    assert torch.equal(*outputs)
    assert graphs.count > before
