"""A vendor's key: out of a file or the environment, never out of the settings themselves, never shown (INV-22)."""

import os
from pathlib import Path

from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind


class Secret:
    """Read anew at each use, so that a rotated key needs no restart."""

    __slots__ = ("_env", "_file", "_what")

    def __init__(self, what: str, *, file: str = "", env: str = "") -> None:
        """Name what it is for and where it lies: a file, else an environment variable.

        Raises:
            BadInput: neither is named, or nothing is there now.

        """
        self._what, self._file, self._env = what, file, env
        self.value()

    def value(self) -> str:
        """The key itself.

        Raises:
            BadInput: the file cannot be read, or the key is empty or several lines.

        """
        if self._file:
            return self._found(self._read(), f"the file {self._file}")
        return self._found(os.environ.get(self._env, "") if self._env else "", f"the variable {self._env or '(none)'}")

    def key(self) -> str:
        """The key for a request.

        Raises:
            GridFailure: (auth) it is not there any more, which to a vendor is the same as a wrong one.

        """
        try:
            return self.value()
        except BadInput as gone:
            raise GridFailure(GridFailureKind.AUTH, gone.message, fix=gone.fix) from None

    def _read(self) -> str:
        try:
            return Path(self._file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = f"{self._what} cannot be read from {self._file} ({type(error).__name__})."
            raise BadInput(message, fix="Write it there, readable by the daemon alone.") from None

    def _found(self, text: str, where: str) -> str:
        if not text.strip():
            raise BadInput(f"{self._what} is not in {where}.", fix="Put it into a file, or set the variable.")
        if not text.strip().isprintable():
            raise BadInput(f"{self._what} in {where} is not one line of text.", fix="Leave the key alone in it.")
        return text.strip()

    def __repr__(self) -> str:
        """Where it lies, never what it is."""
        return f"Secret({self._what}, {self._file or self._env})"
