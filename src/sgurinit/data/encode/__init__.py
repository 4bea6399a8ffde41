"""Features of items from text, from images, from attributes or from existing vectors.

Encoders are imported from their own modules, because each needs an extra:
`sgurinit.data.encode.text_encoder` and `sgurinit.data.encode.timm_encoder`.
"""

from __future__ import annotations

from sgurinit.data.encode.attributes import encode_attributes
from sgurinit.data.encode.blocks import Encoder
from sgurinit.data.encode.features import EncodedFeatures
from sgurinit.data.encode.image_files import find_images
from sgurinit.data.encode.pipeline import encode
from sgurinit.data.encode.text_columns import join_text_columns
from sgurinit.data.encode.vectors import join_vectors

__all__ = [
    "EncodedFeatures",
    "Encoder",
    "encode",
    "encode_attributes",
    "find_images",
    "join_text_columns",
    "join_vectors",
]
