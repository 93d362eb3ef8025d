"""What every HTTP source needs: an answer or a typed failure that says whether and when to ask again."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from lowtide.connectors.grid.rows import bad
from lowtide.connectors.http import BODY_CAP, HttpAnswer, HttpClient, HttpTrouble
from lowtide.connectors.reach import reach_of
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.units import utc

MAX_RETRY_AFTER = timedelta(hours=1)
OK, BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, MISSING, GONE, TOO_MANY = 200, 400, 401, 403, 404, 410, 429

Refusal = Callable[[HttpAnswer], GridFailureKind | None]
"""What a status other than 200 means to one vendor; None where it has its usual meaning."""

_KINDS = {
    BAD_REQUEST: GridFailureKind.BAD_RESPONSE,
    UNAUTHORIZED: GridFailureKind.AUTH,
    FORBIDDEN: GridFailureKind.NOT_ENTITLED,
    MISSING: GridFailureKind.NO_DATA,
    GONE: GridFailureKind.GONE,
    TOO_MANY: GridFailureKind.RATE_LIMITED,
}


class Vendor:
    """One vendor's API: where it is, its connections, and its name for messages.

    Messages name the source, never the URL: a query may hold a key.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: dict[str, str] | None = None,
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take the source's name, the base URL, headers that do not change, and what may be private.

        Only the base URL's host is ever connected to, and at a private address only where the administrator wrote
        that address as the host or listed its network (``10.0.0.0/8``) under ``private_networks``.

        Raises:
            BadInput: the base URL or a network is not one.

        """
        reach = reach_of(name, base_url, private_networks)
        self.name, self._base = name, base_url.rstrip("/")
        self._http = HttpClient(headers=headers, reach=reach)

    async def json(self, path: str, *, now: datetime, **asked: Any) -> Any:
        """The decoded JSON body of a GET; arguments and errors as for ``body``, and bad_response for other text."""
        body = await self.body(path, now=now, **asked)
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise bad(self.name, "something that is not JSON") from None

    async def body(
        self,
        path: str,
        *,
        now: datetime,
        query: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
        refusal: Refusal | None = None,
        body_cap: int = BODY_CAP,
    ) -> bytes:
        """The body of a GET of the base URL, ``path`` and ``query``.

        Args:
            path: begins with a slash.
            now: aware UTC, for a Retry-After in seconds.
            query: names and values, encoded here.
            headers: for this request alone (a token that changes).
            refusal: what an answer other than 200 means where the vendor has a habit of its own; None keeps
                the usual meaning of the status.
            body_cap: bytes after unpacking; more where a vendor's honest answers are known to be long.

        Raises:
            GridFailure: no answer, or a status other than 200.

        """
        url = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = await self._http.request("GET", url, headers=headers, body_cap=body_cap)
        except HttpTrouble as trouble:
            raise GridFailure(GridFailureKind.UNAVAILABLE, f"{self.name}: {trouble.message}.") from None
        if answer.status != OK:
            raise _refused(answer, self.name, now, refusal(answer) if refusal else None)
        return answer.body

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


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
