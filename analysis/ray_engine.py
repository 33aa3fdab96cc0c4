"""The cells of a sweep on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from cimsim.analysis.engine import Engine, Place, Task, places_of, score_at
from cimsim.errors import CimsimError
from cimsim.training.evaluate import Score
from cimsim.training.run import Run

_RETRIES = 3
_PATIENCE_S = 30.0


class OnRay(Engine):
    """Tasks of Ray Core, one processor each (or one GPU), on all machines of a cluster.

    Folders of runs and data must lie at the same place on each of them, as on a shared file system.
    A machine that is lost costs the cells that were under way there, which others do again.

    Args:
        address: of a running cluster, such as ``auto`` or ``10.0.0.1:6379``; None starts one of
            this machine alone.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def scores(
        self, runs: Sequence[Run], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Score]]:
        """See :class:`Engine`.

        Raises:
            CimsimError: if Ray is not installed, no cluster answers, or cells fail everywhere.
        """
        try:
            import ray
        except ImportError:
            raise CimsimError("the engine 'ray' wants the package ray: pip install ray") from None
        own = not ray.is_initialized()
        if own:
            self._connect(ray)
        try:
            yield from self._spread(ray, runs, tasks, device)
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            options["include_dashboard"] = False
        try:
            ray.init(address=self.address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise CimsimError(
                f"no Ray cluster at {self.address or 'this machine'}: {str(error).splitlines()[0]}"
            ) from None

    def _spread(
        self, ray: Any, runs: Sequence[Run], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Score]]:
        places = places_of(runs)
        needs = {"num_gpus": 1} if device.type == "cuda" else {"num_cpus": 1}
        remote = ray.remote(max_retries=_RETRIES, **needs)(_score)
        waiting = {remote.remote(places, str(device), task): i for i, task in enumerate(tasks)}
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=_PATIENCE_S)
            for reference in done:
                number = waiting.pop(reference)
                try:
                    yield number, ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                except ray.exceptions.RayError as error:
                    raise CimsimError(
                        f"a cell failed {_RETRIES + 1} times on the cluster: "
                        f"{str(error).splitlines()[0]}"
                    ) from None


def _score(places: tuple[Place, ...], device: str, task: Task) -> Score:
    torch.set_num_threads(1)
    return score_at(places, device, task)
