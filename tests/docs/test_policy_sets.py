"""docs/policy-sets.md: its example is sound, and it tells of every set that comes with lowtide."""

import re

from lowtide.scheduler.policy_set import parsed, ready_made
from tests.docs.tree import ROOT, table_rows

PAGE = ROOT / "docs" / "policy-sets.md"


def test_the_example_is_a_sound_policy_set() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert parsed(block).queues["research"]["params"] == {"reserve": 0.5}


def test_every_ready_made_set_has_its_row() -> None:
    assert {row[0].strip("`") for row in table_rows(PAGE) if not row[0].startswith("`lowtide")} == set(ready_made())
