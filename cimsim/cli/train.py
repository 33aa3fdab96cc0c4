"""``cimsim train``: train a model for the chips of a profile."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli import console
from cimsim.cli.options import options_of
from cimsim.errors import CimsimError
from cimsim.training.config import AUTO, WITHOUT_OPTION, TrainConfig, make_config, read_config

if TYPE_CHECKING:
    from cimsim.training.run import Run


@options_of(
    TrainConfig,
    flags={"overrides": "--set"},
    without=WITHOUT_OPTION,
    defaults={"device": "auto"},
)
def train(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the run, which must not exist.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in DIR.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download the data set if it is missing.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Draw loss and accuracy in the terminal.")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="tensorboard",
            help="Also log to RUN/tensorboard; needs pip install tensorboard.",
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Import the model and data of the run to resume, or of a teacher's run, if they "
            "are functions from outside cimsim. This runs their code.",
        ),
    ] = False,
    **settings: object,
) -> None:
    """Train a model for the chips of a profile.

    The run's folder contains its settings, its profile, metrics and the trained model.
    """
    how = "add --resume to the same command to continue from the last checkpoint"
    with console.resumable(how):
        given = {name: value for name, value in settings.items() if value not in (None, [])}
        config = _config(given, out if resume else None, trust)
        from cimsim.cli.live import watcher
        from cimsim.training.candidates import USUAL
        from cimsim.training.data import load_data
        from cimsim.training.fit import fit
        from cimsim.training.parallel import joined
        from cimsim.training.progress import Several
        from cimsim.training.recipes import RECIPES
        from cimsim.training.tracking import make_tracker

        if download:
            load_data(config.data, config.data_dir, download=True)
        with ExitStack() as stack:
            named = {*given, *RECIPES.get(str(config.recipe), ())}
            if config.searches:
                named -= USUAL.keys()  # the search chooses these
                stack.enter_context(joined(config.device))
                config = _searched(config, out, resume, trust)
            trackers = [make_tracker(name, out) for name in dict.fromkeys(track or [])]
            for tracker in trackers:
                stack.callback(tracker.close)
            shows = stack.enter_context(watcher(config.epochs, out, live))
            watchers = Several(shows, *trackers)
            run = fit(config, out, resume=resume, progress=watchers, trust=trust, named=named)
        if _prints():
            console.state(_result(run))


def _searched(config: TrainConfig, out: Path, resume: bool, trust: bool) -> TrainConfig:
    """Search for the noise, print the scores, and return the settings with the chosen ones."""
    from cimsim.cli.watcher import Watching
    from cimsim.runs import search

    with Watching() as watching:
        result = search(
            config, out, resume=resume, watch=watching.training, note=console.remark, trust=trust
        )
    if _prints():
        console.show_sheet(result.sheet(), wide=False)
    return result.config_for(config)


def _prints() -> bool:
    """Whether this process of ``torchrun`` prints."""
    return int(os.environ.get("RANK", "0")) == 0


def _config(given: dict[str, object], resumed: Path | None, trust: bool) -> TrainConfig:
    """Return the given settings on top of those of the run to resume, if there is one.

    Raises:
        CimsimError: if a setting is invalid, or the run names a function from outside cimsim that
            the user neither named nor trusts.
    """
    from cimsim.torch_device import working_device
    from cimsim.training.models import require_trust

    if "device" in given:
        given["device"] = working_device(str(given["device"]))
    stored = _stored(resumed, given) if resumed else None
    if stored is not None:
        before = read_config(stored)
        origin = f"the run in {resumed}"
        for part in ("model", "data"):
            if given.get(part) != getattr(before, part):
                require_trust(getattr(before, part), trust, origin, part)
        return make_config(**{**before.model_dump(), **given})
    if "profile" not in given:
        raise CimsimError(
            "no profile: add --profile NAME or --profile FILE; `cimsim profiles` lists names"
        )
    return make_config(**{"device": working_device("auto"), **given})


def _stored(run: Path, given: dict[str, object]) -> Path | None:
    """The settings to resume with: of the search, if it is not finished or given again."""
    own, searched = run / "config.yaml", run / "search" / "config.yaml"
    if searched.is_file() and (given.get("noise") == AUTO or not own.is_file()):
        return searched
    return own if own.is_file() else None


def _result(run: Run) -> str:
    from cimsim.runs.subject import metric_of

    metric = metric_of(run)
    digital, chip = (metric.with_unit(metric.of(run.scores(w))) for w in ("digital", "chip"))
    title = metric.title[:1].lower() + metric.title[1:]
    return f"{run.path}: {title} {digital} digital, {chip} on one chip of {run.profile.name}"
