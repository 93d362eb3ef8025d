"""Puts the output of an attempt together from looks at the end of its log, without a gap or a repeat.

Over HTTP a cluster gives the last lines of a log, never what follows a position. While the last lines are the
whole log, a count of characters says where to go on; later, what was read last is found again in the next look.
The runner's lines among them carry the time, so that even output that repeats itself has a place of its own.
"""

from lowtide.connectors.cluster.logtail import CUT
from lowtide.connectors.jobside.record import PREFIX, strip

GAP = "[lowtide: lines are missing here; they came faster than they were read]\n"
KEPT = 1 << 20
"""Characters of the log that are kept to find the place again."""
KEYS = (65_536, 4096)
"""Characters of what was read last that are looked for, when the runner has written no line to go by."""
OVERLAP = 32
"""Characters that two looks must share: a single bracket on a line proves nothing."""
LOST = "\ufffd"
MARK = f"\n{PREFIX}"


class Growing:
    """The output of one attempt so far; positions are in characters."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._end = ""  # what was read last, as it stands in the log
        self._read: int | None = 0  # characters since the log's first; None when the first look was cut
        self._held = ""  # perhaps the beginning of one of the runner's lines
        self._last = ""  # the last character before what is held

    @property
    def is_from_start(self) -> bool:
        """Whether the first look held the log's beginning."""
        return self._read is not None

    def take(self, look: str, *, is_widest: bool, is_last: bool = False) -> str | None:
        """What a look adds for the reader; None when a wider one is needed to tell.

        Args:
            look: the last lines of the log, whole, marked by CUT if there are more.
            is_widest: no wider look can be had; a gap is then said to be one.
            is_last: nothing will follow, so nothing is held back.

        """
        is_cut = look.startswith(CUT)
        text = look.removeprefix(CUT)
        if not is_last:
            text = text.rstrip(LOST)  # half a character: the rest of its bytes is still to come
        if not is_cut and self._read is not None:
            return self._add(text[self._read :], is_last=is_last)
        if not self._end:
            return CUT + self._begin(text, is_last=is_last) if is_widest else None
        new = following(self._end, text, is_widest=is_widest)
        if new is None and is_widest:
            return GAP + self._begin(text, is_last=is_last)
        return None if new is None else self._add(new, is_last=is_last)

    def _begin(self, text: str, *, is_last: bool) -> str:
        self._end, self._read, self._held, self._last = "", None, "", ""
        return self._add(text, is_last=is_last)

    def _add(self, new: str, *, is_last: bool) -> str:
        self._end = (self._end + new)[-KEPT:]
        self._read = None if self._read is None else self._read + len(new)
        text = self._held + new
        cut = len(text) if is_last else _decided(text, is_line_start=self._last in {"", "\n"})
        text, self._held = text[:cut], text[cut:]
        before = self._last.strip("\n")
        self._last = text[-1:] or self._last
        return strip(before + text)[len(before) :]


def following(end: str, look: str, *, is_widest: bool) -> str | None:
    """What comes in ``look`` after ``end``; None when its place is not found, or found twice in a narrow look."""
    if not is_widest:
        key = end[-KEYS[-1] :]
        at = look.find(key)
        return look[at + len(key) :] if at >= 0 and look.find(key, at + 1) < 0 else None
    mark = end.rfind(MARK)
    for key in ([end[mark:]] if mark >= 0 else []) + [end[-size:] for size in KEYS]:
        at = look.rfind(key)
        if at >= 0:
            return look[at + len(key) :]
    return _behind_overlap(end[-KEYS[-1] :], look)


def _behind_overlap(end: str, look: str) -> str | None:
    """What comes after ``end`` when only its last lines are still to be seen, at the beginning of the look."""
    at = end.find("\n") + 1
    while 0 < at <= len(end) - OVERLAP:
        if look.startswith(end[at:]):
            return look[len(end) - at :]
        at = end.find("\n", at) + 1
    return None


def _decided(text: str, *, is_line_start: bool) -> int:
    """Where an unfinished line of the runner's begins, with the newline before it; else the text's length."""
    newline = text.rfind("\n")
    line = text[newline + 1 :]
    starts = newline >= 0 or is_line_start
    if line and starts and (line.startswith(PREFIX) or PREFIX.startswith(line)):
        return max(newline, 0)
    return len(text)
