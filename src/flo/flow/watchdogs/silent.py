"""`flo.command.silent`: an engine said yes, and the effect it promised never showed."""

from __future__ import annotations

from flo.core.finding import Finding
from flo.core.record import CommandOutcome
from flo.flow.watchdogs.tally import Tally, TallyWatchdog


class SilentWatchdog(TallyWatchdog):
    """From outcomes: one finding a loop, over after a while without another."""

    type = "flo.command.silent"

    def observe(self, event: CommandOutcome) -> None:
        loop, _, rest = event.command_key.partition("/")
        if event.outcome == "silent":
            self.count(loop, "silent", event.at_ns, rest, event.detail)

    def finding(self, loop: str, tally: Tally) -> Finding:
        many = tally.total != 1
        return Finding(
            type=self.type,
            subject=loop,
            loop=loop,
            detail=f"{tally.total} command{'s' * many} of {loop} reported success and wrote nothing; "
            f"the last one, {tally.key}, {tally.detail}",
            at_ns=tally.last_ns,
            figures={"silent": tally.total, "last_command": f"{loop}/{tally.key}"},
        )
