"""LXMERT from source files to recommendations: trained, evaluated, asked, begun from published weights, planned."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jaxtag_prep.cli import main as prepare

from jaxtag.cli import main
from jaxtag.data.dataset import open_dataset
from jaxtag.data.wordpieces import open_wordpieces
from jaxtag.parallel.mesh import make_mesh
from jaxtag.plan.workload import assumed
from jaxtag.plan.workload import prepare as prepare_step
from jaxtag.recipes import resolve
from jaxtag.runs import Bound, bind, open_run, restore_best
from jaxtag.training import pretrained
from jaxtag.training.starting import start_of
from jaxtag.training.state import create
from jaxtag.training.train import train
from tests import photos

POSTS, REGIONS, FEATURES = 240, 3, 8
RECIPE, NAMES = "lxmert4hashtag/lxmert", ("sea", "hill", "city")
SETTINGS = {
    "training.batch": 16, "training.epochs": 4, "evaluation.batch": 16, "evaluation.metric": "f1@1", "data.length": 16
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Posts whose hashtag is a region's direction; every eighth has no regions."""
    folder, rng = tmp_path_factory.mktemp("lxmert"), np.random.default_rng(0)
    gold = rng.integers(0, len(NAMES), POSTS)
    words = [" ".join(rng.choice(["sun", "rain", "wind", "snow", "cloud", "sky"], 6)) for _ in gold]
    rows = [{"text": f"{said} #{NAMES[g]}", "photo": f"p{i}"} for i, (g, said) in enumerate(zip(gold, words))]
    file = photos.posts(folder / "posts.jsonl", rows)
    features = rng.random((POSTS, REGIONS, FEATURES), np.float32)
    features[np.arange(POSTS), 0, gold] += 4
    seen = np.arange(POSTS) % 8 > 0
    boxes = np.tile(np.float32([0, 0, 1, 1]), (POSTS, REGIONS, 1))
    names = np.array([f"p{i}" for i in range(POSTS)])
    np.savez(folder / "regions.npz", features=features[seen], boxes=boxes[seen], image_id=names[seen])
    out = ["--data", str(folder / "data"), "--workers", "1"]
    command = ["posts", "--input", str(file), "--text", "text", "--image", "photo", "--images", "none"]
    assert prepare([*command, "--min-words", "1", "--workers", "1", "--out", str(folder / "data")]) == 0
    assert prepare(["wordpieces", *out, "--size", "100"]) == 0
    sizes = ["--regions", str(REGIONS), "--width", str(FEATURES), "--max-bad", "0.2"]
    assert prepare(["regions", *out, "--input", str(folder / "regions.npz"), *sizes]) == 0
    return folder / "data"


def said(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    capsys.readouterr()
    main([str(x) for x in arguments])
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    run = data.parent / "run"
    dataset = open_dataset(data)
    train(run, RECIPE, bind(resolve(RECIPE, "tiny", SETTINGS), dataset, dataset.split(), jax.devices()[:1]))
    return run


def bound(run: Path, **model: Any) -> Bound:
    b, _ = open_run(run)
    return bind(
        replace(b.experiment, model=replace(b.experiment.model, **model)), b.dataset, b.split, jax.devices()[:1]
    )


def test_it_learns_what_the_image_says(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "evaluate", run, "--json"))
    assert found["f1@1"] > 0.6  # a guess among three has 1/3


def test_requests_have_words_and_no_regions(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(said(capsys, "recommend", run, "sun and rain " * 20, "-k", "2", "--json"))
    rows = answer["hashtags"]
    assert len(rows) == 2 and all(0 < row["probability"] < 1 for row in rows)
    photos.folder(tmp_path / "photos")
    with pytest.raises(SystemExit) as ended:
        main(["recommend", str(run), "sun", "--image", str(tmp_path / "photos" / "a.jpg")])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and "were not computed by jaxtag-prep images" in error and error.count("\n") == 1


def test_words_alone_are_read_as_a_post_without_an_image(run: Path) -> None:
    both, text = bound(run), bound(run, modality="text", features=FEATURES)
    params = restore_best(run, open_run(run)[0])["params"]
    rows = both.split.test[:8]
    batch = both.reading.gather(rows)
    alone = batch | {"cells": np.zeros(8, np.int32)}
    given = text.reading.gather(rows)
    assert set(given) == {"wordpieces", "hashtags"}
    model = lambda b: both.system.module.apply({"params": params}, b, 0.0, None)  # noqa: E731
    model_text = lambda b: text.system.module.apply({"params": params}, b, 0.0, None)  # noqa: E731
    expected = jax.jit(model)(alone)
    np.testing.assert_allclose(jax.jit(model_text)(given), expected, atol=1e-6)
    assert np.abs(jax.jit(model)(batch) - expected).max() > 1e-2


def test_it_starts_from_published_weights(run: Path, tmp_path: Path) -> None:
    b = bound(run)
    params = restore_best(run, open_run(run)[0])["params"]
    pieces = open_wordpieces(b.dataset).entries
    settings = replace(b.experiment.model, features=FEATURES)
    pretrained.write(tmp_path / "published", jax.device_get(params["encoder"]), settings, pieces)
    begun = bound(run, init=f"lxmert:{tmp_path / 'published'}", features=FEATURES)
    drawn = create(begun.system, begun.optimizer, begun.abstract, 1, begun.mesh)
    state = start_of(begun)(drawn)
    for name, part in params["encoder"].items():
        pairs = zip(jax.tree.leaves(part), jax.tree.leaves(state["params"]["encoder"][name]), strict=True)
        for trained, found in pairs:  # the word table has rows to spare
            np.testing.assert_array_equal(np.asarray(trained)[: len(pieces)], np.asarray(found)[: len(pieces)])
    for ours, own in zip(
        jax.tree.leaves(state["params"]["head"]), jax.tree.leaves(drawn["params"]["head"]), strict=True
    ):
        np.testing.assert_array_equal(ours, own)
    assert start_of(b)(drawn) is drawn
    for init, message in (("lxmert:nowhere", "no weights at nowhere"), ("bart:x", "model.init cannot be 'bart:x'")):
        with pytest.raises(Exception, match=message):
            start_of(bound(run, init=init))


def test_it_is_planned_without_a_dataset() -> None:
    experiment = resolve(RECIPE, "tiny")
    made = prepare_step(experiment, assumed(experiment), make_mesh(experiment.parallel, jax.devices()[:1]))
    assert made.system.sizes.words == 30528 and made.batch["wordpieces"].shape == (32, 32)
    assert made.batch["regions"].shape == (32, 36, 2048) and made.batch["cells"].shape == (32,)
