"""The column store against plain lists."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxtag.data import columns
from jaxtag.errors import JaxtagError

LISTS = st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=8)


@given(LISTS, st.data())
def test_gather_is_crop_and_pad(lists: list[list[int]], data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 8))
    rows = data.draw(st.lists(st.integers(-1, len(lists) - 1), max_size=9))
    expected = [((lists[r] if r >= 0 else [])[:length] + [-7] * length)[:length] for r in rows]
    found = columns.gather(columns.ragged(lists), np.array(rows, np.int32), length, -7)
    assert found.tolist() == expected and found.dtype == np.int32


def test_gather_keeps_the_shape_of_rows() -> None:
    found = columns.gather(columns.ragged([[1, 2], [3]]), np.array([[0, 1], [-1, 0]]), 2, 0)
    assert found.tolist() == [[[1, 2], [3, 0]], [[0, 0], [1, 2]]]


@given(LISTS)
def test_lengths_and_rows(lists: list[list[int]]) -> None:
    column = columns.ragged(lists)
    assert column.lengths().tolist() == [len(x) for x in lists]
    assert column.lengths(np.array([0, -1 % len(lists)])).tolist() == [len(lists[0]), len(lists[-1])]
    assert [column[i].tolist() for i in range(len(column))] == lists


def test_round_trip(tmp_path: Path) -> None:
    for lists in ([[1], [], [2, 3]], [[], []]):
        column = columns.ragged(lists)
        columns.write(tmp_path, "tokens", column.values, column.offsets)
        found = columns.read(tmp_path, "tokens")
        assert isinstance(found, columns.Ragged)
        assert [found[i].tolist() for i in range(len(lists))] == lists
    columns.write(tmp_path, "time", np.array([3, 4]))
    assert columns.read(tmp_path, "time").dtype == np.int64  # type: ignore[union-attr]


def test_ragged_or_not_must_fit() -> None:
    with pytest.raises(ValueError, match="tokens"):
        columns.write(Path(), "tokens", np.zeros(3))


def test_damage_is_named(tmp_path: Path) -> None:
    column = columns.ragged([[1, 2, 3], [4]])
    columns.write(tmp_path, "tokens", column.values, column.offsets)
    values, offsets = tmp_path / "tokens.values.npy", tmp_path / "tokens.offsets.npy"
    whole = values.read_bytes()
    values.write_bytes(whole[:-4])
    with pytest.raises(JaxtagError, match="tokens.values.npy is truncated or corrupt"):
        columns.read(tmp_path, "tokens")
    values.write_bytes(b"no array")
    with pytest.raises(JaxtagError, match="truncated or corrupt"):
        columns.read(tmp_path, "tokens")
    np.save(values, np.zeros(4, np.float32))
    with pytest.raises(JaxtagError, match="float32 where int32"):
        columns.read(tmp_path, "tokens")
    values.write_bytes(whole)
    np.save(offsets, np.array([0, 3, 9]))
    with pytest.raises(JaxtagError, match="does not fit its 4 values"):
        columns.read(tmp_path, "tokens")
    offsets.unlink()
    with pytest.raises(JaxtagError, match="tokens.offsets.npy is missing"):
        columns.read(tmp_path, "tokens")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "time.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(JaxtagError):
        columns.read(tmp_path, "time")


def test_posts_that_are_cut_keep_their_last_value() -> None:
    column = columns.ragged([[2, 5, 6, 7, 3], [2, 3], [], [2, 8, 9, 3], [2, 4, 3]])
    found = columns.cut(column, 3)
    assert [found[i].tolist() for i in range(5)] == [[2, 5, 3], [2, 3], [], [2, 8, 3], [2, 4, 3]]
    assert columns.cut(column, 5) is column
