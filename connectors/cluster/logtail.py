"""The end of a log, and the line that says so when its beginning is left out."""

from lowtide.connectors.jobside.record import PREFIX

CUT = "[lowtide: earlier lines are left out here]\n"
"""The first line of a tail that is not the whole log: nobody should believe it to be the beginning."""


def last_lines(text: str, lines: int) -> str:
    """The last lines of a text. Only a newline ends a line: a progress bar's carriage returns end none."""
    at = len(text) - text.endswith("\n")
    if lines <= 0:
        return ""
    for _ in range(lines):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return text
    return text[at + 1 :]


def marked_as_cut(text: str) -> str:
    """The text under the line that says that something came before."""
    # the runner's lines are taken out together with the newline before them, which must not be ours
    own = "\n" if text.startswith(PREFIX) else ""
    return CUT + own + text


def end_of_log(text: str, lines: int) -> str:
    """The last lines of a log, marked as such unless they are all of it."""
    end = last_lines(text, lines)
    return text if len(end) == len(text) else marked_as_cut(end)
