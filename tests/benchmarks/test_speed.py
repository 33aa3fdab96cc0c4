"""The benchmarks run, on something small; what they find is no test's business."""

import torch

from benchmarks import peers, scaling, speed
from benchmarks.naive import Naive, NaiveFused, WeightNoise, naive
from benchmarks.workloads import WORKLOADS, FlatGPT, Workload, images, mlp, text
from cimsim.training.models.resnet import ThinResNet


def test_every_candidate_of_a_workload() -> None:
    small = Workload("small", lambda: mlp((12, 8, 10)), images(6, 12))
    rows = [{"work": "small", "allocator": "as it comes", **r} for r in speed.measure(small, 2)]
    names = {str(row["candidate"]) for row in rows}
    assert {
        "digital",
        "naive",
        "naive, weight noise only",
        "cimsim, peers' work",
        "cimsim, whole device",
    } <= names
    report = speed.tables(rows, threads=1, reps=2)
    assert report.count("| digital | **1.00x**") == 2


def test_the_naive_baseline_does_the_same_work() -> None:
    """Its output is as far from the digital one as noise of 3 % and 8 bits put it."""
    torch.manual_seed(0)
    for model, x, most in (
        (mlp((600, 64, 10)), torch.rand(32, 600), 0.3),
        (ThinResNet(1, 10, 3), torch.rand(4, 1, 16, 16), 1.0),  # untrained, so errors grow
    ):
        model.eval()
        expected = model(x)
        for kind in (Naive, NaiveFused, WeightNoise):
            got = naive(model, x, kind)(x)
            assert 0.005 < (got - expected).norm() / expected.norm() < most
            got.sum().backward()


def test_workloads_have_the_shapes_of_the_table() -> None:
    draws = torch.Generator().manual_seed(0)
    for work in WORKLOADS.values():
        x, target = work.batch(draws)
        assert work.model()(x).shape[0] == len(target)
    assert sum(p.numel() for p in WORKLOADS["W1"].model().parameters()) == 1_863_690
    tokens, _ = text(2, 16)(draws)
    assert FlatGPT(width=32, heads=2, depth=1, length=16)(tokens).shape == (32, 65)


def test_scaling_is_measured_and_drawn() -> None:
    rows = [
        {"axis": axis, "value": value, "threads": 1, **row}
        for axis, value in (("width", 8), ("width", 16), ("batch", 4), ("batch", 8))
        for row in scaling.measure(8, 4, reps=2)
    ]
    assert len(scaling.draw(rows).axes) == 4


def test_missing_peers_are_reported(capsys) -> None:  # type: ignore[no-untyped-def]
    found = dict(peers.models(mlp((4, 4)), torch.rand(2, 4)))
    messages = capsys.readouterr().err
    assert len(found) + messages.count("is not installed: skipped") == 4
