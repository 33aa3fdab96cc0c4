"""Each term of the loss against its equation; and all of them in a run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, digital, perturbed
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.objectives import OBJECTIVES, TrainStep, make_objectives, total, watched
from cimsim.training.objectives.adversarial import Adversarial
from cimsim.training.objectives.lotion import Lotion, LotionDevice
from cimsim.training.replay import Repeat
from cimsim.training.tasks import divergence

Curvature = Callable[[nn.Parameter], Tensor | None]


def model(profile: str = "mismatch", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
    )
    return cimsim.convert(layers, profile, **options).train()


def step_of(net: nn.Module, curvature: Curvature = torch.ones_like) -> TrainStep:
    draws = torch.Generator().manual_seed(1)
    x, y = torch.randn(8, 6, generator=draws), torch.randint(3, (8,), generator=draws)
    repeat = Repeat(net, torch.device("cpu"))

    @contextmanager
    def plain() -> Iterator[None]:
        with repeat.again(), digital(net):
            yield

    logits = net(x)
    return TrainStep(net, x, y, logits, repeat.again, plain, 1.0, 0, draws, curvature)


def test_again_is_the_same_forward_and_leaves_no_trace() -> None:
    """The same chips and dropout; batch statistics and later draws as if it had not been."""
    net, other = model(), model()
    step, _ = step_of(net), step_of(other)
    assert torch.equal(step.again(), step.logits)
    step.digital()
    for mine, theirs in zip(net.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(mine[1].nan_to_num(), theirs[1].nan_to_num()), mine[0]
    rng = torch.get_rng_state()
    torch.set_rng_state(rng)
    first = net(step.x)
    torch.set_rng_state(rng)
    assert torch.equal(first, other(step.x))


def test_cross_entropy_is_there_unless_named() -> None:
    step = step_of(model())
    plain = F.cross_entropy(step.logits, step.y)
    assert total(make_objectives([]), step).item() == pytest.approx(plain.item())
    half = total(make_objectives(["cross-entropy:weight=0.5"]), step)
    assert half.item() == pytest.approx(plain.item() / 2)
    smooth = F.cross_entropy(step.logits, step.y, label_smoothing=0.1)
    found = total(make_objectives(["cross-entropy:smoothing=0.1"]), step)
    assert found.item() == pytest.approx(smooth.item())


def test_cross_entropy_takes_a_sequence_of_labels() -> None:
    logits, y = torch.randn(2, 5, 7), torch.randint(7, (2, 5))
    step = TrainStep(
        *(nn.Identity(), y, y, logits, nullcontext, nullcontext),
        *(1.0, 0, torch.Generator(), torch.ones_like),
    )
    expected = F.cross_entropy(logits.transpose(1, 2), y)
    assert total(make_objectives([]), step).item() == pytest.approx(expected.item(), rel=1e-6)


def test_divergence_is_that_of_torch() -> None:
    p, q = torch.randn(5, 7), torch.randn(5, 7)
    expected = F.kl_div(F.log_softmax(q / 3, 1), F.softmax(p / 3, 1), reduction="batchmean")
    assert divergence(p, q, 3.0).item() == pytest.approx(9 * expected.item(), rel=1e-5)
    assert divergence(p, p).item() == pytest.approx(0.0, abs=1e-6)


def test_the_attack_is_within_its_ball_and_worse_than_chance() -> None:
    net = model()
    step = step_of(net)
    zeta = 0.1
    attacked = Adversarial(zeta=zeta, steps=5).term(step).item()
    natural = step.digital().detach()
    random = []
    for seed in range(20):
        draws = torch.Generator().manual_seed(seed)
        with perturbed(
            net,
            lambda n, w: w * (1 + zeta * torch.randn(w.shape, generator=draws).sign()),  # noqa: B023
        ):
            random.append(divergence(natural, step.digital()).item())
    assert attacked > 2 * max(random)
    found: dict[str, Tensor] = {}

    def remember(name: str, w: Tensor) -> Tensor:
        found[name] = w
        return w

    with perturbed(net, remember):
        step.digital()
    assert all(torch.equal(found[n], layer.weight) for n, layer in analog_layers(net).items())


def test_the_attack_has_the_gradient_of_its_factors_held_constant() -> None:
    """At zeta -> 0 both forwards agree, and so the divergence has no slope."""
    net = model()
    term = Adversarial(zeta=1e-6, steps=1, epsilon=0.0).term(step_of(net))
    term.backward()
    for layer in analog_layers(net).values():
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().max() < 1e-4


def test_lotion_pulls_to_the_grid_by_curvature() -> None:
    net = model()
    curvature = {
        id(layer.weight): torch.rand_like(layer.weight) for layer in analog_layers(net).values()
    }
    step = step_of(net, lambda parameter: curvature[id(parameter)])
    Lotion(bits=3).term(step).backward()
    layer = next(iter(analog_layers(net).values()))
    w = layer.weight.detach()
    s = w.abs().amax(1, keepdim=True) / 3
    up = w / s - (w / s).floor()
    expected = curvature[id(layer.weight)] * s * (1 - 2 * up) / 2
    expected[(w / s - (w / s).round()).abs() < 1e-4] = 0  # the largest of a row, on the grid
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "profile",
    ["mismatch", "generic-gaussian", "pcm-ibm-2020", "reram-milo-2021", "fefet-jerry-2017"],
)
def test_the_variance_of_programming_is_that_of_drawn_chips(profile: str) -> None:
    torch.manual_seed(0)
    count = 2000
    most = 4 * math.sqrt(2 / count)  # standard errors of a normal variable's variance
    quiet = cimsim.load_profile(profile, ["cell.read_noise=[]"])
    array = analog_layers(cimsim.convert(nn.Linear(8, 4), quiet))[""].array
    weight = torch.randn(4, 8, dtype=torch.float64)
    chips = torch.stack(
        [array.programmed_weight(array.chip(weight, seed)) for seed in range(count)]
    )
    found = array.programming_variance(weight)
    inner = weight.abs() > 0.3 * weight.abs().amax(1, keepdim=True)  # clamped cells hold less
    ratio = (chips.var(0) / found)[inner]
    if profile in ("mismatch", "generic-gaussian"):
        assert ratio.sub(1).abs().max() < most
    else:  # one cell of a pair is held at its floor, another may be cut off by verification
        assert 0.45 < ratio.min() < ratio.max() < 1 + most


def test_lotion_of_the_device_is_the_gradient_of_its_noise() -> None:
    """Of mismatch: 1/2 g sigma^2 = 1/2 g (zeta w)^2, whose slope is g zeta^2 w."""
    net = model()
    LotionDevice().term(step_of(net)).backward()
    for layer in analog_layers(net).values():
        assert layer.weight.grad is not None
        torch.testing.assert_close(layer.weight.grad, 0.09 * layer.weight.detach())


def test_consistency_is_zero_without_noise_and_grows_with_it() -> None:
    (_, objective) = make_objectives(["consistency"])
    values = []
    for noise in (0.0, 1.0, 2.0):
        net = model()
        cimsim.nn.set_profile(net, cimsim.load_profile("mismatch").scale_noise(noise))
        with watched([objective], net):
            step = step_of(net)
        values.append(objective.term(step).item())
    assert values[0] < 1e-10 < values[1] < values[2]


class Louder(nn.Module):
    """A model whose outputs are ``x + 10 chip``, with all noise in the second column."""

    chip, louder = 0, 1.0

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tensor([10.0 * self.chip, self.louder, 0.0])


def step_of_chips() -> TrainStep:
    net = Louder()

    @contextmanager
    def other_chip(chip: int, louder: float) -> Iterator[None]:
        net.chip, net.louder = chip, louder
        yield
        net.chip, net.louder = 0, 1.0

    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.tensor([0, 1, 2, 1, 0])
    return TrainStep(
        *(net, x, y, net(x), nullcontext, nullcontext, 1.0, 0, torch.Generator(), torch.ones_like),
        other_chip=other_chip,
    )


@pytest.mark.parametrize(("quantile", "of"), [(0.0, {0: 1.0}), (0.75, {1: 0.75, 2: 0.25})])
def test_the_percentile_is_that_of_the_losses_of_chips(
    quantile: float, of: dict[int, float]
) -> None:
    """Of four chips, between the third and the fourth of the sorted losses, and so its gradient."""
    step = step_of_chips()
    losses = [
        F.cross_entropy(step.x + torch.tensor([10.0 * chip, 1.0, 0.0]), step.y) for chip in range(4)
    ]
    order = sorted(range(4), key=lambda chip: losses[chip].item())
    at = 3 * quantile
    low, part = math.floor(at), at - math.floor(at)
    expected = (1 - part) * losses[order[low]] + part * losses[order[min(low + 1, 3)]]
    found = make_objectives([f"percentile:chips=4,quantile={quantile}"])[1].term(step)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, step.x, retain_graph=True)[0] for loss in (found, expected))
    )


def test_negative_feedback_subtracts_the_loudest_most() -> None:
    """``(z - b (z1 + z2 / 10)) / 3`` with noise 2 and 1.5 times as loud."""
    step = step_of_chips()
    first, second = (
        step.x + torch.tensor([10.0 * chip, louder, 0.0]) for chip, louder in ((1, 2.0), (2, 1.5))
    )
    combined = (step.logits - 0.3 * (first + second / 10)) / 3
    found = make_objectives(["negative-feedback:beta=0.3,passes=2"])[1].term(step)
    torch.testing.assert_close(found, F.cross_entropy(combined, step.y))


def test_a_step_has_any_number_of_chips(tmp_path: Path) -> None:
    """Each its own, the same at every use, and without a trace in later steps."""
    from cimsim.training.parallel import Ranks
    from cimsim.training.plan import TrainingPlan
    from cimsim.training.progress import Silent
    from cimsim.training.trainer import Trainer

    for settings in ({}, {"method": "standard-nat"}):
        config = make_config(profile="pcm-ibm-2020", batch_size=16, ramp=0, **settings)
        training = Trainer(TrainingPlan.load(config), tmp_path, Silent(), Ranks(), "cpu", False)
        training.model.train()
        x, y = next(training.loader.epoch(0))
        training.schedule.calibrate(0, [x])
        taken = training._forward(x, y, 0)
        before = [layer.draws for layer in analog_layers(training.model).values()]
        chips = [taken.again(), *(taken.on_chip(k) for k in (1, 2, 1))]
        assert torch.equal(chips[0], taken.logits)
        assert torch.equal(chips[1], chips[3])
        assert not torch.equal(chips[1], chips[0])
        assert not torch.equal(chips[1], chips[2])
        spread = [(taken.on_chip(1, louder) - taken.digital()).std() for louder in (0.0, 1.0, 4.0)]
        assert spread[0] < spread[1] < spread[2]
        assert torch.equal(taken.again(), taken.logits)
        assert before == [layer.draws for layer in analog_layers(training.model).values()]


@pytest.mark.parametrize("cutoff", [None, 0.0, 1.0])
def test_the_noise_is_right_censored(cutoff: float | None) -> None:
    """``min(N(0, 1), c)`` has the mean ``c (1 - Phi(c)) - phi(c)`` and no sample above ``c``."""
    from cimsim.nn import profiles
    from cimsim.training.methods import make_method

    net = cimsim.convert(nn.Linear(200, 200, bias=False), "ideal").train()
    config = make_config(
        profile="ideal", method="standard-nat", gaussian_sigma=0.1, gaussian_cutoff=cutoff
    )
    with make_method(config, profiles(net)).setting(net, 1.0, 0), torch.no_grad():
        noisy = net(torch.eye(200)).T
    weight = net.weight.detach()
    xi = (noisy - weight) / (0.1 * weight.abs().max())
    if cutoff is None:
        assert xi.max() > 3.5
        assert xi.mean().item() == pytest.approx(0, abs=0.02)
        return
    density = math.exp(-(cutoff**2) / 2) / math.sqrt(2 * math.pi)
    above = math.erfc(cutoff / math.sqrt(2)) / 2
    assert xi.max().item() == pytest.approx(cutoff, abs=1e-4)
    assert (xi > cutoff - 1e-4).float().mean().item() == pytest.approx(above, abs=0.01)
    assert xi.mean().item() == pytest.approx(cutoff * above - density, abs=0.02)


def test_the_starting_weights_are_a_frozen_teacher() -> None:
    """Also after the weights have changed; without quantizers, and in evaluation mode."""
    net = model(quantize_weights="uniform:bits=2")
    original = model().eval()
    with torch.no_grad(), digital(original):
        answers = original(step_of(model()).x)
    objective = make_objectives(["distill:teacher=start,temperature=3"])[1]
    objective.prepare(net, None)
    with torch.no_grad():
        for layer in analog_layers(net).values():
            layer.weight.mul_(-2)
    step = step_of(net)
    expected = divergence(answers, step.logits, 3.0)
    torch.testing.assert_close(objective.term(step), expected)


def test_random_weights_are_no_teacher(tmp_path: Path) -> None:
    config = make_config(profile="pcm-ibm-2020", recipe="llm")
    with pytest.raises(CimsimError, match="set --start to a finished run"):
        fit(config, tmp_path / "run")
    config = make_config(profile="ideal", objective=("negative-feedback",), recompute=("*",))
    with pytest.raises(CimsimError, match="changes the noise between forward passes"):
        fit(config, tmp_path / "run")


def test_the_recipe_of_foundation_models_learns_input_ranges(tmp_path: Path) -> None:
    given = {"profile": "pcm-ibm-2020", "limit": 400, "epochs": 1}
    first = fit(make_config(**given, method="digital", lr=0.01), tmp_path / "first")
    tuned = fit(make_config(**given, recipe="llm", start=first.path), tmp_path / "tuned")
    assert tuned.profile.dac.range.kind == "learned"
    assert tuned.profile.adc.range.kind != "learned"
    for name, layer in analog_layers(tuned.chip_model()).items():
        assert isinstance(layer.dac_range, nn.Parameter), name
        assert layer.dac_range.isfinite()
    assert tuned.scores("chip")["accuracy"] > 0.6 * first.scores("digital")["accuracy"]


def test_a_comparison_keeps_learned_ranges(tmp_path: Path) -> None:
    from cimsim.analysis.sweeps.axis import parse_axis
    from cimsim.runs.compare import Arm, compare
    from cimsim.training.progress import Silent

    (outcome,) = compare(
        [Arm("learned", {"learn_ranges": ("dac",)})],
        {"profile": "pcm-ibm-2020", "limit": 200, "epochs": 1},
        parse_axis("noise=1"),
        out=tmp_path,
        chips=1,
        watch=lambda name, config: Silent(),
    )
    (run,), (sweep,) = outcome.runs, outcome.sweeps
    assert run.profile.dac.range.kind == "learned"
    assert (sweep.plan.on, len(sweep.plan.changes)) == (None, 0)


def test_a_penalty_wants_a_price() -> None:
    (_, objective) = make_objectives(["penalty"])
    with pytest.raises(CimsimError, match="needs a weight quantizer with a penalty"):
        objective.prepare(model(), None)
    net = model(quantize_weights="mixed:bits=2/4/6")
    assert objective.term(step_of(net)).item() == pytest.approx(4.0)


RUNS = [
    {"objective": ("adversarial:steps=1",)},
    {"objective": ("distill", "cross-entropy:weight=0.5")},
    {"objective": ("consistency",)},
    {"objective": ("lotion:bits=4", "lotion-device")},
    {"objective": ("penalty:weight=0.1",), "quantize_weights": "mixed"},
    {"objective": ("penalty",), "quantize_weights": "learned-noise"},
    # Its first weights are all 0, at which no range of an input can be measured to learn from.
    {"objective": ("penalty",), "quantize_weights": "sparsify", "learn_ranges": ()},
    {"model": "stochastic-binary", "objective": ("psa", "cross-entropy:weight=0")},
    {"quantize_weights": "ternary", "quantize_inputs": "stochastic-sign"},
    {"corrector": "fogzo:start=0.5", "audit": 5},
    {"denoise": 0.01, "rule": "C"},
    {"augment": ("shift", "flip"), "average": 0.95, "noise_spread": 0.5},
    {"average": 0.9, "quantize_inputs": "lsq", "quantize_weights": "lsq:per=row"},
    {"average": 0.9, "overrides": ("adc.range.kind=learned",)},
    {
        "method": "digital",
        "model": "stochastic-binary",
        "objective": ("psa", "cross-entropy:weight=0"),
    },
    {"method": "digital", "denoise": 0.01},
    {"method": "standard-nat", "denoise": 0.01, "objective": ("lotion:weight=1000",)},
    {"corrector": "spsa", "objective": ("consistency", "adversarial:steps=1", "distill")},
    {"recipe": "a1w1"},
    {"corrector": "sam:chips=redrawn"},
    {"corrector": "sam", "method": "standard-nat", "gaussian_cutoff": 1.0},
    {"objective": ("percentile:chips=2", "cross-entropy:weight=0")},
    {"objective": ("percentile:chips=2",), "recompute": ("hidden*",)},
    {"objective": ("negative-feedback:passes=1",)},
    {"learn_ranges": ("dac", "adc"), "average": 0.9},
    {"optimizer": "sgd:momentum=0.5", "lr": 0.3},
    {"optimizer": "ternary-chain", "clip_sigma": 0.0},
    {"recompute": ("*",), "model": "tests.training.networks:dropout_net", "corrector": "fogzo"},
    {"precision": "bfloat16", "accumulate": 3, "objective": ("consistency",)},
    {
        "data": "tests.training.own_data:numbers",
        "objective": ("mse:weight=0.5", "distill", "adversarial:steps=1", "lotion"),
        "audit": 3,
        "average": 0.9,
    },
]


def test_every_objective_is_in_a_run() -> None:
    named = {spec.partition(":")[0] for run in RUNS for spec in run.get("objective", ())}
    assert {part.name for part in OBJECTIVES} <= named


@pytest.mark.parametrize("settings", RUNS, ids=lambda s: "+".join(map(str, s.values())))
def test_it_trains_and_resumes_bit_for_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    from cimsim.training.progress import Silent

    class Copy(Silent):
        """Copies what a training that is stopped after the first epoch leaves."""

        def epoch(self, metrics: dict[str, Any]) -> None:
            if metrics["epoch"] == 1:
                shutil.copytree(tmp_path / "straight", tmp_path / "stopped")

    settings = {"epochs": 2, "batch_size": 100, "limit": 600, "lr": 0.003, **settings}
    config = make_config(profile="pcm-ibm-2020", **settings)
    straight = fit(config, tmp_path / "straight", progress=Copy())
    stopped = fit(config, tmp_path / "stopped", resume=True)
    scores = straight.scores("chip")
    assert scores.get("accuracy", scores.get("r2", 0.0)) > 0.2 or "corrector" in settings
    assert stopped.result == straight.result
    assert stopped.checkpoint_sha256 == straight.checkpoint_sha256


def test_a_teacher_is_a_run(tmp_path: Path) -> None:
    teacher = fit(make_config(profile="ideal", epochs=2), tmp_path / "teacher")
    spec = f"distill:teacher={teacher.path},temperature=4"
    fit(make_config(profile="ideal", epochs=1, objective=(spec,)), tmp_path / "student")
    bad = make_config(profile="ideal", epochs=1, objective=("distill:teacher=nowhere",))
    with pytest.raises(CimsimError, match="no such folder"):
        fit(bad, tmp_path / "other")


def test_a_device_without_programming_noise_has_no_variance_to_smooth() -> None:
    with pytest.raises(CimsimError, match="'ideal' has no programming noise"):
        LotionDevice().prepare(model("ideal"), None)


@pytest.mark.parametrize(
    "more", [{}, {"recompute": ("?",), "model": "tests.training.networks:dropout_net"}], ids=str
)
def test_what_a_corrector_measures_is_the_loss(more: dict[str, Any], tmp_path: Path) -> None:
    """All terms, at the same draws: at unmoved weights it is the loss of the step, every time."""
    from cimsim.training.correctors import Corrector
    from cimsim.training.parallel import Ranks
    from cimsim.training.plan import TrainingPlan
    from cimsim.training.progress import Silent
    from cimsim.training.trainer import Trainer

    class Look(Corrector):
        name, start, surrogate = "look", 0.0, "identity"

        def correct(self, parameters: Any, loss: Any, *rest: Any) -> None:
            self.seen = [loss().item() for _ in range(3)]

    teacher = fit(
        make_config(profile="ideal", method="digital", epochs=1, model="stochastic-binary"),
        tmp_path / "teacher",
    )
    terms = ("consistency", "adversarial:steps=1", "lotion", f"distill:teacher={teacher.path}")
    settings = make_config(profile="pcm-ibm-2020", epochs=1, objective=terms, ramp=0, **more)
    plan = TrainingPlan.load(settings)
    training = Trainer(plan, tmp_path, Silent(), Ranks(), "cpu", trust=False)
    training.corrector = look = Look()
    x, y = next(training.loader.epoch(0))
    training.model.train()
    for _ in range(3):
        before = training.sums[0].item()
        training._train_step(x, y)
        training.step += 1
        loss = (training.sums[0].item() - before) / len(x)
        assert look.seen == pytest.approx([loss] * 3, rel=1e-5)


def test_lotion_does_not_feed_on_itself() -> None:
    """Its curvature is that of the other terms: a large weight does not run away."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        settings = {"profile": "ideal", "method": "digital", "epochs": 4, "lr": 0.003}
        run = fit(make_config(**settings, objective=("lotion:weight=1e4",)), Path(folder) / "run")
        assert run.digital_accuracy > 0.5


def test_device_noise_is_smoothed_without_meeting_it(tmp_path: Path) -> None:
    """A digital training with the analytic noise of its device is another than one without."""
    common = {"profile": "mismatch", "method": "digital", "epochs": 1}
    plain = fit(make_config(**common), tmp_path / "plain")
    terms = ("lotion-device:weight=1e4",)
    smoothed = fit(make_config(**common, objective=terms), tmp_path / "smoothed")
    assert plain.checkpoint_sha256 != smoothed.checkpoint_sha256
    assert plain.result["digital_loss"] != smoothed.result["digital_loss"]
