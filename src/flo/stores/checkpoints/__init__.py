"""Checkpoints of keyed state: how far the fold over the ledger had come."""

from flo.stores.checkpoints.format import Entry
from flo.stores.checkpoints.store import Checkpoint, CheckpointStore, Keyed, States
from flo.stores.checkpoints.writer import CheckpointWriter

__all__ = ["Checkpoint", "CheckpointStore", "CheckpointWriter", "Entry", "Keyed", "States"]
