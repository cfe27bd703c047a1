"""The example's modules stand beside its bundle, not in a package: they are found as FLO finds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"

for folder in (str(PAYMENTS), str(Path(__file__).parent)):
    if folder not in sys.path:
        sys.path.append(folder)


@pytest.fixture(scope="session")
def payments() -> Path:
    return PAYMENTS
