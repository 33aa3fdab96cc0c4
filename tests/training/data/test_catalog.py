from __future__ import annotations

import pytest

from cimsim.errors import CimsimError
from cimsim.training.data import load_data


def test_an_unknown_name_suggests_the_near_one() -> None:
    with pytest.raises(CimsimError, match="unknown data set 'digit'; did you mean 'digits'"):
        load_data("digit")


def test_an_unknown_name_without_a_near_one_lists_all() -> None:
    with pytest.raises(CimsimError, match="available: digits, mnist, fashion-mnist, cifar10"):
        load_data("imagenet")
