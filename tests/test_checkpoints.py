"""Checkpoints: the best stays and is named, however many come after it."""

from pathlib import Path

import numpy as np
import pytest

from jaxtag.errors import JaxtagError
from jaxtag.training.checkpoints import FORMAT, Checkpoints


@pytest.mark.parametrize("again", [False, True])
def test_the_best_is_the_first_of_the_greatest_metric_not_the_newest(tmp_path: Path, again: bool) -> None:
    saved = {1: 0.1, 2: None, 3: 0.9, 4: 0.3, 5: None, 6: 0.9, 7: 0.5, 8: 0.4}
    checkpoints = Checkpoints(tmp_path)
    for step, metric in saved.items():
        memory = {"said": step, "best_step": 3 if step > 2 else 1}
        checkpoints.save(step, {"a": np.full(2, step)}, memory, metric)
    checkpoints.wait()
    if again:
        checkpoints.close()
        checkpoints = Checkpoints(tmp_path)
    assert (checkpoints.best(), checkpoints.newest()) == (3, 8)
    state, memory = checkpoints.restore(3, {"a": np.zeros(2)})
    assert state["a"].tolist() == [3, 3] and memory["said"] == 3
    checkpoints.close()
    assert sorted(int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()) == [3, 7, 8]


@pytest.mark.parametrize("other", [{"a": np.zeros(2), "b": np.zeros(1)}, {"a": np.zeros(2)}])
def test_what_another_version_saved_is_refused_by_its_format(
    tmp_path: Path, other: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the state of that version has the same leaves."""
    checkpoints = Checkpoints(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("jaxtag.training.checkpoints.FORMAT", FORMAT - 1)
        checkpoints.save(1, {"a": np.ones(2)}, {}, 0.5)
        checkpoints.wait()
    with pytest.raises(JaxtagError, match=f"1 has format {FORMAT - 1}, this jaxtag reads format {FORMAT}; train again"):
        checkpoints.restore(1, other)
    checkpoints.close()
