"""The drawings of `pull_the_plug`: what a crash takes over time, and how much many crashes took. No widget.

Rules of this file: a drawing is SVG in which every colour can be told apart on white and on black, since an image
cannot ask for the theme; the same state gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aofnb.lab.loss import CrashTest, Outcome, Run

__all__ = ["BUFFER", "CACHE", "DISK", "HIGH", "WIDE", "Course", "course_of", "histogram", "strip"]

# Of the places of bytes, and of what takes them: a kill, a power cut, nothing.
BUFFER, CACHE, DISK = "#d9534f", "#ef8a17", "#43a047"
_GREY = "#7a7a7a"

# --- over time -------------------------------------------------------------------------------------------------

# Of the strip; columns divide the run.
WIDE, HIGH = 600, 46
_COLUMNS = 200
_THIN = 'vector-effect="non-scaling-stroke"'


@dataclass(frozen=True, slots=True)
class Course:
    """The most commands that a crash takes, in each column of the strip."""

    run: Run
    power: tuple[int, ...]
    kill: tuple[int, ...]

    @property
    def most(self) -> int:
        """The most of all."""
        return max(*self.power, *self.kill)


def course_of(run: Run) -> Course:
    """What a power cut and what a kill would take over the whole of `run`."""
    power, kill = [0] * _COLUMNS, [0] * _COLUMNS
    end_ms = run.seconds * 1000
    for number, moment in enumerate(run.moments):
        until_ms = run.moments[number + 1].at_ms if number + 1 < len(run.moments) else end_ms
        by_power = max(0, moment.acknowledged - run.commands(moment.synced))
        by_kill = max(0, moment.acknowledged - run.commands(moment.written))
        last = min(until_ms * _COLUMNS // end_ms, _COLUMNS - 1)
        for column in range(moment.at_ms * _COLUMNS // end_ms, last + 1):
            power[column] = max(power[column], by_power)
            kill[column] = max(kill[column], by_kill)
    return Course(run, tuple(power), tuple(kill))


def strip(course: Course, at_s: float, crashes: Sequence[Outcome], words: str) -> str:
    """The course as SVG, with a line for now and a mark for each crash; `words` say it."""

    def x(seconds: float) -> str:
        return f"{seconds / course.run.seconds * WIDE:.1f}"

    most = course.most or 1
    areas = "".join(
        f'<path d="{_area(curve, most)}" fill="{colour}"/>'
        for curve, colour in ((course.power, CACHE), (course.kill, BUFFER))
    )
    colours = {"kill": BUFFER, "power": CACHE}
    marks = "".join(
        f'<path d="M{x(crash.at_s)} 0v7" stroke="{colours[crash.kind]}" stroke-width="4" {_THIN}/>' for crash in crashes
    )
    lines = f'<path d="M0 {HIGH}H{WIDE}" stroke="{_GREY}" {_THIN}/>'
    lines += f'<path d="M{x(at_s)} 0V{HIGH}" stroke="{_GREY}" stroke-width="2" {_THIN}/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="strip" viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" '
        f'height="{HIGH}" preserveAspectRatio="none" role="img" aria-label="{words}">{areas}{marks}{lines}</svg>'
    )


def _area(curve: Sequence[int], most: int) -> str:
    """Under a stepped line, as the data of a path."""
    step = WIDE // _COLUMNS
    line = "".join(
        f"V{HIGH - value / most * (HIGH - 8):.1f}H{(column + 1) * step}" for column, value in enumerate(curve)
    )
    return f"M0 {HIGH}{line}V{HIGH}Z"


# --- how much --------------------------------------------------------------------------------------------------

_WIDTH, _ROW, _LEFT, _NUMBERS = 640, 52, 70, 18
# Borders of the columns, in seconds lost.
_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)


def histogram(test: CrashTest) -> tuple[str, int, int]:
    """How many crashes lost how many seconds, as SVG with its width and height: a row for each policy."""
    step = (_WIDTH - _LEFT) / len(_EDGES)

    def middle(column: int) -> str:
        return f'x="{_LEFT + (column + 0.5) * step:.1f}" text-anchor="middle" font-size="10"'

    shapes: list[str] = []
    for row, (policy, outcomes) in enumerate(test.outcomes.items(), 1):
        floor = row * _ROW
        shapes.append(f'<text x="0" y="{floor - 4}" font-size="12" font-weight="bold">{policy}</text>')
        shapes.append(f'<path d="M{_LEFT} {floor + 0.5}H{_WIDTH}" stroke="{_GREY}" stroke-opacity=".5"/>')
        counts = [0] * len(_EDGES)
        for outcome in outcomes:
            counts[_column(outcome)] += 1
        for column, count in enumerate(counts):
            if not count:
                continue
            share = count / len(outcomes)
            height = max(1.5, share * (_ROW - _NUMBERS))
            percent = f"{share:.0%}" if share >= 0.01 else "&lt;1%"
            shapes.append(
                f'<rect x="{_LEFT + column * step + 2:.1f}" y="{floor - height:.1f}" width="{step - 4:.1f}" '
                f'height="{height:.1f}" fill="{CACHE if column else DISK}"/>'
                f'<text y="{floor - height - 3:.1f}" {middle(column)}>{percent}</text>'
            )
    bottom = len(test.outcomes) * _ROW + 14
    labels = ["nothing", *(f"&lt; {edge:g}" for edge in _EDGES[1:])]
    shapes += [f'<text y="{bottom}" {middle(column)}>{label}</text>' for column, label in enumerate(labels)]
    shapes.append(
        f'<text x="{(_LEFT + _WIDTH) // 2}" y="{bottom + 16}" text-anchor="middle">'
        "seconds of answered work that were lost</text>"
    )
    height = bottom + 22
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{_GREY}">{"".join(shapes)}</svg>'
    )
    return svg, _WIDTH, height


def _column(outcome: Outcome) -> int:
    if not outcome.lost:
        return 0
    return next((number for number, edge in enumerate(_EDGES) if number and outcome.lost_s < edge), len(_EDGES) - 1)
