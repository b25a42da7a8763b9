"""The wheel, installed where the checkout is not, and what each command may import."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import toy

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("jax", "jaxlib", "flax", "tensorflow_datasets", "gensim", "transformers", "nltk", "matplotlib", "wordcloud")
PREPARING = ("tensorflow_datasets", "array_record", "gensim", "nltk", "transformers", "pyarrow", "orjson", "wordcloud")
INTO = {
    "jaxtag": "jaxtag",
    "configs": "jaxtag/configs",
    "data_prep": "jaxtag_prep",
}  # source folder: place in the wheel


def environment() -> dict[str, str]:
    """This process's, without the checkout on Python's path."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def run(command: Sequence[object], cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sources() -> set[str]:
    """Where each of our modules belongs in the wheel."""
    return {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in INTO.items()
        for path in (ROOT / folder).rglob("*.py")
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: building writes beside the sources."""
    copy = tmp_path_factory.mktemp("source")
    for folder in INTO:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy / "dist", copy], copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_our_modules_and_claims_no_other_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = [name for name in opened.namelist() if not name.endswith("/")]
    information = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    assert set(names) - information == sources()
    assert {name.partition("/")[0].partition("-")[0] for name in information} == {"jaxtag"}
    assert any(name.endswith("/licenses/LICENSE") for name in information)


def test_a_recipe_trains_from_the_wheel_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    builder = venv.EnvBuilder(with_pip=False)
    builder.create(tmp_path / "env")
    bin_ = tmp_path / "env" / "bin"
    site = Path(
        run([bin_ / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path).strip()
    )
    # The packages that jaxtag needs are read where they are; this environment's own .pth files, and so its
    # editable jaxtag, are not.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", bin_ / "python", "install", "--no-index", "--no-deps", wheel]
    run(install, tmp_path)

    for module in ("jaxtag", "jaxtag.configs", "jaxtag_prep"):
        file = run([bin_ / "python", "-c", f"import {module}; print({module}.__file__)"], tmp_path).strip()
        assert Path(file).is_relative_to(site)
    data = toy.make(tmp_path / "data")
    train = [bin_ / "jaxtag", "train", "zsl/cnn", "--size", "tiny", "--data", data, "--run", tmp_path / "run"]
    said = json.loads(run([*train, "--training.steps", 2, "--json"], tmp_path))
    assert said["steps"] == 2
    assert "jaxtag-prep" in run([bin_ / "jaxtag-prep", "--help"], tmp_path)


@pytest.mark.parametrize("module", ["jaxtag", "jaxtag.cli", "jaxtag_prep.cli"])
def test_help_imports_nothing_heavy(module: str, tmp_path: Path) -> None:
    code = (
        f"import sys, {module}\n"
        f"main = getattr({module}, 'main', lambda argv: None)\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('LOADED', *({set(HEAVY)!r} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", code], tmp_path).splitlines()[-1].split() == ["LOADED"]


def test_training_and_evaluating_need_no_preparation_library(tmp_path: Path) -> None:
    data = toy.make(tmp_path / "data")
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {PREPARING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
from jaxtag.cli import main
for words in ("train zsl/cnn --size tiny --training.steps 2 --data {data} --run run", "evaluate run"):
    main(words.split())
assert not set({PREPARING!r}) & set(sys.modules)
"""
    run([sys.executable, "-c", code], tmp_path)
    assert (tmp_path / "run" / "evaluation-test.json").is_file()
