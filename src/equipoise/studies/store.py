"""A study shared by processes and machines, through one of Optuna's stores (Akiba et al. 2019, arXiv:1907.10902).

A cell is a trial, waiting until some process claims it, which the store lets only one of them do. A trial that is given
back, or whose process has fallen silent, is followed by another one for the same cell, which says whom it follows. If
two processes add a follower at the same moment the lower number counts, so that nothing here needs a lock.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from equipoise.errors import InputError
from equipoise.studies.study import Cell, Study, from_json, slug

SILENCE = 300.0  # seconds without a sign of life after which a run counts as lost
BEAT = 30.0  # seconds between signs of life
LOSSES = 3  # processes that may be lost over one cell before it is given up
TRIES = 5  # to open a store: two processes that make the same tables at once disturb each other


class Store:
    """The cells of one study in a store: who runs what, and what came out."""

    def __init__(self, url: str, asked: Study) -> None:
        self.optuna, self.storage = _opened(url)
        self.asked = asked
        name = f"equipoise {slug(asked.title)} {_digest(asked)}"
        self.study = self.optuna.create_study(
            storage=self.storage, study_name=name, direction="maximize", load_if_exists=True
        )
        self.number = self.storage.get_study_id_from_name(name)
        self.cells = {cell.folder.as_posix(): cell for cell in asked.cells()}
        self.mine: dict[str, int] = {}  # trials that this process runs, by cell
        self.beaten = 0.0

    # ------------------------------------------------------------------------------------------------ what is run

    def settled(self) -> Study | None:
        """The study as the first process settled it, with the sources as named here; None if nobody has yet."""
        found = [trial.user_attrs["settled"] for trial in self._trials() if "settled" in trial.user_attrs]
        if not found:
            return None
        theirs = from_json(found[0])
        tasks = tuple(
            replace(mine, kimg=other.kimg, fingerprint=other.fingerprint)
            for mine, other in zip(self.asked.tasks, theirs.tasks, strict=True)
        )
        return replace(theirs, tasks=tasks)

    def publish(self, settled: Study) -> Study:
        """Offer a settled study, and return the one that counts: the first."""
        if self.settled() is None:
            made = self.optuna.trial.create_trial(
                state=self.optuna.trial.TrialState.PRUNED, user_attrs={"settled": settled.as_json()}
            )
            self.study.add_trial(made)
        agreed = self.settled()
        assert agreed is not None
        self.cells = {cell.folder.as_posix(): cell for cell in agreed.cells()}
        known = self._current()
        for key in self.cells:
            if key not in known:
                self._follow(key, -1)
        return agreed

    # ------------------------------------------------------------------------------------------------ who runs it

    def take(self) -> Cell | None:
        """A cell that now is this process's to run, or None."""
        for key, trial in self._current().items():
            if trial.state == self.optuna.trial.TrialState.WAITING and self._claim(trial):
                self.mine[key] = trial.number
                self._sign(trial.number)
                return self.cells[key]
        return None

    def keep(self, cell: Cell, found: dict[str, Any]) -> None:
        """Report what came out of a cell; a report that comes after it was taken for lost is left out."""
        number = self.mine.pop(cell.folder.as_posix())
        state = self.optuna.trial.TrialState
        try:
            self.storage.set_trial_user_attr(self._id(number), "result", found)
            if "scores" in found:
                value = found["scores"][found["primary"]]
                self.storage.set_trial_state_values(self._id(number), state.COMPLETE, [value])
            else:
                self.storage.set_trial_state_values(self._id(number), state.FAIL)
        except self.optuna.exceptions.UpdateFinishedTrialError:
            return

    def back(self, cell: Cell) -> None:
        """Give a cell back for others to go on with."""
        self._give_up(cell.folder.as_posix(), self.mine.pop(cell.folder.as_posix()))

    def again(self) -> None:
        """Let everything that has failed wait for another try."""
        for key, trial in self._current().items():
            if self._over(trial) and "scores" not in trial.user_attrs.get("result", {}):
                self._follow(key, trial.number)

    def beat(self) -> None:
        """Say, now and then, that this process lives, and find out which others do not."""
        if time.monotonic() - self.beaten < BEAT and self.beaten:
            return
        self.beaten = time.monotonic()
        for number in self.mine.values():
            self._sign(number)
        for key, trial in self._current().items():
            if trial.state == self.optuna.trial.TrialState.RUNNING and self._silent(trial):
                self._lose(key, trial)

    # ------------------------------------------------------------------------------------------------ what came out

    def pending(self) -> int:
        """How many cells wait or are under way, here or elsewhere."""
        return sum(not self._over(trial) for trial in self._current().values())

    def ready(self) -> int:
        """How many cells wait for somebody to run them."""
        return sum(trial.state == self.optuna.trial.TrialState.WAITING for trial in self._current().values())

    def results(self) -> list[tuple[Cell, dict[str, Any]]]:
        """Every cell that has ended, wherever, with its result."""
        ended = {key: trial.user_attrs["result"] for key, trial in self._current().items() if self._over(trial)
                 and "result" in trial.user_attrs}  # fmt: skip
        return [(self.cells[key], found) for key, found in ended.items()]

    # ------------------------------------------------------------------------------------------------ trials

    def _trials(self) -> list[Any]:
        return sorted(self.study.get_trials(deepcopy=False), key=lambda trial: int(trial.number))

    def _current(self) -> dict[str, Any]:
        """The trial that counts for each cell: the last of its line."""
        line: dict[tuple[str, int], Any] = {}
        for trial in self._trials():
            if "cell" in trial.user_attrs:
                line.setdefault((trial.user_attrs["cell"], trial.user_attrs["after"]), trial)
        found: dict[str, Any] = {}
        for key in self.cells:
            trial = line.get((key, -1))
            while trial is not None:
                found[key], trial = trial, line.get((key, trial.number))
        return found

    def _follow(self, key: str, number: int, losses: int = 0) -> None:
        self.study.enqueue_trial({}, user_attrs={"cell": key, "after": number, "losses": losses})

    def _claim(self, trial: Any) -> bool:
        try:
            state = self.optuna.trial.TrialState.RUNNING
            return bool(self.storage.set_trial_state_values(self._id(trial.number), state))
        except self.optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _give_up(self, key: str, number: int, losses: int = 0) -> None:
        try:
            self.storage.set_trial_state_values(self._id(number), self.optuna.trial.TrialState.FAIL)
        except self.optuna.exceptions.UpdateFinishedTrialError:
            return
        self._follow(key, number, losses)

    def _lose(self, key: str, trial: Any) -> None:
        """Somebody has fallen silent: the cell waits again, or is given up if that happens time after time."""
        losses = trial.user_attrs["losses"] + 1
        if losses < LOSSES:
            self._give_up(key, trial.number, losses)
            return
        self.mine[key] = trial.number
        cell, reason = self.cells[key], f"{losses} processes were lost over it, last on {trial.user_attrs.get('where')}"
        self.keep(cell, {"task": cell.task.name, "setting": cell.setting.name, "seed": cell.seed, "error": reason,
                         "seconds": 0.0})  # fmt: skip

    def _sign(self, number: int) -> None:
        try:
            self.storage.set_trial_user_attr(self._id(number), "alive", time.time())
            self.storage.set_trial_user_attr(self._id(number), "where", socket.gethostname())
        except self.optuna.exceptions.UpdateFinishedTrialError:
            return

    def _silent(self, trial: Any) -> bool:
        begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return time.time() - float(trial.user_attrs.get("alive", begun)) > SILENCE

    def _over(self, trial: Any) -> bool:
        return bool(trial.state.is_finished())

    def _id(self, number: int) -> int:
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.number, number))


def _opened(url: str) -> tuple[Any, Any]:
    """Optuna, and the store at a URL or, for a plain path, in a journal file there."""
    try:
        import optuna
    except ImportError:
        raise InputError(
            "--store needs Optuna, which is not installed; run pip install 'equipoise[studies]', or leave --store out"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shown = re.sub(r"://[^@/]*@", "://...@", url)  # no password
    for attempt in range(1, TRIES + 1):
        try:
            return optuna, _storage(optuna, url)
        except Exception as error:  # the database's own kinds
            if attempt == TRIES:
                reason = str(error).strip().splitlines()[0]
                raise InputError(
                    f"the store {shown} cannot be opened ({reason}); give sqlite:///FILE.db on one machine, a "
                    "file on a disk that all machines share, or the URL of a database"
                ) from None
            time.sleep(0.2 * attempt)
    raise AssertionError


def _storage(optuna: Any, url: str) -> Any:
    if "://" not in url or url.startswith("journal://"):
        path = Path(url.removeprefix("journal://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    if not url.startswith("sqlite"):
        return optuna.storages.RDBStorage(url)
    from sqlalchemy import event

    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60, "isolation_level": None}})
    # SQLite locks no rows, so a claim that reads and then writes needs the whole file from the start.
    event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return storage


def _digest(asked: Study) -> str:
    """The same on all machines, which may keep their data in different places."""
    plain = asdict(asked)
    for task in plain["tasks"]:
        del task["source"], task["against"]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
