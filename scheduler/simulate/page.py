"""One HTML page about plays of one trace: intensity, GPUs at work, waiting times. Drawn by Plotly (extra ``html``)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.simulate.result import Result

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#8c6d1f")
"""Told apart by the colour-blind too (Okabe and Ito); after the last they begin anew."""
HEIGHT_PX = 1000


def check_plotly() -> None:
    """Make sure that a page can be drawn, before anything is played for it.

    Raises:
        BadInput: Plotly is not installed.

    """
    try:
        import plotly.graph_objects  # noqa: F401, PLC0415 - optional, and slow to import
    except ImportError:
        message = "--html draws with Plotly, which is not installed."
        raise BadInput(message, fix="Install it: pip install 'lowtide[html]'.") from None


def page(title: str, intensity: Mapping[str, Series], results: Mapping[str, Result]) -> str:
    """The page: it holds all that it needs, and asks the network for nothing.

    Args:
        title: plain text.
        intensity: by zone, of the time to be shown.
        results: by what they are called.

    """
    from plotly.subplots import make_subplots  # noqa: PLC0415 - as above

    heads = ("Carbon intensity (UTC)", "GPUs at work (UTC)", "How long jobs waited")
    figure = make_subplots(rows=3, cols=1, subplot_titles=heads, vertical_spacing=0.09)
    for zone, series in intensity.items():
        line = _steps([(p.start, p.g_per_kwh) for p in series.points], series.points[-1].end)
        figure.add_scatter(**line, name=zone, line={"shape": "hv", "width": 1, "color": "#777777"}, row=1, col=1)
    for number, (name, result) in enumerate(results.items()):
        _add(figure, name, result, COLOURS[number % len(COLOURS)])
    _label(figure, title)
    text: str = figure.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False})
    return text.replace("<head>", f"<head><title>{_plain(title)}</title>", 1)


def _add(figure: Any, name: str, result: Result, colour: str) -> None:
    """One play: its GPUs over time, and the share of its jobs that waited no longer than so."""
    common = {"name": name, "legendgroup": name, "mode": "lines"}
    running = dict(result.running)  # of several changes at one moment the last holds
    line = {"shape": "hv", "color": colour, "width": 1.5}
    figure.add_scatter(x=list(running), y=list(running.values()), line=line, **common, row=2, col=1)
    waits = sorted(result.waits_h)
    shares = [100 * count / len(waits) for count in accumulate(1 for _ in waits)]
    figure.add_scatter(x=[0, *waits], y=[0, *shares], line=line, **common, showlegend=False, row=3, col=1)


def _steps(values: Sequence[tuple[datetime, float]], end: datetime) -> dict[str, list[Any]]:
    """A line that holds each value until the next, and the last until the end."""
    return {"x": [*(moment for moment, _ in values), end], "y": [*(v for _, v in values), values[-1][1]]}


def _label(figure: Any, title: str) -> None:
    figure.update_layout(title=_plain(title), height=HEIGHT_PX, template="plotly_white", hovermode="x unified")
    figure.update_yaxes(title="g/kWh", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="GPUs", rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title="% of jobs", range=[0, 101], row=3, col=1)
    figure.update_xaxes(matches="x", row=2, col=1)
    figure.update_xaxes(title="hours, at most", rangemode="tozero", row=3, col=1)


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
