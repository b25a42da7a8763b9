"""Where a study keeps its trials: a journal file, or a database at an address, whose password nobody is shown."""

import contextlib
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError, Lost

ADDRESS = "write it as postgresql://USER:PASSWORD@HOST/NAME, an @ in a password as %40"
DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # packages of modules
HIDDEN = "***"
STARTS = 20  # tries to make the tables of a new database beside other workers


def is_address(where: str) -> bool:
    """Whether a storage is a database's address, and not a journal file."""
    return "://" in where


def public(where: str) -> str:
    """A storage as messages and files name it: an address without its password and options.

    Raises:
      JaxtagError: it is no address that can be read. It is not repeated: any of it may be a password.
    """
    if not is_address(where):
        return where
    from sqlalchemy.engine import URL

    url = _url(where)
    return str(URL.create(url.drivername, url.username, None, url.host, url.port, url.database))


def opened(optuna: Any, where: str) -> tuple[Any, list[Any]]:
    """Optuna's storage at `where`, and summaries of the studies in it; made if it is not there.

    Raises:
      JaxtagError: a driver is not installed, nothing answers, nobody is let in, or it is no storage of Optuna's.
    """
    named = public(where)
    try:
        if is_address(where):
            storage = _database(optuna, where)
        else:
            _check_journal(Path(where))
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(where))
        return storage, optuna.get_all_study_summaries(storage)
    except Exception as error:  # whatever a driver raises
        cause = _first(error)
        if isinstance(cause, ImportError) and cause.name:
            package = DRIVERS.get(cause.name, cause.name)
            raise JaxtagError(
                f"{named} needs {cause.name}, which is not installed", f"pip install '{package}'"
            ) from error
        said = f"the storage {named} cannot be opened: {_reason(error, where)}"
        raise JaxtagError(said, "see --storage in --help") from error


@contextlib.contextmanager
def reached(optuna: Any, where: str) -> Iterator[None]:
    """A database that fails while it is used is lost, which is no bug.

    Raises:
      Lost: naming it.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        said = f"the storage {public(where)} is lost: {_reason(error, where)}"
        raise Lost(f"{said}; what is trained is kept, and the same command goes on from there") from error


def _database(optuna: Any, where: str) -> Any:
    """The tables of a new database are made by whoever comes first; others that come with it fail, and try again."""
    from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

    # A connection that idles while a trial trains may be cut: it is asked for a sign of life before it is used.
    make = lambda: optuna.storages.RDBStorage(where, engine_kwargs={"pool_pre_ping": True})  # noqa: E731
    for _ in range(STARTS - 1):
        try:
            return make()
        except DBAPIError as error:
            if not isinstance(error, IntegrityError | ProgrammingError) and "already exists" not in str(error):
                raise
            time.sleep(random.random() / 4)
    return make()


def _check_journal(path: Path) -> None:
    """Refuse a file that is no journal: Optuna would write behind what it has.

    Raises:
      ValueError: it is none.
    """
    if path.is_file() and path.stat().st_size:
        with open(path, encoding="utf-8") as file:
            first = json.loads(file.readline())
        if not isinstance(first, dict) or "op_code" not in first:
            raise ValueError("it is no journal of Optuna's")


def _url(where: str) -> Any:
    """An address in its parts."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        url = None
    if url is None or "@" in (url.host or ""):
        raise JaxtagError(f"--storage {where.partition('://')[0]}://{HIDDEN} is no address of a database", ADDRESS)
    return url


def _first(error: BaseException) -> BaseException:
    """What an error came from."""
    return _first(error.__cause__) if error.__cause__ else error


def _reason(error: BaseException, where: str) -> str:
    """The first line of what a driver says, without the passwords of the address."""
    said = str(_first(error)).strip().split("\n")[0] or type(_first(error)).__name__
    if is_address(where):
        url = _url(where)
        options = [value for key, value in url.query.items() if "pass" in key.lower()]
        for secret in filter(None, (url.password, *options)):
            said = re.sub(rf"(?<!\w){re.escape(str(secret))}(?!\w)", HIDDEN, said)
    return said[:200]
