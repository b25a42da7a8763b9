"""A part of what tests/faults/kills.py does: 4 kills."""

import random
from pathlib import Path

import pytest

from tests.faults.kills import Found, attempt, differences, in_peace, works


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.mark.parametrize(("name", "aimed"), [("train", True), ("train", False), ("prepare", False), ("pack", True)])
def test_killed_and_given_again_is_bit_identical(folder: Path, name: str, aimed: bool) -> None:
    work = works(folder)[name]
    seconds, whole = in_peace(work, folder / f"{name}-whole"), folder / f"{name}-whole"
    moment = random.Random(f"{name} {aimed}")
    found = attempt(work, moment, seconds, aimed, folder / f"{name}-{aimed}", Found(), often=0)
    assert not differences(work.read(whole), found)
