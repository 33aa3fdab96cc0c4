"""Settings that are refused before a run is created; other tests refuse those of their features."""

from __future__ import annotations

import pytest

from cimsim.errors import CimsimError
from cimsim.training.config import make_config
from cimsim.training.fit import check


def test_a_percentage_where_a_fraction_is_meant() -> None:
    settings = {"profile": "ideal", "method": "standard-nat", "limit": 60}
    check(make_config(**settings, gaussian_sigma=1.0))
    with pytest.raises(CimsimError, match=r"such as 0\.038, not 3\.8; divide percent by 100"):
        check(make_config(**settings, gaussian_sigma=3.8))
