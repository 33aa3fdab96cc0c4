"""Subjects that are only in memory, for other processes.

They are sent to child processes of this one through pipes, once to each; nothing is written to a
file or read from one.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cloudpickle

from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.subjects import Place, Subject

_received: dict[str, bytes] = {}  # by token; in a worker process


@dataclass(frozen=True)
class MemoryPlace:
    """The place of a subject that is only in memory.

    Attributes:
        token: hash of the subject.
        payload: the subject as bytes; sent separately, see :func:`payloads_of`.
    """

    token: str
    payload: bytes = field(default=b"", compare=False, repr=False)

    @classmethod
    def of(cls, subject: Subject) -> MemoryPlace:
        """
        Raises:
            CimsimError: if the model, the scoring function or the data cannot be sent.
        """
        try:
            # Unlike pickle, it sends functions of a notebook or a script, and lambdas.
            payload = cloudpickle.dumps(subject)
        except Exception as error:
            raise CimsimError(
                f"{subject.name} cannot be sent to worker processes ({type(error).__name__}: "
                f"{error}); leave workers out, or let the scoring function make such objects itself"
            ) from error
        return cls(hashlib.sha256(payload).hexdigest(), payload)

    def __getstate__(self) -> dict[str, object]:
        return {"token": self.token, "payload": b""}

    def open(self) -> Subject:
        """Make the subject in a process that has received it.

        Raises:
            CimsimError: if this process has not, or cannot make it.
        """
        if self.token not in _received:
            raise CimsimError(
                "a model that is only in memory can be evaluated by worker processes of this "
                "machine only; use workers, or a finished run"
            )
        try:
            subject: Subject = pickle.loads(_received[self.token])
        except Exception as error:
            raise CimsimError(
                f"a worker process cannot make the model or its scoring function again "
                f"({type(error).__name__}: {error}); leave workers out"
            ) from error
        return subject


def payloads_of(places: Iterable[Place]) -> dict[str, bytes]:
    """The subjects that are only in memory, to be received by worker processes."""
    return {place.token: place.payload for place in places if isinstance(place, MemoryPlace)}


def receive(payloads: Mapping[str, bytes]) -> None:
    """Keep the subjects that the parent process has sent."""
    _received.update(payloads)
