"""The output of an attempt, put together from looks at the end of its log."""

import json

import pytest

from lowtide.connectors.cluster.logtail import CUT, end_of_log, last_lines
from lowtide.connectors.jobside.record import PREFIX, strip
from lowtide.scheduler.control.growing import GAP, Growing

NARROW, WIDE = 3, 12


def told(kind: str, number: int = 0) -> str:
    """A line of the runner's, as it writes it."""
    return f"\n{PREFIX}fence:: {json.dumps({'kind': kind, 'wall_s': number})}\n"


def lines(first: int, end: int) -> str:
    return "".join(f"line {n}\n" for n in range(first, end))


class Reader:
    """Looks at a log as a follower does: narrow first, then wide."""

    def __init__(self) -> None:
        self.growing, self.got, self.wide_looks = Growing(), "", 0

    def look(self, log: str, *, is_last: bool = False) -> str:
        piece = self.growing.take(end_of_log(log, NARROW), is_widest=False, is_last=is_last)
        if piece is None:
            self.wide_looks += 1
            piece = self.growing.take(end_of_log(log, WIDE), is_widest=True, is_last=is_last)
        assert piece is not None
        self.got += piece
        return piece


def test_of_a_short_log_each_look_gives_what_is_new() -> None:
    reader = Reader()
    assert [reader.look(log) for log in ("a\n", "a\n", "a\nb\nc", "a\nb\ncd\n")] == ["a\n", "", "b\nc", "d\n"]
    assert reader.wide_looks == 0


def test_a_log_that_has_outgrown_the_look_goes_on_where_it_was() -> None:
    reader = Reader()
    for count in range(0, 100, 2):
        reader.look(lines(0, count))
    assert reader.got == lines(0, 98)


def test_a_burst_is_found_again_in_a_wider_look() -> None:
    reader = Reader()
    reader.look(lines(0, 2))
    reader.look(lines(0, 20))
    wide_before = reader.wide_looks
    reader.look(lines(0, 26))
    assert reader.wide_looks == wide_before + 1
    assert reader.got.endswith(lines(9, 26))


def test_an_overlap_of_a_few_characters_proves_nothing() -> None:
    reader = Reader()
    reader.look(lines(0, 30) + "}\n")
    assert reader.look(lines(0, 30) + "}\n" * 40) == GAP + "}\n" * WIDE


def test_what_came_too_fast_is_said_to_be_missing() -> None:
    reader = Reader()
    reader.look(lines(0, 2))
    assert reader.look(lines(0, 1000)) == GAP + lines(1000 - WIDE, 1000)


def test_a_log_whose_beginning_is_gone_says_so_once() -> None:
    reader = Reader()
    reader.look(lines(0, 50))
    reader.look(lines(0, 51))
    assert reader.got == CUT + lines(50 - WIDE, 51)


def test_equal_lines_are_counted_by_the_runners_lines_between_them() -> None:
    """Without a place of their own, equal lines beyond the look would be taken for those already read."""
    reader, log = Reader(), ""
    for number in range(12):
        log += told("sample", number) + "tick\n" * 4
        reader.look(log)
    assert reader.got == "tick\n" * 48


def test_the_runners_lines_are_never_shown_however_they_arrive() -> None:
    whole = told("started") + "a\nb" + told("sample", 1) + "c\n" + told("sample", 2) + "d" + told("ended")
    for size in (1, 2, 3, 7, 50):
        reader = Reader()
        for end in range(0, len(whole), size):
            # the runner writes its newline and its line at once: nobody sees the one without the other
            if not whole[end:].startswith(PREFIX):
                reader.look(whole[:end])
        reader.look(whole, is_last=True)
        assert reader.got == strip(whole) == "a\nbc\nd"


def test_half_a_character_waits_for_its_other_half() -> None:
    reader = Reader()
    half = "Grün".encode()[:3].decode(errors="replace")
    assert reader.look(half) == "Gr"
    assert reader.look("Grün") == "ün"


def test_what_is_held_back_is_given_with_the_last_look() -> None:
    reader = Reader()
    assert reader.look("a\n::low") == "a"
    assert reader.look("a\n::low", is_last=True) == "\n::low"


@pytest.mark.parametrize(("text", "last"), [("a\nb\nc\n", "b\nc\n"), ("a\nb\nc", "b\nc"), ("1\r2\r3\r", "1\r2\r3\r")])
def test_only_a_newline_ends_a_line(text: str, last: str) -> None:
    assert last_lines(text, 2) == last
    assert last_lines(text, 0) == ""


def test_the_mark_of_a_cut_survives_the_runners_lines_below_it() -> None:
    log = "early\n" + told("sample") + "late\n"
    assert strip(end_of_log(log, 2)) == CUT + "late\n"
    assert end_of_log(log, 100) == log
