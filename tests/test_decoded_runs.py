"""Systems of hashtag sequences as runs: trained, evaluated and asked, with lists that end early."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxtag import recommend
from jaxtag.building import build
from jaxtag.cli import main
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.evaluate import Evaluator, compare, enough
from jaxtag.experiment import override
from jaxtag.recipes import resolve
from jaxtag.runs import bind, open_posts, open_run
from jaxtag.training.programs import shape_of
from jaxtag.training.restored import restore_best
from jaxtag.training.trainable import check_training, cropped
from tests import toy

pytestmark = pytest.mark.usefixtures("one_device")
POSTS = 300
SMALL = {"training.batch": 32, "model.embedding": 8, "model.width": 16, "model.hashtag_embedding": 8}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("decoded") / "data", POSTS)


def command(*arguments: Any) -> None:
    main([str(x) for x in arguments])


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """amnn_text with an end token, on posts of one to three hashtags, of which two are learned."""
    run = tmp_path_factory.mktemp("decoded") / "run"
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    options += ["--model.end=true", "--model.most=2", "--training.steps=84", "--training.learning_rate=0.03"]
    options += ["--evaluation.batch=64"]
    command("train", "amnn/amnn_text", "--size", "tiny", "--data", data, "--run", run, *options)
    return run


def test_lists_that_end_early_are_evaluated(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("evaluate", run)
    document = json.loads((run / "evaluation-test.json").read_text())
    found = np.load(run / "predictions-test.npz")
    ranked, gold = found["ranked"], found["gold"]
    assert ranked.shape[1] == 5 and (ranked[:, 0] >= 0).all()
    short = ranked < 0
    assert short.any() and (np.diff(short.astype(int), axis=1) >= 0).all()  # nothing behind the end
    for row in ranked:
        assert len(set(row[row >= 0])) == (row >= 0).sum()
    hits = ((ranked[:, :, None] == gold[:, None]) & (gold[:, None] >= 0)).any(2)
    np.testing.assert_allclose(document["precision@5"], hits.sum(1).mean() / 5)
    np.testing.assert_allclose(document["recall@5"], (hits.sum(1) / (gold >= 0).sum(1)).mean())
    assert document["recall@1"] > 2 * document["baselines"]["most_used"]["recall@1"]


def test_posts_with_few_recommendations_may_be_left_out(run: Path) -> None:
    bound, _ = open_run(run)
    rows, state = bound.split.part("test"), restore_best(run, bound)
    every = Evaluator(bound, open_posts(bound), bound.split.candidates)(state, rows)
    least = int((every.ranked >= 0).sum(1).min()) + 1
    object.__setattr__(bound.experiment.evaluation, "min_predictions", least)
    some = Evaluator(bound, open_posts(bound), bound.split.candidates)(state, rows)
    kept = enough(every.ranked, least)
    assert some.metrics["posts"] == kept.sum() == compare(bound, some)["most_used"]["posts"] > 0
    hits = (every.ranked[kept, :1] == every.gold[kept]).any(1)
    np.testing.assert_allclose(some.metrics["precision@1"], hits.mean())
    assert 0 < kept.sum() < len(rows)


def test_recommending_gives_a_list_and_the_probability_of_each(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound, _ = open_run(run)
    rows = bound.split.part("test")
    posts = {name: x for name, x in bound.reading.gather(rows).items() if name != "hashtags"}
    monkeypatch.setattr(recommend, "Reader", lambda bound: lambda requests, rows: (posts, None))
    found = recommend.open_recommender(run, 5, candidates="tag3,tag0,tag7,tag1,tag9,tag4").answer(rows)
    plain = Evaluator(bound, open_posts(bound), bound.split.candidates[[3, 0, 7, 1, 9, 4]])
    ranked = plain(restore_best(run, bound), rows).ranked
    for answer, expected in zip(found, ranked, strict=True):
        tags = answer["hashtags"]
        assert [tag["hashtag"] for tag in tags] == [f"tag{h}" for h in expected[expected >= 0]]
        assert all(0 < tag["probability"] <= 1 for tag in tags)
    assert min(len(answer["hashtags"]) for answer in found) < 5


def test_lists_may_be_ordered_by_probability_as_the_first_hashtag(run: Path) -> None:
    bound, _ = open_run(run)
    state = restore_best(run, bound)
    batch, labels = bound.reading.gather(bound.split.part("test")[:32]), np.arange(bound.system.sizes.hashtags)
    allowed = (labels < len(bound.split.hashtags)) & (labels != 2)
    system = build(override(bound.experiment, {"model.lists": "first"}), bound.system.sizes)
    found, logs = system.decode(state["params"], {}, batch, 5, allowed)
    said, others = bound.system.decode(state["params"], {}, batch, 5, allowed)
    np.testing.assert_array_equal(found[:, 0], said[:, 0])
    np.testing.assert_allclose(logs[:, 0], others[:, 0], rtol=1e-5)
    assert (np.asarray(found) >= 0).all() and (np.diff(logs) <= 0).all() and not (np.asarray(found) == 2).any()
    assert (np.asarray(said) < 0).any()  # which end early


def bound_to(data: Path, recipe: str = "amnn/amnn_text", **fields: Any) -> Any:
    dataset = open_dataset(data)
    overrides = {"training.batch": 32, **{name.replace("__", "."): value for name, value in fields.items()}}
    return bind(resolve(recipe, "tiny", overrides), dataset, dataset.split())


def test_sequences_longer_than_are_learned_are_counted_and_named(data: Path) -> None:
    assert cropped(bound_to(data)) == "" == cropped(bound_to(data, "zsl/ann"))
    bound = bound_to(data, model__most=2)
    lengths = open_dataset(data).column("hashtags").lengths(bound.split.train)
    long = bound.split.train[lengths > 2]
    said = cropped(bound)
    assert said.startswith(f"{len(long)} of {len(bound.split.train)} training posts have more than 2 hashtags, up to 3")
    assert f"rows {long[0]}, {long[1]}" in said and said.endswith("…")


def test_an_objective_of_another_kind_is_refused(data: Path) -> None:
    with pytest.raises(JaxtagError, match="amnn learns hashtags as a sequence, not by training.objective pairs"):
        check_training(bound_to(data, training__objective="pairs"))
    with pytest.raises(JaxtagError, match="training.objective sequence needs a system of hashtag sequences"):
        check_training(bound_to(data, "zsl/ann", training__objective="sequence"))
    system = bound_to(data).system
    for scores in (system.query, system.table, system.scores):
        with pytest.raises(JaxtagError, match="amnn says hashtags one after the other"):
            scores({}, {}, {})


def test_shuffled_hashtags_are_read_in_another_order(data: Path) -> None:
    plain, once, each = (bound_to(data, data__hashtag_order=o) for o in ("author", "shuffled", "shuffled_each_time"))
    rows = np.arange(POSTS)
    a, b, c = (x.reading.gather(rows)["hashtags"] for x in (plain, once, each))
    assert (a == c).all() and (np.sort(a) == np.sort(b)).all() and (a != b).any()
    for bound in (plain, once, each):  # as bound, and as compiled
        for system in (bound.system, shape_of(bound, open_posts(bound)).system):
            assert system.shuffled is (bound is each)
