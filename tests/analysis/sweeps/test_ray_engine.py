"""A Ray cluster of two nodes on this machine, one of which is killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.ray_engine import RayEngine
from cimsim.errors import CimsimError
from cimsim.training.run import Run
from tests.subjects import sweep

AXIS = parse_axis("noise=0,1,2,3,4")
ROOT = str(Path(__file__).parents[3])


def scores(run: Run, engine: Any = None, **options: Any) -> list[tuple[Any, ...]]:
    (swept,) = sweep([run], AXIS, 4, engine=engine, **options)
    return [(cell.level, cell.chip, *cell.scores.values()) for cell in swept.trials]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("ray", reason="the package ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_two_nodes_one_of_which_dies(cluster: Any, trained: Path, tmp_path: Path) -> None:
    runs = [Run.open(shutil.copytree(trained, tmp_path / name)) for name in ("a", "b")]
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def kill(done: int, total: int, doing: str) -> None:
        if done == 3 and second in cluster.worker_nodes:
            cluster.remove_node(second, allow_graceful=False)

    found = scores(runs[0], RayEngine(cluster.address), progress=kill)
    assert second not in cluster.worker_nodes
    assert found == scores(runs[1])
    lines = (runs[0].path / "sweeps/noise/results.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 20


def test_without_ray_the_package_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    with pytest.raises(CimsimError, match="needs the package ray: pip install ray"):
        scores(run, RayEngine())
