"""The 1797 handwritten 8x8 digits shipped with scikit-learn; no download needed."""

from __future__ import annotations

import numpy as np

from cimsim.training.data.dataset import Images

TEST_IMAGES = 360


def read_digits() -> tuple[Images, Images]:
    """Return 1437 training and 360 test images [1, 8, 8], gray levels 0..16, stratified by class.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test part, as packed by scikit-learn). The split is fixed.
    """
    # Imported here because importing scikit-learn takes longer than reading the data.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    flat, labels = load_digits(return_X_y=True)
    pixels = flat.reshape(-1, 1, 8, 8).astype(np.uint8)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels.astype(np.int64), test_size=TEST_IMAGES, stratify=labels, random_state=0
    )
    return Images(train_x, train_y), Images(test_x, test_y)
