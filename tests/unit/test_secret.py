"""A vendor's key: read anew at each use, one line of text, never shown (INV-22)."""

from pathlib import Path

import pytest

from lowtide.connectors.grid.secret import Secret
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind


def test_a_key_is_read_anew_and_its_edges_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(" one \n")
    secret = Secret("the key", file=str(path))
    assert secret.key() == "one"
    path.write_text("two")
    assert secret.key() == "two"


def test_a_key_comes_from_the_environment_where_no_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWTIDE_TEST_KEY", "hush")
    secret = Secret("the key", env="LOWTIDE_TEST_KEY")
    assert secret.key() == "hush"
    assert "hush" not in repr(secret)


@pytest.mark.parametrize("content", ["", " \n", "hush\nand a second line", "hu\0sh", b"\xff\xfe"])
def test_what_is_no_key_is_refused_at_the_start_and_fails_later_as_a_wrong_one_without_being_shown(
    tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "key"
    path.write_text("good")
    secret = Secret("the key", file=str(path))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match="the key") as refused:
        Secret("the key", file=str(path))
    with pytest.raises(GridFailure) as failed:
        secret.key()
    assert failed.value.kind == GridFailureKind.AUTH
    for told in (refused.value, failed.value):
        assert "hush" not in told.message
        assert told.fix


def test_a_key_that_nobody_names_is_refused() -> None:
    with pytest.raises(BadInput):
        Secret("the key")
