"""``cimsim generate``: what a model of text writes, from a noisy, aged chip."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import Trust


def generate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run on text.")],
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "ROMEO:",
    length: Annotated[int, typer.Option(min=1, help="Characters (or words) to write.")] = 500,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 takes the likeliest; 1 draws as the model says.")
    ] = 0.8,
    chip_seed: Annotated[int, typer.Option(min=0, help="Which chip.")] = 0,
    cycle: Annotated[int, typer.Option(min=0, help="How often the chip was written before.")] = 0,
    age: Annotated[
        str, typer.Option(metavar="TIME", help="Age of the chip, such as 1h, '1 day' or 1y.")
    ] = "0s",
    on: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE", help="Device: a name or a file.", show_default="the run's own"
        ),
    ] = None,
    digital: Annotated[bool, typer.Option("--digital", help="Without any device.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws of symbols.")] = 0,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda|auto", help="Where to compute.")
    ] = "auto",
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
    ] = None,
    trust: Trust = False,
) -> None:
    """Write text with a trained model, as a chip of a given age writes it.

    The same seeds write the same text, so that two chips, or a chip and the digital model, can be
    laid side by side.
    """
    import cimsim
    from cimsim.nn import digital as computed_digitally
    from cimsim.profile import load_profile
    from cimsim.seeds import generator
    from cimsim.training.data import load_data
    from cimsim.training.device import working_device
    from cimsim.training.generate import generate as write
    from cimsim.training.run import Run

    opened = Run.open(run, trust)
    if data_dir is not None:
        opened.data = load_data(opened.config.data, data_dir)
    where = working_device(device)
    model = opened.chip_model(None if on is None else load_profile(on), where)
    cimsim.program(model, chip_seed, cycle)
    cimsim.age(model, age)
    draws = generator("generate", seed)
    options = {"temperature": temperature, "rng": draws, "device": where}
    with computed_digitally(model) if digital else nullcontext():
        text = write(model, opened.data, prompt, length, **options)  # type: ignore[arg-type]
        first = next(text)  # whatever is wrong is told before anything is printed
        console.write(prompt + first)
        for piece in text:
            console.write(piece)
    console.say("")
