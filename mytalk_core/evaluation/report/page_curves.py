"""Mouth opening, generated and real, over the speech's level: an SVG drawing without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 720, 150
LEFT, RIGHT, TOP, BOTTOM = 38, 6, 8, 22
MOST_POINTS = 900
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 3600)


def draw_curves(curves: dict) -> str:
    """An inline SVG of times_s, opening, reference_opening and speech_level (equally long lists, None where
    unknown; each but the times may be missing). "" where there is nothing to draw.

    The speech's level fills the background on a scale of its own; both openings share the axis.
    """
    times = curves.get("times_s") or []
    lines = {name: curves.get(name) or [] for name in ("opening", "reference_opening")}
    level = curves.get("speech_level") or []
    peak = max((v for line in lines.values() for v in line if is_number(v)), default=0.0)
    if len(times) < 2 or not times[-1] > times[0] or peak <= 0:
        return ""
    top = nice_above(peak)

    def x(time_s: float) -> float:
        return LEFT + (time_s - times[0]) / (times[-1] - times[0]) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="mouth opening over time, generated and reference, with the level of the speech">'
    ]
    loudest = max((v for v in level if is_number(v)), default=0.0)
    if loudest > 0:
        parts.append(area(thinned(times, level, x, lambda v: y(v / loudest)), y(0)))
    parts += axes(times, top, x, y)
    for name, css in (("reference_opening", "reference"), ("opening", "generated")):
        path = outline(thinned(times, lines[name], x, lambda v: y(v / top)))
        if path:
            parts.append(f'<path class="{css}" d="{path}"/>')
    return "".join([*parts, "</svg>"])


def is_number(value: float | None) -> bool:
    """False for None and NaN."""
    return value is not None and math.isfinite(value)


def nice_above(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 x 10^n at or above a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10) if step * power >= value * (1 - 1e-9))


def thinned(times: Sequence[float], values: Sequence[float | None], x, y) -> list[tuple[float, float] | None]:
    """Points on the drawing; None where the line breaks. Long series keep every n-th."""
    step = -(-len(times) // MOST_POINTS)
    pairs = list(zip(times, values, strict=False))[::step]
    return [(x(time), y(value)) if is_number(value) else None for time, value in pairs]


def outline(points: list[tuple[float, float] | None]) -> str:
    """SVG path data of a broken line."""
    commands, pen_down = [], False
    for point in points:
        if point is not None:
            commands.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    return "".join(commands)


def area(points: list[tuple[float, float] | None], ground: float) -> str:
    """The filled shape under the points."""
    known = [point for point in points if point is not None]
    if len(known) < 2:
        return ""
    edge = "".join(f"L{px:.1f} {py:.1f}" for px, py in known)
    return f'<path class="level" d="M{known[0][0]:.1f} {ground:.1f}{edge}L{known[-1][0]:.1f} {ground:.1f}Z"/>'


def axes(times: Sequence[float], top: float, x, y) -> list[str]:
    """Ticks and their labels: seconds below, opening at the left."""
    length = times[-1] - times[0]
    step = next(step for step in STEPS_S if step >= length / 12 or step == STEPS_S[-1])
    parts = [f'<path class="axis" d="M{LEFT} {y(0):.1f}H{WIDTH - RIGHT}"/>']
    for number in range(int(length / step + 1e-9) + 1):
        position = x(times[0] + number * step)
        parts.append(f'<path class="axis" d="M{position:.1f} {y(0):.1f}v3"/>')
        label = f"{number * step:g}" + (" s" if number == 0 else "")
        parts.append(f'<text x="{position:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    for share in (0.5, 1.0):
        parts.append(f'<path class="grid" d="M{LEFT} {y(share):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(share) + 4:.1f}" text-anchor="end">{top * share:g}</text>')
    return parts
