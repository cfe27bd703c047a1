"""The engines: what executes commands, one kind a file."""

from flo.engines.registry import Surroundings, build_engine, engine_kinds, is_unchanged

__all__ = ["Surroundings", "build_engine", "engine_kinds", "is_unchanged"]
