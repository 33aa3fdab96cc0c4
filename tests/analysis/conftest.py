from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cimsim.cli import main
from cimsim.training.config import make_config
from cimsim.training.fit import fit

STUDIES = """
sweep RUN --over noise=0:2:1 --chips 2
sweep RUN --over adc.bits=ideal,4 --chips 2
map RUN --x noise=0,6 --y adc.bits=ideal,3 --chips 2 --age 1h
tolerance RUN --over adc.bits --within 5 --to 6 --chips 2
budget RUN --chips 1 --age 60s --noise 3
budget RUN --waterfall --chips 1 --age 0s
budget RUN --shapley --orders 4 --chips 1
sensitivity RUN --chips 2 --samples 100 --noise 6
advise RUN --within 8 --chips 2 --samples 100 --noise 6 --by parameters
life RUN --from 1min --points 2 --chips 2 --care gain-offset --budget 2
adapt RUN --parts gain-offset,affine --budget 4 --chips 2 --teacher labels --age 1d --set adc.bits=6
yield RUN --above 81.5 --chips 6 --noise 4 --age 1d
cost RUN --set adc.bits=6 --inputs 3
explore RUN --over adc.bits=4,6 --on pcm-ibm-2020 --on pcm-hermes-2023 --budget 4 --chips 1 \
--final-chips 2
"""
"""Every study, not as it would be without saying."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never swept; tests copy it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    fit(make_config(profile="pcm-ibm-2020", method="digital", epochs=2), folder)
    return folder


@pytest.fixture(scope="session")
def studied(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of which everything was measured; tests copy it."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("studied") / "plain")
    for line in STUDIES.strip().splitlines():
        words = [str(run) if word == "RUN" else word for word in line.split()]
        with pytest.raises(SystemExit, match="0"):
            main(words)
    return run
