"""Decodes an image file to RGB pixels, or says in one line why not; torchvision decodes JPEG where it is installed.

A file that is cut short is refused, and so is one with more pixels than Pillow's limit for decompression bombs.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from commons.checks import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff", ".gif"}

# Pillow itself refuses from twice its limit on; up to there it only warns, where `_opened` refuses.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

_FAULTS = (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    EOFError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
)


def open_image(path: Path) -> Image.Image:
    """The image decoded to RGB.

    Raises:
        InputError: the file is missing, no image, truncated, corrupt, or has more pixels than Pillow's limit.
    """
    with _opened(path) as image:
        fast = _jpeg_decoder() if image.format == "JPEG" and image.mode in ("L", "RGB") else None
        if fast is not None:
            return Image.fromarray(fast(path))
        # Transparency of a palette is only converted without a warning by way of RGBA.
        return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header alone; raises as `open_image`."""
    with _opened(path) as image:
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image with its header read; any fault of it, here or in the block, becomes an InputError."""
    try:
        with Image.open(path) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise ValueError(f"{image.height}×{image.width} pixels are more than the limit of {limit:,}")
            yield image
    except _FAULTS as fault:
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise InputError(f"image {str(path)!r} cannot be decoded: {reason}") from None


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(3, H, W) uint8 of an RGB image."""
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)


@cache
def _jpeg_decoder() -> Callable[[Path], NDArray[np.uint8]] | None:
    """torchvision's decoder, path -> (H, W, 3) uint8, or None where torchvision cannot be imported."""
    try:
        from torchvision.io import ImageReadMode, decode_jpeg, read_file
    except (ImportError, RuntimeError, OSError):
        return None

    def decode(path: Path) -> NDArray[np.uint8]:
        image: Any = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
        array: NDArray[np.uint8] = image.permute(1, 2, 0).numpy()
        return array

    return decode
