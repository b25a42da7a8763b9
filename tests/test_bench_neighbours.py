"""Measuring neighbour voting at the smallest size, and what is made up for it."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxtag.bench import nearest
from jaxtag.cli import main

SMALL = ["--posts", "60", "--queries", "12", "--width", "8", "--hashtags", "9", "--rounds", "1", "--parts", "2"]


def test_a_measurement_has_a_row_a_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["bench", "neighbours", "--features", str(tmp_path / "made"), *SMALL]
    main([*asked, "--out", str(tmp_path / "out.json"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out.json").read_text())
    assert [(row["posts"], row["queries"]) for row in found["rows"]] == [(60, 12), (30, 12), (60, 6)]
    for row in found["rows"]:
        assert row["seconds"] > 0 and row["ratio_all"] == pytest.approx([row["seconds"] / row["bare_seconds"]])
    assert found["peak_mib"] >= found["before_mib"] > 0
    assert "ratio" in nearest.render(found)
    rows = np.load(tmp_path / "made" / "posts.npy", allow_pickle=False)
    assert rows.shape == (60, 8) and rows.dtype == np.float16 and (rows >= 0).all() and (rows == 0).any()
    made = (tmp_path / "made" / "posts.npy").stat().st_mtime_ns
    main(asked)
    assert (tmp_path / "made" / "posts.npy").stat().st_mtime_ns == made  # made up once
    with pytest.raises(SystemExit, match="2"):
        main([*asked, "--width", "0"])
    assert "--width is 0; it must be 1 or more" in capsys.readouterr().err
