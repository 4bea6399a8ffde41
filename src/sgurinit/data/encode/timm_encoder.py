"""Encode images with models of timm, such as CLIP's image towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image

from sgurinit.data.encode._device import (
    choose_device,
    explain_out_of_memory,
    explain_torchvision_errors,
)
from sgurinit.data.encode.image_encoder import ImageEncoder
from sgurinit.errors import InputError

with explain_torchvision_errors():
    import timm
    import timm.data

DEFAULT_MODEL = "vit_base_patch32_clip_224.openai"
"""The image tower of OpenAI's CLIP ViT-B/32."""


def load_timm_encoder(
    model: str = DEFAULT_MODEL, device: str | None = None, batch_size: int = 64
) -> ImageEncoder:
    """Load a model of timm as an image encoder.

    Parameters
    ----------
    model : str, default "vit_base_patch32_clip_224.openai"
        A model name of timm, whose weights are downloaded once; or a folder with ``config.json``
        and weights, as timm and the Hugging Face hub write them.
    device : str, optional
        Device to compute on, such as ``"cpu"`` or ``"cuda"``. Default: CUDA where available.
    batch_size : int, default 64
        Number of images to encode at a time.

    Returns
    -------
    ImageEncoder
        The model in evaluation mode, with the image preprocessing that it was trained with.

    Raises
    ------
    InputError
        If the model cannot be loaded, the device cannot be used, or its memory is too small.

    See Also
    --------
    find_images : Image files of the items.
    sgurinit.data.encode.text_encoder.TextEncoder : The same for text.

    Examples
    --------
    >>> from sgurinit.data.encode.timm_encoder import load_timm_encoder  # doctest: +SKIP
    >>> encoder = load_timm_encoder(device="cpu")  # doctest: +SKIP
    """
    place = choose_device(device)
    name = f"local-dir:{model}" if Path(model).is_dir() else model
    try:
        with explain_out_of_memory(place, batch_size):
            network = timm.create_model(name, pretrained=True, num_classes=0).eval().to(place)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        detail = " ".join(str(error).split())[:160]
        raise InputError(
            f"model is {model!r}: not a folder with a model of timm, and no model of this name can "
            f"be downloaded ({detail}); without a network, give a local folder"
        ) from None
    settings = timm.data.resolve_model_data_config(network)
    transform: Any = timm.data.create_transform(**settings, is_training=False)

    def embed(images: list[Image.Image]) -> NDArray[Any]:
        with explain_out_of_memory(place, batch_size), torch.inference_mode():
            pixels = torch.stack([transform(image) for image in images]).to(place)
            rows: NDArray[Any] = network(pixels).float().cpu().numpy()
            return rows

    return ImageEncoder(f"timm {model}", embed, batch_size)
