"""Topics: inference against gensim's, each post apart from its neighbours, stored proportions repeated by new posts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from jaxtag_prep import topics as fitted
from jaxtag_prep.cli import main
from jaxtag_prep.topics import Fitting

from jaxtag.data import topics
from jaxtag.data.columns import Ragged, ragged
from jaxtag.data.dataset import open_dataset
from jaxtag.data.topics import Topics, open_topics
from jaxtag.errors import JaxtagError
from tests.prep import tree
from tests.toy import make

SMALL = Fitting(topics=5, passes=2)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = make(tmp_path_factory.mktemp("topics") / "toy", posts=80)
    path = data / "dataset.json"
    cleaning = {"ascii_only": False, "stop_words": [], "mention": "user"}
    from jaxtag.data.text import Cleaning

    info = json.loads(path.read_text())
    info["settings"] = {"cleaning": Cleaning(**cleaning).to_json()}
    path.write_text(json.dumps(info))
    fitted.make(data, "", SMALL)
    return data


def some(seed: int = 0, posts: int = 300, count: int = 7, words: int = 50) -> tuple[Topics, Ragged]:
    rng = np.random.default_rng(seed)
    model = Topics(
        rng.permutation(np.arange(2, 2 + words)).astype(np.int32),
        rng.gamma(0.5, 2, (count, words)).astype(np.float32) + 0.01,
        rng.gamma(1, 0.2, count).astype(np.float32) + 0.01,
    )
    return model, ragged(rng.integers(0, words + 9, rng.integers(0, 12)).tolist() for _ in range(posts))


def test_inference_is_gensims() -> None:
    """From the same start, as many rounds: gensim starts at random, and here is made to start as we do."""
    from gensim.models import LdaModel

    model, tokens = some()
    place = {int(word): i for i, word in enumerate(model.words)}
    other = LdaModel(
        id2word={i: str(i) for i in range(50)}, num_topics=7, alpha=model.alpha, dtype=np.float64, iterations=400
    )
    other.gamma_threshold = 1e-9
    other.expElogbeta[:] = model.word_topic.T
    ours = model.gamma(tokens, change=1e-9, rounds=400)

    class Start:
        def gamma(self, *_: object) -> np.ndarray:
            return self.value

    for row in range(len(tokens)):
        ids, counts = np.unique([place[int(w)] for w in tokens[row] if int(w) in place], return_counts=True)
        document = [(int(i), int(n)) for i, n in zip(ids, counts)]
        start = Start()
        start.value = (model.alpha.astype(np.float64) + counts.sum() / 7)[None]  # type: ignore[attr-defined]
        other.random_state = start
        theirs = other.inference([document])[0][0]
        if document:
            np.testing.assert_allclose(ours[row] / ours[row].sum(), theirs / theirs.sum(), atol=1e-5)
        else:
            np.testing.assert_allclose(ours[row], model.alpha, rtol=1e-6)


def test_a_fixed_point_is_reached() -> None:
    """gamma = alpha + expected counts, which add up to the words of the post."""
    model, tokens = some(1)
    gamma = model.gamma(tokens)
    known = np.array([np.isin(tokens[row], model.words).sum() for row in range(len(tokens))])
    np.testing.assert_allclose(gamma.sum(1), model.alpha.sum() + known, rtol=1e-4)
    np.testing.assert_allclose(gamma, model.gamma(tokens, change=1e-9, rounds=2000), atol=0.02)


def test_neighbours_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = some(2)
    whole = model.gamma(tokens)
    assert whole.tobytes() == np.concatenate([model.gamma(ragged([tokens[row]])) for row in range(300)]).tobytes()
    monkeypatch.setattr(topics, "PAIRS", 10)
    assert whole.tobytes() == model.gamma(tokens).tobytes()
    order = np.random.default_rng(0).permutation(300)
    assert model.gamma(ragged(tokens[row] for row in order)).tobytes() == whole[order].tobytes()


def test_no_posts_and_no_words() -> None:
    model, _ = some()
    assert model.proportions(ragged([])).shape == (0, 7)
    empty = model.proportions(ragged([[], [0, 1, 99]]))
    np.testing.assert_array_equal(empty, np.tile((model.alpha / model.alpha.sum()).astype(np.float16), (2, 1)))


def test_stored_posts_and_new_ones_agree(toy: Path) -> None:
    dataset = open_dataset(toy)
    split = dataset.split()
    stored, model = split.topics(), open_topics(split.path / "topics")
    assert stored.shape == (80, 5) and stored.dtype == np.float16
    np.testing.assert_allclose(stored.astype(np.float64).sum(1), 1, atol=3e-3)
    for row in (0, 17, 79):
        text = dataset.text(np.array([row]))
        new = topics.encode(text, lambda said: dataset.words.encode(said.split()))
        assert model.proportions(new).tobytes() == stored[row].tobytes()


def test_fitting_reads_training_posts_alone(toy: Path, tmp_path: Path) -> None:
    """Other words in validation and test posts change no topic."""
    data = tmp_path / "other"
    shutil.copytree(toy, data)
    dataset = open_dataset(data)
    split, tokens = dataset.split(), dataset.column("tokens")
    values = np.array(tokens.values)
    for row in (*split.validation, *split.test):
        values[tokens.offsets[row] : tokens.offsets[row + 1]] = 3
    changed = type(dataset)(dataset.path, dataset.info)
    before = fitted._fit(changed, split, SMALL)
    np.save(data / "columns" / "tokens.values.npy", values)
    after = fitted._fit(type(dataset)(dataset.path, dataset.info), split, SMALL)
    assert (before.topic_word == after.topic_word).all()


def test_again_and_by_two_processes(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "again"
    shutil.copytree(toy, data)
    before = tree(data)
    monkeypatch.setattr(fitted, "POSTS", 5)
    fitted.make(data, "", SMALL, workers=2)
    assert tree(data) == before
    assert open_dataset(data).split().name == "default"  # the split's seal holds


def test_stop_words_and_numbers_are_left_out(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(toy)
    split = dataset.split()
    monkeypatch.setattr(fitted, "english_stop_words", lambda: (dataset.words.entries[5],))
    assert 5 in split.words and set(fitted.vocabulary(dataset, split, False)) == set(split.words.tolist())
    assert set(split.words.tolist()) - set(fitted.vocabulary(dataset, split, True).tolist()) == {5}
    monkeypatch.setattr(fitted, "english_stop_words", lambda: dataset.words.entries)
    with pytest.raises(JaxtagError, match="has no words to find topics in"):
        fitted.vocabulary(dataset, split, True)


def test_damage_and_mistakes(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "damaged"
    shutil.copytree(toy, data)
    split = open_dataset(data).split()
    path = split.path / "topics.npy"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(JaxtagError, match="topics.npy has .* bytes where .*; jaxtag-prep topics --data"):
        split.topics()
    (split.path / "topics" / "alpha.npy").unlink()
    with pytest.raises(JaxtagError, match="alpha.npy is missing; make the topics again"):
        open_topics(split.path / "topics")
    shutil.rmtree(split.path / "topics")
    with pytest.raises(JaxtagError, match="has no topics; jaxtag-prep topics --data"):
        split.topics()
    for wrong in (["--topics", "1"], ["--passes", "0"], ["--alpha", "-1"], ["--eta", "nan"], ["--seed", "-1"]):
        assert main(["topics", "--data", str(data), *wrong]) == 2
        assert f"{wrong[0]} " in capsys.readouterr().err


def test_what_is_printed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "--data", str(toy), "--topics", "3", "--passes", "1", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("topics: 3 of 60 words, fitted to 64 training posts (1 pass, seed 0)")
    assert lines[1] == "proportions: of all 80 posts"
