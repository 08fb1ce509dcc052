"""Tunings: every trial of a search of a method's options on a suite, as a file of the results folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from kdbench.catalog import suggestion
from kdbench.errors import MeasureError, UsageError
from kdbench.measures.metric import metric_of
from kdbench.methods.option import Axis  # noqa: TC001 - pydantic reads it
from kdbench.records import Fact, Sha256
from kdbench.results import named_folder
from kdbench.spec import MethodSpec, Suite, Tuned
from kdbench.whole import whole_file

FOLDER = "tunings"
"""Where tunings lie in the results folder."""


class Trial(Fact):
    """One choice of options, and what its students validated at after the last epoch.

    ``quality``: the mean over ``by_student`` (by ``PAIR/sSEED``), None where one failed, for ``reason``; ``seconds``:
    of training, all students together.
    """

    number: int
    options: dict[str, float]
    quality: float | None
    by_student: dict[str, float]
    seconds: float
    reason: str = ""


class Tuning(Fact):
    """The search of one method on one suite. ``setting_sha256``: of all that decides what a trial's quality means."""

    schema_version: Literal[1] = 1
    suite: str
    version: int
    method: str
    use: str
    options: dict[str, Any]
    qat_epochs: int = 0
    quality: str
    seeds: tuple[int, ...]
    setting_sha256: Sha256
    space: dict[str, Axis]
    trials: tuple[Trial, ...] = ()

    @property
    def seconds(self) -> float:
        """The training that all trials cost."""
        return math.fsum(trial.seconds for trial in self.trials)

    def ranked(self) -> list[Trial]:
        """The trials that ended well, the best first; of equal ones the earlier.

        Raises:
            MeasureError: there is none.
        """
        sign = -1 if metric_of(self.quality).better == "higher" else 1
        well = [(sign * trial.quality, trial.number, trial) for trial in self.trials if trial.quality is not None]
        if not well:
            reason = self.trials[0].reason if self.trials else "it has none"
            raise MeasureError(f"no trial of {self.method} ended well: {reason}")
        return [trial for _, _, trial in sorted(well, key=lambda each: each[:2])]

    def chosen(self) -> MethodSpec:
        """The method with the options that validated best, called ``METHOD-tuned``.

        Raises:
            MeasureError: no trial ended well.
        """
        best = self.ranked()[0]
        how = Tuned(suite=f"{self.suite} v{self.version}", trials=len(self.trials), seconds=round(self.seconds, 1))
        label, options = f"{self.method}-tuned", {**self.options, **best.options}
        return MethodSpec(label=label, use=self.use, options=options, qat_epochs=self.qat_epochs, tuned=how)


def tuning_file(results: Path, suite: str, method: str) -> Path:
    """Where the tuning of a method on a suite lies: ``RESULTS/tunings/SUITE/METHOD.json``. Raises UsageError."""
    return named_folder(results / FOLDER, suite, f"{method}.json")


def with_tuned(suite: Suite, names: tuple[str, ...], results: Path) -> Suite:
    """``suite`` with the tuned options of methods, a row each beside their own: labels, or the files of tunings.

    Raises:
        UsageError: no such tuning, or the suite has a method called ``LABEL-tuned`` already.
        MeasureError: no trial of it ended well.
    """
    methods = list(suite.methods)
    for name in names:
        path = Path(name) if name.endswith(".json") else tuning_file(results, suite.name, name)
        if not path.exists():
            labels = [method.label for method in suite.methods]
            hint = f"kdbench tune {name} --suite {suite.name} makes one"
            if name not in labels and (near := suggestion(name, labels)).startswith("did"):
                hint = near
            raise UsageError(f"--tuned {name}: no tuning {path}; {hint}")
        chosen = read_tuning(path).chosen().read_from(f"of --tuned {name}")
        if any(chosen.label == known.label for known in methods):
            raise UsageError(f"--tuned {name}: the suite has a method {chosen.label!r} already")
        methods.append(chosen)
    return suite.model_copy(update={"methods": tuple(methods)})


def read_tuning(path: Path) -> Tuning:
    """The tuning in a file. Raises UsageError where it cannot be read, or is another thing."""
    try:
        return Tuning.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read tuning {path}: {error.strerror}") from None
    except ValidationError as error:
        raise UsageError(f"{path} is not a tuning: {error.errors()[0]['msg']}") from None


def write_tuning(tuning: Tuning, path: Path) -> None:
    """Write ``tuning`` whole or not at all. Raises MeasureError where that cannot be done."""
    text = json.dumps(tuning.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    with whole_file(path, "tuning") as scratch:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
