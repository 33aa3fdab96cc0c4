"""``torch.compile`` on converted models: one graph, the same numbers, nothing traced again."""

import copy
import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.torch_private import cpp_compiler

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
    handles = [layer.handle for m in (other, again) for layer in analog_layers(m).values()]
    assert len(set(handles)) == 4


@pytest.mark.slow
def test_the_default_compiler() -> None:
    """The code that inductor makes of everything around the layers."""
    try:
        cpp_compiler()
    except RuntimeError as error:
        pytest.skip(f"torch.compile does not work here: {error}")
    torch._dynamo.reset()
    model, other = twins("pcm-ibm-2020")
    compiled = torch.compile(other, fullgraph=True)
    try:
        z = compiled(images())
    except torch._inductor.exc.InductorError as error:
        pytest.skip(f"torch.compile does not work here: {error}")
    assert torch.allclose(model(images()), z, atol=1e-6)
    z.sum().backward()
    assert len(gradients(other)) == 4


def test_a_graph_whose_model_was_deleted() -> None:
    def loss() -> Tensor:
        model, _ = twins("pcm-ibm-2020")
        total: Tensor = torch.compile(model, backend="aot_eager")(images()).sum()
        return total

    total = loss()
    gc.collect()
    with pytest.raises(CimsimError, match="was deleted; keep the model until backward has run"):
        total.backward()
