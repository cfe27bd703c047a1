"""The embedded runtime: one process, one data directory, nothing to install."""
