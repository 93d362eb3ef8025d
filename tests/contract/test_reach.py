"""A source speaks to the hosts of its settings, at addresses that were checked, and to nothing else (SSRF)."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from lowtide.connectors.grid.fetch import Vendor
from lowtide.connectors.http import HttpAnswer, HttpClient, HttpTrouble, HttpTroubleKind
from lowtide.connectors.reach import OutOfReach, Reach, reach_of
from lowtide.scheduler.model.errors import BadInput, GridFailure
from tests.contract.grid_server import Reply, a_vendor

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:a00:1::", "2002:7f00:1::",
]  # fmt: skip
OUTSIDE = ["93.184.215.14", "2606:2800:220:1::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]


class Names:
    """A resolver with one list of addresses per look-up; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> list[str]:
        assert (host, bool(port)) == ("vendor.test", True)
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


def with_names(base_url: str, names: Names, *networks: str) -> Reach:
    found = reach_of("v", base_url, networks)
    return Reach(found.hosts, found.networks, names)


def addresses(reach: Reach, host: str = "vendor.test") -> list[str]:
    return asyncio.run(reach.addresses(host, 443))


def using(reach: Reach, use: Callable[[HttpClient], Awaitable[object]]) -> object:
    async def whole() -> object:
        client = HttpClient(reach=reach, headers={"Authorization": "hush"}, connect_s=1.0, read_s=1.0)
        try:
            return await use(client)
        finally:
            await client.close()

    return asyncio.run(whole())


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_at_a_private_address_is_refused(address: str) -> None:
    with pytest.raises(OutOfReach, match="private_networks"):
        addresses(with_names("https://vendor.test", Names([address])))


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_name_at_a_public_address_is_taken(address: str) -> None:
    assert addresses(with_names("https://vendor.test", Names([address]))) == [address]


def test_a_listed_network_is_taken_and_its_neighbour_is_not() -> None:
    names = Names(["10.1.2.3", "10.2.0.1", "192.168.1.1", "::ffff:10.1.0.9"])
    assert addresses(with_names("https://vendor.test", names, "10.1.0.0/16")) == ["10.1.2.3", "::ffff:10.1.0.9"]


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"])
def test_a_link_local_address_is_refused_whatever_is_listed(address: str) -> None:
    listed = with_names("https://vendor.test", Names([address]), "0.0.0.0/0", "::/0")
    with pytest.raises(OutOfReach):
        addresses(listed)


def test_a_link_local_address_is_refused_as_a_base_url_too() -> None:
    with pytest.raises(OutOfReach):
        addresses(reach_of("v", "http://169.254.169.254"), "169.254.169.254")


@pytest.mark.parametrize("host", ["evil.test", "vendor.test.evil.test", "127.0.0.1", ""])
def test_another_host_than_the_configured_one_is_refused_without_a_look_up(host: str) -> None:
    names = Names(["93.184.215.14"])
    with pytest.raises(OutOfReach, match="not a host that the settings name"):
        addresses(with_names("https://vendor.test", names), host)
    assert names.asked == 0


def test_an_address_that_the_administrator_wrote_counts_as_listed_and_no_other_does() -> None:
    reach = reach_of("v", "http://192.168.7.7:9090")
    assert asyncio.run(reach.addresses("192.168.7.7", 9090)) == ["192.168.7.7"]
    with pytest.raises(OutOfReach):
        addresses(with_names("http://192.168.7.7:9090", Names(["192.168.7.8"])), "192.168.7.8")


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"])
def test_an_address_in_disguise_is_not_one_that_was_written(host: str) -> None:
    async def resolve(_: str, __: int) -> list[str]:
        return ["127.0.0.1"]

    found = reach_of("v", f"http://{host}:9090")
    with pytest.raises(OutOfReach):
        asyncio.run(Reach(found.hosts, found.networks, resolve).addresses(host, 9090))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h", "h", "", "https://", "https://u:p@h", "https://h?key=1", "https://h#x", "http://h:port",
        "http://[::1", None,
    ],
)  # fmt: skip
def test_a_base_url_that_is_none_is_refused_at_the_start_and_not_repeated(url: str) -> None:
    with pytest.raises(BadInput, match="v needs a base URL") as caught:
        Vendor("v", url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("network", ["10.0.0.0/33", "10.1.0.0/8", "all", ""])
def test_a_network_that_is_none_is_refused_at_the_start(network: str) -> None:
    with pytest.raises(BadInput, match="private_networks"):
        Vendor("v", "https://vendor.test", private_networks=[network])


def test_a_name_is_looked_up_once_per_connection_and_the_connection_goes_there() -> None:
    """DNS rebinding: the second answer would lead into the private network."""
    with a_vendor(lambda _: Reply(body=b"tide")) as vendor:
        port = urlsplit(vendor.url).port
        names = Names(["127.0.0.1"], ["10.255.255.1"])
        reach = with_names(f"http://vendor.test:{port}", names, "127.0.0.0/8")

        async def use(client: HttpClient) -> HttpAnswer:
            return await client.request("GET", f"http://vendor.test:{port}/x")

        answer = using(reach, use)
        assert isinstance(answer, HttpAnswer)
        assert answer.body == b"tide"
        assert names.asked == 1
        assert vendor.headers[0]["host"] == f"vendor.test:{port}"


def test_a_name_that_moves_into_the_private_network_is_refused_at_the_next_connection() -> None:
    with a_vendor(lambda _: Reply()) as vendor:
        port = urlsplit(vendor.url).port
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        reach = with_names(f"http://vendor.test:{port}", names, "127.0.0.1/32")

        async def use(client: HttpClient) -> None:
            await client.request("GET", f"http://vendor.test:{port}/x")
            with pytest.raises(HttpTrouble) as caught:
                await client.request("GET", f"http://vendor.test:{port}/x")
            assert caught.value.kind == HttpTroubleKind.OUT_OF_REACH

        using(reach, use)
        assert (len(vendor.paths), names.asked) == (1, 2)


def test_an_address_that_does_not_answer_leaves_the_next_one() -> None:
    with a_vendor(lambda _: Reply(body=b"tide")) as vendor:
        port = urlsplit(vendor.url).port
        reach = with_names(f"http://vendor.test:{port}", Names(["127.9.9.9", "127.0.0.1"]), "127.0.0.0/8")

        async def use(client: HttpClient) -> bytes:
            return (await client.request("GET", f"http://vendor.test:{port}/")).body

        assert using(reach, use) == b"tide"


def test_a_name_that_cannot_be_resolved_is_an_outage() -> None:
    async def resolve(_: str, __: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    async def use(client: HttpClient) -> None:
        with pytest.raises(HttpTrouble, match="cannot be resolved") as caught:
            await client.request("GET", "https://vendor.test/?key=hush")
        assert caught.value.kind == HttpTroubleKind.CONNECT
        assert "hush" not in str(caught.value)

    using(Reach(frozenset({"vendor.test"}), (), resolve), use)


def test_tls_is_asked_for_the_name_and_not_for_the_address() -> None:
    """The first bytes of the hello hold the server's name; a certificate is then checked against it."""
    told: list[bytes] = []

    async def use(client: HttpClient) -> None:
        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.append(await reader.read(4096))
            writer.close()

        server = await asyncio.start_server(hear, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(HttpTrouble):
            await client.request("GET", f"https://vendor.test:{port}/")
        server.close()

    using(with_names("https://vendor.test", Names(["127.0.0.1"]), "127.0.0.0/8"), use)
    assert b"vendor.test" in told[0]


def test_a_source_says_what_to_do_about_a_private_address() -> None:
    async def resolve(_: str, __: int) -> list[str]:
        return ["10.0.0.1"]

    vendor = Vendor("v", "https://vendor.test")
    vendor._http = HttpClient(reach=Reach(frozenset({"vendor.test"}), (), resolve))

    async def ask() -> None:
        with pytest.raises(GridFailure, match="list its network under the source's 'private_networks'"):
            await vendor.body("/x", now=NOW, query={"token": "hush"})
        await vendor.close()

    asyncio.run(ask())
