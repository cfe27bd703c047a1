"""Where FLO keeps what it must not lose: the ledger's files and the checkpoints of state."""
