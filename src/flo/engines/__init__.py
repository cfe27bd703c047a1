"""The engines: what executes commands, one kind a file."""

from flo.engines.registry import Surroundings, build_engine, engine_kinds

__all__ = ["Surroundings", "build_engine", "engine_kinds"]
