"""Records: what one group commit holds, and how it becomes the bytes of a ledger block."""

from flo.core.record.event import (
    Answered,
    Applied,
    Attempted,
    CommandIssued,
    CommandOutcome,
    DeadLetter,
    DeadLetterDropped,
    Event,
    IterationClosed,
    Killed,
    Note,
)
from flo.core.record.group import DecisionSection, Group, GroupView, decode_group, encode_group

__all__ = [
    "Answered",
    "Applied",
    "Attempted",
    "CommandIssued",
    "CommandOutcome",
    "DeadLetter",
    "DeadLetterDropped",
    "DecisionSection",
    "Event",
    "Group",
    "GroupView",
    "IterationClosed",
    "Killed",
    "Note",
    "decode_group",
    "encode_group",
]
