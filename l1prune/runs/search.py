"""Looking for recipes: the settings that are best, and those that leave least.

Optuna proposes, a run of train.py answers. There is no single best: what is looked for are the
best trade-offs between two objectives, the metric that runs are judged by, its better end up, and
weights down.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortly
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from l1prune.checks import is_number, is_whole, needing
from l1prune.runs.escapes import LINE, printable
from l1prune.runs.files import is_own_folder, read_end, read_json
from l1prune.runs.monitor import Monitor
from l1prune.runs.points import SUMMARY
from l1prune.runs.stages import NONZERO
from l1prune.runs.summary import monitor_of
from l1prune.runs.sweep import FAILURE, signal_name

if TYPE_CHECKING:
    import optuna

DATABASE = "search.db"
OUTPUT = "output.txt"
JUDGED = "monitor"
"""Where the study keeps by what its runs are judged: on validation, the test set has no say."""


@dataclass(frozen=True)
class Space:
    """Settings, of which some are to be found.

    Attributes:
        fixed: as train.py takes them.
        searched: by name, where to look.
    """

    fixed: tuple[str, ...]
    searched: Mapping[str, Override]

    @classmethod
    def of(cls, overrides: Sequence[str], options: Sequence[str] = ()) -> Space:
        """Read settings in Hydra's own notation.

        Args:
            overrides: `NAME=VALUE` is fixed; looked for is what says `NAME=interval(LOW,HIGH)`,
                `NAME=tag(log,interval(LOW,HIGH))` for a log scale, `NAME=int(interval(LOW,HIGH))`
                for whole numbers, or `NAME=VALUE,VALUE,…`.
            options: of train.py that go with them, as `--config-dir FOLDER`.

        Raises:
            ValueError: they cannot be read, or nothing is to be found.

        >>> space = Space.of(["seed=1", "prune.prune_at=interval(0.3,0.8)", "+prune=l1,l2"])
        >>> space.fixed, list(space.searched)
        (('seed=1',), ['prune.prune_at', '+prune'])
        """
        try:
            parsed = OverridesParser.create().parse_overrides(list(overrides))
        except HydraException as error:
            raise ValueError(str(error)) from error
        searched = {one.get_key_element(): one for one in parsed if one.is_sweep_override()}
        if not searched:
            raise ValueError(
                "nothing to look for: give a setting a range, as in "
                "'prune.threshold.sparsity=interval(0.8,0.99)', or several values"
            )
        fixed = (str(one.input_line) for one in parsed if not one.is_sweep_override())
        return cls((*options, *fixed), searched)

    def suggest(self, trial: optuna.Trial) -> list[str]:
        """Let a trial choose, and name its choices as train.py takes them."""
        return [f"{name}={_choose(trial, name, one)}" for name, one in self.searched.items()]

    def __str__(self) -> str:
        return " ".join([*self.fixed, *(str(one.input_line) for one in self.searched.values())])


def _choose(trial: optuna.Trial, name: str, override: Override) -> Any:
    interval = override.value()
    if not isinstance(interval, IntervalSweep):
        return trial.suggest_categorical(name, list(override.sweep_string_iterator()))
    low, high, log = interval.start, interval.end, "log" in interval.tags
    assert low is not None and high is not None  # as the grammar has it
    if type(low) is type(high) is int:  # after int(interval(…))
        return trial.suggest_int(name, int(low), int(high), log=log)
    return trial.suggest_float(name, float(low), float(high), log=log)


@dataclass(frozen=True)
class Search:
    """A search in a folder: begun there, or gone on with.

    Attributes:
        folder: what the search leaves, with a directory for each run.
        space: what is looked for.
        script: train.py.
        study: Optuna's own record, in `search.db`.
    """

    folder: Path
    space: Space
    script: Path
    study: optuna.Study

    @classmethod
    def open(cls, folder: Path, space: Space, script: Path, seed: int = 0) -> Search:
        """Begin, or go on; a run that was cut off is started again in its own directory.

        Args:
            folder: what the search leaves; made if it is not there.
            space: what is looked for.
            script: train.py.
            seed: of the proposals.

        Raises:
            ValueError: the search in that folder looks for something else, or it has none but a
                `search.db` that cannot be read.
            ImportError: Optuna is missing.
        """
        optuna = _optuna()
        folder.mkdir(parents=True, exist_ok=True)
        if not is_own_folder(folder.resolve()):
            raise ValueError(f"{folder} has links or pipes, through which the search would write")
        study = _study(optuna, folder / DATABASE)
        known = study.user_attrs.get("space", str(space))
        if known != str(space):
            raise ValueError(f"{folder} has a search for {known}: go on with that, or name another")
        study.set_user_attr("space", str(space))
        # One that is made anew must not propose again what it proposed before.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
        for trial in study.trials:
            if trial.state == optuna.trial.TrialState.RUNNING:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                study.enqueue_trial(trial.params, user_attrs={"folder": _folder(trial)})
        return cls(folder, space, script, study)

    def run(self, trials: int, jobs: int, tell: Callable[[str], None]) -> None:
        """Go on until so many trials are done, of which some may have failed.

        Args:
            trials: how many, those of earlier starts included.
            jobs: how many at once, each in a process of its own.
            tell: is told of each in a line.
        """
        waiting = {_folder(trial) for trial in self.study.trials if not trial.state.is_finished()}
        done = {_folder(trial) for trial in self.study.trials} - waiting
        if left := max(0, trials - len(done)):
            self.study.optimize(
                self._train,
                n_trials=left,
                n_jobs=jobs,
                catch=(OSError, ValueError),
                callbacks=[lambda _, trial: tell(_in_words(trial, self.monitor or Monitor()))],
            )

    def _train(self, trial: optuna.Trial) -> tuple[float, int]:
        """The objectives of a trial: how good, up, and weights left, down."""
        directory = (self.folder / _folder(trial)).absolute()
        directory.mkdir(exist_ok=True)
        if not is_own_folder(directory):
            raise ValueError(f"{directory}: has links or pipes, through which a run would write")
        with FileLock(directory / ".lock"):  # a run that outlived its search is left to end
            pass
        (directory / FAILURE).unlink(missing_ok=True)
        settings = [*self.space.fixed, *self.space.suggest(trial), f"hydra.run.dir='{directory}'"]
        command = [sys.executable, str(self.script), *settings]
        # Not `run`, which would kill a process that Ctrl-C has told to save what it has.
        with (
            (directory / OUTPUT).open("w") as output,
            subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process,
        ):
            process.wait()
        try:
            monitor, value, left = _outcome(directory, process.returncode)
            if self.monitor is not None and self.monitor != monitor:
                raise ValueError(
                    f"it is judged by {monitor.name}, and the others by {self.monitor.name}"
                )
            self.study.set_user_attr(JUDGED, [monitor.name, monitor.mode])
            return monitor.rank(value), left
        except (OSError, ValueError) as error:
            (directory / FAILURE).write_text(f"{printable(error, LINE)}\n", encoding="utf-8")
            raise

    @property
    def monitor(self) -> Monitor | None:
        """By what its runs are judged; None as long as none has said it."""
        known = self.study.user_attrs.get(JUDGED)
        return Monitor(*known) if known else None

    def __str__(self) -> str:
        """The best trade-offs, smallest first, as they are on the validation set."""
        monitor = self.monitor or Monitor()
        best = sorted(self.study.best_trials, key=lambda trial: trial.values[1])
        told = [_in_words(trial, monitor) for trial in best]
        return "\n".join([f"Best trade-offs, by {monitor.name}:", *told])


def _outcome(directory: Path, code: int) -> tuple[Monitor, float, int]:
    """By what a run that ended with an exit code is judged, how good it is, and weights left.

    Raises:
        OSError, ValueError: it failed, or has not left them.
    """
    if code < 0:
        raise ValueError(f"it was killed by {signal_name(-code)}")
    if code:
        raise ValueError(_last_words(read_end(directory / OUTPUT)))
    return _figures(read_json(directory / SUMMARY))


def _figures(summary: Any) -> tuple[Monitor, float, int]:
    """The two figures of a summary that a trial is about, and what the first of them is.

    >>> _figures({"monitor": "val/mse", "mode": "min", "val/mse": 0.5, "params/nonzero": 7})
    (Monitor(name='val/mse', mode='min'), 0.5, 7)
    """
    if not isinstance(summary, Mapping):
        raise ValueError(f"{SUMMARY} must hold an object, but holds a {type(summary).__name__}")
    monitor = monitor_of(summary)
    for key in (NONZERO, monitor.name):
        if key not in summary:
            raise ValueError(f"{key!r} is missing")
    left, value = summary[NONZERO], summary[monitor.name]
    if not is_whole(left, 0):
        raise ValueError(f"{NONZERO!r} must be a whole number, but is {shortly(left)}")
    if not is_number(value):
        raise ValueError(f"{monitor.name!r} must be a number, but is {shortly(value)}")
    return monitor, float(value), int(left)


def _folder(trial: optuna.Trial | optuna.trial.FrozenTrial) -> str:
    """The directory of a trial; one that was cut off left it to the trial that took it up.

    It is a number, whatever a database from somewhere else calls it.
    """
    folder = str(trial.user_attrs.get("folder", trial.number))
    return folder if re.fullmatch(r"[0-9]{1,9}", folder) else str(trial.number)


def _in_words(trial: optuna.trial.FrozenTrial, monitor: Monitor) -> str:
    choices = printable(" ".join(f"{name}={value}" for name, value in trial.params.items()), LINE)
    if trial.values is None:
        return f"{_folder(trial)}  failed  {choices}"
    rank, left = trial.values
    value = monitor.shown(monitor.rank(rank))  # twice ranked is as it was
    return f"{_folder(trial)}  {value}  {left:,.0f} weights  {choices}"


def _last_words(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Set the environment variable HYDRA")]
    return said[-1] if said else "it said nothing"


def _study(optuna: Any, database: Path) -> optuna.Study:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.create_study(  # type: ignore[no-any-return]
            storage=f"sqlite:///{database}",
            study_name="recipes",
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )
    except (optuna.exceptions.OptunaError, SQLAlchemyError, RuntimeError) as error:
        raise ValueError(f"{database}: not the record of a search: {error}") from error


def _optuna() -> Any:
    with needing("search", "a search"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # `run` tells of the trials
    return optuna
