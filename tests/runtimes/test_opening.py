"""A shard that could not be opened holds nothing: neither its lock nor its files."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.sim.pausing import files, made

from flo.flow.reload import LoadedBundle
from flo.runtimes.embedded.opening import open_shard
from flo.runtimes.simulated.simulation import DATA, Simulation


async def test_a_failed_opening_leaves_the_shard_to_whoever_opens_it_next() -> None:
    simulation = Simulation(files(), seed=1)
    await simulation.start()
    await simulation.runtime.ingest([made(1)])
    await simulation.stop()

    def missing(revision: str, content: Mapping[str, bytes] | None) -> LoadedBundle:
        raise FileNotFoundError(revision)

    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            open_shard(simulation.disk, str(DATA), 0, missing)
    await simulation.start()
    assert len((await simulation.runtime.decisions({}, 10, None)).items) == 1
    await simulation.stop()
