"""The data that a job reads: how much lies at which site, and what bringing it to another one takes."""

from collections.abc import Mapping
from dataclasses import dataclass

from lowtide.scheduler.model.quantity import memory_bytes

DATA_HELP = "write SIZE@SITE, for example 200GB@paris"
BYTES_PER_GB = 1e9
BITS_PER_BYTE = 8
BITS_PER_GBIT = 1e9
USUAL_KWH_PER_GB = 0.0065
"""Aslan et al., "Electricity Intensity of Internet Data Transmission" (J. Industrial Ecology 22, 2018): 0.06 in 2015,
halving about every two years, carried on to 2020. Large networks are told to take 0.001."""
USUAL_GBIT_PER_S = 1.0
MAX_DATA = 64
"""More are a generated mistake."""


@dataclass(frozen=True, slots=True)
class Data:
    """So many bytes that lie at a site."""

    size_bytes: int
    site: str

    def __str__(self) -> str:
        """As people write it."""
        for unit, size in (("TB", 10**12), ("GB", 10**9), ("GiB", 1024**3), ("MB", 10**6), ("MiB", 1024**2)):
            if self.size_bytes % size == 0:
                return f"{self.size_bytes // size}{unit}@{self.site}"
        return f"{self.size_bytes}@{self.site}"


@dataclass(frozen=True, slots=True)
class TransferPart:
    """What one site would send: its share of the bytes, and the electricity on the way in kWh, estimated."""

    source: str
    size_bytes: int
    energy_kwh: float


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a job would have brought to ``site`` before it runs there, and how many seconds that takes."""

    site: str
    lasts_s: float
    parts: tuple[TransferPart, ...]


def transfers(data: tuple[Data, ...], gbit_per_s: Mapping[str, float], kwh_per_gb: float) -> tuple[Transfer, ...]:
    """For each site that lacks some of the data, what would be brought there, one part after the other.

    Args:
        data: what is read.
        gbit_per_s: the sites with how fast they send and take; each part is as fast as the slower of its two ends.
            An end that is not among them does not slow it down.
        kwh_per_gb: electricity on the way.

    """
    if not data:
        return ()
    found = []
    for site, speed in gbit_per_s.items():
        parts = tuple(
            TransferPart(one.site, one.size_bytes, one.size_bytes / BYTES_PER_GB * kwh_per_gb)
            for one in data
            if one.site != site
        )
        lasts_s = sum(_lasts_s(part.size_bytes, min(speed, gbit_per_s.get(part.source, speed))) for part in parts)
        if parts:
            found.append(Transfer(site, lasts_s, parts))
    return tuple(found)


def _lasts_s(size_bytes: int, gbit_per_s: float) -> float:
    return size_bytes * BITS_PER_BYTE / (gbit_per_s * BITS_PER_GBIT)


def data_of(value: object) -> tuple[Data, ...]:
    """Declared data from a list of texts such as ``200GB@paris``.

    Raises:
        ValueError: anything else, or a site that is named twice.

    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str | Data) for text in texts):
        message = f"{str(value)[:80]!r} is neither text nor a list of it; {DATA_HELP}"
        raise ValueError(message)
    found = tuple(_read(str(text)) for text in texts)
    if len({one.site for one in found}) < len(found) or len(found) > MAX_DATA:
        message = f"names a site twice or more than {MAX_DATA} of them; add up what lies at each"
        raise ValueError(message)
    return found


def _read(text: str) -> Data:
    size, _, site = (part.strip() for part in text.rpartition("@"))
    if not size or not site:
        message = f"{text[:80]!r} names no size or no site; {DATA_HELP}"
        raise ValueError(message)
    return Data(memory_bytes(int(size) if size.isdigit() else size), site)
