"""A folder of images with a folder for each class."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimsim.errors import CimsimError
from cimsim.reading import read_bytes
from cimsim.suggest import listed
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.own.reader import LARGEST, Reader, Seed, Share
from cimsim.training.data.own.samples import Samples, data_set

Picture = NDArray[np.uint8 | np.float32]
"""Gray levels [1, H, W] or colors [3, H, W]; levels of more than 8 bits are in float32."""

Color = Literal["gray", "rgb"]
Size = Annotated[str, Field(pattern=r"^[1-9]\d{0,3}(x[1-9]\d{0,3})?$")]

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")
_ENDINGS = re.compile(r".+\.(png|jpe?g|bmp|gif|webp|tiff?|p[bgp]m)", re.IGNORECASE)
_GRAY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I")
_COLORED = ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
_LARGEST_FILE = 256 * 2**20


class ImageFolder(Reader):
    """A folder for each class with its images, or such folders in ``train`` and ``test``.

    Images must have the same size, unless ``size`` (``32`` or ``28x20``, height and width) resizes
    them. They are gray if all of them are, or with ``color=gray``. Transparency is ignored.
    Levels of more than 8 bits are not rounded, and all images must then have them.
    """

    name: ClassVar[str] = "images"

    def __init__(
        self,
        size: Size | None = None,
        color: Color | None = None,
        test: Share = 0.2,
        seed: Seed = 0,
    ) -> None:
        self.size, self.color, self.test, self.seed = size, color, test, seed

    def read(self, path: Path) -> DataSet:
        """See :class:`Reader`."""
        folders = _folders(path)
        train = next((path / name for name in folders if name.lower() in _TRAIN), None)
        test = next((path / name for name in folders if name.lower() in _TEST), None)
        parts = [path] if train is None or test is None else [train, test]
        files = [_files(part) for part in parts]
        pictures = self._pictures([file for part in files for file, _ in part])
        labels = np.array([label for part in files for _, label in part])
        first = len(files[0])
        try:
            return data_set(
                path.resolve().name,
                Samples(pictures[:first], labels[:first]),
                None if len(parts) == 1 else Samples(pictures[first:], labels[first:]),
                task="classification",
                share=self.test,
                seed=self.seed,
            )
        except CimsimError as error:
            raise CimsimError(f"{path}: {error}") from None

    def _pictures(self, files: Sequence[Path]) -> Picture:
        """Read all images [N, C, H, W]."""
        pictures = [read_image(files[0], self.size, self.color)]
        shape = pictures[0].shape
        if 4 * len(files) * pictures[0].size > LARGEST:
            raise CimsimError(
                f"{len(files)} images of {_size(pictures[0])} pixels do not fit into "
                f"{LARGEST // 2**30} GiB; make them smaller with :size=64"
            )
        for file in files[1:]:
            picture = read_image(file, self.size, self.color)
            if picture.shape[1:] != shape[1:]:
                raise CimsimError(
                    f"{file} has {_size(picture)} pixels, but {files[0]} has "
                    f"{_size(pictures[0])}; resize all images, such as with :size=32"
                )
            if picture.dtype != pictures[0].dtype:
                raise CimsimError(
                    f"{file} has {_depth(picture)}, but {files[0]} has {_depth(pictures[0])}; save "
                    "all images with the same number of bits"
                )
            pictures.append(picture)
        if any(len(picture) == 3 for picture in pictures):
            pictures = [np.repeat(p, 3, axis=0) if len(p) == 1 else p for p in pictures]
        return np.stack(pictures)


def read_image(file: Path, size: str | None = None, color: Color | None = None) -> Picture:
    """Read an image file.

    Raises:
        CimsimError: if it cannot be read, or has several frames.
    """
    from PIL import Image, ImageOps

    try:
        content = read_bytes(file, _LARGEST_FILE)
    except OSError as error:
        raise CimsimError(f"cannot read {file}: {error.strerror}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Raised for images with more pixels than any photograph.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1:
                    raise CimsimError(
                        f"{file} has {frames} frames; save one of them as a separate image"
                    )
                return picture_of(ImageOps.exif_transpose(image), size, color)
    except CimsimError as error:
        raise CimsimError(str(error) if str(file) in str(error) else f"{file} {error}") from None
    except Exception as error:  # PIL raises many kinds of exceptions for damaged files
        reason = str(error).replace(f"{io.BytesIO}", "").splitlines() or [type(error).__name__]
        if "cannot identify image file" in reason[0]:
            reason = ["it is damaged, or not an image"]
        raise CimsimError(f"{file} cannot be read as an image: {reason[0]}") from None


def picture_of(image: Any, size: str | None = None, color: Color | None = None) -> Picture:
    """Return a PIL image as an array.

    Raises:
        CimsimError: if it has levels that are no colors.
    """
    from PIL import Image

    if image.mode not in (*_GRAY, *_COLORED):
        raise CimsimError(f"has pixels of the mode '{image.mode}'; save it as 8-bit gray or RGB")
    gray = color == "gray" or (color is None and image.mode in _GRAY)
    deep = image.mode.startswith("I")
    if deep:
        image = Image.fromarray(np.asarray(image).astype(np.float32))
    else:
        image = image.convert("L" if gray else "RGB")
    if size is not None:
        height, _, width = size.partition("x")
        image = image.resize((int(width or height), int(height)), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    if deep:
        return np.repeat(pixels[None], 1 if gray else 3, axis=0)
    return pixels[None] if gray else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _files(folder: Path) -> list[tuple[Path, str]]:
    """The images in the classes of ``folder``, with the names of their classes."""
    classes = _folders(folder)
    files = [
        (folder / label / name, label)
        for label in classes
        for name in _names(folder / label)
        if _ENDINGS.fullmatch(name)
    ]
    filled = {label for _, label in files}
    if not files and any(_ENDINGS.fullmatch(name) for name in _names(folder)):
        raise CimsimError(f"{folder} has images, but no classes; put each class into its folder")
    if not files:
        raise CimsimError(
            f"{folder} has no images in folders of classes, such as {folder / 'cat' / '1.png'}"
        )
    if empty := [label for label in classes if label not in filled]:
        raise CimsimError(f"{folder} has classes without images: {listed(empty)}")
    return files


def _folders(folder: Path) -> list[str]:
    return [name for name in _names(folder) if (folder / name).is_dir()]


def _names(folder: Path) -> list[str]:
    """The sorted names in ``folder``, without hidden ones."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith((".", "__")))
    except OSError as error:
        raise CimsimError(f"cannot list the folder {folder}: {error.strerror}") from None


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[2]}"


def _depth(picture: Picture) -> str:
    return f"{'8' if picture.dtype == np.uint8 else 'more than 8'} bits for each level"
