"""Zero-shot runs as their user meets them: options, hashtags named only now, and mistakes in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxtag.data import candidates
from jaxtag.data.dataset import open_dataset
from jaxtag.data.posts import FIRST_WORD
from jaxtag.evaluation.zero_shot import chance_metrics
from jaxtag.experiment import fields_of, to_json
from jaxtag.recipes import from_json, resolve
from jaxtag.systems import SYSTEMS
from tests import toy, toy_zero_shot
from tests.toy_command import call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset, a cosine run and an ESZSL run on mean word vectors, made by the command."""
    folder = tmp_path_factory.mktemp("zero")
    data = toy_zero_shot.make(folder / "data", 300)
    common = ("--size", "tiny", "--data", data, "--split", "zero")
    assert call("train", "zsl/cosine", *common, "--run", folder / "cosine") == 0
    eszsl = ("--encoder", "vectors", "--model.gamma", 1, "--model.lam=1", "--model.unit", "true")
    assert call("train", "zsl/eszsl", *common, *eszsl, "--run", folder / "eszsl") == 0
    ordinary = ("--data", data, "--size", "tiny", "--training.steps", 2, "--training.batch", 32)
    assert call("train", "zsl/ann", *ordinary, "--split", "default", "--run", folder / "ann") == 0
    return {"DATA": data, "COSINE": folder / "cosine", "ESZSL": folder / "eszsl", "ANN": folder / "ann"}


def recommended(run: Path, capsys: pytest.CaptureFixture, *options: object) -> tuple[list[dict[str, Any]], str]:
    capsys.readouterr()
    assert call("recommend", run, toy.word(FIRST_WORD) + " " + toy.word(FIRST_WORD + 3), "--json", *options) == 0
    said = capsys.readouterr()
    return json.loads(said.out)["hashtags"], said.err


def test_hashtags_named_only_now_are_ranked_by_their_vectors(made: dict[str, Path], capsys) -> None:
    named = "#日本,ＥＸＴＲＡ,Extra, #extra ,nai\u0308ve,tag3,#Tag11,nowhere,wordaczzzz"
    found, said = recommended(made["COSINE"], capsys, "-k", 9, "--candidates", named)
    folder = made["DATA"] / "splits" / "zero" / "vectors" / "inductive"
    names, rows = (folder / "names.txt").read_text().split("\n")[:-1], np.load(folder / "table.npy").astype(np.float64)
    row = {name: rows[i] for i, name in enumerate(names)}
    post = (row[toy.word(FIRST_WORD)] + row[toy.word(FIRST_WORD + 3)]) / 2
    wanted = {"extra": "extra", "日本": "日本", "naïve": "naïve", "tag3": "#tag3", "tag11": "#tag11"}
    cosine = {h: post @ row[n] / np.linalg.norm(post) / np.linalg.norm(row[n]) for h, n in wanted.items()}
    assert [r["hashtag"] for r in found] == sorted(cosine, key=lambda h: -cosine[h])
    np.testing.assert_allclose([r["score"] for r in found], sorted(cosine.values(), reverse=True), atol=2e-6)
    assert "have no vector and cannot be ranked: #" in said and "#nowhere" in said and said.count("\n") == 1


def test_a_fitted_run_ranks_new_hashtags_by_hand_computation(made: dict[str, Path], capsys, tmp_path: Path) -> None:
    file = tmp_path / "c.txt"
    file.write_text("\ufeff#extra\n\n日本\ntag9\n", encoding="utf-8")
    found, _ = recommended(made["ESZSL"], capsys, "--candidates-file", file)
    folder = made["DATA"] / "splits" / "zero" / "vectors" / "inductive"
    names, rows = (folder / "names.txt").read_text().split("\n")[:-1], np.load(folder / "table.npy").astype(np.float64)
    with np.load(made["ESZSL"] / "fitted" / "fitted.npz") as arrays:
        post = rows[[0, 3]].mean(0) @ arrays["weights"]
    about = {h: rows[names.index(n)] for h, n in (("extra", "extra"), ("日本", "日本"), ("tag9", "#tag9"))}
    scores = {h: post @ v / np.linalg.norm(v) for h, v in about.items()}
    assert [r["hashtag"] for r in found] == sorted(scores, key=lambda h: -scores[h])
    np.testing.assert_allclose([r["score"] for r in found], sorted(scores.values(), reverse=True), rtol=1e-4)


def test_popular_and_trending_hashtags(made: dict[str, Path], capsys) -> None:
    dataset = open_dataset(made["DATA"])
    column, time = dataset.column("hashtags"), np.asarray(dataset.column("time"))
    used = np.bincount(column.values, minlength=toy.HASHTAGS)
    popular = sorted(range(toy.HASHTAGS), key=lambda h: (-used[h], h))[:4]
    np.testing.assert_array_equal(candidates.by_use(dataset, "popular:4"), popular)
    late = time > time.max() - 3600  # a post a minute
    recent = np.bincount(column.values[np.repeat(late, column.lengths())], minlength=toy.HASHTAGS)
    days = 3600 / candidates.DAY
    expected = sorted(np.flatnonzero(recent), key=lambda h: (-recent[h], h))
    np.testing.assert_array_equal(candidates.by_use(dataset, f"trending:{days}"), expected)
    np.testing.assert_array_equal(candidates.by_use(dataset, f"trending:{days}:2"), expected[:2])
    among = np.array([1, 5, 7])
    assert set(candidates.by_use(dataset, "popular:9", among)) == {1, 5, 7}
    for run, key in (("COSINE", "score"), ("ANN", "probability")):
        found, _ = recommended(made[run], capsys, "-k", 99, "--candidates", "popular:4")
        assert {r["hashtag"] for r in found} == {f"tag{h}" for h in popular} and key in found[0]
        found, _ = recommended(made[run], capsys, "-k", 99, "--candidates", f"trending:{days}")
        assert {r["hashtag"] for r in found} == {f"tag{h}" for h in expected}


MISTAKES = [
    (("recommend", "COSINE", "x", "--candidates", " ,#"), "the list of candidates is empty"),
    (("recommend", "COSINE", "x", "--candidates", "food,#123"), "candidate '#123' is no hashtag: it has no letter"),
    (("recommend", "COSINE", "x", "--candidates", "nowhere,никогда"), "no candidate has a vector in 'inductive'"),
    (("recommend", "COSINE", "x", "--candidates", "popular"), "'popular' asks for nothing; say popular:100"),
    (("recommend", "COSINE", "x", "--candidates", "popular:many"), "cannot be read; say popular:100"),
    (("recommend", "COSINE", "x", "--candidates", "trending:-1"), "asks for nothing; say trending:7"),
    (("recommend", "COSINE", "x", "--candidates", "trending:nan"), "asks for nothing; say trending:7"),
    (("recommend", "COSINE", "x", "--candidates", "popular:3", "--candidates-file", "F"), "both name candidates"),
    (("recommend", "ANN", "x", "--candidates", "extra"), "candidate #extra is not a hashtag of"),
    (("evaluate", "COSINE", "--among", "unseen"), "--among 'unseen' is no list of candidates"),
    (("TRAIN", "zsl/rnn"), "3 of the 3 candidates of"),
    (("TRAIN", "zsl/cnn", "--encoder", "zsl/rnn"), "recipe zsl/cnn has no encoder; leave --encoder out"),
    (("TRAIN", "zsl/eszsl", "--encoder", "zsl/rn"), "no recipe 'zsl/rn'; did you mean 'zsl/rnn'?"),
    (("TRAIN", "zsl/eszsl", "--encoder", "zsl/conse"), "system conse cannot be an encoder"),
    (("TRAIN", "zsl/conse", "--encoder", "vectors"), "system conse needs an encoder that learns; --encoder zsl/rnn"),
    (("TRAIN", "zsl/dem", "--encoder", "vectors", "--model.mode", "joint_mse"), "system dem needs an encoder"),
    (("TRAIN", "zsl/cosine", "--encoder", "zsl/rnn"), "system cosine compares mean word vectors, it has no encoder"),
    (("TRAIN", "zsl/eszsl", "--model.gamma", "-1"), "model.gamma is -1; it must be a positive number, or 0"),
    (("TRAIN", "zsl/eszsl", "--model.lam", "nan"), "model.lam is nan; it must be a positive number, or 0"),
    (("TRAIN", "zsl/eszsl", "--model.neg_label", "1"), "model.neg_label is 1; it must be 0 or -1"),
    (("TRAIN", "zsl/eszsl", "--model.folds", "1"), "model.folds is 1; it must be 2 or more"),
    (("TRAIN", "zsl/eszsl", "--encoder", "vectors", "--model.folds", "9"), "9 seen hashtags cannot be held out in 9"),
    (("TRAIN", "zsl/conse", "--model.most", "-2"), "model.most is -2; it must be 1 or more, 0 for all"),
    (("TRAIN", "zsl/dem", "--model.decay", "-0.5"), "model.decay is -0.5; it must be 0 or more, or -1 in the mode"),
    (("TRAIN", "zsl/eszsl", "--encoder.model.widht", "4"), "no field 'encoder.model.widht'"),
    (("TRAIN", "zsl/eszsl", "--encoder.training.batch", "0"), "of the encoder, training.batch is 0"),
    (("TRAIN", "zsl/cosine", "--model.vectors", "transductiv"), "has no word vectors 'transductiv' (it has: induc"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_a_mistake_is_one_line(
    made: dict[str, Path], tmp_path: Path, capsys, arguments: tuple[str, ...], said: str
) -> None:
    if arguments[0] == "TRAIN":
        where = ("--size", "tiny", "--data", made["DATA"], "--split", "zero", "--run", tmp_path / "R")
        arguments = ("train", arguments[1], *map(str, where), *arguments[2:])
    capsys.readouterr()
    assert call(*(made.get(a, a) for a in arguments)) == 2
    err = capsys.readouterr().err
    last = err.strip().split("\n")[-1]
    assert last.startswith("jaxtag: ") and said in last
    assert not (tmp_path / "R" / "fitted").exists()


def test_features_that_are_not_finite_are_refused(made: dict[str, Path], tmp_path: Path, capsys, monkeypatch) -> None:
    from jaxtag.zero_shot import Fitted

    real = Fitted.read
    monkeypatch.setattr(Fitted, "read", lambda self, *given: real(self, *given) / 0)
    options = ("--size", "tiny", "--data", made["DATA"], "--split", "zero", "--encoder", "vectors")
    given = ("--model.gamma", 1, "--model.lam", 1)
    assert call("train", "zsl/eszsl", *options, *given, "--run", tmp_path / "run") == 2
    assert "posts are NaN or infinite; choose features that are finite" in capsys.readouterr().err


def test_evaluate_says_what_the_table_does_not(made: dict[str, Path], capsys) -> None:
    capsys.readouterr()
    assert call("evaluate", made["COSINE"]) == 0
    said = capsys.readouterr().out
    assert "| chance" in said and "hashtags' vectors: inductive; 3 candidates" in said


@pytest.mark.parametrize("recipe", ["zsl/conse", "zsl/eszsl", "zsl/dem"])
def test_an_encoder_is_part_of_its_experiment(recipe: str) -> None:
    given = {"encoder.model.width": "32", "encoder.training.epochs": "2", "encoder.data.vectors": "mine"}
    experiment = resolve(recipe, "tiny", given, "zsl/rnn_attention")
    assert experiment.encoder and experiment.encoder.system == "rnn_attention"
    assert (experiment.encoder.model.width, experiment.encoder.training.epochs) == (32, 2.0)
    assert fields_of(experiment)["encoder.data.vectors"] == "mine"
    assert from_json(json.loads(json.dumps(to_json(experiment)))) == experiment
    assert "encoder" not in to_json(experiment.encoder)


def test_every_zero_shot_system_has_a_recipe() -> None:
    for entry in SYSTEMS.values():
        if entry.zero_shot:
            assert resolve(f"{entry.paper}/{entry.name}").system == entry.name


def test_chance_is_the_mean_over_all_orders() -> None:
    """Posts with one, two and three of four candidates, and one with none."""
    from itertools import permutations

    import jax
    import jax.numpy as jnp

    from jaxtag.evaluation import metrics

    gold = np.array([[1, -1, -1], [0, 3, -1], [2, 1, 0], [-1, -1, -1]], np.int32)
    ks, every = (1, 2, 4), list(permutations(range(4)))
    ranked = np.repeat(np.array(every, np.int32), len(gold), axis=0)
    sums = metrics.topk_sums(
        jnp.asarray(ranked), jnp.asarray(np.tile(gold, (len(every), 1))), jnp.ones(len(ranked), bool), ks, 4
    )
    expected = metrics.finish(jax.device_get(sums), ks)
    found = chance_metrics((gold >= 0).sum(1), ks, 4)
    assert found.pop("posts") == 3
    for name, value in found.items():
        assert value == pytest.approx(expected[name]), name
