"""The grid's part of the benchmark: many zones from a vendor that takes its time, and many waiters for one answer.

The vendor is a process of its own on the loopback interface, so that its work is not counted as ours; it answers
every request 50 ms late, in the documented shape of NESO's regional API with made-up figures.
"""

import asyncio
import contextlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import uvloop

from lowtide.connectors.grid.http_json import HttpJson
from lowtide.connectors.grid.reader import GridReader
from lowtide.connectors.grid.shelf import Shelf

ZONES, WAITERS, LATENCY_S = 200, 1000, 0.05
HALF_HOUR, HISTORY = timedelta(minutes=30), timedelta(days=8)
Row = Callable[..., None]


def _rows(first: datetime, count: int) -> list[dict[str, object]]:
    return [{"t": f"{first + n * HALF_HOUR:%Y-%m-%dT%H:%MZ}", "g": 100 + n % 48} for n in range(count)]


async def _serve(told: Connection, now: datetime) -> None:
    """Answer every kept-alive connection; count the requests."""
    slot = now.replace(minute=0, second=0, microsecond=0)
    bodies = {
        b"past": json.dumps({"rows": _rows(slot - HISTORY, 384)}).encode(),
        b"ahead": json.dumps({"rows": _rows(slot, 96)}).encode(),
    }
    asked = 0

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked += 1
                await asyncio.sleep(LATENCY_S)
                body = bodies[b"past" if b"/past " in head else b"ahead"]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, backlog=512)
    told.send(server.sockets[0].getsockname()[1])
    while await asyncio.to_thread(told.recv) == "count":
        told.send(asked)


def _vendor(told: Connection, now: datetime) -> None:
    asyncio.run(_serve(told, now))


@contextlib.contextmanager
def a_slow_vendor(now: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
    """Its base URL, and how many requests it has had."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_vendor, args=(theirs, now), daemon=True)
    process.start()

    def count() -> int:
        ours.send("count")
        return int(ours.recv())

    try:
        yield f"http://127.0.0.1:{ours.recv()}", count
    finally:
        ours.send("end")
        process.join(5)


def _load() -> float:
    """Runnable processes per core over the last minute: above one, every wall time here is too long."""
    return psutil.getloadavg()[0] / (psutil.cpu_count() or 1)


def _reader(url: str, now: datetime, folder: Path) -> GridReader:
    actual = {"path": "/{zone}/past", "rows": "rows", "time": "t", "value": "g"}
    zones = [f"zone-{n}" for n in range(ZONES)]
    source = HttpJson(url, zones, actual, signal="average", forecast={"path": "/{zone}/ahead"})
    return GridReader(source, lambda: now, shelf=Shelf(folder, "bench"))


async def _refresh(reader: GridReader) -> float:
    """Both questions for every zone at once, as the daemon asks them; seconds."""
    begun = time.perf_counter()

    async def one(zone: str) -> None:
        await reader.forecast(zone)
        await reader.actual(zone, HISTORY)

    await asyncio.gather(*(one(zone) for zone in reader.source.zones()))
    return time.perf_counter() - begun


async def _measure(url: str, count: Callable[[], int], now: datetime, folder: Path, row: Row) -> None:
    reader = _reader(url, now, folder)
    process = psutil.Process()
    before, used_s = process.memory_info().rss, time.process_time()
    took = await _refresh(reader)
    used_s = time.process_time() - used_s
    grown = (process.memory_info().rss - before) / 2**20
    row(
        f"refresh of {ZONES} zones, {count()} requests",
        f"{took:.2f} s",
        f"goal < 2 s; latency {LATENCY_S * 1000:.0f} ms",
    )
    row("processor time that it took", f"{used_s:.2f} s", f"other load on this machine: {_load():.1f} per core")
    row("extra memory with all of it held", f"{grown:.0f} MiB", "goal < 60 MB")
    row("the same again from the cache", f"{await _refresh(reader) * 1000:.1f} ms", f"{count()} requests in all")
    begun = time.perf_counter()
    await reader.close()
    row("written down behind it, until", f"{time.perf_counter() - begun:.2f} s", "after the refresh")
    begun = time.perf_counter()
    again = _reader(url, now, folder)
    row("read back at a restart", f"{time.perf_counter() - begun:.2f} s")
    took = await _refresh(again)
    row("first refresh after a restart", f"{took * 1000:.1f} ms", f"{count()} requests in all")
    await again.close()
    await _crowd(url, count, now, folder / "crowd", row)


async def _crowd(url: str, count: Callable[[], int], now: datetime, folder: Path, row: Row) -> None:
    reader, before = _reader(url, now, folder), count()
    begun = time.perf_counter()
    await asyncio.gather(*(reader.forecast("zone-0") for _ in range(WAITERS)))
    took = time.perf_counter() - begun
    row(f"{WAITERS:,} waiters for one answer", f"{took * 1000:.0f} ms", f"{count() - before} request(s); goal: one")
    await reader.close()


def bench_grid(folder: Path, row: Row) -> None:
    """Refresh, memory, cache, restart, single flight."""
    print("Grid data from a slow vendor over the loopback interface")
    now = datetime.now(UTC)
    with a_slow_vendor(now) as (url, count):
        uvloop.run(_measure(url, count, now, folder / "grid", row))  # as the daemon does
