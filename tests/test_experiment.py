import dataclasses
import json
import re
from pathlib import Path

import pytest

from jaxtag import experiment as e
from jaxtag import recipes as r
from jaxtag.errors import JaxtagError


@pytest.mark.parametrize("recipe", sorted(r.recipes()))
@pytest.mark.parametrize("size", r.SIZES)
def test_every_recipe_survives_json(recipe: str, size: str) -> None:
    experiment = r.resolve(recipe, size)
    assert r.from_json(json.loads(json.dumps(e.to_json(experiment)))) == experiment


def test_overrides_are_read_as_the_fields_type() -> None:
    experiment = r.resolve(
        "zsl/cnn",
        "tiny",
        {
            "training.learning_rate": "3e-4",
            "model.windows": "3,5",
            "data.length": "24",
            "model.trainable": "false",
        },
    )
    assert experiment.training.learning_rate == 3e-4
    assert experiment.model.windows == (3, 5)
    assert experiment.data.length == 24
    assert experiment.model.trainable is False


@pytest.mark.parametrize(
    ("recipe", "size", "overrides", "said"),
    [
        ("zsl/cn", "tiny", {}, "did you mean 'zsl/cnn'?"),
        ("zsl/cnn", "tin", {}, "did you mean 'tiny'?"),
        ("zsl/cnn", "tiny", {"training.lerning_rate": "1"}, "did you mean 'training.learning_rate'?"),
        ("zsl/cnn", "tiny", {"training.batch": "many"}, "training.batch cannot be 'many'; write a int"),
        ("zsl/cnn", "tiny", {"training.batch": "0"}, "training.batch is 0; it must be above 0"),
        ("zsl/cnn", "tiny", {"training.learning_rate": "-1"}, "training.learning_rate is -1.0; it must be 0 or more"),
        ("zsl/cnn", "tiny", {"training.learning_rate": "nan"}, "training.learning_rate is nan"),
        ("zsl/cnn", "tiny", {"model.dropout": "1"}, "model.dropout is 1.0; it must be at least 0 and below 1"),
        ("zsl/cnn", "tiny", {"training.objective": "pair"}, "did you mean 'pairs'?"),
        ("zsl/cnn", "tiny", {"model.trainable": "maybe"}, "write true or false"),
        ("zsl/cnn", "tiny", {"evaluation.metric": "f1@7"}, "no metric 'f1@7' at cut-offs 1, 2, 3, 4, 5"),
        ("zsl/cnn", "tiny", {"parallel.fsdp": "-1"}, "only one may be -1"),
        ("zsl/cnn", "tiny", {"training.seed": str(2**32)}, "must be below"),
        ("zsl/cnn", "tiny", {"training.optimizer": "adamw"}, "did you mean 'adam'?"),
        ("zsl/cnn", "tiny", {"training.epochs": "inf"}, "training.epochs is inf"),
        (
            "zsl/cnn",
            "tiny",
            {"training.accumulate": "3"},
            "training.batch is 128, which does not divide into the 3 parts that training.accumulate makes",
        ),
        ("zsl/cnn", "tiny", {"training.accumulate": "0"}, "training.accumulate is 0; it must be above 0"),
        ("zsl/cnn", "tiny", {"training.rows": "-1"}, "training.rows is -1; it must be 0 or more"),
        ("zsl/cnn", "tiny", {"training.rows": "9"}, "training.rows is 9, but adam moves every row"),
        ("zsl/cnn", "tiny", {"training.rows": "9", "training.optimizer": "bert_adam"}, "but bert_adam moves every row"),
        ("zsl/cnn", "tiny", {"training.optimizer": "lazy_adam"}, "lazy_adam needs training.rows, which is 0"),
        ("zsl/cnn", "tiny", {"training.schedule": "noam"}, "noam needs training.warmup, which is 0"),
        ("zsl/cnn", "tiny", {"training.warmup": "-2"}, "training.warmup is -2.0; it must be 0 or more"),
        ("zsl/cnn", "tiny", {"training.plateau_factor": "1"}, "training.plateau_factor is 1.0; it must be at least 0"),
        ("zsl/cnn", "tiny", {"training.plateau_patience": "0"}, "training.plateau_patience is 0; it must be above 0"),
        ("zsl/cnn", "tiny", {"training.schedule": "plateau"}, "training.patience is 5, training.plateau_patience 5"),
        ("nowhere.py:mine", "tiny", {}, "no recipe file nowhere.py"),
    ],
)
def test_mistakes_are_named(recipe: str, size: str, overrides: dict, said: str) -> None:
    with pytest.raises(JaxtagError) as caught:
        r.resolve(recipe, size, overrides)
    assert said in str(caught.value)


def test_an_experiment_from_before_a_field_was_there_has_its_default() -> None:
    experiment = r.resolve("zsl/cnn", "tiny")
    old = e.to_json(experiment)
    for name in ("optimizer", "schedule", "warmup", "rows", "accumulate", "precision", "tensorboard"):
        del old["training"][name]
    assert r.from_json(old) == experiment


def test_an_experiment_has_at_most_60_fields_beside_its_models() -> None:
    names = [name for name in e.fields_of(r.resolve("zsl/cnn")) if not name.startswith("model.")]
    assert len(names) <= 60
    for part in (e.Data, e.Training, e.Evaluation, e.Parallel):
        for field in dataclasses.fields(part):
            assert re.search(rf"\b{field.name}\b[^\n]*:", part.__doc__ or ""), field.name


def test_a_recipe_may_be_the_users_own_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from jaxtag.recipes import resolve\n\ndef wider(size):\n"
        "    return resolve('zsl/cnn', size, {'model.filters': 64})\n"
    )
    assert r.resolve(f"{file}:wider", "paper").model.filters == 64
    with pytest.raises(JaxtagError, match="did you mean 'wider'"):
        r.resolve(f"{file}:widr")
