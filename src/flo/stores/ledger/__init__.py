"""The ledger's files: blocks in segments, durable by group commit (`docs/explanation/ledger-format.md`)."""

from flo.stores.ledger.chain import Period
from flo.stores.ledger.frames import CODEC_ARROW, CODEC_COLUMNS, CODEC_LOST, Block, BlockHeader, BlockMissing
from flo.stores.ledger.ledger import Ledger
from flo.stores.ledger.reader import LedgerReader
from flo.stores.ledger.salvaging import LostBlocks, salvage

__all__ = [
    "CODEC_ARROW",
    "CODEC_COLUMNS",
    "CODEC_LOST",
    "Block",
    "BlockHeader",
    "BlockMissing",
    "Ledger",
    "LedgerReader",
    "LostBlocks",
    "Period",
    "salvage",
]
