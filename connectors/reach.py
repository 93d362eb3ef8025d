"""Which machines a connector may speak to: hosts that the settings name, at addresses outside private networks.

A name is looked up once per connection and the connection goes to an address that was checked, so that a name
cannot mean something else a moment later (DNS rebinding). Private, loopback, link-local and reserved addresses,
also those wrapped into IPv6, are refused unless their network is listed. An address or ``localhost`` that the
administrator wrote into the base URL counts as listed: that address and no other. Link-local addresses are refused
whatever is listed: no vendor lives there, but a cloud's metadata service does, which hands out its machine's keys.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from lowtide.scheduler.model.errors import BadInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Addresses of a host and port, as the system's resolver gives them."""

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
NAT64 = ip_network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address, which a gateway may lead into its own network."""


class OutOfReach(Exception):
    """The host is not a configured one, or has no address that may be spoken to."""


async def system_addresses(host: str, port: int) -> list[str]:
    """Ask the system's resolver, once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Reach:
    """The hosts of one source, in lower case, and the networks that are allowed although they are private."""

    hosts: frozenset[str]
    networks: tuple[Network, ...] = ()
    resolve: Resolve = system_addresses

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where a connection to this host may go, in the resolver's order; the look-up happens here alone.

        Raises:
            OutOfReach: not a configured host, or only addresses that are not allowed.
            OSError: the name cannot be resolved.

        """
        if host.lower() not in self.hosts:
            raise OutOfReach("is not a host that the settings name")
        found = await self.resolve(host, port)
        allowed = [address for address in found if self._allows(ip_address(address.partition("%")[0]))]
        if not allowed:
            raise OutOfReach("is at a private address; list its network under the source's 'private_networks'")
        return allowed

    def _allows(self, address: Address) -> bool:
        inner = _wrapped(address)
        if address.is_link_local or (inner is not None and inner.is_link_local):
            return False
        if any(address in network for network in self.networks):
            return True
        if inner is not None:
            return self._allows(inner)
        return address.is_global and not address.is_multicast


def reach_of(source: str, base_url: str, private_networks: Sequence[str] = ()) -> Reach:
    """What a source with this base URL may speak to.

    Raises:
        BadInput: the URL is not http(s) with a host, or holds a user, a query or a fragment; or a network is none.

    """
    parts = _checked(source, base_url)
    host = (parts.hostname or "").lower()
    listed = [private_networks] if isinstance(private_networks, str) else private_networks
    networks = [_network(source, text) for text in listed]
    return Reach(frozenset({host}), (*networks, *_written(host)))


def _checked(source: str, base_url: str) -> SplitResult:
    expected = f"{source} needs a base URL such as https://host or http://host:port/path"
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # refuses what is no number
    except (AttributeError, TypeError, ValueError):
        raise BadInput(f"{expected}.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInput(f"{expected}.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        # It stands in messages and settings: a key does not belong there.
        raise BadInput(f"{expected}, without a user, a query or a fragment.", fix="Give keys as a file or a variable.")
    return parts


def _network(source: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        message = f"{source}: private_networks holds {text!r}; expected a network such as 10.0.0.0/8 or fd00::/8."
        raise BadInput(message) from None


def _written(host: str) -> tuple[Network, ...]:
    """What the administrator listed by writing it as the host."""
    if host == "localhost":
        return LOOPBACK
    try:
        return (ip_network(host),)
    except ValueError:
        return ()


def _wrapped(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, if any."""
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
