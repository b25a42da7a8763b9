"""A training program that is compiled while the first state is made: calls find it, and mistakes are theirs to tell."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.experiment import override
from jaxtag.parallel.compiling import spent
from jaxtag.recipes import resolve
from jaxtag.runs import bind, open_posts
from jaxtag.training import learners
from jaxtag.training.ahead import Ahead
from jaxtag.training.learners import BySteps
from tests import toy

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("ahead") / "data", 120)


@pytest.mark.parametrize("placement", ["resident", "streamed"])
@pytest.mark.parametrize("recipe", ["zsl/ann", "amnn/coattention"])
def test_the_first_dispatch_finds_its_program(
    data: Path, recipe: str, placement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"training.batch": 16, "data.placement": placement}
    more |= {"data.extractor": "seen"} if recipe.startswith("amnn") else {"model.hidden": 12}
    dataset = open_dataset(data)
    bound = bind(override(resolve(recipe, "tiny"), more), dataset, dataset.split(""))
    ends = []
    for ahead in (True, False):
        learner = BySteps(bound, open_posts(bound), None, lambda state: state)
        state = learner.first()
        assert learner._ahead
        learner._ahead.wait()
        before = spent()["programs"]
        state, _ = learner.dispatch(state, 0, 2)
        assert spent()["programs"] - before == (not ahead)
        ends.append(jax.device_get(state))
        monkeypatch.setattr(learners, "Ahead", lambda *_: Ahead(None))  # which compiles nothing
        jax.clear_caches()
    jax.tree.map(np.testing.assert_array_equal, *ends)


def test_what_goes_wrong_meanwhile_is_raised_by_the_call() -> None:
    def wrong(x: jax.Array) -> jax.Array:
        raise ValueError("traced")

    program = jax.jit(wrong)
    Ahead(program, jnp.zeros(3)).wait()
    with pytest.raises(ValueError, match="traced"):
        program(jnp.zeros(3))


def test_several_processes_compile_when_they_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    Ahead(type("Program", (), {"lower": lambda *_: calls.append(1)})()).wait()
    assert not calls
