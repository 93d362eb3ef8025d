"""What every HTTP source needs: a JSON answer or a typed failure that says whether and when to ask again."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from lowtide.connectors.http import HttpAnswer, HttpClient, HttpTrouble
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.units import utc

MAX_RETRY_AFTER = timedelta(hours=1)
OK, BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, MISSING, GONE, TOO_MANY = 200, 400, 401, 403, 404, 410, 429

_KINDS = {
    BAD_REQUEST: GridFailureKind.BAD_RESPONSE,
    UNAUTHORIZED: GridFailureKind.AUTH,
    FORBIDDEN: GridFailureKind.NOT_ENTITLED,
    MISSING: GridFailureKind.NO_DATA,
    GONE: GridFailureKind.GONE,
    TOO_MANY: GridFailureKind.RATE_LIMITED,
}


async def get_json(
    client: HttpClient,
    url: str,
    *,
    source: str,
    now: datetime,
    refusal: Callable[[HttpAnswer], GridFailureKind | None] | None = None,
) -> Any:
    """The decoded body of a GET.

    Args:
        client: the vendor's connections.
        url: the whole address.
        source: the vendor's name for messages.
        now: aware UTC, for a Retry-After in seconds.
        refusal: what an answer other than 200 means where the vendor has a habit of its own; None keeps
            the usual meaning of the status.

    Raises:
        GridFailure: no answer, a status other than 200, or a body that is no JSON. The message names the
            source, never the URL (it may hold a key).

    """
    try:
        answer = await client.request("GET", url)
    except HttpTrouble as trouble:
        raise GridFailure(GridFailureKind.UNAVAILABLE, f"{source}: {trouble.message}.") from None
    if answer.status != OK:
        raise _refused(answer, source, now, refusal(answer) if refusal else None)
    try:
        return json.loads(answer.body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise GridFailure(GridFailureKind.BAD_RESPONSE, f"{source} sent something that is not JSON.") from None


def _no_constant(name: str) -> float:
    message = f"{name} is no JSON number"
    raise ValueError(message)


def _refused(answer: HttpAnswer, source: str, now: datetime, habit: GridFailureKind | None) -> GridFailure:
    kind = habit or _KINDS.get(answer.status, GridFailureKind.UNAVAILABLE)
    message = f"{source} answered {answer.status}."
    return GridFailure(kind, message, retry_at=retry_at(answer.headers.get("retry-after"), now))


def retry_at(header: str | None, now: datetime) -> datetime | None:
    """When to ask again by a Retry-After header in either form, at most an hour ahead; None when there is none."""
    if not header:
        return None
    text = header.strip()
    try:
        if text.isascii() and text.isdigit():
            return now + min(timedelta(seconds=int(text[:9])), MAX_RETRY_AFTER)
        moment = utc(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(moment, now), now + MAX_RETRY_AFTER)
