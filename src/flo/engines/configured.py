"""What flo.yaml says of an engine, made ready for its adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flo.core.bundle.settings import Setting
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret


def settings_of(definition: EngineDefinition, settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Every setting of the kind, written or by default; secrets still hidden."""
    return {
        name: definition.settings.get(name, setting.default_value()) for name, setting in settings.items()
    }


class Revealed:
    """Makes texts of settings, and remembers which of them are secrets: they become stars in what is said back."""

    def __init__(self, reveal: Callable[[Secret], str]) -> None:
        self._reveal = reveal
        self._hidden: list[str] = []

    def text(self, value: Any) -> str:
        if not isinstance(value, Secret):
            return str(value)
        self._hidden.append(self._reveal(value))
        return self._hidden[-1]

    def texts(self, values: Mapping[str, Any] | None) -> dict[str, str]:
        return {name: self.text(value) for name, value in (values or {}).items()}

    @property
    def hidden(self) -> tuple[str, ...]:
        """The secrets among the texts made so far."""
        return tuple(self._hidden)
