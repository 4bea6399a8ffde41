"""Users and items as vectors in an index: the items nearest to known and to new users."""

from sgurinit.integrations.vectors.index import INDEX_LIBRARIES
from sgurinit.integrations.vectors.store import NearestItems, VectorStore

__all__ = ["INDEX_LIBRARIES", "NearestItems", "VectorStore"]
