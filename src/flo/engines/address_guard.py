"""Which addresses an outgoing request may go to: a guard against server-side request forgery.

A name in flo.yaml is the operator's word; where it points is whoever's who runs its DNS. So every address is
checked after it was resolved, and the connection is made to the very address that was checked (there is no
second look-up that could answer differently: DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from flo.core.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")


class AddressRefused(OSError):
    """A host resolved to an address that requests may not go to."""


def is_public(address: Address) -> bool:
    """Whether it is an address of the public internet, also where it hides an IPv4 address in an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and address in SIX_TO_FOUR:
            inner = ipaddress.IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def literal_address(host: str) -> Address | None:
    """The address, where the host is written as one, in any of the forms a resolver would take for one
    (`127.1`, `0x7f000001`).
    """
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return (
            ipaddress.IPv4Address(socket.inet_aton(host))
            if host[-1:].isalnum() and _is_numeric(host)
            else None
        )
    except OSError:
        return None


def _is_numeric(host: str) -> bool:
    return all(part.isdecimal() or part.lower().startswith("0x") for part in host.split("."))


class AddressGuard(AbstractResolver):
    """Resolves one host, and lets its addresses through only where requests may go to them.

    `allow_private` lets every address through. Otherwise only public ones pass, and loopback ones where
    flo.yaml itself says loopback (`127.0.0.1`, `::1`, `localhost`): who writes that means this machine.
    """

    def __init__(self, host: str, *, allow_private: bool) -> None:
        """Raises `UsageError` where the host itself is an address that would be refused."""
        self._host = host
        self._allow_private = allow_private
        literal = literal_address(host)
        self._loopback = host.lower().rstrip(".") == "localhost" or (
            literal is not None and literal.is_loopback
        )
        if literal is not None and not self.allows(literal):
            raise UsageError(
                f"{host} is not a public address: requests go there only with `allow_private: true`"
            )

    def allows(self, address: Address) -> bool:
        if self._allow_private or is_public(address):
            return True
        return self._loopback and address.is_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if host.rstrip(".").lower() != self._host.rstrip("."):
            raise AddressRefused(f"requests go to {self._host} alone, not to {host}")
        infos = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family
        )
        allowed = [
            ResolveResult(
                hostname=host,
                host=str(sockaddr[0]),
                port=int(sockaddr[1]),
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, sockaddr in infos
            if self.allows(ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]))
        ]
        if not allowed:
            raise AddressRefused(
                f"{host} resolves to no public address; if it is meant to, set `allow_private: true`"
            )
        return allowed

    async def close(self) -> None:
        """Nothing to free."""
