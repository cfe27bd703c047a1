"""What a loop reads of a signal: its data under the loop's contract, its context, what was fetched."""

from __future__ import annotations

from typing import Any

import msgspec

from flo.core.context import Context, root_id
from flo.core.contract import Contract, ContractViolation, Violation
from flo.core.signal import Envelope
from flo.flow.router import Route


def decode_data(route: Route, event: Envelope) -> Any:
    """The signal's data under the loop's contract; `ContractViolation` where it breaks it or names a newer version."""
    contract = route.contract
    if contract is None:
        return _decode_plain(event)
    if event.dataschema is not None:
        _check_version(contract, event.dataschema)
    return contract.decode(event.data)


def _check_version(contract: Contract, schema: str) -> None:
    """`dataschema: name/version` (or a URI that ends so) may not be newer than the version the loop knows."""
    name, _, version = schema.rpartition("/")
    if name.rpartition("/")[2] == contract.name and version.isdecimal() and int(version) > contract.version:
        message = (
            f"the signal names {contract.name}/{version}, this loop knows {contract.name}/{contract.version}"
        )
        violation = Violation("/", "version", message, schema[:60], message, "version:/")
        raise ContractViolation(f"{contract.name}/{contract.version}", [violation])


_decode_json = msgspec.json.Decoder().decode


def _decode_plain(event: Envelope) -> Any:
    try:
        return _decode_json(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"the data is not JSON FLO can read: {error}"
        raise ContractViolation("none", [Violation("/", "json", message, "", message, "json:/")]) from None


def nothing_fetched(route: Route) -> dict[str, dict[str, Any]]:
    """What a loop reads where nobody fetched for it: its signal came another way, or its key was not known then."""
    return {name: {"missing": True, "reason": "it was not asked for"} for name in route.needs}


def effective_context(context: Context | None, event: Envelope, now: int, route: Route) -> Context:
    """The context as expressions see it: a deadline is always there, and no later than this loop's ttl allows."""
    if context is None:
        return root_context(event, now, route)
    deadline = context.born_ns + route.ttl_ns
    if context.deadline_ns is not None:
        deadline = min(deadline, context.deadline_ns)
    return Context(context.root, context.parent, context.born_ns, deadline, context.hops, context.seq)


def root_context(event: Envelope, now: int, route: Route) -> Context:
    """The context a signal opens by itself."""
    return Context(root_id(event), None, now, now + route.ttl_ns, 0)
