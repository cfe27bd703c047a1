"""What was computed from what: the same dataset version from the same input versions, and by whom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

COMPUTED_MAX = 50_000
"""Dataset versions remembered. Beyond, the one computed longest ago is forgotten."""

COMPUTATIONS_PER_VERSION_MAX = 64


@dataclass(frozen=True, slots=True)
class Computation:
    """One finished run that wrote a dataset version. `took_ns` is None where nobody said when it began."""

    job: str
    run_id: str
    ended_ns: int
    took_ns: int | None
    ancestors: frozenset[str]  # runs it is part of


@dataclass(slots=True)
class Computed:
    """A dataset version from certain input versions, and every computation of it. A job's retries count as one."""

    dataset: str
    version: str
    inputs: tuple[tuple[str, str], ...]  # (dataset, version), the first of them
    by_job: dict[str, Computation] = field(default_factory=dict)

    @property
    def last_ns(self) -> int:
        return max(done.ended_ns for done in self.by_job.values())


_Key = tuple[str, str, bytes]

INPUTS_SHOWN_MAX = 16
"""All of them are compared, by their digest; so many are kept to be shown."""


class Inputs:
    """All that a run read, with versions: compared as a whole."""

    __slots__ = ("digest", "shown")

    def __init__(self, versions: Mapping[str, str]) -> None:
        ordered = sorted(versions.items())
        self.digest = blake2b(repr(ordered).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.shown = tuple(ordered[:INPUTS_SHOWN_MAX])


class Computations:
    """Used on one thread. `changed` names what was computed again since the watchdog last looked."""

    def __init__(self) -> None:
        self._computed: OrderedDict[_Key, Computed] = OrderedDict()
        self._repeated: dict[str, dict[_Key, Computed]] = {}  # by dataset: those of more than one job
        self.changed: dict[str, None] = {}

    def add(self, dataset: str, version: str, inputs: Inputs, done: Computation) -> None:
        """A finished run. What is part of a run that is counted already, or holds one, is the same work."""
        key = (dataset, version, inputs.digest)
        computed = self._computed.pop(key, None) or Computed(dataset, version, inputs.shown)
        self._computed[key] = computed
        while len(self._computed) > COMPUTED_MAX:
            self._forget(next(iter(self._computed)))
        for job, other in list(computed.by_job.items()):
            if job == done.job or other.run_id in done.ancestors:
                return
            if done.run_id in other.ancestors:
                del computed.by_job[job]
        if len(computed.by_job) < COMPUTATIONS_PER_VERSION_MAX:
            computed.by_job[done.job] = done
        if len(computed.by_job) > 1:
            self._repeated.setdefault(dataset, {})[key] = computed
        elif key in self._repeated.get(dataset, ()):
            del self._repeated[dataset][key]  # what seemed to be others' work was part of this one
        self.changed[dataset] = None

    def _forget(self, key: _Key) -> None:
        del self._computed[key]
        self._repeated.get(key[0], {}).pop(key, None)

    def repeated(self, dataset: str, since_ns: int) -> list[Computed]:
        """The versions of a dataset that others computed again since a time; older ones are dropped from the list."""
        found = self._repeated.get(dataset, {})
        for key in [key for key, computed in found.items() if computed.last_ns < since_ns]:
            del found[key]
        if not found:
            self._repeated.pop(dataset, None)
        return list(found.values())

    def datasets(self) -> list[str]:
        """Those with versions that were computed more than once."""
        return list(self._repeated)
