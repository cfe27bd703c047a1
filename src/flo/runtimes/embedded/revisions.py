"""One revision in force in every shard, also when some of them are away or refuse while it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from flo.core.errors import FloError, UnavailableError
from flo.flow.reload import LoadedBundle
from flo.runtimes.embedded.gateway import Gateway
from flo.runtimes.embedded.shard_port import ShardPort

log = logging.getLogger("flo.revisions")

AGAIN_S = 0.2
"""Between two tries to bring a shard to the revision in force: it is started again, or its disk heals, in its own time."""


class Revisions:
    """Used on the runtime's event loop.

    A change is in force once any shard has taken it. What one was told and did not confirm, it may have recorded all the
    same: it is told the revision in force again, until it says so. One that comes back from a crash is asked what it runs.
    """

    def __init__(
        self, ports: Sequence[ShardPort], gateway: Gateway, in_force: Callable[[], LoadedBundle | None]
    ) -> None:
        self._ports = ports
        self._gateway = gateway
        self._in_force = in_force
        self._turn = asyncio.Lock()
        self._behind: dict[int, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Nothing is routed meanwhile, and nobody else changes anything."""
        async with self._turn:
            self._gateway.close()
            try:
                yield
            finally:
                self._gateway.reopen()

    async def put(self, bundle: LoadedBundle, by: str) -> None:
        """Put a bundle in force, within `changing`. Raises where no shard has taken it, or one never will: then the one
        before is in force, and told again to every shard."""
        await self.stop()
        answers = await asyncio.gather(
            *(port.apply(bundle, by) for port in self._ports), return_exceptions=True
        )
        failed: dict[int, BaseException] = {}
        for port, answer in zip(self._ports, answers, strict=True):
            if isinstance(answer, BaseException):
                failed[port.number] = answer
        fatal = [error for error in failed.values() if not isinstance(error, UnavailableError)]
        if fatal or len(failed) == len(self._ports):
            for port in self._ports if self._in_force() is not None else ():
                self._bring(port.number, f"not changed: {by}")
            raise next(iter(fatal or failed.values()))
        for number, error in failed.items():
            log.warning("shard %d has not confirmed revision %s yet: %s", number, bundle.revision, error)
            self._bring(number, by)

    def came_back(self, number: int, revision: str) -> None:
        """A worker was started again: where it runs another revision, nothing is routed until it runs the one in force."""
        bundle = self._in_force()
        if bundle is not None and revision != bundle.revision:
            if not self._turn.locked():
                self._gateway.close()  # before anything can be routed to it
            self._bring(number, "flo run")

    def _bring(self, number: int, by: str) -> None:
        before = self._behind.pop(number, None)
        if before is not None:
            before.cancel()
        self._behind[number] = asyncio.create_task(self._bring_to_it(self._ports[number], by))

    async def _bring_to_it(self, port: ShardPort, by: str) -> None:
        while True:
            try:
                async with self.changing():
                    bundle = self._in_force()
                    assert bundle is not None
                    await port.apply(bundle, by)
            except UnavailableError:
                await asyncio.sleep(AGAIN_S)
            except FloError as error:
                log.error("shard %d cannot be brought to the revision in force: %s", port.number, error)
                return
            else:
                log.warning("shard %d runs revision %s now", port.number, bundle.revision)
                return

    async def stop(self) -> None:
        """What is behind now is found at the next start."""
        behind, self._behind = self._behind, {}
        for task in behind.values():
            task.cancel()
        await asyncio.gather(*behind.values(), return_exceptions=True)
        if not self._turn.locked():
            self._gateway.reopen()  # one that was ended before it began has not
