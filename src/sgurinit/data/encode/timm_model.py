"""Models of images from timm, CLIP's towers among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image

from sgurinit.data.encode._device import enough_memory, fitting_torchvision, pick_device
from sgurinit.data.encode.images import ImageEncoder
from sgurinit.errors import InputError

with fitting_torchvision():
    import timm
    import timm.data

DEFAULT = "vit_base_patch32_clip_224.openai"
"""The image tower of OpenAI's CLIP."""


def timm_encoder(model: str = DEFAULT, device: str | None = None, batch: int = 64) -> ImageEncoder:
    """Load a model.

    Parameters
    ----------
    model : str
        A name of timm, whose weights are fetched once; or a folder with ``config.json`` and
        weights, as timm and the Hugging Face hub write them.
    device : str, optional
        Where it computes, such as ``"cuda"``.
    batch : int, default 64
        Images at a time.

    Raises
    ------
    InputError
        If there is no such model or device.
    """
    place = pick_device(device)
    named = f"local-dir:{model}" if Path(model).is_dir() else model
    try:
        with enough_memory(place, batch):
            network = timm.create_model(named, pretrained=True, num_classes=0).eval().to(place)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        detail = " ".join(str(error).split())[:160]
        raise InputError(
            f"model is {model!r}: no folder with a model of timm, and none of that name can be "
            f"fetched ({detail}); give a local folder where there is no network"
        ) from None
    settings = timm.data.resolve_model_data_config(network)
    transform: Any = timm.data.create_transform(**settings, is_training=False)

    def embed(images: list[Image.Image]) -> NDArray[Any]:
        with enough_memory(place, batch), torch.inference_mode():
            pixels = torch.stack([transform(image) for image in images]).to(place)
            rows: NDArray[Any] = network(pixels).float().cpu().numpy()
            return rows

    return ImageEncoder(f"timm {model}", embed, batch)
