"""Image files become vectors; one that cannot be read becomes a missing row with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sgurinit.data.encode.blocks import Block

Embed = Callable[[list[Image.Image]], NDArray[Any]]


class ImageEncoder:
    """A model of images, and the reading of their files.

    Parameters
    ----------
    name : str
        What the vectors come from.
    embed : callable
        Gives a row per RGB image.
    batch : int, default 64
        Images at a time.
    """

    def __init__(self, name: str, embed: Embed, batch: int = 64) -> None:
        self.name, self.embed, self.batch = name, embed, batch

    def __call__(self, values: Sequence[Path]) -> Block:
        """Encode the files that can be read."""
        parts, failed = [], {}
        for first in range(0, len(values), self.batch):
            images = []
            for at, path in enumerate(values[first : first + self.batch], first):
                image = decode(path)
                if isinstance(image, str):
                    failed[at] = image
                else:
                    images.append(image)
            if images:
                parts.append(np.asarray(self.embed(images), dtype=np.float32))
        return (np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)), failed


def decode(path: Path) -> Image.Image | str:
    """Read an image as RGB, or say why that cannot be done."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        return "file is missing"
    except UnidentifiedImageError:
        return "no image of a known format"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"cannot be decoded ({' '.join(str(error).split())})"
