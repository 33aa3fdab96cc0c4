"""``cimsim.NoiseAware`` in loops that a user writes: the same numbers as our own training."""

from __future__ import annotations

import copy
import logging
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import prune

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, digital, parameter_groups
from cimsim.profile import override_profile
from cimsim.training.data import BatchLoader
from cimsim.training.fit import fit
from cimsim.training.plan import TrainingPlan
from cimsim.training.progress import Silent
from cimsim.training.sharding import whole
from tests.building import device, gaussian
from tests.children import all_ended
from tests.training.processes import start
from tests.training.small import small, stopped

NOISY = device(programming=[gaussian(0.05)], dac=8, adc=8)
STEPS = 12


def network(seed: int = 0, norm: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(16)] if norm else []
    return nn.Sequential(nn.Linear(8, 16), *middle, nn.ReLU(), nn.Linear(16, 4))


def batches(count: int = STEPS, size: int = 16) -> list[tuple[Tensor, Tensor]]:
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(count, size, 8, generator=draws)
    return list(zip(x, (x[..., :4]).argmax(-1), strict=True))


def converted(profile: Any = NOISY, **settings: Any) -> nn.Module:
    return cimsim.convert(network(**settings), profile)


def new(model: nn.Module, **settings: Any) -> cimsim.NoiseAware:
    usual = {"steps": STEPS, "calibration": batches()[:2], "average": 0.9}
    return cimsim.NoiseAware(model, **{**usual, **settings})


def train(
    model: nn.Module,
    with_noise: cimsim.NoiseAware,
    data: list[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer | None = None,
) -> torch.optim.Optimizer:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    for x, y in data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        with_noise.step()
    return optimizer


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


# The same training as `cimsim train`.

OWN_NET = {"model": "tests.training.networks:dropout_net"}
ALIKE: dict[str, dict[str, Any]] = {
    "defaults": {},
    "robust": {"recipe": "robust"},
    "warm-up": {"warmup": 0.3, "ramp": 0.5, "age": "1s:1d", "average": 0.9, **OWN_NET},
    "ADC noise": {"profile": "generic-gaussian", "noise": 3.0, "clip_sigma": 0.0},
    "quantized": {"quantize_weights": "lsq:bits=4", "denoise": 0.01, "age": "1h"},
    "accumulated": {"accumulate": 2, "noise_spread": 0.3},
}


@pytest.mark.parametrize("name", ALIKE)
def test_an_own_loop_ends_with_the_weights_of_cimsim_train(name: str, tmp_path: Path) -> None:
    config = small(**ALIKE[name])
    fit(config, tmp_path / "run", progress=Silent())
    plan = TrainingPlan.load(config)
    model, x, y = plan.new_model(), plan.data.train_x[:60], plan.data.train_y[:60]
    loader = BatchLoader(x, y, config.batch_size, shuffle_seed=config.seed)
    with_noise = cimsim.NoiseAware(
        model,
        steps=config.epochs * len(loader),
        noise=config.noise,
        noise_spread=config.noise_spread,
        clip_sigma=config.clip_sigma or None,
        warmup=config.warmup,
        ramp=config.ramp,
        age=config.age,
        average=config.average,
        calibration=loader,
        recalibrate_every=len(loader),
        seed=config.seed,
    )
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=config.lr))
    cosine = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda at: 0.5 * (1 + math.cos(math.pi * at / with_noise.steps))
    )
    torch.manual_seed(config.seed)  # of dropout
    model.train()
    for epoch in range(config.epochs):
        for images, labels in loader.epoch(epoch):
            optimizer.zero_grad()
            size = -(-len(images) // config.accumulate)
            for part, of_part in zip(images.split(size), labels.split(size), strict=True):
                loss = nn.functional.cross_entropy(model(part), of_part)
                (loss * (len(part) / len(images))).backward()
            optimizer.step()
            cosine.step()
            with_noise.step()
    with_noise.finish(loader.epoch(config.epochs))
    state = model.state_dict()
    for key, tensor in load_file(tmp_path / "run" / "model.safetensors").items():
        assert torch.equal(state[key], tensor), key


def test_a_run_whose_adc_has_noise_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter ranges allow for the noise of the step before, also after a stop."""
    config = small(profile="generic-gaussian")
    fit(config, tmp_path / "whole", progress=Silent())
    stopped(config, tmp_path / "stopped", 3, monkeypatch)  # at the start of the second epoch
    fit(config, tmp_path / "stopped", resume=True, progress=Silent())
    whole, again = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "stopped"))
    assert all(torch.equal(again[key], tensor) for key, tensor in whole.items())


# What a step and an evaluation compute.


def noise_of(model: nn.Module, x: Tensor) -> float:
    """Standard deviation of the output between chips of training."""
    with torch.no_grad():
        return torch.stack([model(x) for _ in range(400)]).std(0).mean().item()


def test_the_noise_is_that_of_the_profile_times_factor_and_strength() -> None:
    x = batches(1, 64)[0][0]
    profile = device(programming=[gaussian(0.01)])  # small, so that all effects are linear
    model = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), profile), [x])
    usual = noise_of(model, x)
    with_noise = cimsim.NoiseAware(
        model, steps=8, noise=3.0, clip_sigma=None, warmup=0.25, ramp=0.5
    )
    found = []
    for _ in range(8):
        found.append(noise_of(model, x) / usual)
        with_noise.step()
    wanted = [0, 0, 0.75, 1.5, 2.25, 3, 3, 3]
    assert found[:2] == [0, 0]
    # 400 chips determine a standard deviation to 1 / sqrt(800) = 3.5 % per output, of which there
    # are 4 independent ones: 2 % of it, and as much of the reference.
    assert found == pytest.approx(wanted, rel=0.12)


def test_without_noise_training_is_digital() -> None:
    model, x = converted(), batches()[0][0]
    with_noise = new(model, warmup=0.5)
    train(model, with_noise, batches()[:3])
    y = model(x)
    with digital(model):
        assert torch.equal(y, model(x))
    assert with_noise.strength == 0


@pytest.mark.parametrize("warmup", [0.0, 1.0])
@pytest.mark.parametrize("calibrated", [False, True])
def test_evaluation_between_steps_is_as_programmed(warmup: float, calibrated: bool) -> None:
    model, x = converted(norm=True), batches()[0][0]
    if calibrated:
        cimsim.calibrate(model, [x])
    with_noise = new(model, warmup=warmup, noise=4.0, age="1y")
    train(model, with_noise, batches()[:5])
    alone = copy.deepcopy(model)  # a copy is a model of its own, without the schedule
    for each in (model.eval(), alone.eval()):
        cimsim.program(each, 7)
    with torch.no_grad():
        assert torch.equal(model(x), alone(x))
        cimsim.age(model, "1h"), cimsim.age(alone, "1h")
        assert torch.equal(model(x), alone(x))
        assert not torch.equal(model.train()(x), alone.train()(x))


def test_evaluation_changes_nothing_in_training() -> None:
    one, other = converted(norm=True), converted(norm=True)
    mine, theirs = new(one), new(other)
    optimizer: torch.optim.Optimizer | None = None
    for batch in batches():
        optimizer = train(one, mine, [batch], optimizer)
        cimsim.age(cimsim.program(one.eval(), 3), "1 day")
        with torch.no_grad():
            one(batch[0])
    train(other, theirs, batches())
    assert same(one, other)


@pytest.mark.parametrize("after", [0, 4, 9])
def test_a_resumed_training_is_the_same(after: int) -> None:
    settings = {"noise_spread": 0.5, "age": "1s:1y", "warmup": 0.2, "recalibrate_every": 5}
    whole = converted(norm=True)
    with_noise = new(whole, **settings)
    train(whole, with_noise, batches())
    first = converted(norm=True)
    before = new(first, **settings)
    optimizer = train(first, before, batches()[:after])
    saved = copy.deepcopy((first.state_dict(), before.state_dict(), optimizer.state_dict()))
    second = converted(norm=True, seed=9)
    again = new(second, **settings)
    second.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    optimizer = torch.optim.SGD(second.parameters(), lr=0.1, momentum=0.9)
    optimizer.load_state_dict(saved[2])
    train(second, again, batches()[after:], optimizer)
    for one in (with_noise, again):
        one.finish()
    assert same(whole, second)


def test_a_state_survives_torch_save(tmp_path: Path) -> None:
    model = converted()
    with_noise = new(model)
    train(model, with_noise, batches()[:2])
    torch.save(with_noise.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with_noise.load_state_dict(state)
    assert with_noise.steps_taken == 2


def test_other_settings_of_a_resumed_training_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    one, other = new(converted()), new(converted(), noise=3.0)
    with caplog.at_level(logging.WARNING):
        other.load_state_dict(one.state_dict())
    assert "noise was 1.0 before, and is 3.0 now" in caplog.text


def test_the_end_leaves_the_average_and_the_profile_alone() -> None:
    model = converted(norm=True)
    with_noise = new(model)
    train(model, with_noise, batches())
    mean = [average.clone() for average in with_noise.state_dict()["average"]]
    now = [p.detach().clone() for p in model.parameters()]
    with_noise.finish(batches(5))
    assert all(torch.equal(p, m) for p, m in zip(model.parameters(), mean, strict=True))
    assert not all(torch.equal(p, m) for p, m in zip(model.parameters(), now, strict=True))
    fresh = cimsim.convert(network(norm=True), NOISY)
    fresh.load_state_dict(model.state_dict())
    x = batches()[0][0]
    with torch.no_grad():
        assert torch.equal(model.train()(x), fresh.train()(x))  # the next chip, at its own noise


def test_weights_are_clipped_once_there_is_noise_and_frozen_ones_never() -> None:
    model = converted()
    layers = list(analog_layers(model).values())
    layers[1].weight.requires_grad_(False)
    with torch.no_grad():
        layers[0].weight[0, 0] = layers[1].weight[0, 0] = 50.0
    frozen = layers[1].weight.clone()
    with_noise = new(model, warmup=0.5, clip_sigma=1.5)
    for step in range(STEPS):
        assert (layers[0].weight[0, 0] == 50.0) == (step <= STEPS / 2)
        with_noise.step()
    assert torch.equal(layers[1].weight, frozen)


@pytest.mark.parametrize("kind", ["conv", "transposed", "linear"])
def test_the_weights_that_pruning_keeps_are_clipped(kind: str) -> None:
    torch.manual_seed(0)
    layer = {
        "conv": nn.Conv2d(3, 6, 3),
        "transposed": nn.ConvTranspose2d(3, 6, 3),
        "linear": nn.Linear(40, 6),
    }[kind]
    prune.l1_unstructured(layer, "weight", 0.9)
    model = cimsim.convert(nn.Sequential(layer), NOISY)
    shape = (2, 40) if kind == "linear" else (2, 3, 8, 8)
    before = model[0].weight_orig.detach().clone()
    with_noise = new(model, calibration=[torch.randn(shape)], clip_sigma=1.0)
    with_noise.step()
    kept = model[0].to_matrix(model[0].weight_mask).bool().flatten(1)
    old, clipped = (
        model[0].to_matrix(w.detach()).flatten(1) for w in (before, model[0].weight_orig)
    )
    for row, was, is_kept in zip(clipped, old, kept, strict=True):
        bound = was[is_kept].square().mean().sqrt()
        torch.testing.assert_close(row[is_kept], was[is_kept].clamp(-bound, bound))
        assert torch.equal(row[~is_kept], was[~is_kept])
    assert not torch.equal(old, clipped)


def test_a_warning_names_the_layers_that_cannot_be_clipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    net = network()
    nn.utils.parametrizations.weight_norm(net[0])
    model = cimsim.convert(net, NOISY)
    before = model[0].weight.detach().clone()
    with_noise = new(model, clip_sigma=1.0)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "clip_sigma does not clip the weights of layer '0', which"
    )
    assert "_WeightNorm" in record.getMessage()
    with_noise.step()
    assert torch.equal(model[0].weight, before)
    with_noise.detach()
    caplog.clear()
    new(model, clip_sigma=None)
    assert not caplog.records


def test_more_steps_than_announced_have_all_of_the_noise() -> None:
    model = converted()
    with_noise = new(model, steps=2)
    train(model, with_noise, batches())
    assert with_noise.steps_taken == STEPS
    assert with_noise.strength == 1.0


def test_calibration_reads_an_iterator_once() -> None:
    model = converted()
    train(model, new(model, calibration=(x for x, _ in batches(3))), batches())


def test_a_shuffled_loader_draws_no_random_numbers() -> None:
    x = torch.cat([x for x, _ in batches()])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), 16, shuffle=True)
    torch.manual_seed(3)
    new(converted(), calibration=loader)
    torch.manual_seed(3)
    model = converted()
    before = torch.get_rng_state()
    new(model, calibration=loader)
    assert torch.equal(torch.get_rng_state(), before)


# Everything else that a loop may use.


def test_a_gradient_scaler_and_autocast() -> None:
    model = converted()
    with_noise = new(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu")
    losses = []
    for x, y in batches() * 3:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        with_noise.step()
        losses.append(loss.item())
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])


def test_an_ema_of_torch_evaluates_as_programmed() -> None:
    model = converted()
    with_noise = new(model)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        with_noise.step()
        average.update_parameters(model)
    inner = average.module
    with torch.no_grad():
        assert torch.isfinite(cimsim.program(inner.eval(), 3)(x)).all()
    assert not any(layer.trained_apart for layer in analog_layers(inner).values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_trains_alike() -> None:
    torch._dynamo.reset()
    model, other = converted(), converted()
    plain = new(model, warmup=0.3, age="1s:1d")
    train(model, plain, batches())
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    with_noise = new(compiled, warmup=0.3, age="1s:1d")
    train(compiled, with_noise, batches())
    for one in (plain, with_noise):
        one.finish()
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], tensor, rtol=1e-4, atol=1e-5)


def test_a_module_that_recomputes_its_activations() -> None:
    model, other = converted(), converted()
    train(model, new(model), batches())
    with_noise = new(other)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches():
        optimizer.zero_grad()
        answers = torch.utils.checkpoint.checkpoint(other, x, use_reentrant=False)
        nn.functional.cross_entropy(answers, y).backward()
        optimizer.step()
        with_noise.step()
    assert all(torch.isfinite(p).all() for p in other.parameters())


def test_digital_layers_stay_digital() -> None:
    model = cimsim.convert(network(), NOISY, keep_digital=["last"])
    with_noise = new(model)
    train(model, with_noise, batches())
    with_noise.finish()
    assert list(analog_layers(model)) == ["0"]


def check_two_processes() -> None:
    """In each of two processes: other batches, and the same ranges, statistics and weights."""
    warnings.simplefilter("error")
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = nn.parallel.DistributedDataParallel(converted(norm=True))
    data = batches(2 * STEPS)[rank::2]
    with_noise = new(model, calibration=data[:2], warmup=0.2, age="1s:1d", recalibrate_every=5)
    train(model, with_noise, data)
    with_noise.finish(data[:5])
    require_alike(model.module)
    dist.barrier()
    dist.destroy_process_group()


def require_alike(model: nn.Module) -> None:
    """Both processes have the same state."""
    for name, tensor in model.state_dict().items():
        both = [torch.zeros_like(tensor) for _ in range(2)]
        dist.all_gather(both, tensor.contiguous())
        torch.testing.assert_close(*both, rtol=0, atol=0, equal_nan=True, msg=name)


def data_of(rank: int) -> list[tuple[Tensor, Tensor]]:
    """The batches of a process; those of the second are twice as large, and of both signs."""
    return [((1 + rank) * x if rank else x.abs(), y) for x, y in batches(2 * STEPS)[rank::2]]


def check_learned_values_and_averages() -> None:
    """In each of two processes, whose calibrations differ."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    data = data_of(rank)
    either = override_profile(NOISY, {"dac.sign": "if-needed"})

    def distribute(model: nn.Module, **options: Any) -> nn.Module:
        return nn.parallel.DistributedDataParallel(model, **options)

    for learned in (["dac"], ["dac", "adc"], []):
        model = distribute(cimsim.convert(network(), either, learn_ranges=learned))
        with_noise = new(model, calibration=data[:2])
        require_alike(model.module)
        train(model, with_noise, data)
        require_alike(model.module)
        with_noise.finish()
        require_alike(model.module)
    # Before DistributedDataParallel, which gives all processes the weights of the first; one
    # process has ranges already.
    inner = cimsim.convert(network(seed=rank), either, learn_ranges="dac")
    if rank:
        cimsim.calibrate(inner, [data[0]]).eval()(data[0][0])
    with_noise = new(inner, calibration=data[:2], warmup=0.34)
    train(distribute(inner, find_unused_parameters=True), with_noise, data)
    require_alike(inner)
    with_noise.finish()
    require_alike(inner)
    assert len({layer.array.unsigned for layer in analog_layers(inner).values()}) == 1
    # The first batch sets the step of a quantizer.
    for profile, calibration in ((either, data[:2]), ("ideal", None)):
        inner = cimsim.convert(network(), profile, quantize_inputs="lsq:bits=4")
        model = distribute(inner)
        with_noise = new(model, calibration=calibration)
        train(model, with_noise, data)
        with_noise.finish()
        require_alike(inner)
    dist.barrier()
    dist.destroy_process_group()


def check_warm_up_with_learned_ranges() -> None:
    """In each of two processes: ranges without effect in the warm-up, as DDP handles them."""
    dist.init_process_group("gloo")
    data = data_of(dist.get_rank())
    trained = []
    for options in ({"find_unused_parameters": True}, {}, {"static_graph": True}):
        inner = cimsim.convert(network(), NOISY, learn_ranges=["dac", "adc"])
        with_noise = new(inner, calibration=data[:2], warmup=0.5)
        model = nn.parallel.DistributedDataParallel(inner, **options)
        for x, _ in (data[0], (data[0][0][:0], None)):  # the second has no samples
            y = model(x)
            assert torch.equal(y, inner(x))
            y.sum().backward()
        layers = analog_layers(inner).values()
        ranges = [known for layer in layers for known in layer.learned_ranges]
        expected = None if "find_unused_parameters" in options else 0.0
        assert [r.grad if r.grad is None else r.grad.item() for r in ranges] == [expected] * 4
        optimizer = torch.optim.SGD(parameter_groups(inner, lr=0.1), momentum=0.9)
        train(model, with_noise, data, optimizer)
        assert not any(torch.equal(r.grad, torch.zeros_like(r)) for r in ranges)
        with_noise.finish()
        require_alike(inner)
        trained.append(inner)
    assert all(same(trained[0], other) for other in trained[1:])
    dist.barrier()
    dist.destroy_process_group()


def check_sharded() -> None:
    """In each of two processes: FSDP2 as the guide describes it, and DistributedDataParallel."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo")
    data, mesh = data_of(dist.get_rank()), init_device_mesh("cpu", (2,))

    def trained(shards: bool) -> dict[str, Tensor]:
        model = cimsim.convert(network(), NOISY, learn_ranges=["dac", "adc"])
        ranges = [r for layer in analog_layers(model).values() for r in layer.learned_ranges]
        if shards:
            for layer in analog_layers(model).values():
                fully_shard(layer, mesh=mesh, ignored_params=set(ranges))
            fully_shard(model, mesh=mesh, ignored_params=set(ranges))
        outer = model if shards else nn.parallel.DistributedDataParallel(model)
        with_noise = new(outer, calibration=data[:2], warmup=0.3)
        optimizer = torch.optim.SGD(parameter_groups(model, lr=0.1), momentum=0.9)
        for x, y in data:
            optimizer.zero_grad()
            nn.functional.cross_entropy(outer(x), y).backward()
            for learned in ranges if shards else []:
                if learned.grad is not None:
                    dist.all_reduce(learned.grad)
                    learned.grad /= 2
            optimizer.step()
            with_noise.step()
        with_noise.finish()
        state = {name: whole(tensor) for name, tensor in model.state_dict().items()}
        for name, tensor in state.items():
            both = [torch.zeros_like(tensor) for _ in range(2)]
            dist.all_gather(both, tensor.contiguous())
            assert torch.equal(*both), name
        return state

    replicated = trained(shards=False)
    for name, tensor in trained(shards=True).items():
        torch.testing.assert_close(tensor, replicated[name], rtol=1e-4, atol=1e-5, msg=name)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over the loopback interface")
@pytest.mark.parametrize(
    "check",
    [
        check_two_processes,
        check_learned_values_and_averages,
        check_warm_up_with_learned_ranges,
        check_sharded,
    ],
)
def test_two_processes_stay_alike(check: Callable[[], None]) -> None:
    with start(2, check) as pair:
        errors = all_ended(pair)
    assert [process.returncode for process in pair] == [0, 0], errors


# Bad input.


def a_model() -> nn.Module:
    return cimsim.calibrate(converted(), [batches()[0][0]])


def generator_that_is_empty() -> Iterator[Tensor]:
    yield from ()


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no steps": (lambda: new(a_model(), steps=0), "steps must be a whole number of 1 or more"),
    "half a step": (lambda: new(a_model(), steps=1.5), r"len\(loader\) \* epochs, not 1.5"),
    "no clipping": (
        lambda: new(a_model(), clip_sigma=0),
        "clip_sigma must be above 0, not 0; pass",
    ),
    "negative": (lambda: new(a_model(), clip_sigma=-1.0), "clip_sigma must be above 0, not -1.0"),
    "NaN": (lambda: new(a_model(), clip_sigma=math.nan), "clip_sigma must be above 0, not nan"),
    "noise": (lambda: new(a_model(), noise=-1), "NoiseAware: noise: .* greater than or equal to 0"),
    "warm-up": (lambda: new(a_model(), warmup=2), "NoiseAware: warmup: .* less than or equal to 1"),
    "age": (lambda: new(a_model(), age="1d:1s"), "NoiseAware: age: the range '1d:1s' is empty"),
    "average": (lambda: new(a_model(), average=1.0), "NoiseAware: average: .* less than 1"),
    "digital": (lambda: new(network()), "has no analog layers; convert it first"),
    "no module": (lambda: new("model"), "a model must be a torch.nn.Module"),  # type: ignore[arg-type]
    "not calibrated": (
        lambda: new(converted(), calibration=None),
        "layer '0' have no range yet; pass calibration=loader",
    ),
    "empty": (
        lambda: new(a_model(), calibration=generator_that_is_empty()),
        "calibration has no batches",
    ),
    "no loader": (lambda: new(a_model(), calibration=3), "calibration: batches is a int"),
    "no period": (lambda: new(a_model(), recalibrate_every=0), "recalibrate_every must be a whole"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(CimsimError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_twice_on_one_model_is_refused_until_the_first_ends() -> None:
    model = a_model()
    first = new(model)
    with pytest.raises(CimsimError, match=r"a NoiseAware; call its finish\(\) or detach"):
        new(model)
    first.detach()
    second = new(model)
    with pytest.raises(CimsimError, match=r"has ended with finish\(\) or detach\(\)"):
        first.step()
    second.finish()


@pytest.mark.parametrize("given", [None, generator_that_is_empty()])
def test_an_end_without_batches_changes_nothing(given: Any) -> None:
    x = [batches()[0][0]]
    model = cimsim.calibrate(converted(norm=True), x)
    with_noise = new(model, calibration=None)
    train(model, with_noise, batches())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CimsimError, match=r"finish: (the model keeps|got no batches)"):
        with_noise.finish(given)
    assert all(torch.equal(before[k], tensor) for k, tensor in model.state_dict().items())
    with_noise.finish(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": -1}, "its step is -1"),
        ({"step": None}, "its step is None"),
        ({"average": []}, "averages of 0 tensors, and this NoiseAware of 4"),
        ({"average": [torch.zeros(1)] * 4}, "belongs to another model: average 0"),
        ({"settings": 3}, "the state is damaged"),
    ],
)
def test_damaged_states_are_refused(change: dict[str, Any], message: str) -> None:
    with_noise = new(converted())
    with pytest.raises(CimsimError, match=message):
        with_noise.load_state_dict({**with_noise.state_dict(), **change})
    with pytest.raises(CimsimError, match="was not returned by"):
        with_noise.load_state_dict({})
