"""Frozen de-duplication marks in files: a cache of the ledger, rebuilt from it where a file is missing or damaged."""

from flo.stores.marks.file import MarkFile
from flo.stores.marks.store import MarkStore

__all__ = ["MarkFile", "MarkStore"]
