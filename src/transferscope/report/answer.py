"""The first page: what each analysis says there, and how many claims hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import Panel, analysis_module
from transferscope.analyses.shared.phrases import counted, listed
from transferscope.core.config import Study
from transferscope.core.runs import KIND_NAMES, chosen_seeds, chosen_targets
from transferscope.report.page.content import Answer, DrawnPanel

if TYPE_CHECKING:
    import polars as pl


def answer(
    study: Study,
    tables: Mapping[str, Mapping[str, pl.DataFrame]],
    findings: Sequence[Finding],
    draw: Callable[[Panel], DrawnPanel],
    beside: Mapping[str, str] = MappingProxyType({}),
    failed: Sequence[str] = (),
) -> Answer:
    """The first page of a study's report.

    Args:
        study: the study.
        tables: analysis -> table name -> rows; what wasn't measured is left out.
        findings: the verdicts on the claims.
        draw: draws a figure of the first page.
        beside: target -> what stands beside its accuracies, such as the number of test images and what is reached
            without looking at them.
        failed: which networks failed to train; said before everything else.
    """
    modules = {name: analysis_module(name) for name in tables}
    names = sorted(modules, key=lambda name: getattr(modules[name], "FIRST_PAGE_ORDER", modules[name].ORDER))
    parts = [
        modules[name].headline(tables[name], findings, beside)
        for name in names
        if hasattr(modules[name], "headline")
    ]
    advice = [
        one
        for name in names
        if hasattr(modules[name], "advice")
        for one in modules[name].advice(tables[name])
    ]
    panels = {panel.name: panel for part in parts for panel in part.panels}
    paragraphs = [text for part in parts for text in part.paragraphs if text]
    return Answer(
        paragraphs=[
            *(paragraphs or ["Nothing was measured that says what transfer gave."]),
            _tally(study, findings),
        ],
        headlines=[one for part in parts for one in part.headlines],
        advice=advice,
        summary=[*failed, *(text for part in parts for text in part.summary if text)],
        figures=[draw(panel) for panel in panels.values()],
    )


def _tally(study: Study, findings: Sequence[Finding]) -> str:
    """How many claims hold: the paper's, then this tool's own."""
    texts = []
    for origin, whose in (("paper", "the paper's"), ("transferscope", "this tool's own")):
        own = [finding for finding in findings if finding.claim.origin == origin]
        tested = [finding.verdict for finding in own if finding.is_measured]
        if own:
            holds, fails, open_ = (
                tested.count(verdict) for verdict in ("holds", "does not hold", "undecided")
            )
            counts = [
                f"{holds} {'holds' if holds == 1 else 'hold'}",
                f"{fails} {'does' if fails == 1 else 'do'} not hold",
                f"{open_} {'is' if open_ == 1 else 'are'} undecided",
            ]
            missing = len(own) - len(tested)
            counts += [f"{missing} {'was' if missing == 1 else 'were'} not measured"] if missing else []
            texts.append(f"of {whose} {counted(len(own), 'claim')}, {listed(counts)}")
    text = "; ".join(texts)
    seeds = f"from {_instances(study)}"
    return f"{text[:1].upper()}{text[1:]}, {seeds}." if text else f"No claim was tested, {seeds}."


def _instances(study: Study) -> str:
    """How many networks there are of each kind."""
    if study.instances is None:
        every = {
            len(chosen_seeds(study, config, target))
            for config in study.analyses.values()
            for target in chosen_targets(study, config)
        } or {len(study.seeds)}
        fewest = "" if len(every) == 1 else f"{min(every)} to "
        return f"{fewest}{counted(max(every), 'seed')} a kind"
    counts = Counter(KIND_NAMES[given.kind] for given in study.instances.values())
    return listed([f"{count} {kind}" for kind, count in counts.items()])
