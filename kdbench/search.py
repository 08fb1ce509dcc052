"""Searches: a method's options tried on the validation split, the test set never looked at.

What is proposed follows Optuna's tree-structured Parzen estimator: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for
Hyper-Parameter Optimization", NeurIPS 2011, section 4. It depends on the trials that are there alone, so that a search
that was cut short goes on from its file.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kdbench.catalog import find, load
from kdbench.data.named import dataset_named
from kdbench.errors import UsageError
from kdbench.measures.metric import metric_of
from kdbench.methods.space import space_of
from kdbench.plan import Case
from kdbench.privacy import cleaned
from kdbench.session import students
from kdbench.store import Artefact, content_key
from kdbench.tuning import Trial, Tuning, read_tuning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kdbench.conduct import Listener, Outcome
    from kdbench.methods.option import Axis
    from kdbench.spec import MethodSpec, Suite
    from kdbench.store import Store

SEEDS = (1000,)
"""The seeds of a search's students: none that a suite reports, so that options are not chosen for those."""

BATCH = 4
"""Trials that are proposed and trained side by side; their students share the teacher's forwards."""


def can_search() -> bool:
    """Whether the library that proposes is installed (extra ``tune``)."""
    return find_spec("optuna") is not None


def begun(suite: Suite, method: MethodSpec, seeds: Sequence[int], path: Path) -> Tuning:
    """The tuning of a method on a suite as far as it has come: that in the file ``path``, or one without trials.

    Raises:
        UsageError: nothing of the method can be searched, or the file holds trials of another setting.
    """
    space = space_of(method.use, method.options)
    entry = find("methods", method.use)
    setting = {
        **suite.model_dump(mode="json", include={"name", "version", "task", "pairs", "recipes"}),
        "data": {pair.data: dataset_named(pair.data).sha256 for pair in suite.pairs},
        "method": ["" if entry.file else method.use, entry.digest(), method.options, method.qat_epochs],
        "seeds": list(seeds),
        "space": {name: axis.model_dump() for name, axis in space.items()},
    }
    fresh = Tuning(
        suite=suite.name,
        version=suite.version,
        method=method.label,
        use=cleaned(method.use),
        options=dict(method.options),
        qat_epochs=method.qat_epochs,
        quality=load("tasks", suite.task).quality,
        seeds=tuple(seeds),
        setting_sha256=content_key(setting),
        space=space,
    )
    if not path.exists():
        return fresh
    known = read_tuning(path)
    if known.setting_sha256 != fresh.setting_sha256:
        what = "the suite, its data, the seeds or what is searched have changed"
        raise UsageError(f"{path} holds trials of another setting: {what}; move it away to begin anew")
    return known


def further(
    tuning: Tuning, suite: Suite, method: MethodSpec, most: int, store: Store, jobs: int | None, listen: Listener
) -> Tuning:
    """``tuning`` with up to ``BATCH`` trials more, ``most`` in all: each a student a pair and seed.

    Raises:
        KdbenchError: nothing can go on.
    """
    first = len(tuning.trials)
    proposed = dict(enumerate(proposals(tuning, min(BATCH, most - first)), first))
    cases = {
        number: [
            Case(pair, _tried(method, number, options), seed, suite.targets[0], suite.devices[0])
            for pair in suite.pairs
            for seed in tuning.seeds
        ]
        for number, options in proposed.items()
    }
    outcomes = students(suite, [case for own in cases.values() for case in own], store, jobs, listen)
    trials = [
        _trial(number, options, {f"{c.pair.id}/s{c.seed}": outcomes[c.id] for c in cases[number]}, tuning.quality)
        for number, options in proposed.items()
    ]
    return tuning.model_copy(update={"trials": (*tuning.trials, *trials)})


def _tried(method: MethodSpec, number: int, options: Mapping[str, float]) -> MethodSpec:
    return method.model_copy(update={"label": f"trial-{number}", "options": {**method.options, **options}})


def _trial(number: int, options: dict[str, float], outcomes: Mapping[str, Outcome], quality: str) -> Trial:
    known = {name: one.json("network.json") for name, one in outcomes.items() if isinstance(one, Artefact)}
    validated = {name: _validated(network, quality) for name, network in known.items()}
    failed = next((outcome.reason for outcome in outcomes.values() if not isinstance(outcome, Artefact)), "")
    return Trial(
        number=number,
        options=options,
        quality=None if failed else math.fsum(validated.values()) / len(validated),
        by_student=validated,
        seconds=round(math.fsum(network["seconds"] for network in known.values()), 3),
        reason=cleaned(failed, free=True),
    )


def _validated(network: Mapping[str, Any], quality: str) -> float:
    """What a student validated at after its last epoch."""
    curve = next(curve for curve in network["curves"] if curve["name"] == f"validation_{quality}")
    return float(curve["values"][-1])


def proposals(tuning: Tuning, count: int) -> list[dict[str, float]]:
    """The options of the next ``count`` trials, to four digits; the very first are those that the method has anyway."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(a.low, a.high, log=a.log) for name, a in tuning.space.items()
    }
    sampler = optuna.samplers.TPESampler(seed=len(tuning.trials), multivariate=True, constant_liar=True)
    higher = metric_of(tuning.quality).better == "higher"
    study = optuna.create_study(direction="maximize" if higher else "minimize", sampler=sampler)
    states = optuna.trial.TrialState
    for one in tuning.trials:
        state = states.FAIL if one.quality is None else states.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(params=one.options, distributions=axes, value=one.quality, state=state)
        )
    if not tuning.trials:
        study.enqueue_trial({name: axis.default for name, axis in tuning.space.items()})
    asked = [study.ask(axes).params for _ in range(count)]
    return [{name: _to_four_digits(params[name], axis) for name, axis in tuning.space.items()} for params in asked]


def _to_four_digits(value: float, axis: Axis) -> float:
    return value if value == axis.default else min(max(float(f"{value:.4g}"), axis.low), axis.high)
