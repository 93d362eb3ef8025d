"""Whatever a log holds and whenever it is looked at, its reader gets each character once and in order."""

from hypothesis import given
from hypothesis import strategies as st

from lowtide.connectors.cluster.logtail import end_of_log
from lowtide.connectors.jobside.record import PREFIX, strip
from lowtide.scheduler.control.growing import Growing

NARROW, WIDE = 4, 40
WORDS = st.text(alphabet="ab:\r ü", max_size=6)


@st.composite
def logs(draw: st.DrawFn) -> list[str]:
    """Writes to a log: numbered lines, parts of lines, and lines of the runner's."""
    writes = []
    for number in range(draw(st.integers(1, 60))):
        word = draw(WORDS)
        kind = draw(st.sampled_from(["line", "part", "runner"]))
        runner = f"\n{PREFIX}f:: {number}{word.replace(chr(13), '')}\n"
        writes.append({"line": f"{number}{word}\n", "part": f"{number}{word}", "runner": runner}[kind])
    return writes


@given(logs(), st.data())
def test_the_pieces_are_the_log(writes: list[str], data: st.DataObject) -> None:
    growing, log, got, unseen = Growing(), "", "", 0
    for write in writes:
        log += write
        unseen += write.count("\n") + 1
        if unseen >= WIDE // 2 or data.draw(st.booleans()):
            got, unseen = got + look(growing, log), 0
    got += look(growing, log, is_last=True)
    assert got == strip(log)


def look(growing: Growing, log: str, *, is_last: bool = False) -> str:
    piece = growing.take(end_of_log(log, NARROW), is_widest=False, is_last=is_last)
    if piece is None:
        piece = growing.take(end_of_log(log, WIDE), is_widest=True, is_last=is_last)
    assert piece is not None
    return piece
