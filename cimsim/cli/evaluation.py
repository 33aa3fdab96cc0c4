"""The options that all commands share that evaluate runs, and what they make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from cimsim.analysis.shared_options import SharedOptions
from cimsim.analysis.study import option
from cimsim.cli import console
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.evaluation import Evaluation
    from cimsim.analysis.sweeps.engine import Engine
    from cimsim.runs import RunSubject

TRUST_HELP = (
    "Import the run's model and data if they are functions from outside cimsim. This runs their "
    "code."
)
RunFolder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")
]
RunFolders: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.")
]
DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
]
Trust: TypeAlias = Annotated[bool, typer.Option("--trust", help=TRUST_HELP)]
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

    def subjects(self, folders: Sequence[Path]) -> list[RunSubject]:
        """Open every run of the list once."""
        from cimsim.cli.runs import open_runs

        return open_runs(folders, self.trust, self.data_dir, self.download)


@contextmanager
def evaluation(name: str, options: EvaluationOptions, part: str = "") -> Iterator[Evaluation]:
    """Within the block, evaluate by the options of a command, with a progress bar."""
    from cimsim.analysis.evaluation import Evaluation
    from cimsim.profile import load_profile
    from cimsim.torch_device import working_device
    from cimsim.units import parse_duration

    with console.counted(name, options.chips, part) as advance:
        yield Evaluation(
            options.chips,
            age_s=parse_duration(options.age),
            profile=None if options.profile is None else load_profile(options.profile),
            noise=options.noise,
            samples=options.samples,
            device=working_device(options.device),
            metric=options.metric,
            engine=_engine(options),
            progress=advance,
        )


def _engine(options: EvaluationOptions) -> Engine:
    """
    Raises:
        CimsimError: if there is no engine of that name, or it needs no address.
    """
    from cimsim.analysis.sweeps.engine import LocalEngine, ProcessEngine

    if options.engine not in ("local", "ray"):
        raise CimsimError(f"--engine must be local or ray, not '{options.engine}'")
    if options.engine == "ray":
        from cimsim.analysis.sweeps.ray_engine import RayEngine

        return RayEngine(options.address)
    if options.address is not None:
        raise CimsimError("--address applies to --engine ray only; add it")
    return LocalEngine() if options.workers == 1 else ProcessEngine(options.workers)
