"""Recommenders, one file per paper, and the resolver that finds them by name.

`blocks` holds what several models share: graphs, losses, base classes.
"""

from sgurinit.models.base import Batch, Recommender, RecommenderConfig, UserTable
from sgurinit.models.bm3 import BM3
from sgurinit.models.bprmf import BPRMF
from sgurinit.models.dragon import DRAGON
from sgurinit.models.dualgnn import DualGNN
from sgurinit.models.freedom import FREEDOM
from sgurinit.models.grcn import GRCN
from sgurinit.models.lattice import LATTICE
from sgurinit.models.lgmrec import LGMRec
from sgurinit.models.lightgcn import LightGCN
from sgurinit.models.mentor import MENTOR
from sgurinit.models.mgcn import MGCN
from sgurinit.models.mmgcn import MMGCN
from sgurinit.models.resolver import model_resolver, register_model
from sgurinit.models.slmrec import SLMRec
from sgurinit.models.smore import SMORE
from sgurinit.models.vbpr import VBPR

__all__ = [
    "BM3",
    "BPRMF",
    "DRAGON",
    "FREEDOM",
    "GRCN",
    "LATTICE",
    "MENTOR",
    "MGCN",
    "MMGCN",
    "SMORE",
    "VBPR",
    "Batch",
    "DualGNN",
    "LGMRec",
    "LightGCN",
    "Recommender",
    "RecommenderConfig",
    "SLMRec",
    "UserTable",
    "model_resolver",
    "register_model",
]
