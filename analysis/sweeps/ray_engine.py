"""The trials of a sweep on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from cimsim.analysis.subjects import Place, Subject
from cimsim.analysis.sweeps.engine import Engine, Task, scores_at
from cimsim.analysis.sweeps.metric import Scores
from cimsim.errors import CimsimError

_RETRIES = 3
_PATIENCE_S = 30.0


class RayEngine(Engine):
    """An engine of Ray tasks, with one processor each (or one GPU), on all machines of a cluster.

    Folders of runs and data must have the same path on each machine, as on a shared file system.
    If a machine is lost, the trials under way there are evaluated again on others.

    Args:
        address: address of a running cluster, such as ``auto`` or ``10.0.0.1:6379``; None starts
            one on this machine.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def scores(
        self, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        """See :class:`Engine`.

        Raises:
            CimsimError: if Ray is not installed, no cluster answers, or a trial fails everywhere.
        """
        try:
            import ray
        except ImportError:
            raise CimsimError("the engine 'ray' needs the package ray: pip install ray") from None
        own = not ray.is_initialized()
        if own:
            self._connect(ray)
        try:
            yield from self._spread(ray, subjects, tasks, device)
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
        self, ray: Any, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        places = tuple(subject.place() for subject in subjects)
        needs = {"num_gpus": 1} if device.type == "cuda" else {"num_cpus": 1}
        remote = ray.remote(max_retries=_RETRIES, **needs)(_scores)
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
                        f"a trial failed {_RETRIES + 1} times on the cluster: "
                        f"{str(error).splitlines()[0]}"
                    ) from None


def _scores(places: tuple[Place, ...], device: str, task: Task) -> Scores:
    torch.set_num_threads(1)
    return scores_at(places, device, task)
