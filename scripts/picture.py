"""Play the demo and draw what its terminal showed into docs/demo.svg: one moment on the way, and the receipt."""

import asyncio
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.terminal_theme import MONOKAI

from lowtide.scheduler.control.demo import Demo
from lowtide.scheduler.control.demo_view import TerminalView

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "demo.svg"
WIDTH = 100


class Camera(TerminalView):
    """Keeps the moment with the most to see: one job suspended, others waiting, one running."""

    def __init__(self) -> None:
        """Draw into memory."""
        self._paper = Console(record=True, width=WIDTH, force_terminal=True, file=io.StringIO())
        super().__init__(self._paper)
        self._best: tuple[int, Group | None] = (-1, None)

    def say(self, sentence: str) -> None:
        """Steps are for the person who waits, not for the picture."""
        print(sentence, file=sys.stderr)  # noqa: T201

    @contextmanager
    def live(self) -> Iterator[None]:
        """Nothing is redrawn on paper."""
        yield

    def show(self, now: datetime, jobs: list[dict[str, Any]], outlook: dict[str, Any]) -> None:
        """Keep the frame with the most different states."""
        seen = len({job["state"] for job in jobs})
        if seen > self._best[0]:
            self._best = (seen, self.frame(now, jobs, outlook))

    def finish(self, document: dict[str, Any], report: dict[str, Any]) -> None:
        """The command, the kept moment, the receipt."""
        self._paper.print("[bold]$ make demo[/bold]\n")
        self._paper.print(self._best[1])
        super().finish(document, report)
        drawn = self._paper.export_svg(title="lowtide", theme=MONOKAI)
        # The exporter's style sheet fetches a font; a picture must not call anybody.
        PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    sys.exit(asyncio.run(Demo(Camera()).play(as_json=False)))
