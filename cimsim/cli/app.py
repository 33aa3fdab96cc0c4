"""``cimsim app``: a page to play with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import OWN_HELP, DataDir, Trust


def app(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help=f"Folders of finished runs, {OWN_HELP}.",
            show_default="the network digits-mlp, which is shipped with cimsim",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="Profile at the start: a name or a file.",
            show_default="each run's own",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any free port.")
    ] = 8765,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address; do not open a browser.")
    ] = False,
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Show trained networks in the browser, on chips that you change with sliders.

    The sliders change the profile, noise, age and bits of the converters; the page shows accuracy,
    energy, signals and weights. It needs no network and writes nothing to the runs. Ctrl-C stops
    it.
    """
    from cimsim.app.session import Session
    from cimsim.app.setting import OWN
    from cimsim.app.shipped import digits_mlp
    from cimsim.cli.runs import open_subjects

    subjects = open_subjects(runs, trust, data_dir) if runs else [digits_mlp()]
    session = Session(subjects, OWN if profile is None else profile)
    session.start()  # so that errors of a run are printed here, and not on the page

    from cimsim.app.server import serve

    def announce(address: str) -> None:
        console.say(address)
        console.remark("the page is at this address, on this machine only; Ctrl-C ends it")

    serve(session, port, not no_browser, announce)
