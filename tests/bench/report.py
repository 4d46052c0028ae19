"""Samples, what they are compared with, and how that is shown: a table for each case, and JSON for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen
from rich.console import Console
from rich.table import Table


@frozen
class Measure:
    """One figure of a case. A *digits* of 1 prints one decimal."""

    name: str
    unit: str
    digits: int = 1


@frozen(kw_only=True)
class Goal:
    """What *subject* must reach in *measure*: a bound on its value, or, *against* a peer, on the ratio in one run."""

    measure: str
    subject: str
    bound: float
    at_most: bool
    against: str = ""

    def met(self, figure: float) -> bool:
        """Whether *figure* is on the right side of the bound."""
        return figure <= self.bound if self.at_most else figure >= self.bound

    def __str__(self) -> str:
        ratio = f" / {self.against}" if self.against else ""
        return f"{self.subject}{ratio}, {self.measure} {'≤' if self.at_most else '≥'} {self.bound:g}"


@frozen
class Spread:
    """The median of some figures, and their extremes."""

    median: float
    low: float
    high: float

    def show(self, digits: int) -> str:
        """``median (low..high)``; the median alone when there was one run."""
        if self.low == self.high:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} [dim]({self.low:,.{digits}f}..{self.high:,.{digits}f})[/dim]"


def spread(figures: Sequence[float]) -> Spread:
    """Of at least one figure."""
    return Spread(statistics.median(figures), min(figures), max(figures))


@define(kw_only=True)
class CaseResult:
    """All samples of one case: for each contestant a list with the figures of each run, in order."""

    name: str
    title: str
    measures: tuple[Measure, ...]
    goals: tuple[Goal, ...]
    samples: dict[str, list[dict[str, float] | None]] = field(factory=dict)
    failures: dict[str, str] = field(factory=dict)

    def figures(self, contestant: str, measure: str) -> list[float]:
        """The contestant's figures, run by run; runs that failed are missing."""
        runs = self.samples.get(contestant, [])
        return [run[measure] for run in runs if run is not None and measure in run]

    def ratios(self, subject: str, peer: str, measure: str) -> list[float]:
        """The subject's figure divided by the peer's, for each run in which both have one."""
        pairs = zip(self.samples.get(subject, []), self.samples.get(peer, []), strict=False)
        return [a[measure] / b[measure] for a, b in pairs if a and b and a.get(measure) and b.get(measure)]

    def reached(self, goal: Goal) -> list[float]:
        """The figures a goal is about; none when somebody did not take part."""
        if goal.against:
            return self.ratios(goal.subject, goal.against, goal.measure)
        return self.figures(goal.subject, goal.measure)


def machine() -> dict[str, str]:
    """What the figures depend on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def show(console: Console, result: CaseResult) -> None:
    """One table for the case, and a line for each goal."""
    table = Table(title=result.title, title_justify="left", title_style="bold")
    table.add_column("")
    for measure in result.measures:
        table.add_column(f"{measure.name} [{measure.unit}]".replace("[", "\\["), justify="right")
    for contestant in result.samples:
        cells = []
        for measure in result.measures:
            figures = result.figures(contestant, measure.name)
            cells.append(spread(figures).show(measure.digits) if figures else "-")
        table.add_row(contestant, *cells)
    console.print(table)
    for goal in result.goals:
        if figures := result.reached(goal):
            found = spread(figures)
            verdict = "[green]met[/green]" if goal.met(found.median) else "[red]missed[/red]"
            console.print(f"  {goal}: {found.show(2)} {verdict}", highlight=False)
    for contestant, failure in result.failures.items():
        console.print(f"  [red]{contestant} failed:[/red] {failure}", highlight=False, markup=True)
    console.print()


def write_json(path: Path, options: dict[str, Any], results: Sequence[CaseResult]) -> None:
    """Everything measured, with the ratios of the goals."""
    cases = []
    for result in results:
        goals = [{"goal": str(goal), "figures": result.reached(goal)} for goal in result.goals]
        cases.append({**asdict(result), "goals": goals})
    path.write_text(json.dumps({"machine": machine(), "options": options, "cases": cases}, indent=1) + "\n")
