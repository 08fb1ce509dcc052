"""What ``kdbench run`` says and returns when a session has ended; ``tests/test_session.py`` has real sessions."""

from types import SimpleNamespace

import made_up
import pytest

from kdbench.cli.run import _judged, _made
from kdbench.spec import Budget
from kdbench.worker import Failed


@pytest.mark.parametrize(
    ("budgets", "verdicts", "code"),
    [
        ([], set(), 0),
        ([Budget(metric="accuracy", op=">=", limit=0.1)], set(), 0),
        ([Budget(metric="accuracy", op=">=", limit=0.999)], {"regressed"}, 1),
        ([Budget(metric="energy_mj", op="<=", limit=1)], {"incomparable"}, 4),
        (
            [Budget(metric="energy_mj", op="<=", limit=1), Budget(metric="accuracy", op=">=", limit=0.999)],
            {"incomparable", "regressed"},
            1,
        ),
    ],
)
def test_a_budget_that_is_broken_or_cannot_be_judged_shows_and_counts(budgets, verdicts, code):
    doubts, found = _judged(made_up.budgeted(made_up.run(broken=False), *budgets))
    assert ({verdict.verdict for verdict in doubts}, found) == (verdicts, code)


def test_a_failed_case_outweighs_budgets():
    assert any(record.status == "crashed" for record in made_up.run().records)
    assert _judged(made_up.run())[1] == 3


def test_what_failed_was_not_found_in_the_store():
    failed = {str(i): Failed(str(i), "failed", "no") for i in range(3)}
    finished = SimpleNamespace(outcomes={**failed, "a": None, "b": None}, made={"network": 1})
    assert _made(finished) == (
        "trained 1, lowered 0, ran 0; 1 of 5 stages were in the store; 3 failed or were fed by one that did"
    )
    finished = SimpleNamespace(outcomes={"a": None, "b": None}, made={})
    assert _made(finished) == "trained 0, lowered 0, ran 0; 2 of 2 stages were in the store"
