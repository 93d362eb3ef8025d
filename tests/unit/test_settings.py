"""A settings file that cannot be taken says where it is wrong."""

from pathlib import Path

import pytest

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.settings import load

WRONG = """\
sites:
  - name: lab
    pools:
      - {name: big, gpus: 2, cpus: 8, gpu_model: H100}
      - {name: small, gpus: -2, cpus: 8, gpu_model: A100}
    address: http://lab.example:8265
projects:
  - name: scans
    shrae: 2
slot: 900
"""


def refusal(path: Path, text: str, **overrides: object) -> str:
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load(path, **overrides)
    return caught.value.message


def test_each_fault_of_a_settings_file_comes_with_its_line(tmp_path: Path) -> None:
    told = refusal(tmp_path / "settings.yaml", WRONG)
    assert "line 5: sites.0.pools.1.gpus: Input should be greater than or equal to 0" in told
    assert "line 9: projects.0.shrae: " in told
    assert "line 10: slot: " in told


def test_what_a_flag_says_has_no_line_in_the_file(tmp_path: Path) -> None:
    assert "settings.yaml: port: Input should be" in refusal(tmp_path / "settings.yaml", "slot_s: 900\n", port=-1)


def test_what_is_missing_has_the_line_of_what_lacks_it(tmp_path: Path) -> None:
    told = refusal(tmp_path / "settings.yaml", "slot_s: 900\nsites:\n  - zone: GB\n")
    assert "line 3: sites.0.name: Field required" in told
