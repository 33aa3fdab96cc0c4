"""Reservation of a run's folder for one process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.files import PART, locked, make_folder, remove_leftovers, write_text
from cimsim.profile import dump_profile, fingerprint
from cimsim.training.config import TrainConfig, dump_config, read_config
from cimsim.training.environment import environment
from cimsim.training.manifest import SUMS, hash_of, read_sums, write_sums
from cimsim.training.plan import PLACES, TrainingPlan
from cimsim.training.records import ENV, RESULT
from cimsim.training.run import CONFIG, LAYER, LOCK, PROFILE, SEARCH, read_layers, read_profile


@contextmanager
def claim(out: Path, plan: TrainingPlan, resume: bool) -> Iterator[None]:
    """Hold the lock of the folder ``out`` within the context, and create the run ``plan`` in it.

    The lock is acquired before reading or writing files that another process may be writing.

    Raises:
        CimsimError: if ``out`` is not a folder, contains a run (unless ``resume``), contains a
            different run than ``plan``, or if another process holds its lock.
    """
    _refuse_folder(out, plan, resume)
    if (out / RESULT).is_file() and not _places_changed(out, plan):
        yield  # the run is finished, so nothing is written
        return
    make_folder(out)
    refusal = f"another process is training in {out}; wait for it to finish, or stop it"
    with locked(out / LOCK, refusal):
        _refuse_folder(out, plan, resume)  # again: another process may have trained here
        remove_leftovers(out)
        if not (out / CONFIG).is_file():
            _begin(out, plan)
        elif _places_changed(out, plan):
            _update_places(out, plan.config)
        yield


def _refuse_folder(out: Path, plan: TrainingPlan, resume: bool) -> None:
    if (out / CONFIG).is_file():
        if not resume:
            raise CimsimError(
                f"{out} already contains a run; add --resume to continue it or choose another --out"
            )
    elif out.exists() and not (out.is_dir() and _is_just_begun(out, plan)):
        raise CimsimError(f"{out} exists and is not a run; choose another --out")


def _is_just_begun(out: Path, plan: TrainingPlan) -> bool:
    """Return whether the folder is empty, or was left by a process killed while claiming it. If a
    search chose the settings, it may be there."""
    names = {path.name for path in out.iterdir() if path.suffix != PART}
    known = (PROFILE, ENV, SUMS, LOCK, *([SEARCH] if plan.config.chosen else []))
    return all(name in known or fnmatch(name, LAYER.format("*")) for name in names)


def _begin(out: Path, plan: TrainingPlan) -> None:
    """Write the files that determine the run; ``config.yaml`` is last and makes it a run."""
    files = {PROFILE: dump_profile(plan.profile), ENV: json.dumps(environment(), indent=2) + "\n"}
    for name, profile in plan.layer_profiles().items():
        files[name] = dump_profile(profile)
    for name, text in files.items():
        write_text(out / name, text)
    files[CONFIG] = dump_config(plan.config)
    write_sums(out, {name: [hash_of(text)] for name, text in files.items()})
    write_text(out / CONFIG, files[CONFIG])


def _update_places(out: Path, config: TrainConfig) -> None:
    """Write the new locations of profile and data to the run's settings."""
    text, sums = dump_config(config), read_sums(out)
    if sums:  # both hashes, so that one of them is correct if this process is killed
        write_sums(out, sums | {CONFIG: [*sums.get(CONFIG, []), hash_of(text)]})
    write_text(out / CONFIG, text)
    if sums:
        write_sums(out, sums | {CONFIG: [hash_of(text)]})


def _places_changed(out: Path, plan: TrainingPlan) -> bool:
    """Return whether the location of profile or data differs from that in the run ``out``.

    Raises:
        CimsimError: if ``plan`` differs from that run in any other setting.
    """
    config, before = plan.config, read_config(out / CONFIG)
    changed = [f for f in type(config).model_fields if getattr(before, f) != getattr(config, f)]
    trained_for = read_profile(out / PROFILE)
    another = "profile" in changed and trained_for.name != plan.profile.name
    fields = [f for f in changed if f not in PLACES or (f == "profile" and another)]
    if fields:
        changes = ", ".join(f"{f} was {getattr(before, f)}" for f in fields)
        raise CimsimError(f"cannot resume {out} with other settings: {changes}")
    if fingerprint(trained_for) != fingerprint(plan.profile):
        raise CimsimError(
            f"cannot resume {out}: the profile '{config.profile}' has changed since the run started"
        )
    if read_layers(out, before) != plan.layers:
        raise CimsimError(
            f"cannot resume {out}: the settings of layers or their profiles have changed; "
            f"layer was {before.layer}"
        )
    return bool(changed)
