"""Program, age, calibrate, digital, set_profile."""

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, digital, recalibrate, reestimate, set_profile
from tests.building import POLYNOMIAL, POWER_LAW, device, gaussian

STATIC = device(programming=[POLYNOMIAL], drift=[POWER_LAW])
BITS = device(dac=8, adc=8)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4)
    )


def inputs(n: int = 64, seed: int = 1) -> Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(seed))


def test_verbs_return_the_model() -> None:
    model = cimsim.convert(mlp(), STATIC)
    assert cimsim.age(cimsim.program(model, seed=3), "1 day") is model
    assert set_profile(model, STATIC) is model


def test_aging_the_same_chip() -> None:
    model = cimsim.convert(mlp(), STATIC).eval()
    cimsim.program(model, 1)
    fresh = model(inputs())
    day = cimsim.age(model, "1 day")(inputs())
    year = cimsim.age(model, "1y")(inputs())
    assert (day - fresh).norm() < (year - fresh).norm()
    assert torch.equal(cimsim.age(model, 86400)(inputs()), day)
    assert torch.equal(cimsim.program(model, 1)(inputs()), fresh)  # programming starts a new life


def test_training_happens_at_the_age_that_was_set() -> None:
    frozen = {**POWER_LAW, "spread_strength": 0.0}
    layer = cimsim.convert(nn.Linear(12, 4, bias=False), device(drift=[frozen])).train()
    fresh = layer(inputs())
    old = cimsim.age(layer, "1y")(inputs())
    assert old.norm() < 0.6 * fresh.norm()


@pytest.mark.parametrize("time", ["tomorrow", -1, "1 parsec"])
def test_impossible_ages(time: str | float) -> None:
    with pytest.raises(CimsimError, match="is not a duration"):
        cimsim.age(cimsim.convert(mlp(), STATIC), time)


def test_verbs_want_a_converted_model() -> None:
    for verb in (cimsim.program, lambda m: cimsim.age(m, 0), lambda m: cimsim.calibrate(m, [])):
        with pytest.raises(CimsimError, match="has no analog layers; convert it first"):
            verb(mlp())


def test_calibration_sets_ranges_and_nothing_else() -> None:
    model = cimsim.convert(mlp(), BITS).train()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    cimsim.calibrate(model, [inputs(), (inputs(seed=2), torch.zeros(64))])
    for name, value in model.state_dict().items():
        if name.endswith("_range"):
            assert value > 0
        else:
            assert torch.equal(value, state[name]), name
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_ranges_fit_the_signals() -> None:
    layer = cimsim.calibrate(cimsim.convert(nn.Linear(12, 4), BITS), [inputs(4000)])
    assert 2.5 < layer.dac_range < 4.5  # 8-bit codes of a standard normal
    x, w = inputs(4000), layer.weight.detach()
    peak = (x @ (w / w.abs().amax(1, keepdim=True)).T).abs().max()
    assert 0.5 * peak < layer.adc_range <= peak


def test_evaluation_never_moves_a_range() -> None:
    model = cimsim.calibrate(cimsim.convert(mlp(), BITS), [inputs()]).eval()
    before = [layer.dac_range.clone() for layer in analog_layers(model).values()]
    model(100 * inputs())
    assert [layer.dac_range for layer in analog_layers(model).values()] == before


@pytest.mark.parametrize("batches", [[], iter(())])
def test_calibration_without_data(batches: object) -> None:
    with pytest.raises(CimsimError, match="got no batches"):
        cimsim.calibrate(cimsim.convert(mlp(), BITS), batches)  # type: ignore[arg-type]


def test_calibration_on_broken_data_names_the_layer() -> None:
    model = cimsim.convert(mlp(), BITS)
    x = inputs()
    x[3, 3] = torch.nan
    with pytest.raises(CimsimError, match="layer '0': a signal was not finite"):
        cimsim.calibrate(model, [x])
    assert not any(layer.calibrated for layer in analog_layers(model).values())
    assert all(layer.observer is None for layer in analog_layers(model).values())


def test_digital_block() -> None:
    plain = mlp().eval()
    model = cimsim.convert(plain, STATIC).eval()
    with digital(model):
        assert torch.equal(model(inputs()), plain(inputs()))
    assert not torch.equal(model(inputs()), plain(inputs()))


def test_another_profile_keeps_ranges_only_while_the_converters_stay() -> None:
    model = cimsim.calibrate(cimsim.convert(mlp(), BITS), [inputs()])
    set_profile(model, device(dac=8, adc=8, programming=[gaussian(0.1)]))
    assert all(layer.calibrated for layer in analog_layers(model).values())
    set_profile(model, device(dac=8, adc=6))
    assert not any(layer.calibrated for layer in analog_layers(model).values())


def test_the_same_chip_deviates_alike_at_every_noise_level() -> None:
    profile = device(programming=[gaussian(0.01)], g_min_uS=0.0)
    layer = cimsim.convert(nn.Linear(12, 4), profile).eval()
    w = layer.weight.detach()

    def deviation(factor: float) -> Tensor:
        set_profile(layer, profile.scale_noise(factor))
        error: Tensor = layer.programmed_weight() - w
        return error

    one, half = deviation(1.0), deviation(0.5)
    active = (w.abs() / w.abs().amax(1, keepdim=True)) > 0.2  # far from the floor of 0
    cosine = nn.functional.cosine_similarity(one[active], half[active], dim=0)
    assert cosine > 0.9
    assert torch.allclose(deviation(0.0), torch.zeros_like(w), atol=1e-6)


def test_a_device_that_does_not_fit_changes_nothing() -> None:
    layer = cimsim.calibrate(cimsim.convert(nn.Conv2d(1, 2, 5), BITS), [torch.randn(4, 1, 8, 8)])
    with pytest.raises(CimsimError, match="a 5x5 kernel needs 25 rows"):
        set_profile(layer, device(dac=8, adc=8, rows=16))
    assert layer.profile == BITS
    assert layer.calibrated
    assert layer.dac_range > 0


# g falls to (1 + t / t0)^-0.5 of what it was: to half of it after 3 t0, on every cell.
HALVED = {
    "kind": "power-law",
    "t0_s": 20.0,
    "g_ref_uS": 25.0,
    "nu_mean": {"kind": "polynomial", "coefficients": [0.5]},
    "nu_std": {"kind": "polynomial", "coefficients": [0.0]},
}


def test_ranges_measured_on_an_aged_chip_follow_its_currents() -> None:
    profile = device(dac=8, adc=8, drift=[HALVED], compensation="global")
    layer = cimsim.convert(nn.Linear(12, 4), profile)
    x = [inputs(4000)]
    fresh = [r.item() for r in (cimsim.calibrate(layer, x).dac_range, layer.adc_range)]
    cimsim.age(cimsim.program(layer, seed=1), 60.0)
    assert layer.adc_range.item() == fresh[1]  # aging alone changes no range
    assert recalibrate(layer, x) is layer
    assert layer.dac_range.item() == pytest.approx(fresh[0])
    assert layer.adc_range.item() == pytest.approx(fresh[1] / 2)
    cimsim.calibrate(layer, x)  # which knows no chip
    assert layer.adc_range.item() == pytest.approx(fresh[1])


def test_ranges_measured_on_a_chip_know_its_read_noise() -> None:
    def measured(noise: float) -> float:
        torch.manual_seed(0)
        profile = device(dac=8, adc=8, read=[gaussian(noise)])
        layer = cimsim.calibrate(cimsim.convert(nn.Linear(12, 4), profile), [inputs(4000)])
        return float(recalibrate(layer, [inputs(4000)]).adc_range)

    assert measured(2.0) > 2 * measured(0.0)


def test_a_model_without_ranges_cannot_be_measured_on_its_chip() -> None:
    with pytest.raises(CimsimError, match=r"no range yet; .* cimsim.calibrate"):
        recalibrate(cimsim.convert(mlp(), BITS), [inputs()])
    with pytest.raises(CimsimError, match="recalibrate: got no batches"):
        recalibrate(cimsim.calibrate(cimsim.convert(mlp(), BITS), [inputs()]), [])


def test_statistics_are_those_of_the_chip() -> None:
    profile = device(drift=[HALVED])
    net = nn.Sequential(nn.Linear(12, 4, bias=False), nn.BatchNorm1d(4, momentum=0.2)).eval()
    batches = [inputs(64, seed=s) for s in range(2)]
    products = torch.stack([net[0](x) for x in batches])  # [2, 64, 4]
    model = cimsim.age(cimsim.convert(net, profile), 60.0)
    assert reestimate(model, batches) is model
    norm = model[1]
    assert torch.allclose(norm.running_mean, products.mean((0, 1)) / 2, atol=1e-6)
    assert torch.allclose(norm.running_var, products.var(1).mean(0) / 4, rtol=1e-4)
    assert norm.momentum == 0.2
    assert not any(module.training for module in model.modules())


def test_statistics_want_a_norm_and_data() -> None:
    with pytest.raises(CimsimError, match="has no batch normalization with running"):
        reestimate(cimsim.convert(nn.Sequential(nn.Linear(12, 4)), STATIC), [inputs()])
    with pytest.raises(CimsimError, match="reestimate: got no batches"):
        reestimate(cimsim.convert(mlp(), STATIC), [])
