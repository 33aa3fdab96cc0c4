"""The 1797 handwritten 8x8 digits that come with scikit-learn: no file, no download."""

from __future__ import annotations

import numpy as np

from cimsim.training.data.dataset import Images

TEST_IMAGES = 360


def read_digits() -> tuple[Images, Images]:
    """1437 training and 360 test images [1, 8, 8], grey levels 0..16, classes evenly split.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test part, as packed by scikit-learn). The split is always the
    same one.
    """
    # Imported here because scikit-learn takes longer to import than this data takes to read.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    flat, labels = load_digits(return_X_y=True)
    pixels = flat.reshape(-1, 1, 8, 8).astype(np.uint8)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels.astype(np.int64), test_size=TEST_IMAGES, stratify=labels, random_state=0
    )
    return Images(train_x, train_y), Images(test_x, test_y)
