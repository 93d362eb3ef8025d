"""Calls to the daemon over HTTP with the standard library alone, because every command waits for the import."""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from lowtide.scheduler.model.errors import BadInput, LowtideError, Unreachable

Json = dict[str, Any]
TIMEOUT_S = 30.0
HTTP_ERROR = 400
PAGE = 1000


class Refused(LowtideError):
    """The daemon answered with a problem document; exit code and advice are its own."""

    def __init__(self, document: Json, status: int) -> None:
        """Take the document and the HTTP status."""
        detail = str(document.get("detail") or document.get("title") or f"the daemon answered {status}.")
        super().__init__(detail, fix=str(document.get("fix") or ""), details={"errors": document.get("errors")})
        self.status = status
        self.exit_code = int(document.get("exit_code") or 1)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the daemon listens and the token to show it."""

    url: str
    token: str

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path; ``query`` values that are None are left out, lists are repeated."""
        given = {name: value for name, value in query.items() if value is not None}
        suffix = f"?{urlencode(given, doseq=True)}" if given else ""
        return self._json("GET", path + suffix)

    def post(self, path: str, body: Json | None = None, headers: dict[str, str] | None = None) -> Any:
        """The JSON that answers a POST."""
        return self._json("POST", path, body if body is not None else {}, headers)

    def items(self, path: str, **query: Any) -> list[Json]:
        """All items of a list, page by page."""
        found: list[Json] = []
        after: str | None = None
        while True:
            page = self.get(path, **query, after=after)
            found += page["items"]
            after = page["next"]
            if after is None:
                return found

    def stream(self, path: str) -> Iterator[bytes]:
        """The body at a path, in pieces as they come; a quiet stream may last for hours."""
        connection = self._connection(timeout_s=None)
        try:
            response = self._ask(connection, "GET", path, None, {})
            if response.status >= HTTP_ERROR:
                raise _refused(response.status, response.read())
            while piece := response.read1(65_536):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Json | None = None, headers: dict[str, str] | None = None) -> Any:
        connection = self._connection(timeout_s=TIMEOUT_S)
        try:
            encoded = None if body is None else json.dumps(body).encode()
            response = self._ask(connection, method, path, encoded, headers or {})
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if response.status >= HTTP_ERROR and path != "/v1/health":
            raise _refused(response.status, content)
        return _parsed(content, response.status)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        sent = {"Authorization": f"Bearer {self.token}", "Lowtide-Actor": _user()} | headers
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection.request(method, path, body=body, headers=sent)
        return connection.getresponse()

    def _connection(self, *, timeout_s: float | None) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = f"the server address {self.url!r} is no URL."
            raise BadInput(message, fix="Write it like http://127.0.0.1:8470.")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port, timeout=timeout_s)

    def _unreachable(self, error: Exception) -> Unreachable:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        if isinstance(error, http.client.IncompleteRead):
            why = "it broke off while it was answering"
        return Unreachable(
            f"the daemon does not answer at {self.url} ({why}).",
            fix="Start it with: lowtide up --detach. If it runs elsewhere, give --server or LOWTIDE_SERVER.",
        )


def _user() -> str:
    # getpass would import the password database; the environment names the user at no cost.
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid-{os.getuid()}"


def _parsed(content: bytes, status: int) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        message = f"what answered is not lowtide: status {status} without a JSON document."
        raise Unreachable(message, fix="Check --server, or the port in the data directory's daemon.json.") from None


def _refused(status: int, content: bytes) -> Refused:
    document = _parsed(content, status)
    return Refused(document if isinstance(document, dict) else {}, status)


def data_dir(explicit: str | None) -> Path:
    """Where the daemon of this user keeps its files: the flag, ``$LOWTIDE_DATA_DIR``, or the XDG data home."""
    if explicit or (explicit := os.environ.get("LOWTIDE_DATA_DIR")):
        return Path(explicit).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "lowtide"


def connect(server: str | None, directory: str | None) -> Server:
    """The daemon to talk to: ``--server`` or ``$LOWTIDE_SERVER`` with a token, else this user's own.

    Raises:
        Unreachable: no daemon is known here.

    """
    folder = data_dir(directory)
    url = server or os.environ.get("LOWTIDE_SERVER") or _recorded_url(folder)
    return Server(url.rstrip("/"), os.environ.get("LOWTIDE_TOKEN") or token_in(folder))


def recorded(folder: Path) -> Json | None:
    """What the daemon of a data directory wrote about itself; None where it wrote nothing readable."""
    try:
        found = json.loads((folder / "daemon.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "url" in found else None


def _recorded_url(folder: Path) -> str:
    found = recorded(folder)
    if found is None:
        raise Unreachable(
            f"no daemon runs here: {folder / 'daemon.json'} does not exist.",
            fix="Start one with: lowtide up --detach. If it runs elsewhere, give --server and LOWTIDE_TOKEN.",
        )
    return str(found["url"])


def token_in(folder: Path) -> str:
    """The token of the daemon of a data directory; '' where there is none."""
    try:
        return (folder / "token").read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        message = f"the token {folder / 'token'} cannot be read: {error.strerror}."
        raise BadInput(
            message, fix="It belongs to the user who runs the daemon; set LOWTIDE_TOKEN otherwise."
        ) from None


def is_listening(url: str, timeout_s: float = 0.5) -> bool:
    """Whether anything accepts a connection at a URL."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout_s):
            return True
    except OSError:
        return False


def resolve(server: Server, given: str) -> str:
    """The full id of a job from its id, a unique beginning of it, or a unique name.

    Raises:
        BadInput: nothing fits, or several do; the message lists them.

    """
    try:
        return str(server.get(f"/v1/jobs/{quote(given, safe='')}")["id"])
    except Refused as refused:
        if refused.status not in {404, 422}:
            raise
    jobs = server.items("/v1/jobs", limit=PAGE)
    fits = [job for job in jobs if job["id"].startswith(given)] or [j for j in jobs if j["name"] == given]
    if len(fits) == 1:
        return str(fits[0]["id"])
    if not fits:
        message = f"no job has the id, the beginning of an id, or the name {given[:80]!r}."
        raise BadInput(message, fix="lowtide status --all lists the jobs.")
    listed = ", ".join(job["id"] for job in fits[:8]) + (" and more" if len(fits) > 8 else "")  # noqa: PLR2004
    message = f"{given!r} fits {len(fits)} jobs: {listed}."
    raise BadInput(message, fix="Give more of the id.")
