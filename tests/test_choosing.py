import numpy as np
import pytest

from jaxtag.errors import JaxtagError
from jaxtag.estimators.choosing import best, pseudo_unseen


@pytest.mark.parametrize(("hashtags", "folds"), [(40, 4), (30, 2), (25, 3), (4, 2)])
def test_every_hashtag_is_held_out_once(hashtags: int, folds: int) -> None:
    made = pseudo_unseen(hashtags, folds, seed=1)
    assert len(made) == folds
    for fold in made:
        np.testing.assert_array_equal(np.sort(np.concatenate([fold.seen, fold.unseen])), np.arange(hashtags))
        assert (np.diff(fold.unseen) > 0).all() and (np.diff(fold.seen) > 0).all()
    sizes = [len(fold.unseen) for fold in made]
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.unseen for fold in made])), np.arange(hashtags))


def test_the_seed_decides() -> None:
    a, b, c = (pseudo_unseen(40, 4, seed) for seed in (0, 0, 1))
    assert all((x.unseen == y.unseen).all() for x, y in zip(a, b))
    assert any((x.unseen != y.unseen).any() for x, y in zip(a, c))


@pytest.mark.parametrize(("hashtags", "folds"), [(40, 1), (7, 4), (0, 2)])
def test_folds_that_cannot_be_made_are_refused(hashtags: int, folds: int) -> None:
    with pytest.raises(JaxtagError, match=f"^{hashtags} seen hashtags cannot be held out in {folds} folds; 2 or more"):
        pseudo_unseen(hashtags, folds, 0)


GAMMAS, LAMS = np.array([0.1, 1, 10]), np.array([0.1, 1, 10])


def test_the_best_point_is_chosen_wherever_it_stands() -> None:
    for i in range(3):
        for j in range(3):
            scores = np.zeros((3, 3))
            scores[i, j] = 1
            assert best(scores, GAMMAS, LAMS) == (i, j)


def test_scores_are_averaged_over_folds() -> None:
    scores = np.zeros((2, 3, 3))
    scores[0, 0, 1], scores[0, 2, 2], scores[1, 2, 2] = 0.9, 0.5, 0.5
    assert best(scores, GAMMAS, LAMS) == (2, 2)


def test_ties_go_to_the_greater_regularisation() -> None:
    assert best(np.zeros((3, 3)), GAMMAS, LAMS) == (2, 2)
    assert best(np.zeros((3, 3)), GAMMAS[::-1], LAMS[::-1]) == (0, 0)
    scores = np.zeros((3, 3))
    for i, j in ((0, 2), (1, 1), (2, 0)):  # one product, 1, whatever its rounding
        scores[i, j] = 1
    assert best(scores, GAMMAS, LAMS) == (2, 0)
    scores[0, 2] = 0
    scores[1, 2] = 1
    assert best(scores, GAMMAS, LAMS) == (1, 2)


def test_a_point_without_a_score_is_never_chosen() -> None:
    scores = np.zeros((2, 3, 3))
    scores[1, 2, 2] = np.nan
    assert best(scores, GAMMAS, LAMS) == (2, 1)
    with pytest.raises(JaxtagError, match="^no point of the grid has a score"):
        best(np.full((3, 3), np.nan), GAMMAS, LAMS)
