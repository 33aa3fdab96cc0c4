"""``cimsim generate``: text from a trained model on a noisy, aged chip."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import DataDir, Trust
from cimsim.cli.options import finite

if TYPE_CHECKING:
    from cimsim.training.data import DataSet


def generate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run on text.")],
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Text to continue.",
            show_default="ROMEO: for tinyshakespeare, else the beginning of the test text",
        ),
    ] = None,
    length: Annotated[
        int, typer.Option(min=1, help="Number of characters (or words) to write.")
    ] = 500,
    temperature: Annotated[
        float,
        typer.Option(
            min=0,
            callback=finite,
            help="Temperature of sampling; 0 takes the most likely symbol.",
        ),
    ] = 0.8,
    chip_seed: Annotated[int, typer.Option(min=0, help="Seed of the chip.")] = 0,
    cycle: Annotated[
        int, typer.Option(min=0, help="Number of times that the chip was written before.")
    ] = 0,
    age: Annotated[
        str, typer.Option(metavar="TIME", help="Age of the chip, such as 1h, '1 day' or 1y.")
    ] = "0s",
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE", help="Profile: a name or a file.", show_default="the run's own"
        ),
    ] = None,
    old_on: Annotated[str | None, typer.Option("--on", hidden=True)] = None,
    digital: Annotated[
        bool, typer.Option("--digital", help="Compute digitally, without a chip.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampling.")] = 0,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda|auto", help="Torch device to compute on.")
    ] = "auto",
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Generate text with a trained model on a chip of a given age.

    The same seeds give the same text, so that two chips, or a chip and the digital model, can be
    compared.
    """
    import cimsim
    from cimsim.nn import digital as computed_digitally
    from cimsim.profile import load_profile
    from cimsim.seeds import generator
    from cimsim.torch_device import working_device
    from cimsim.training.generate import generate as write
    from cimsim.training.run import Run

    profile = profile or old_on
    opened = Run.open(run, trust)
    if data_dir is not None:
        opened.data = opened.load_data(data_dir)
    where = working_device(device)
    model = opened.chip_model(None if profile is None else load_profile(profile), where)
    cimsim.program(model, chip_seed, cycle)
    cimsim.age(model, age)
    draws = generator("generate", seed)
    prompt = _usual_prompt(opened.data) if prompt is None else prompt
    options = {"temperature": temperature, "rng": draws, "device": where}
    with computed_digitally(model) if digital else nullcontext():
        text = write(model, opened.data, prompt, length, **options)  # type: ignore[arg-type]
        first = next(text)  # errors are raised before anything is printed
        console.write(prompt + first)
        for piece in text:
            console.write(piece)
    console.say("")


def _usual_prompt(data: DataSet) -> str:
    from cimsim.training.generate import beginning

    return "ROMEO:" if data.name == "tinyshakespeare" else beginning(data)
