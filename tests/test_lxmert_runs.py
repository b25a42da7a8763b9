"""LXMERT from source files to recommendations: trained, evaluated, asked, begun from published weights, planned."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jaxtag_prep.cli import main as prepare

from jaxtag.cli import main
from jaxtag.data.dataset import open_dataset
from jaxtag.data.images import open_features
from jaxtag.data.wordpieces import open_wordpieces
from jaxtag.errors import JaxtagError
from jaxtag.files import read_json
from jaxtag.parallel.mesh import make_mesh
from jaxtag.plan.workload import assumed
from jaxtag.plan.workload import prepare as prepare_step
from jaxtag.recipes import resolve
from jaxtag.runs import Bound, bind, open_run
from jaxtag.training import pretrained
from jaxtag.training.restored import restore_best
from jaxtag.training.starting import start_of
from jaxtag.training.state import create
from jaxtag.training.train import train
from jaxtag.training.weight_files import Stored, write_safetensors
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


@pytest.fixture(scope="module")
def drawn(run: Path) -> dict[str, Any]:
    b = bound(run)
    return create(b.system, b.optimizer, b.abstract, 1, b.mesh)


def test_it_starts_from_published_weights(run: Path, drawn: dict[str, Any], tmp_path: Path) -> None:
    b = bound(run)
    params = restore_best(run, open_run(run)[0])["params"]
    pieces = open_wordpieces(b.dataset).entries
    settings = replace(b.experiment.model, features=FEATURES)
    pretrained.write(tmp_path / "published", jax.device_get(params["encoder"]), settings, pieces)
    begun = bound(run, init=f"lxmert:{tmp_path / 'published'}", features=FEATURES)
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


def test_it_is_exported_and_begun_from_again(run: Path, data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "lxmert"
    found = json.loads(said(capsys, "export", run, "--out", out, "--json"))
    params = jax.device_get(restore_best(run, open_run(run)[0])["params"]["encoder"])
    pieces = open_wordpieces(open_dataset(data)).entries
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert found["pieces"] == len(pieces) == len((out / "vocab.txt").read_text().splitlines())
    settings = replace(open_run(run)[0].experiment.model, features=FEATURES)
    again = pretrained.read(out, settings, len(params["text"]["words"]), pieces)
    assert found["parameters"] == sum(t.size for t in jax.tree.leaves(again)) - (
        again["text"]["words"].size - len(pieces) * settings.width
    )
    params["text"]["words"] = np.where(np.arange(len(again["text"]["words"]))[:, None] < len(pieces),
                                       params["text"]["words"], 0)  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, again, params)
    for given, told in ((run, "exists already; name a folder"), (tmp_path, "is not a run folder")):
        with pytest.raises(SystemExit):
            main(["export", str(given), "--out", str(out if given == run else tmp_path / "new")])
        assert told in capsys.readouterr().err


@pytest.fixture(scope="module")
def bert(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A plain BERT of the tiny recipe's sizes, with the dataset's pieces and a layer more than it has room for."""
    folder, rng = tmp_path_factory.mktemp("bert"), np.random.default_rng(5)
    settings, pieces = resolve(RECIPE, "tiny").model, open_wordpieces(open_dataset(data)).entries
    shapes = pretrained.tensors_of(pretrained.shapes(settings, len(pieces)), settings, len(pieces))
    made = {name: rng.normal(size=t.shape).astype(np.float32) for name, t in shapes.items()
            if name.startswith(("embeddings.", "encoder.layer."))}  # fmt: skip
    made |= {n.replace("layer.0", "layer.1"): x + 1 for n, x in made.items() if "layer.0" in n}
    made |= {"pooler.dense.weight": np.ones((settings.width, settings.width), np.float32)}
    write_bert(folder, made)
    config = {"hidden_size": settings.width, "num_attention_heads": settings.heads, "vocab_size": len(pieces)}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    return folder, made


def write_bert(folder: Path, made: dict[str, np.ndarray]) -> None:
    stored = {f"bert.{name}": Stored(x.shape, x.dtype, lambda x=x: x) for name, x in made.items()}
    write_safetensors(folder / "model.safetensors", stored)


def test_a_run_begins_from_a_plain_bert(run: Path, drawn: dict[str, Any], bert: tuple[Path, dict]) -> None:
    folder, made = bert
    first = drawn["params"]["encoder"]
    encoder = start_of(bound(run, init=f"bert:{folder}"))(drawn)["params"]["encoder"]
    count = len(made["embeddings.word_embeddings.weight"])
    np.testing.assert_array_equal(encoder["text"]["words"][:count], made["embeddings.word_embeddings.weight"])
    kernel = encoder["language"]["layers"]["feed_forward"]["wide"]["kernel"][0]
    np.testing.assert_array_equal(kernel, made["encoder.layer.0.intermediate.dense.weight"].T)
    for name in set(encoder) - {"text", "language"}:
        jax.tree.map(np.testing.assert_array_equal, encoder[name], first[name])


def test_a_bert_that_does_not_fit_is_refused_by_name(
    run: Path, drawn: dict[str, Any], bert: tuple[Path, dict], tmp_path: Path
) -> None:
    _, made = bert
    gone, words = "encoder.layer.0.output.dense.bias", "embeddings.word_embeddings.weight"
    pieces = open_wordpieces(bound(run).dataset).entries
    other = "".join(f"{piece}\n" for piece in [*pieces[:-1], "nowhere"])
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({gone: None}, "", f"does not fit this plain BERT; missing: {gone}; give a whole checkpoint"),
        ({gone: np.zeros(3, np.float32)}, "", f"of other shapes: {gone} [3] for [64]"),
        ({words: made[words][:-1]}, "", f"a word table of {len(pieces) - 1} rows, the WordPiece vocabulary"),
        ({}, other, f'vocab.txt line {len(pieces)} is "nowhere", the WordPiece vocabulary has'),
    ]
    for number, (changed, vocabulary, message) in enumerate(cases):
        folder = tmp_path / f"bert{number}"
        folder.mkdir()
        write_bert(folder, {n: x for n, x in (made | changed).items() if x is not None})
        if vocabulary:
            (folder / "vocab.txt").write_text(vocabulary)
        with pytest.raises(JaxtagError, match=re.escape(message)):
            start_of(bound(run, init=f"bert:{folder}"))(drawn)


def test_it_is_planned_without_a_dataset() -> None:
    experiment = resolve(RECIPE, "tiny")
    made = prepare_step(experiment, assumed(experiment), make_mesh(experiment.parallel, jax.devices()[:1]))
    assert made.system.sizes.words == 30528 and made.batch["wordpieces"].shape == (32, 32)
    assert made.batch["regions"].shape == (32, 36, 2048) and made.batch["cells"].shape == (32,)


def test_evaluations_say_where_the_first_word_looked(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "evaluate", run)
    dataset, stored = open_dataset(data), open_features(open_dataset(data), "regions")
    posts = read_json(run / "explained-test.json", "explanations")
    counts = [len(post["regions"]) for post in posts]
    assert stored.boxes is not None and len(posts) == 5 and set(counts) <= {0, REGIONS} and max(counts) == REGIONS
    for post in posts:
        if post["regions"]:
            assert sum(region["weight"] for region in post["regions"]) == pytest.approx(1, abs=1e-3)
            boxes = stored.boxes[dataset.column("image")[post["row"]]]
            assert [region["box"] for region in post["regions"]] == boxes.tolist()
    answer = json.loads(said(capsys, "recommend", run, "sun and rain", "--explain", "--json"))
    assert answer["explanation"] == {"regions": []}
    assert "regions that counted: none, the post has none" in said(capsys, "recommend", run, "sun", "--explain")
