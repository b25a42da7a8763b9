"""Zero-shot runs, from an encoder to recommending: exact against hand computation, and never from an unseen post."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag import runs
from jaxtag.crossvalidate import crossvalidate
from jaxtag.data.dataset import open_dataset
from jaxtag.data.unseen import check_apart, has
from jaxtag.errors import JaxtagError
from jaxtag.estimators import dem
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.files import fingerprint, read_json, seal, write_json
from jaxtag.parallel.mesh import make_mesh
from jaxtag.recipes import resolve
from jaxtag.report.page import write
from jaxtag.runs import Bound, bind, open_run
from jaxtag.training import choice, methods
from jaxtag.training.features import Features
from jaxtag.training.restored import restore_best
from jaxtag.training.train import train
from jaxtag.zero_shot import BRANCH
from tests import toy, toy_zero_shot

pytestmark = pytest.mark.usefixtures("one_device")

SMALL: dict[str, Any] = {
    "encoder.training.batch": 32,
    "encoder.training.steps": 40,
    "encoder.training.patience": 0,
    "encoder.training.learning_rate": 0.01,
    "encoder.model.width": 16,
    "encoder.model.embedding": 8,
    "encoder.model.dropout": 0,
    "encoder.evaluation.batch": 128,
    "evaluation.batch": 128,
    "evaluation.k": "1,2,3",
}
ALONE = {k: v for k, v in SMALL.items() if not k.startswith("encoder")}
GIVEN: dict[str, Any] = {"model.gamma": 2.0, "model.lam": 0.5}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_zero_shot.make(tmp_path_factory.mktemp("zero") / "data", 500)


@pytest.fixture(scope="module")
def encoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained encoder's run folder, which runs below are given a copy of."""
    run = tmp_path_factory.mktemp("encoder") / "run"
    train(run, "zsl/eszsl", bound(data, "eszsl", **GIVEN))
    return run / "encoder"


def bound(data: Path, method: str, split: str = "zero", encoder: str = "", **overrides: Any) -> Bound:
    dataset = open_dataset(data)
    small = ALONE if method == "cosine" or encoder == "vectors" else SMALL
    return bind(resolve(f"zsl/{method}", "tiny", small | overrides, encoder), dataset, dataset.split(split))


def trained(run: Path, encoder: Path | None, b: Bound) -> Path:
    """A run of `b` in `run`, from a copy of `encoder`."""
    if encoder is not None:
        shutil.copytree(encoder, run / "encoder")
    train(run, f"zsl/{b.experiment.system}", b)
    return run


def read(run: Path, rows: np.ndarray) -> tuple[Bound, np.ndarray, np.ndarray]:
    """Features and probabilities of the encoder of `run`, by its own logits."""
    b, _ = open_run(run)
    assert b.encoder is not None
    state, batch = restore_best(run / "encoder", b.encoder), b.encoder.reading.gather(rows)
    system, variables = b.encoder.system, (state["params"], state["collections"])
    logits = system.module.apply({"params": state["params"]}, batch, 0.0, None)[:, : len(b.split.hashtags)]
    return b, np.asarray(system.features(*variables, batch)), np.asarray(jax.nn.softmax(logits, axis=-1))


def ranked_by(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    return candidates[np.argsort(-scores, axis=1, kind="stable")[:, :3]]


def of_unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vectors_of_split(b: Bound, name: str = "inductive") -> tuple[np.ndarray, np.ndarray]:
    """Of the seen and of the unseen hashtags."""
    both = np.asarray(b.split.hashtag_vectors(name), np.float64)
    return both[: len(b.split.hashtags)], both[len(b.split.hashtags) :]


def recommended(run: Path) -> np.ndarray:
    with np.load(run / "predictions-test.npz") as found:
        return found["ranked"]


def test_conse_with_all_hashtags_is_probabilities_times_vectors(data: Path, encoder: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", encoder, bound(data, "conse"))
    evaluate(run)
    b, _, probabilities = read(run, open_dataset(data).split("zero").test)
    seen, unseen = vectors_of_split(b)
    scores = of_unit(probabilities.astype(np.float64) @ seen) @ of_unit(unseen).T
    np.testing.assert_array_equal(recommended(run), ranked_by(scores, b.split.candidates))
    state = restore_best(run, b)
    query = b.system.query(state["params"], state["collections"], b.reading.gather(b.split.test))
    table = b.system.table(state["params"], state["collections"], jnp.arange(len(seen), len(seen) + len(unseen)))
    np.testing.assert_allclose(query @ table.T, scores, atol=2e-6)


def test_conse_of_the_most_probable_alone(data: Path, encoder: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", encoder, bound(data, "conse", **dict[str, Any]({"model.most": 1})))
    evaluate(run)
    b, _, probabilities = read(run, open_dataset(data).split("zero").test)
    seen, unseen = vectors_of_split(b)
    scores = of_unit(seen[probabilities.argmax(1)]) @ of_unit(unseen).T
    np.testing.assert_array_equal(recommended(run), ranked_by(scores, b.split.candidates))


def test_conse_weighs_probabilities_by_how_few_posts_a_hashtag_has(data: Path, encoder: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", encoder, bound(data, "conse", **dict[str, Any]({"model.balance": 2.0})))
    b, _, probabilities = read(run, open_dataset(data).split("zero").test)
    dataset, (seen, unseen) = open_dataset(data), vectors_of_split(b)
    given = [int(h) for row in b.split.train for h in dataset.column("hashtags")[row]]
    counts = np.array([given.count(h) for h in b.split.hashtags])
    assert len(set(counts)) > 1
    weighed = probabilities.astype(np.float64) * (counts.mean() / counts) ** 2
    state = restore_best(run, b)
    query = b.system.query(state["params"], state["collections"], b.reading.gather(b.split.test))
    table = b.system.table(state["params"], state["collections"], jnp.arange(len(seen), len(seen) + len(unseen)))
    np.testing.assert_allclose(query @ table.T, of_unit(weighed @ seen) @ of_unit(unseen).T, atol=2e-6)


@pytest.mark.parametrize(("neg_label", "standardise"), [(0, False), (-1, True)])
def test_eszsl_is_the_closed_form(data: Path, encoder: Path, tmp_path: Path, neg_label: int, standardise: bool) -> None:
    settings = GIVEN | {"model.neg_label": neg_label, "model.standardise": str(standardise).lower()}
    run = trained(tmp_path / "run", encoder, bound(data, "eszsl", **settings))
    found = evaluate(run)
    dataset = open_dataset(data)
    split = dataset.split("zero")
    b, x, _ = read(run, split.train)
    seen, unseen = vectors_of_split(b)
    y = has(b.reading.columns["hashtags"], split.train, np.arange(len(seen)), len(split.named)).astype(np.float64)
    y = np.where(y > 0, 1.0, neg_label)
    mean, scale = (x.mean(0), x.std(0)) if standardise else (0 * x[0], 1 + 0 * x[0])
    scale = np.where(scale > 0, scale, 1)
    x = (x.astype(np.float64) - mean) / scale
    gram = x.T @ x + 2 * np.eye(x.shape[1])
    w = np.linalg.solve(gram, x.T @ y @ seen)
    w = np.linalg.solve(seen.T @ seen + 0.5 * np.eye(seen.shape[1]), w.T).T / scale[:, None]
    with np.load(run / "fitted" / "fitted.npz") as arrays:
        learned = arrays["weights"] * scale[:, None]
    # Products are summed in float32. The equation holds to that, whatever its condition, which says how far that goes.
    sides = gram, learned, seen.T @ seen + 0.5 * np.eye(seen.shape[1])
    size = np.prod([np.linalg.norm(side) for side in sides])
    assert np.linalg.norm(np.linalg.multi_dot(sides) - x.T @ y @ seen) < 1e-7 * size
    off = np.finfo(np.float32).eps * np.linalg.cond(gram) * np.abs(w).max()
    np.testing.assert_allclose(learned / scale[:, None], w, rtol=0, atol=off)
    _, test, _ = read(run, split.test)
    order = ranked_by((test - mean) @ w @ unseen.T, split.candidates)
    assert (recommended(run) == order).all(1).mean() > 0.99  # but for scores equal in all digits that float32 has
    gold = has(dataset.column("hashtags"), split.test, split.candidates, toy.HASHTAGS)
    hit = gold[np.arange(len(gold)), order[:, 0] - split.candidates[0]].mean()
    assert found["accuracy@1"] == pytest.approx(hit, abs=0.01)
    assert found["baselines"]["chance"]["accuracy@1"] == pytest.approx(1 / 3)
    assert found["vectors"] == {"name": "inductive", "setting": "inductive", "words": "at random"}
    assert set(found["baselines"]) == {"chance"} and "generalised" not in found


def test_dem_ranks_by_distance_and_is_least_where_it_should(data: Path, encoder: Path, tmp_path: Path) -> None:
    b = bound(data, "dem", **dict[str, Any]({"model.decay": 0.05, "model.steps": 4000, "model.learning_rate": 0.01}))
    run = trained(tmp_path / "run", encoder, b)
    evaluate(run)
    split = open_dataset(data).split("zero")
    b, x, _ = read(run, split.train)
    seen, unseen = vectors_of_split(b)
    with np.load(run / "fitted" / "fitted.npz") as arrays:
        fitted = {name: jnp.asarray(arrays[name]) for name in arrays.files}
    labels = b.reading.gather(split.train)["hashtags"][:, 0]
    loss = lambda p: dem.loss(p, jnp.asarray(x), jnp.asarray(seen[labels]), jnp.ones(len(x)), 0.05)  # noqa: E731
    start = dem.init(jax.random.key(0), seen.shape[1], x.shape[1])
    size = lambda tree: max(float(jnp.abs(g).max()) for g in jax.tree.leaves(tree))  # noqa: E731
    assert size(jax.grad(loss)(fitted)) < 1e-3 * size(jax.grad(loss)(start))
    _, test, _ = read(run, split.test)
    far = np.square(test[:, None] - np.asarray(dem.branch(fitted, jnp.asarray(unseen)))).sum(-1)
    assert (recommended(run)[:, 0] == split.candidates[far.argmin(1)]).mean() > 0.99


def test_a_choice_reads_no_unseen_post_and_no_held_out_one(
    data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, np.ndarray, np.ndarray]] = []
    for name in ("moments", "rows"):
        own = getattr(Features, name)

        def spy(self: Features, rows: np.ndarray, *more: Any, name: str = name, real: Any = own) -> Any:
            asked.append((name, rows, more[0] if more else np.zeros(0, int)))
            return real(self, rows, *more)

        monkeypatch.setattr(Features, name, spy)
    run = trained(tmp_path / "run", encoder, bound(data, "eszsl"))
    dataset = open_dataset(data)
    split, column = dataset.split("zero"), dataset.column("hashtags")
    tried = read_json(run / "fitted" / "fitted.json", "fitted")["tried"]
    assert len(asked) == 2 * len(tried["held_out"]) + 1
    assert sorted(h for fold in tried["held_out"] for h in fold) == sorted(f"tag{i}" for i in split.hashtags)
    for i, names in enumerate(tried["held_out"]):
        held = np.array([int(name[3:]) for name in names])
        (_, fit, labels), (_, ranked, _) = asked[2 * i : 2 * i + 2]
        assert not has(column, fit, held, toy.HASHTAGS).any() and not np.isin(held, split.hashtags[labels]).any()
        assert np.isin(fit, split.train).all() and np.isin(ranked, split.validation).all()
        assert has(column, ranked, held, toy.HASHTAGS).any(1).all()
    np.testing.assert_array_equal(asked[-1][1], split.train)
    for _, rows, _ in asked:
        assert not has(column, rows, split.candidates, toy.HASHTAGS).any()
    grid = np.array(tried["accuracy@1"])
    best = grid[tried["gamma"].index(chosen(run)["gamma"]), tried["lam"].index(chosen(run)["lam"])]
    assert grid.shape == (7, 7) and best == grid.max()


def chosen(run: Path) -> dict[str, float]:
    return read_json(run / "fitted" / "fitted.json", "fitted")["chosen"]


def test_an_encoder_of_its_own_never_meets_a_held_out_hashtag(data: Path, tmp_path: Path) -> None:
    b = bound(
        data, "dem", **dict[str, Any]({"model.decay": -1, "model.encoders": "own", "model.folds": 2, "model.steps": 50})
    )
    folds = choice.folds_of(b, np.arange(9))
    for fold in folds:
        inner = choice.without(b, fold)
        column = open_dataset(data).column("hashtags")
        for rows in (inner.split.train, inner.split.validation):
            assert len(rows) and not has(column, rows, b.split.hashtags[fold.held], toy.HASHTAGS).any()
        assert not np.isin(b.split.hashtags[fold.held], inner.reading.targets).any()
        assert np.isin(fold.rank, np.concatenate([b.split.train, b.split.validation])).all()
    run = trained(tmp_path / "run", None, b)
    assert sorted(p.name for p in (run / "choosing").iterdir()) == ["fold-0", "fold-1"]
    assert read_json(run / "fitted" / "fitted.json", "fitted")["tried"]["encoders"] == "own"
    conse = bound(data, "conse", **dict[str, Any]({"model.most": -1, "model.encoders": "own", "model.folds": 2}))
    shutil.copytree(run / "choosing", tmp_path / "conse" / "choosing")
    train(tmp_path / "conse", "zsl/conse", conse)
    assert chosen(tmp_path / "conse")["most"] in (*methods.MOST, 9)


@pytest.mark.parametrize("place", ["fold", "writing"])
def test_a_fit_that_was_stopped_ends_with_the_same_bytes(
    data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    whole = trained(tmp_path / "whole", encoder, bound(data, "eszsl"))
    run, b = tmp_path / "run", bound(data, "eszsl")
    shutil.copytree(encoder, run / "encoder")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        calls: list[int] = []

        def stop(*given: Any, **named: Any) -> Any:
            calls.append(1)
            if len(calls) > (2 if place == "fold" else 0):
                raise KeyboardInterrupt
            return real(*given, **named)

        where, what = (methods, "hits") if place == "fold" else (np, "savez")
        real = getattr(where, what)
        patch.setattr(where, what, stop)
        train(run, "zsl/eszsl", b)
    assert not (run / "fitted").exists()
    train(run, "zsl/eszsl", b)
    for name in ("fitted.npz", "fitted.json"):
        before = (run / "fitted" / name).read_bytes()
        assert before == (whole / "fitted" / name).read_bytes()
    stamp = (run / "fitted" / "fitted.npz").stat().st_mtime_ns
    train(run, "zsl/eszsl", b)
    assert (run / "fitted" / "fitted.npz").stat().st_mtime_ns == stamp  # it was done


def test_an_encoder_that_learns_on_is_fitted_again(data: Path, encoder: Path, tmp_path: Path) -> None:
    short: dict[str, Any] = {"encoder.training.steps": 10}
    run = trained(tmp_path / "run", None, bound(data, "eszsl", **GIVEN, **short))
    before = (run / "fitted" / "fitted.npz").read_bytes()
    train(run, "zsl/eszsl", bound(data, "eszsl", **GIVEN))
    after = (run / "fitted" / "fitted.npz").read_bytes()
    assert before != after == (encoder.parent / "fitted" / "fitted.npz").read_bytes()
    toy_zero_shot.make_vectors(data, name="other", seed=5)
    folder = data / "splits" / "zero" / "vectors"
    folder.joinpath("inductive").rename(folder / "kept")
    shutil.copytree(folder / "other", folder / "inductive")
    with pytest.raises(JaxtagError, match="another state of its encoder, or to other word vectors; give the train"):
        evaluate(run)
    shutil.rmtree(folder / "inductive")
    folder.joinpath("kept").rename(folder / "inductive")


def test_few_shot_and_generalised(data: Path, tmp_path: Path) -> None:
    toy_zero_shot.make_split(data, 500, "few", shots=4)
    toy_zero_shot.make_vectors(data, "few")
    b = bound(data, "eszsl", "few", encoder="vectors")
    run = trained(tmp_path / "run", None, b)
    assert len(b.split.hashtags) == toy.HASHTAGS
    found = evaluate(run)
    assert found["candidates"] == {"among": "split", "count": 3} and found["posts"] == len(b.split.test)
    held = [h for fold in read_json(run / "fitted" / "fitted.json", "fitted")["tried"]["held_out"] for h in fold]
    assert sorted(held) == sorted(b.split.info["seen"])  # those with a few posts are fitted on in every fold
    every = evaluate(run, among="all")
    assert every["candidates"]["count"] == toy.HASHTAGS and (run / "evaluation-test-all.json").is_file()
    seen = evaluate(run, "validation", among="seen")
    assert seen["candidates"]["count"] == 9 and "chance" not in seen["baselines"]


def test_generalised_numbers_are_those_of_each_kind(data: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", None, bound(data, "cosine"))
    b, info = open_run(run)
    state = restore_best(run, b)
    rows = np.concatenate([b.split.validation, b.split.test])
    both = dataclasses.replace(b, split=dataclasses.replace(b.split, test=rows, candidates=b.split.named))
    from jaxtag.evaluation import evaluate as module

    result = module.Evaluator(both, runs.open_posts(both), b.split.named)(state, rows)
    found = module._zero_shot(both, result)["generalised"]
    right = (result.ranked[:, 0] == result.gold[:, 0]).astype(float)
    new = np.isin(result.gold[:, 0], b.split.candidates)
    assert found["seen"] == pytest.approx(right[~new].mean()) and found["unseen"] == pytest.approx(right[new].mean())


def test_a_split_with_unseen_posts_in_training_is_refused(data: Path, tmp_path: Path) -> None:
    for part in ("train", "validation"):
        copy = Path(shutil.copytree(data, tmp_path / part))
        folder = copy / "splits" / "zero"
        info = read_json(folder / "split.json", "split")
        rows = {name: np.load(folder / f"{name}.npy") for name in ("train", "validation", "test")}
        np.save(folder / f"{part}.npy", np.sort(np.append(rows[part], rows["test"][:2])))
        files = {k: v for k, v in seal(folder).items() if k != "split.json" and "/" not in k}
        write_json(folder / "split.json", info | {"files": files, "fingerprint": fingerprint(files)})
        dataset = open_dataset(copy)
        said = f"2 {part} posts of .*/splits/zero have an unseen hashtag, such as #tag"
        with pytest.raises(JaxtagError, match=said):
            check_apart(dataset, dataset.split("zero"))
        for method in ("cosine", "eszsl"):
            with pytest.raises(JaxtagError, match=said):
                train(tmp_path / "run", f"zsl/{method}", bound(copy, method))


def test_hashtags_without_a_vector(tmp_path: Path) -> None:
    copy = toy_zero_shot.make(tmp_path / "data", 300, missing=("tag2", "tag10"))
    with pytest.raises(JaxtagError, match="2 of 12 hashtags have no vector: #tag2, #tag10; leave such hashtags out"):
        train(tmp_path / "run", "zsl/cosine", bound(copy, "cosine"))
    b = bound(copy, "eszsl", encoder="vectors", **(GIVEN | {"model.missing": "last"}))
    run = trained(tmp_path / "run", None, b)
    assert read_json(run / "fitted" / "fitted.json", "fitted")["left_out"] == ["tag2"]
    found = evaluate(run)
    ranked = recommended(run)
    assert (ranked[:, 2] == 10).all() and found["posts"] == len(b.split.test)  # last, and its posts count as missed


@pytest.mark.parametrize("mode", ["finetune", "joint_mse"])
def test_dem_learns_with_its_encoder(data: Path, encoder: Path, tmp_path: Path, mode: str) -> None:
    settings: dict[str, Any] = {
        "model.mode": mode,
        "training.batch": 32,
        "training.steps": 12,
        "training.learning_rate": 0.01,
        "model.decay": 0.1,
    }
    b = bound(data, "dem", **settings)
    run = trained(tmp_path / "run", encoder if mode == "finetune" else None, b)
    assert [p.name for p in (run / "checkpoints").iterdir() if p.name.isdigit()]
    assert (run / "encoder").exists() == (mode == "finetune")
    evaluate(run)
    # The objective, by hand.
    state, split = restore_best(run, b), b.split
    batch = b.reading.gather(split.train[:20])
    numbers = {"dropout": 0.0, "allowed": np.arange(b.system.sizes.hashtags) < 9, "smoothing": 0.0}
    loss, weight, _ = b.system.loss(state["params"], state["collections"], batch, numbers, None)
    inner = {k: v for k, v in state["params"].items() if k != BRANCH}
    assert b.encoder is not None
    x = b.encoder.system.features(inner, {}, batch)
    labels, (seen, unseen) = batch["hashtags"][:, 0], vectors_of_split(b)
    branch = state["params"][BRANCH]
    expected = dem.distance(branch, x, jnp.asarray(seen[labels])) + dem.penalty(branch, 0.1)
    if mode == "finetune":
        logits = b.system.module.apply({"params": inner}, batch, 0.0, None)[:, :9]
        expected -= jax.nn.log_softmax(logits)[jnp.arange(20), labels]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(weight, 1)
    far = np.square(np.asarray(x)[:, None] - np.asarray(dem.branch(branch, jnp.asarray(unseen)))).sum(-1)
    table = b.system.table(state["params"], state["collections"], jnp.arange(9, 12))
    scores = b.system.query(state["params"], state["collections"], batch) @ table.T
    np.testing.assert_allclose(np.square(x).sum(1)[:, None] - scores, far, rtol=1e-4, atol=1e-4)


def test_finetuning_starts_where_the_encoder_was_best(data: Path, encoder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "model.mode": "finetune",
        "training.batch": 32,
        "training.steps": 1,
        "training.learning_rate": 0.0,
    }
    run = trained(tmp_path / "run", encoder, bound(data, "dem", **settings))
    b, _ = open_run(run)
    assert b.encoder is not None
    before, after = restore_best(run / "encoder", b.encoder)["params"], restore_best(run, b)["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(before):
        found = after
        for key in path:
            found = found[key.key]
        np.testing.assert_array_equal(found, leaf)


def test_reports_show_fitted_runs(data: Path, encoder: Path, tmp_path: Path) -> None:
    one = trained(tmp_path / "one", encoder, bound(data, "conse"))
    two = trained(tmp_path / "two", None, bound(data, "cosine"))
    for run in (one, two):
        evaluate(run)
    found = write([one, two], tmp_path / "report")
    assert set(found["results"][0]["test"]["systems"]) == {"zsl/conse", "zsl/cosine", "chance"}
    said = (tmp_path / "report" / "report.md").read_text()
    assert "encoder.model.width" in said and "chance (baseline)" in said


def test_a_mesh_fits_the_same(data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = trained(tmp_path / "alone", encoder, bound(data, "eszsl", **GIVEN))
    monkeypatch.setattr(runs, "make_mesh", make_mesh)
    parallel: dict[str, Any] = {"parallel.data": 2, "parallel.fsdp": 2, "parallel.tensor": 2}
    run = trained(tmp_path / "run", encoder, bound(data, "eszsl", **GIVEN, **parallel))
    with np.load(run / "fitted" / "fitted.npz") as ours, np.load(alone / "fitted" / "fitted.npz") as theirs:
        np.testing.assert_allclose(ours["weights"], theirs["weights"], rtol=0, atol=1e-5)


def test_a_run_says_what_it_was_fitted_with(encoder: Path) -> None:
    info = json.loads((encoder.parent / "fitted" / "fitted.json").read_text())
    assert info["chosen"] == {"gamma": 2.0, "lam": 0.5} and info["tried"] == {}
    assert info["vectors"]["setting"] == "inductive"


def test_folds_of_a_fitted_system(tmp_path: Path) -> None:
    copy = toy_zero_shot.make(tmp_path / "data", 150)
    toy.make_folds(copy, 2, 150)
    for i in range(2):
        toy_zero_shot.make_vectors(copy, f"cv-{i}")
    experiment = resolve("zsl/eszsl", "tiny", ALONE | GIVEN, "vectors")
    found = crossvalidate(tmp_path / "cv", "zsl/eszsl", experiment, copy, folds=2)
    assert found["complete"] and found["mean"]["accuracy@1"] > 0.5 and "most_used" in found["baselines"]
    again = crossvalidate(tmp_path / "cv", "zsl/eszsl", experiment, copy, folds=2)
    assert again == found
