"""Encode image files. An unreadable file becomes a missing row with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sgurinit.data.encode.blocks import EncodedBlock

EmbedImages = Callable[[list[Image.Image]], NDArray[Any]]


class ImageEncoder:
    """Reads image files and encodes them with a model.

    Parameters
    ----------
    name : str
        Name of the model. It identifies the vectors when an interrupted encoding is resumed.
    embed : callable
        Takes a list of RGB images and returns an array of shape (n_images, d).
    batch_size : int, default 64
        Number of images to encode at a time.

    See Also
    --------
    sgurinit.data.encode.timm_encoder.load_timm_encoder : An image encoder with a model of timm.
    find_images : Image files of the items.

    Examples
    --------
    >>> import numpy as np
    >>> from sgurinit.data.encode.image_encoder import ImageEncoder
    >>> def mean_colors(images):
    ...     return np.array([np.asarray(image).mean(axis=(0, 1)) for image in images])
    >>> encoder = ImageEncoder("mean color", mean_colors)
    """

    def __init__(self, name: str, embed: EmbedImages, batch_size: int = 64) -> None:
        self.name, self.embed, self.batch_size = name, embed, batch_size

    def __call__(self, values: Sequence[Path]) -> EncodedBlock:
        """Encode image files.

        Parameters
        ----------
        values : sequence of Path
            The files.

        Returns
        -------
        vectors : ndarray of float32, shape (n_readable, d)
            Vectors of the files that can be read, in order.
        failed : dict of int to str
            Why a file cannot be read, by its position in `values`.
        """
        parts, failed = [], {}
        for first in range(0, len(values), self.batch_size):
            images = []
            for at, path in enumerate(values[first : first + self.batch_size], first):
                image = decode_image(path)
                if isinstance(image, str):
                    failed[at] = image
                else:
                    images.append(image)
            if images:
                parts.append(np.asarray(self.embed(images), dtype=np.float32))
        return (np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)), failed


def decode_image(path: Path) -> Image.Image | str:
    """Read an image as RGB, or return the reason why it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        return "file is missing"
    except UnidentifiedImageError:
        return "not an image of a known format"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"cannot be decoded ({' '.join(str(error).split())})"
