"""Deploy: networks made smaller, stored, and run elsewhere. Needs no Lightning."""

from __future__ import annotations

from l1prune.deploy.encodings import Exact, Half, PlainZeros, RowInt8
from l1prune.deploy.storage import load_sparse, save_sparse

__all__ = ["Exact", "Half", "PlainZeros", "RowInt8", "load_sparse", "save_sparse"]
