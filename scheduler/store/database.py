"""Opening the database: engines, pragmas, migrations and the translation of its errors.

Writes go through ``Database.write`` (BEGIN IMMEDIATE: a second writer waits instead of failing half way),
reads through ``Database.read``. SQLite runs in WAL with synchronous=FULL: a commit that returned survives
a power cut, which is what "accepted" means (INV-01).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import QueuePool

from lowtide.scheduler.model.errors import Conflict, LowtideError, StoreFailure

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0010"
"""The newest revision; read here so that a start without work to do need not import Alembic."""

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=5000",
    "PRAGMA temp_store=MEMORY",
)


def _sqlite_engine(path: Path, begin: str) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", poolclass=QueuePool, pool_size=4, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # sqlite3's own BEGIN would come too late for IMMEDIATE
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


class Database:
    """One SQLite file with a writing and a reading engine."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened before ``migrate``."""
        self.path = path
        self._writer = _sqlite_engine(path, "BEGIN IMMEDIATE")
        self._reader = _sqlite_engine(path, "BEGIN DEFERRED")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed on a clean exit, rolled back otherwise.

        Raises:
            StoreFailure: the database cannot write (disk full, read-only, locked); nothing was stored.
            Conflict: a guard refused the write (its text names the invariant).

        """
        with _translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; never blocks a writer."""
        with _translated(), self._reader.connect() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the file to the newest schema; costs one query when it is there already."""
        with _translated():
            if self.revision() == HEAD:
                return
            self._run_alembic()

    def revision(self) -> str | None:
        """The schema's revision, or None for a new file."""
        with self._reader.connect() as connection:
            present = connection.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")).first()
            if not present:
                return None
            row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
            return row[0] if row else None

    def _run_alembic(self, revision: str = HEAD) -> None:
        from alembic import command  # noqa: PLC0415 - 0.2 s that a normal start need not pay
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._writer.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def close(self) -> None:
        """Give all connections back."""
        self._writer.dispose()
        self._reader.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        message = f"the database refused: {error.orig}."
        raise Conflict(message, fix="Look at the object's present state and try again.") from error
    except (OperationalError, DBAPIError) as error:
        raise _store_failure(error) from error


def _store_failure(error: DBAPIError) -> LowtideError:
    text_of = str(error.orig).lower()
    if "full" in text_of:
        return StoreFailure("the disk is full; nothing was accepted.", fix="Free space, then submit again.")
    if "readonly" in text_of or "read-only" in text_of or "unable to open" in text_of:
        return StoreFailure(
            f"the database cannot be written: {error.orig}.", fix="Check the data directory's owner and mode."
        )
    if "locked" in text_of or "busy" in text_of:
        return StoreFailure("the database stayed locked for 5 s.", fix="Is another program holding it open?")
    return StoreFailure(f"the database failed: {error.orig}.", fix="Run 'lowtide doctor'.")
