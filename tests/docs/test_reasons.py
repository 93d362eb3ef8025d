"""docs/reasons.md is made from the closed list of reasons; `make golden` writes it."""

import re
from collections.abc import Callable

from lowtide.scheduler.model.reason import SENTENCES, ReasonCode

INTRODUCTION = """\
# Reasons

Why a job waits, starts, stops or ended: a closed list. The code is what the API shows as `reason`; the sentence
is what people read, with the facts of the case in place of `…`.

| code | sentence |
|---|---|
"""


def page() -> str:
    rows = [f"| `{code.value}` | {re.sub(r'{[^}]*}', '…', SENTENCES[code])} |" for code in ReasonCode]
    return INTRODUCTION + "\n".join(rows) + "\n"


def test_the_page_lists_every_reason_with_its_sentence(golden: Callable[[str, str], None]) -> None:
    golden("docs/reasons.md", page())


def test_every_reason_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(ReasonCode)
