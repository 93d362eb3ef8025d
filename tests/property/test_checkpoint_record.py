"""Whatever a job prints and however its log is cut, reports come through and readers see only the job's own words."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.connectors.jobside import record

FENCE = "0f3c"
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["started", "sample", "samples", "checkpoint", "result", "ended", "other"])
FIELDS = st.sampled_from(["wall_s", "host", "pid", "energy_j", "sources", "rows", "seq", "size", "sha256", "results"])
OUTPUT = st.text(st.characters(codec="utf-8"), max_size=40).filter(lambda text: record.PREFIX not in text)


def line(kind: str, values: dict[str, Any], fence: str = FENCE) -> str:
    return f"\n{record.PREFIX}{fence}:: {json.dumps({**values, 'kind': kind})}\n"


@settings(deadline=None)
@given(KINDS, st.dictionaries(FIELDS | st.text(max_size=5), JSON, max_size=8), st.integers(0, 200))
def test_no_line_makes_the_reader_raise(kind: str, values: dict[str, Any], cut: int) -> None:
    text = line(kind, values)
    for piece in (text, text[cut:], text[:-cut], text + text):
        report = record.parse(piece, FENCE)
        assert all(joules >= 0 for sample in report.samples for joules in sample.energy_j.values())


@settings(deadline=None)
@given(st.text())
def test_no_text_makes_the_reader_raise(text: str) -> None:
    record.parse(f"\n{record.PREFIX}{FENCE}:: {text}\n", FENCE)
    record.parse(text, FENCE)


@settings(deadline=None)
@given(st.lists(OUTPUT, min_size=1, max_size=6), st.lists(KINDS, min_size=6, max_size=6))
def test_stripping_gives_back_exactly_what_the_job_printed(printed: list[str], kinds: list[str]) -> None:
    mixed = "".join(text + line(kind, {}) for text, kind in zip(printed, kinds, strict=False))
    assert record.strip(mixed) == "".join(printed)


@settings(deadline=None)
@given(st.lists(OUTPUT, max_size=6), st.lists(st.integers(0, 50), min_size=1, max_size=8), st.randoms())
def test_every_sample_counts_once_in_any_order_among_any_output(
    printed: list[str], told: list[int], random: Any
) -> None:
    """INV-16, on the way in."""
    pieces = [line("sample", {"wall_s": n, "energy_j": {"cpu": n * 2}}) for n in told] + printed
    random.shuffle(pieces)
    report = record.parse("".join(pieces), FENCE)
    assert [(s.wall_s, s.energy_j["cpu"]) for s in report.samples] == [(n, n * 2) for n in sorted(set(told))]
