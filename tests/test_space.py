"""Points of a search: grids and zips are plain products, and what is no point is refused."""

import itertools

import pytest

from jaxtag.errors import JaxtagError
from jaxtag.recipes import resolve
from jaxtag.search import space

CNN = resolve("zsl/cnn", "tiny")


def parse(*texts: str) -> space.Values:
    return space.parse(texts, CNN)


def test_values_are_read_as_the_fields_types() -> None:
    found = parse(
        "training.learning_rate=1e-4,1e-3", "training.batch=32,64", "model.hidden=8,4;16,8", "data.vectors=,a"
    )
    assert found == {
        "training.learning_rate": (1e-4, 1e-3),
        "training.batch": (32, 64),
        "model.hidden": ((8, 4), (16, 8)),
        "data.vectors": ("", "a"),
    }


def test_a_grid_is_every_combination_and_a_zip_goes_side_by_side() -> None:
    values = {"a": (1, 2, 3), "b": ("x", "y"), "c": (0.5,)}
    brute = [dict(zip("abc", chosen)) for chosen in itertools.product((1, 2, 3), "xy", (0.5,))]
    assert space.grid(values) == brute
    together = {"d": (1, 2), "e": (3, 4)}
    assert space.side_by_side(together) == [{"d": 1, "e": 3}, {"d": 2, "e": 4}]
    joined = space.product(space.side_by_side(together), space.grid(values))
    assert len(joined) == 12 and joined[:6] == [{"d": 1, "e": 3} | point for point in brute]
    assert space.product(space.side_by_side({}), space.grid({})) == [{}]


def test_points_carry_their_fields_and_have_different_names() -> None:
    values = parse("training.learning_rate=0.0001,0.001", "model.dropout=0,0.2", "model.hidden=8,4;16,8")
    points = space.points(CNN, space.grid(values))
    assert len({p.name for p in points}) == len(points) == 8
    for point in points:
        assert point.experiment.training.learning_rate == point.fields["training.learning_rate"]
        assert point.experiment.model.hidden == point.fields["model.hidden"]
        assert point.experiment.data == CNN.data
    plain = space.points(CNN, space.grid(parse("training.learning_rate=1e-4", "model.dropout=0.2")))
    assert plain[0].name == "learning_rate=0.0001+dropout=0.2"


@pytest.mark.parametrize(
    "fields",
    [
        {"data.vectors": "../../etc"},
        {"data.vectors": "x" * 300},
        {"model.hidden": (128, 64)},
        {"data.vectors": "日本"},
    ],
)
def test_a_points_name_is_a_folders_name(fields: dict) -> None:
    name = space.name_of(fields)
    assert len(name) <= space.LONGEST and not set(name) - set("._=+-") - set(map(chr, range(48, 123)))
    assert "/" not in name and name != space.name_of({k: f"{v}!" for k, v in fields.items()})


def test_fields_of_one_last_word_keep_their_whole_names() -> None:
    assert space.shorter(["training.batch", "evaluation.batch", "model.dropout"]) == {
        "training.batch": "training.batch",
        "evaluation.batch": "evaluation.batch",
        "model.dropout": "dropout",
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["model.dropuot=0,1"], "no field 'model.dropuot' in this experiment; did you mean 'model.dropout'"),
        (["training.batch=32,many"], "training.batch cannot be 'many'; write a int"),
        (["training.optimizer=adam,adem"], "training.optimizer cannot be 'adem'; did you mean 'adam'"),
        (["training.batch"], "'training.batch' names no values"),
        (["training.batch=32,,64"], "'training.batch=32,,64' has an empty value"),
        (["training.learning_rate=1e-3,0.001"], "training.learning_rate has the value 0.001 twice"),
        (["training.batch=32", "training.batch=64"], "training.batch is named twice"),
    ],
)
def test_what_is_no_value_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(JaxtagError) as caught:
        parse(*texts)
    assert message in str(caught.value)


def test_what_is_no_grid_is_refused() -> None:
    with pytest.raises(JaxtagError, match="the grid is empty"):
        space.points(CNN, space.product(space.grid({}), space.side_by_side({})))
    with pytest.raises(JaxtagError, match=r"different numbers of values: a 2, b 1"):
        space.side_by_side({"a": (1, 2), "b": (3,)})
    with pytest.raises(JaxtagError, match="a is named twice"):
        space.product([{"a": 1}], [{"a": 2}])
    with pytest.raises(JaxtagError, match=r"point dropout=1.5: model.dropout is 1.5; it must be"):
        space.points(CNN, space.grid(parse("model.dropout=0,1.5")))
