"""The embedded runtime: one process, one data directory, nothing to install."""

from flo.runtimes.embedded.collector import rare_collections
from flo.runtimes.embedded.entry import open_reader, start_runtime
from flo.runtimes.embedded.export import export_rows
from flo.runtimes.embedded.export_columns import export_decisions
from flo.runtimes.embedded.file_run import run_file

__all__ = ["export_decisions", "export_rows", "open_reader", "rare_collections", "run_file", "start_runtime"]
