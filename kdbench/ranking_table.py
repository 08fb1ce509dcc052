"""Rankings as people and programs read them: a sentence, a table, a frame."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdbench.formats import as_latex, as_markdown, as_terminal
from kdbench.measures.metric import metric_of
from kdbench.ranking import CONTROLS, LEVEL, MIN_SEEDS, POWER
from kdbench.ranks import told as in_words
from kdbench.tables import BEST, NONE, Cell, Column, Section, Table, digits_of, noted, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kdbench.ranking import Lead, Ranking, Standing
    from kdbench.ranks import Ranks

_RANKS = ("target", "device", "pairs", "mean_ranks", "left_out", "p", "critical")

SHOWN_RULE = f"{BEST} beyond chance: p is at most {LEVEL:g}"


def verdict(ranking: Ranking) -> str:
    """What a ranking says of ``scratch``, in a sentence or two."""
    leads = {one.method: one.leads["scratch"] for one in ranking.standings if "scratch" in one.leads}
    if "scratch" not in ranking.rivals:
        return "no scratch was run, so nothing says what teaching is worth"
    tested = {method: lead for method, lead in leads.items() if not math.isnan(lead.p)}
    if not tested:
        return f"no method shares {MIN_SEEDS} seeds with scratch, so no lead can be tested; --seeds 0-4 runs five"
    ahead = {method: lead for method, lead in tested.items() if lead.shown and lead.interval.estimate > 0}
    unit = _unit(ranking)
    if ahead:
        told = ", ".join(f"{method} by {_lead(ranking, lead)} {unit}" for method, lead in ahead.items())
        return f"ahead of scratch beyond chance: {told}"
    controls = {one.method for one in ranking.standings if one.use in CONTROLS}
    taught = {method: lead for method, lead in tested.items() if method not in controls} or tested
    method, lead = max(taught.items(), key=lambda item: item[1].interval.estimate)
    near = f"nearest is {method}, {_lead(ranking, lead)} {unit} (p = {_p(lead.adjusted)} of {len(tested)} comparisons)"
    smallest = f"its {lead.n} seeds would have shown {lead.detectable * _scale(ranking):.2f} {unit}"
    seeds = f"{lead.seeds} seeds" if lead.seeds else "more than 1,000 seeds"
    wanted = f"{ranking.wanted * _scale(ranking):g} {unit}"
    return f"no method is shown to beat scratch: {near}; {smallest}, and {wanted} would take {seeds}"


def table(rankings: Sequence[Ranking]) -> Table:
    """The table of rankings: a section each, the best mean first."""
    first = rankings[0]
    metric, unit = metric_of(first.metric), _unit(first)
    rivals = [name for name in ("scratch", "kd") if any(name in ranking.rivals for ranking in rankings)]
    columns = [Column("rank", "#"), Column("method", "method", numeric=False), Column("seeds", "seeds")]
    columns.append(Column("quality", metric.title, metric.shown_unit))
    for name in (*rivals, "best"):
        columns += [Column(f"lead_{name}", f"on {name}", unit), Column(f"p_{name}", f"p {name}")]
    columns += [Column("detectable", "could show", unit), Column("seeds_wanted", "seeds needed")]
    columns += [Column("agreement", "agreement", "%"), Column("cost", "x kd")]
    notes: list[str] = []
    sections = tuple(
        Section(
            plain(" · ".join(filter(None, _place(one)))),
            plain(verdict(one)),
            tuple(_cells(one, place, standing, rivals, notes) for place, standing in enumerate(one.standings, 1)),
        )
        for one in rankings
    )
    order = ("p_best", "lead_best", "cost", "agreement", "p_kd", "lead_kd", "seeds", "detectable", "seeds_wanted")
    known = {column.id for column in columns}
    dispensable = tuple(name for name in order if name in known)
    return Table(tuple(columns), sections, tuple(_legend(rankings, rivals)), tuple(notes), dispensable)


def _place(one: Ranking) -> tuple[str, ...]:
    """What a section is of."""
    suite = f"{one.suite} v{one.version}"
    return suite, one.pair, one.target, one.device, f"run {' + '.join(one.runs)}", one.machine


def frame(rankings: Sequence[Ranking]) -> pd.DataFrame:
    """One row a method and rival, in quality's own unit, with every digit; ``lead`` is NaN for a rival's own row."""
    rows: list[dict[str, Any]] = []
    for ranking in rankings:
        place = {key: getattr(ranking, key) for key in ("suite", "version", "pair", "target", "device", "metric")}
        for rank, one in enumerate(ranking.standings, 1):
            known = {"rank": rank, "method": one.method, "seeds": len(one.quality), "failed": one.failed}
            known |= {"mean": one.mean, "validation": one.validation, "agreement": one.agreement, "cost": one.cost}
            rows += [
                {**place, **known, "rival": rival, **_figures(one.leads.get(rival), ranking.wanted)}
                for rival in ranking.rivals
            ]
    return pd.DataFrame(rows)


def _figures(lead: Lead | None, wanted: float) -> dict[str, float]:
    if lead is None:
        names = ("lead", "low", "high", "p", "p_holm", "detectable", "seeds_needed")
        return {"paired": 0, **dict.fromkeys(names, math.nan), "wanted": wanted}
    return {
        "paired": lead.n,
        "lead": lead.interval.estimate,
        "low": lead.interval.low,
        "high": lead.interval.high,
        "p": lead.p,
        "p_holm": lead.adjusted,
        "detectable": lead.detectable,
        "seeds_needed": math.nan if lead.seeds is None else lead.seeds,
        "wanted": wanted,
    }


def render(
    rankings: Sequence[Ranking], form: str, *, width: int = 120, colour: bool = False, ranks: Sequence[Ranks] = ()
) -> str:
    """The rankings in one of ``formats.FORMATS``, ending in a newline; all but CSV tell ``ranks`` too."""
    if form == "csv":
        return frame(rankings).to_csv(index=False, lineterminator="\n")
    if form == "json":
        rows = [
            {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
            for row in frame(rankings).to_dict("records")
        ]
        told = [{"pair": one.pair, "target": one.target, "verdict": verdict(one)} for one in rankings]
        over = [{key: getattr(one, key) for key in _RANKS} for one in ranks]
        whole = {"format": 1, "verdicts": told, "ranks": over, "rows": rows}
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
    laid = table(rankings)
    laid = replace(laid, legend=(*laid.legend, *(line for one in ranks for line in in_words(one))))
    if form == "terminal":
        return as_terminal(laid, width, colour=colour)
    return as_markdown(laid) if form == "markdown" else as_latex(laid)


def _cells(ranking: Ranking, place: int, one: Standing, rivals: Iterable[str], notes: list[str]) -> tuple[Cell, ...]:
    metric = metric_of(ranking.metric)
    total = len(one.quality) + one.failed
    seeds = f"{len(one.quality)}/{total}" if one.failed else str(total)
    quality = NONE if math.isnan(one.mean) else f"{one.mean * metric.scale:.{digits_of(metric, one.mean)}f}"
    told = [_best(ranking)] if one.method == ranking.best else []
    told += [f"{one.method}: {one.tuned}"] if one.tuned else []
    cells = [Cell(str(place)), Cell(plain(one.method), noted(notes, "; ".join(told)) if told else 0), Cell(seeds)]
    cells.append(Cell(quality))
    for name in (*rivals, "best"):
        cells += _lead_cells(ranking, one.leads.get(ranking.best if name == "best" else name))
    scratch = one.leads.get("scratch")
    if scratch is None:
        cells += [Cell(NONE, faint=True)] * 2
    else:
        cells += [
            Cell(f"{scratch.detectable * _scale(ranking):.2f}"),
            Cell(">1000" if scratch.seeds is None else str(scratch.seeds)),
        ]
    cells.append(Cell(NONE, faint=True) if math.isnan(one.agreement) else Cell(f"{one.agreement * 100:.2f}"))
    cells.append(Cell(NONE, faint=True) if math.isnan(one.cost) else Cell(f"{one.cost:.2f}"))
    return tuple(cells)


def _lead_cells(ranking: Ranking, lead: Lead | None) -> list[Cell]:
    if lead is None:
        return [Cell(NONE, faint=True)] * 2
    ahead = lead.shown and lead.interval.estimate > 0
    return [
        Cell(_lead(ranking, lead), strong=ahead, faint=not lead.shown, mark=BEST if lead.shown else ""),
        Cell(NONE if math.isnan(lead.p) else _p(lead.adjusted), faint=not lead.shown),
    ]


def _best(ranking: Ranking) -> str:
    return f"{ranking.best}: the best reference method by validation accuracy, which the test set had no part in"


def _legend(rankings: Sequence[Ranking], rivals: Iterable[str]) -> Iterable[str]:
    wanted = f"{rankings[0].wanted * _scale(rankings[0]):g} {_unit(rankings[0])}"
    names = ", ".join(f"on {name}" for name in rivals)
    yield (
        f"{names}, on best: the mean lead over the seeds that both have, ± half of its 95 % paired t interval, not "
        "corrected; best: the best reference method"
    )
    yield f"p: two-sided paired t test from {MIN_SEEDS} seeds on, Holm-corrected for all that meet the rival"
    yield SHOWN_RULE
    yield (
        f"could show: the smallest lead on scratch that such seeds show {POWER:.0%} of the time at the level of "
        f"{LEVEL:g}; seeds needed: to show {wanted} so often"
    )
    yield (
        "agreement: with the teacher's predictions; x kd: training time over that of kd, on a machine as busy as it "
        "was when each was trained"
    )


def _lead(ranking: Ranking, lead: Lead) -> str:
    scale, half = _scale(ranking), lead.interval.high - lead.interval.estimate
    return f"{lead.interval.estimate * scale:+.2f} ±{half * scale:.2f}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _scale(ranking: Ranking) -> float:
    return metric_of(ranking.metric).scale


def _unit(ranking: Ranking) -> str:
    return metric_of(ranking.metric).difference_unit
