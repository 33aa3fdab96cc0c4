from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.training.data.dataset import DataSet, Images, fingerprint, normalized


def images(pixels: NDArray[np.uint8]) -> Images:
    return Images(pixels, np.zeros(len(pixels), dtype=np.int64))


SOME = np.arange(2 * 1 * 4 * 4, dtype=np.uint8).reshape(2, 1, 4, 4)


def test_test_images_are_normalized_with_the_numbers_of_the_training_images() -> None:
    train = images(np.array([0, 100], np.uint8).reshape(2, 1, 1, 1))
    test = images(np.array([50, 200], np.uint8).reshape(2, 1, 1, 1))
    data = normalized("tiny", train, test, classes=10)
    assert data.train_x.flatten().tolist() == [-1, 1]
    assert data.test_x.flatten().tolist() == [0, 3]


def test_a_data_set_is_not_changed_by_accident() -> None:
    data = normalized("tiny", images(SOME), images(SOME), classes=1)
    assert isinstance(data, DataSet)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.classes = 3  # type: ignore[misc]


def test_splits_of_different_size_do_not_belong_together() -> None:
    with pytest.raises(CimsimError, match="training images are 1x4x4 but test images are 1x2x8"):
        normalized("odd", images(SOME), images(SOME.reshape(2, 1, 2, 8)), classes=10)


def test_images_of_one_color_cannot_be_normalized() -> None:
    flat = images(np.full_like(SOME, 7))
    with pytest.raises(CimsimError, match="all training pixels of channel 0 are 7"):
        normalized("flat", flat, flat, classes=10)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_must_be_classes(label: int) -> None:
    wrong = Images(SOME, np.array([0, label]))
    with pytest.raises(CimsimError, match=rf"training labels must be 0 to 2, got {label} \(1 "):
        normalized("wrong", wrong, images(SOME), classes=3)


def test_the_fingerprint_sees_every_part() -> None:
    other_pixel = SOME.copy()
    other_pixel[1, 0, 3, 3] += 1
    variants = [
        (images(SOME), images(SOME[:1])),
        (images(SOME[:1]), images(SOME)),
        (images(other_pixel), images(SOME[:1])),
        (Images(SOME, np.array([0, 1])), images(SOME[:1])),
        (images(SOME.reshape(2, 1, 2, 8)), images(SOME[:1])),
    ]
    assert len({fingerprint(*splits) for splits in variants}) == len(variants)
    assert fingerprint(*variants[0]) == fingerprint(*variants[0])


def test_no_images_at_all() -> None:
    with pytest.raises(CimsimError, match="the files contain no training images"):
        normalized("empty", images(SOME[:0]), images(SOME), classes=10)
