"""The policy set in force: the settings' queues with the set that was applied last laid over them."""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from sqlalchemy import RowMapping

from lowtide.scheduler.model.errors import LowtideError
from lowtide.scheduler.policy_set import PolicySet, as_yaml, over, parsed
from lowtide.scheduler.report.shape import Json, stamp
from lowtide.scheduler.settings import QueueSettings
from lowtide.scheduler.store import policy_sets as stored
from lowtide.scheduler.store.database import Database

log = structlog.get_logger()
Queues = tuple[QueueSettings, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A sound set: its name, and the queues that it gives."""

    name: str
    queues: Queues


class PolicySets:
    """Which queues decide how; changed on the loop's thread alone, always whole."""

    def __init__(self, configured: Iterable[QueueSettings]) -> None:
        """Begin with what the settings say."""
        self.configured: Queues = tuple(configured)
        self.queues: Queues = self.configured
        self.row: RowMapping | None = None
        self.name = ""
        self.trouble = ""

    def checked(self, text: str) -> Checked:
        """What a set would give; of no text the settings' own queues.

        Raises:
            BadInput: it is not sound, or names queues that the settings do not have.

        """
        chosen = parsed(text) if text else PolicySet()
        return Checked(chosen.name, over(self.configured, chosen))

    def resume(self, database: Database) -> None:
        """Go on with what was applied last; where it fits no more, the settings alone decide, and doctor says so.

        A policy that was uninstalled since, or a queue that left the settings, must not keep clinical work waiting.
        """
        with database.read() as connection:
            row = next(iter(stored.newest(connection)), None)
        try:
            if row is not None:
                self.adopt(row, self.checked(row["text"]))
        except LowtideError as error:
            self.row, self.trouble = row, error.message
            log.exception("policy_set_unusable")
        log.info("policies", by=self.sentence)

    def adopt(self, row: RowMapping, checked: Checked) -> None:
        """Put a stored and checked revision in force; one that came after it stays."""
        if self.row is None or row["revision"] > self.row["revision"]:
            self.row, self.queues, self.name, self.trouble = row, checked.queues, checked.name, ""

    @property
    def brief(self) -> str:
        """Which set decides, in words that anybody may read."""
        if self.row is None:
            return "the settings; no policy set has been applied"
        number = f"revision {self.row['revision']}"
        if self.trouble:
            return f"the settings; {number} cannot be used"
        what = f"policy set {self.name}, {number}" if self.name else f"policy set, {number}"
        return what if self.row["text"] else f"the settings, {number}"

    @property
    def sentence(self) -> str:
        """Which set decides, and who said so or what is wrong with it."""
        if self.row is None:
            return self.brief
        if self.trouble:
            return f"{self.brief}: {self.trouble}"
        return f"{self.brief}, by {self.row['actor']} at {stamp(self.row['at'])}"

    def told(self) -> Json:
        """What is in force, as the API shows it."""
        row = self.row
        return {
            "revision": row["revision"] if row is not None else 0,
            "name": self.name,
            "at": stamp(row["at"]) if row is not None else None,
            "actor": row["actor"] if row is not None else None,
            "why": row["why"] if row is not None else None,
            "sentence": self.sentence,
            "trouble": self.trouble or None,
            "queues": [queue.model_dump(mode="json") for queue in self.queues],
            "text": as_yaml(self.queues, head=f"In force: {self.sentence}"),
        }

    def finding(self) -> Json:
        """What doctor says."""
        fix = "Apply a set that fits, or go back to the settings: lowtide admin policy rollback 0"
        status = "warn" if self.trouble else "ok"
        return {
            "check": "policy set",
            "status": status,
            "detail": self.sentence,
            "fix": fix if self.trouble else "",
        }
