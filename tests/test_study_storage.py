"""Where a study's trials are: one line for what fails, no password in it; and a real database where there is one.

JAXTAG_TEST_DATABASE is an address such as postgresql://USER:PASSWORD@HOST/NAME; a study is made there, and removed.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from jaxtag import cli
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError, Lost
from jaxtag.experiment import override
from jaxtag.files import read_json
from jaxtag.search import storage, study
from tests import toy
from tests.studies import BASE, by_folds, searched

DATABASE = "JAXTAG_TEST_DATABASE"
SECRET = "s3cret"
FOLDS, TRIALS = 3, 9
WORKER = """
import pathlib, sys
from tests import test_study_storage as own
own.work(*map(pathlib.Path, sys.argv[1:3]), seed=int(sys.argv[3]), killed=sys.argv[4] == "killed")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_folded(tmp_path_factory.mktemp("storage") / "data", FOLDS, 60)


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return by_folds(monkeypatch, value)


def value(trial: int, fold: int) -> float:
    """Of a trial on a fold: the later trials, but every third, are the better ones."""
    return (0.1 if trial % 3 == 2 else 0.2 + trial / 20) + fold / 100


def failing(error: Exception) -> Any:
    def fail(*arguments: Any, **more: Any) -> Any:
        raise error

    return fail


def driver_says(text: str) -> OperationalError:
    """What SQLAlchemy raises of a driver's error: the statement and its own remarks are around it."""
    cause = Exception(text)
    error = OperationalError("SELECT 1", {}, cause)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"postgresql://u:{SECRET}@h:port/d", "--storage postgresql://*** is no address of a database; write it as"),
        (f"postgresql://u:{SECRET}", "--storage postgresql://*** is no address of a database; write it as"),
        (f"postgresql://u:x@{SECRET}@h/d", "--storage postgresql://*** is no address of a database; write it as"),
        (f"postgres://u:{SECRET}@h:5/d", "the storage postgres://u@h:5/d cannot be opened: Can't load plugin"),
        (
            f"postgresql+psycopg://u:{SECRET}@h/d",
            "postgresql+psycopg://u@h/d needs psycopg, which is not installed; pip install 'psycopg[binary]'",
        ),
        (
            f"mysql+pymysql://u:{SECRET}@h/d?password=x",
            "mysql+pymysql://u@h/d needs pymysql, which is not installed; pip install 'pymysql'",
        ),
        ("sqlite:////nowhere/at/all.db", "the storage sqlite:////nowhere/at/all.db cannot be opened: unable to open"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_in_a_line(
    address: str, said: str, data: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    command = ["sweep", "zsl/cnn", "--size", "tiny", "--data", str(data), "--run", str(tmp_path / "s")]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--study", "1", "--space", "model.dropout=0..0.5", "--storage", address])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 1 and said in lines[0] and SECRET not in lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('connection failed: FATAL:  password authentication failed for user "u"\n\tmore', 'failed for user "u";'),
        (f"no entry for u:{SECRET}@h, option {SECRET}2 or 'other'", f"u:***@h, option {SECRET}2 or '***';"),
        ("connection to server failed: Connection refused\n\tIs the server running?", "Connection refused; see"),
        ("", "cannot be opened: Exception;"),
    ],
)
def test_what_a_driver_says_is_one_line_without_passwords(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.storages, "RDBStorage", failing(driver_says(text)))
    with pytest.raises(JaxtagError) as caught:
        storage.opened(optuna, f"postgresql://u:{SECRET}@h/d?sslpassword=other&sslmode=require")
    assert said in str(caught.value) and str(caught.value).startswith("the storage postgresql://u@h/d cannot be opened")
    assert "\n" not in str(caught.value)


def test_tables_that_another_worker_makes_are_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, tries = optuna.storages.RDBStorage, []
    first = [IntegrityError("CREATE", {}, Exception("duplicate key")), driver_says("Table 'studies' already exists")]

    class Late(real):
        def __init__(self, where: str, **more: Any):
            tries.append(where)
            if len(tries) <= len(first):
                raise first[len(tries) - 1]
            super().__init__(where, **more)

    monkeypatch.setattr(optuna.storages, "RDBStorage", Late)
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    assert storage.opened(optuna, f"sqlite:///{tmp_path}/study.db")[1] == [] and len(tries) == 3
    tries.clear()
    first[:] = [driver_says("Connection refused")]
    with pytest.raises(JaxtagError, match="Connection refused"):
        storage.opened(optuna, f"sqlite:///{tmp_path}/study.db")
    assert len(tries) == 1  # nobody answers: asked once


def test_a_database_that_is_lost_ends_with_a_line_and_the_same_command_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: list[str]
) -> None:
    where = f"sqlite:///{tmp_path}/study.db?timeout=7"
    with monkeypatch.context() as m:
        m.setattr(study, "_behind", failing(driver_says("server closed the connection")))
        with pytest.raises(Lost, match="study.db is lost: server closed the connection; what is trained is kept"):
            searched(tmp_path / "s", data, 2, storage=where, name="cv", folds=FOLDS)
    assert folds == ["trial-0000 fold-0 validation"]
    found = searched(tmp_path / "s", data, 2, storage=where, name="cv", folds=FOLDS)
    assert folds[1] == "trial-0000 fold-1 validation" and len(found["points"]) == 2
    assert read_json(tmp_path / "s" / "study.json", "study")["storage"] == f"sqlite:///{tmp_path}/study.db"
    (tmp_path / "s" / "study.json").write_text("[]")
    with pytest.raises(JaxtagError, match="study.json is no study of jaxtag"):
        searched(tmp_path / "s", data, 2, storage=where, name="cv", folds=FOLDS)


def test_workers_in_two_folders_train_no_more_trials_than_they_are_to(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: list[str]
) -> None:
    where = f"sqlite:///{tmp_path}/study.db"
    searched(tmp_path / "a", data, 2, storage=where, name="cv", folds=FOLDS)
    folds.clear()
    made = optuna.study.Study.get_trials
    # As if the other's last trial came between looking and asking.
    late = lambda self, *a, **more: made(self, *a, **more)[: 1 if not folds else None]  # noqa: E731
    with monkeypatch.context() as m:
        m.setattr(optuna.study.Study, "get_trials", late)
        m.setattr(study, "_finish", lambda *arguments: {})
        assert searched(tmp_path / "b", data, 2, storage=where, name="cv", folds=FOLDS) == {} and not folds
    found = searched(tmp_path / "b", data, 2, storage=where, name="cv", folds=FOLDS)
    assert [row["point"] for row in found["points"]] == ["trial-0001", "trial-0000"] and not folds


def test_a_worker_that_finds_every_trial_taken_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, said = f"sqlite:///{tmp_path}/study.db", []

    def another(trial: int, fold: int) -> float:
        """While this worker trains, a second one comes to its folder, and one to another folder."""
        for name in ("s", "t") if fold == 0 and not said else ():
            with pytest.raises(JaxtagError) as caught:
                searched(tmp_path / name, data, 1, storage=where, name="cv", folds=FOLDS)
            said.append(caught.value.message)
        return value(trial, fold)

    by_folds(monkeypatch, another)
    assert searched(tmp_path / "s", data, 1, storage=where, name="cv", folds=FOLDS)["best"] == "trial-0000"
    assert said == ["no trial has come to its end yet, and 1 are trained by other workers"] * 2


def work(run: Path, data: Path, seed: int, killed: bool) -> dict[str, Any]:
    """One worker on the database; one that is `killed` ends itself by SIGKILL in its first trial's last fold."""

    def deadly(trial: int, fold: int) -> float:
        if killed and fold == FOLDS - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return value(trial, fold)

    with pytest.MonkeyPatch.context() as patched:
        by_folds(patched, deadly)
        base = override(BASE, {"training.seed": seed})
        return searched(run, data, TRIALS, base, storage=os.environ[DATABASE], name="cv", folds=FOLDS)


@pytest.mark.skipif(DATABASE not in os.environ, reason=f"{DATABASE} names no database")
def test_workers_share_a_study_in_a_real_database(data: Path, tmp_path: Path) -> None:
    address, seed = os.environ[DATABASE], int.from_bytes(os.urandom(3))
    runs = {"killed": tmp_path / "a", "whole": tmp_path / "b"}
    start = lambda how: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", WORKER, str(runs[how]), str(data), str(seed), how],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    workers = {how: start(how) for how in runs}  # both make the study, and its tables where there are none
    said = {how: worker.communicate(timeout=300)[1] for how, worker in workers.items()}
    try:
        assert workers["killed"].returncode == -signal.SIGKILL, said["killed"]
        assert workers["whole"].returncode == 0, said["whole"]
        assert "1 trials are still trained by other workers" in said["whole"]
        found = work(runs["killed"], data, seed, killed=False)
        assert sorted(row["point"] for row in found["points"]) == [f"trial-{n:04}" for n in range(TRIALS)]
        for row in found["points"]:
            values = [value(int(row["point"][-4:]), fold) for fold in range(row.get("pruned", FOLDS))]
            assert row["mean"]["f1@1"] == pytest.approx(sum(values) / len(values), abs=1e-15)
        assert max(row["mean"]["f1@1"] for row in found["points"]) == found["points"][0]["mean"]["f1@1"]
        password = storage._url(address).password
        files = [path for run in runs.values() for path in run.rglob("*") if path.is_file()]
        assert files and not any(password.encode() in path.read_bytes() for path in files if password)
        assert not any(password in text for text in said.values() if password)
        if password:
            wrong = address.replace(f":{password}@", ":not-it@")
            with pytest.raises(JaxtagError, match="cannot be opened") as caught:
                searched(tmp_path / "c", data, 1, storage=wrong)
            assert "not-it" not in str(caught.value)
    finally:
        name = read_json(runs["whole"] / "study.json", "study")["study"]
        optuna.delete_study(study_name=name, storage=address)
    assert open_dataset(data).rows == 60
