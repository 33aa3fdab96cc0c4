"""What the commands that evaluate runs on chips have in common: options, and a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from cimsim.cli import console
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cimsim.analysis.engine import Engine
    from cimsim.analysis.study import Evaluation, Result

RunFolder: TypeAlias = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Chips: TypeAlias = Annotated[int, typer.Option(min=1, help="Chips; every level meets the same.")]
Age: TypeAlias = Annotated[
    str, typer.Option(metavar="TIME", help="Age of the chips, such as 1h, '1 day' or 1y.")
]
Noise: TypeAlias = Annotated[
    float, typer.Option(min=0, help="Factor on every noise of the device.")
]
On: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="PROFILE",
        help="Device to evaluate on: a name or a file.",
        show_default="each run's own",
    ),
]
Device: TypeAlias = Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where to compute.")]
MetricName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="accuracy, perplexity, bits (per character) or loss.",
        show_default="accuracy, perplexity for text",
    ),
]
WorkerCount: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Processes; the numbers are the same with any.")
]
DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
]
Download: TypeAlias = Annotated[
    bool, typer.Option("--download", help="Download data that is missing.")
]
Samples: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Only the first so many test samples.", show_default="all"),
]
Trust: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Import the model that a run names, where that is a function of somebody's own: its "
        "code runs.",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

KEPT = "every finished cell is kept, the same command goes on from there"


@contextmanager
def evaluation(
    what: str,
    chips: int,
    *,
    age: str = "0s",
    on: str | None = None,
    noise: float = 1.0,
    samples: int | None = None,
    device: str,
    metric: str | None,
    workers: int,
    data_dir: Path | None,
) -> Iterator[Evaluation]:
    """How a study evaluates its run, by the options of its command, with a progress bar."""
    from cimsim.analysis.study import Evaluation
    from cimsim.profile import load_profile
    from cimsim.training.device import working_device
    from cimsim.units import parse_duration

    with console.counted(what, chips) as advance:
        yield Evaluation(
            chips,
            age_s=parse_duration(age),
            on=None if on is None else load_profile(on),
            noise=noise,
            samples=samples,
            device=working_device(device),
            data_dir=data_dir,
            metric=metric,
            engine=engine_named("local", workers, None),
            progress=advance,
        )


def present(
    folder: Path,
    name: str,
    result: Result,
    figure: Figure,
    *,
    as_json: bool,
    answer: str | None = None,
    also: Path | None = None,
) -> None:
    """Keep a study's result in ``folder``, and show it: as JSON, or as a table, an answer in words
    and the names of its files. The picture is ``also`` written to another place."""
    from cimsim.analysis.plot import save
    from cimsim.analysis.study import as_json as written
    from cimsim.analysis.study import write_result

    files = write_result(folder, name, result, figure)
    if also is not None:
        files += save(figure, also)
    if as_json:
        console.say(written(result))
        return
    console.show(console.lined_up(result.sheet()))
    if answer is not None:
        console.say(answer)
    for path in files:
        console.say(str(path))


def engine_named(name: str, workers: int, address: str | None) -> Engine:
    """The engine that evaluates the cells.

    Raises:
        CimsimError: if there is none of that name, or an address is of no use to it.
    """
    from cimsim.analysis.engine import Here, Workers

    if name not in ("local", "ray"):
        raise CimsimError(f"--engine is local or ray, not '{name}'")
    if name == "ray":
        from cimsim.analysis.ray_engine import OnRay

        return OnRay(address)
    if address is not None:
        raise CimsimError("--address is that of a Ray cluster; add --engine ray")
    return Here() if workers == 1 else Workers(workers)
