"""docs/reasons.md is made from the closed list of reasons; `make golden` writes it."""

import re
from collections.abc import Callable

from lowtide.scheduler.model import bind
from lowtide.scheduler.model.reason import SENTENCES, ReasonCode

INTRODUCTION = """\
# Reasons

Why a job waits, starts, stops or ended: a closed list. The code is what the API shows as `reason`; the sentence
is what people read, with the facts of the case in place of `…`.

| code | sentence |
|---|---|
"""


BINDS = """
## What binds

What keeps a job from a greener placement, as `lowtide explain` and `lowtide plan` tell it (`binds` in JSON, the
greatest loss first): each bound is taken away in turn, and what the job could then have is set against its plan.

| code | sentence |
|---|---|
"""


def page() -> str:
    reasons = [row(code.value, SENTENCES[code]) for code in ReasonCode]
    binds = [row(code.value, bind.SENTENCES[code]) for code in bind.BindCode]
    return INTRODUCTION + "\n".join(reasons) + "\n" + BINDS + "\n".join(binds) + "\n"


def row(code: str, sentence: str) -> str:
    return f"| `{code}` | {re.sub(r'{[^}]*}', '…', sentence)} |"


def test_the_page_lists_every_reason_with_its_sentence(golden: Callable[[str, str], None]) -> None:
    golden("docs/reasons.md", page())


def test_every_reason_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(ReasonCode)
