"""State of a loop: windows over event time and sketches, as data in a key's slots and as emitted code that updates it."""

from flo.core.state.exact import StateError
from flo.core.state.plan import StatePlan, plan_state
from flo.core.state.read import FieldPlan

__all__ = ["FieldPlan", "StateError", "StatePlan", "plan_state"]
