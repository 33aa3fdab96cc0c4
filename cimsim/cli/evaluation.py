"""The options shared by all commands that evaluate runs, and what is built from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from cimsim.analysis.shared_options import SharedOptions
from cimsim.analysis.study import option
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.evaluation import Evaluation
    from cimsim.analysis.subjects import Subject
    from cimsim.analysis.sweeps.engine import Engine

TRUST_HELP = (
    "Import the run's model and data if they are functions from outside cimsim. This runs their "
    "code."
)
OWN_HELP = "or package.module:function that returns a model and its score"
STORE_HELP = "Folder for the results of package.module:function."
RunFolder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RUN", help=f"Folder of a finished run, {OWN_HELP}.")
]
RunFolders: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="RUN", help=f"Folders of finished runs, {OWN_HELP}.")
]
DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
]
Trust: TypeAlias = Annotated[bool, typer.Option("--trust", help=TRUST_HELP)]
Store: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help=STORE_HELP, show_default="runs/package.module.function"),
]
Wide: TypeAlias = Annotated[
    bool,
    typer.Option("--wide", help="Print all columns of tables, even in a narrow terminal."),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

RESUME = "finished trials are kept, run the same command again to resume"


class EvaluationOptions(SharedOptions):
    """The options of every command that evaluates runs on chips."""

    engine: str = option(
        "local", "Where to evaluate: on this machine or a Ray cluster.", metavar="local|ray"
    )
    address: str | None = option(
        None, "Address of the Ray cluster, such as auto.", default_text="this machine alone"
    )
    data_dir: Path | None = option(
        None, "Folder of the data.", metavar="DIR", default_text="as in training"
    )
    download: bool = option(False, "Download data that is missing.")
    trust: bool = option(False, TRUST_HELP)
    split: str = option(
        "test",
        "Samples to evaluate on: test, or the training samples that --hold-out left out; these use "
        "other chips, and results are kept in RUN/held-out.",
        metavar="test|held-out",
    )
    store: Path | None = option(
        None, STORE_HELP, metavar="DIR", default_text="runs/package.module.function"
    )

    def subjects(self, names: Sequence[Path]) -> list[Subject]:
        """Open every run or model of the list once."""
        from cimsim.cli.runs import open_subjects

        return open_subjects(
            names, self.trust, self.data_dir, self.download, self.store, self.split
        )


@contextmanager
def evaluation(
    name: str, options: EvaluationOptions, subjects: Sequence[Subject], part: str = ""
) -> Iterator[Evaluation]:
    """Within the block, evaluate by the options of a command, with a progress bar."""
    from cimsim.analysis.evaluation import Evaluation
    from cimsim.analysis.keywords import device_of, samples_of
    from cimsim.cli.progress import counted
    from cimsim.profile import load_profile
    from cimsim.units import parse_duration

    with counted(name, options.chips, part) as advance:
        yield Evaluation(
            options.chips,
            age_s=parse_duration(options.age),
            profile=None if options.profile is None else load_profile(options.profile),
            noise=options.noise,
            samples=samples_of(options.samples, subjects),
            device=device_of(options.device, subjects),
            metric=options.metric,
            engine=_engine(options),
            progress=advance,
        )


def _engine(options: EvaluationOptions) -> Engine:
    """
    Raises:
        CimsimError: if there is no engine of that name.
    """
    from cimsim.analysis.sweeps.engine import LocalEngine, ProcessEngine

    if options.engine not in ("local", "ray"):
        raise CimsimError(f"--engine must be local or ray, not '{options.engine}'")
    if options.engine == "ray":
        from cimsim.analysis.sweeps.ray_engine import RayEngine

        return RayEngine(options.address)
    return LocalEngine() if options.workers < 2 else ProcessEngine(options.workers)
