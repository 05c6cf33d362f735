"""Charts as SVG, of lines and of bars: plain text, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 14, 28
COLOURS = ("#2f6db5", "#c2541b", "#3d8b40", "#8b4aa8", "#b0324a", "#57606a", "#a8801e", "#1f8a8c")
STEPS = (1, 2, 2.5, 5, 10)
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))

Points = Sequence[tuple[float, float]]


def ticks(top: float, wanted: int = 5) -> list[float]:
    """Give round values from 0 to just above `top`."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / wanted
    power = 10.0 ** (len(str(int(rough))) - 1) if rough >= 1 else 10.0 ** -len(f"{1 / rough:.0f}")
    step = next(power * step for step in (*STEPS, 20, 50, 100) if power * step >= rough)
    count = int(top / step) + 1
    return [step * index for index in range(count + (step * (count - 1) < top))]


def short(value: float) -> str:
    """Give a number as an axis has it: 12k, 1.5M."""
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"


def chart(
    title: str, unit: str, lines: Mapping[str, Points], marks: Mapping[str, float], along: str = " s"
) -> str:
    """Give a chart of values, over seconds unless said otherwise.

    Args:
        lines: name -> (seconds, value) in order.
        marks: what began when: name -> seconds.
        along: unit of the axis below, behind each number.
    """
    points = [point for line in lines.values() for point in line]
    end = max((x for x, _ in points), default=1.0) or 1.0
    levels = ticks(max((y for _, y in points), default=1.0))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + width * x / end, TOP + height * (1 - y / levels[-1])

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for level in levels:
        _, y = place(0, level)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}h{width}"/>')
        parts.append(
            f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(level)}</text>'
        )
    for number, (name, at) in enumerate(marks.items()):
        x, _ = place(min(at, end), 0)
        parts.append(f'<path class="mark" d="M{x:.1f} {TOP}v{height}"/>')
        y = TOP + 10 + 11 * (number % 3)
        anchor = "end" if x > LEFT + 0.9 * width else "start"
        shifted = x - 3 if anchor == "end" else x + 3
        parts.append(
            f'<text class="axis" x="{shifted:.1f}" y="{y}" text-anchor="{anchor}">{escape(name)}</text>'
        )
    for second in ticks(end, 8)[:-1]:
        x, _ = place(second, 0)
        words = f"{short(second)}{along}"
        parts.append(f'<text class="axis" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{words}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{path}" stroke="{colour}"/>')
        y = TOP + 10 + 16 * number
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return f"<h3>{escape(title)} <small>{escape(unit)}</small></h3>\n{''.join(parts)}</svg>\n"


def alone(drawn: str, style: str) -> str:
    """Give the picture of a chart as a file of its own."""
    picture = drawn[drawn.index("<svg ") :]
    head, _, rest = picture.partition(">")
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f'{head} xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{rest}'


BAR, BETWEEN = 14, 12
NAMES, FIGURES = 170, 64
ALONE = """\
text { font: 12px system-ui, sans-serif; fill: #1f2328; } .axis { font-size: 10px; fill: #6e7781; }
.title { font-weight: 600; } .grid { stroke: #d0d7de; stroke-width: 1; }"""


def bars(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Give a chart of bars that lie, as a file of its own: an image, with its style and background.

    Args:
        rows: what is compared -> series -> value; a value that is missing has no bar.
    """
    series = list(dict.fromkeys(name for values in rows.values() for name in values))
    levels = ticks(max((value for values in rows.values() for value in values.values()), default=1.0))
    width = WIDTH - NAMES - FIGURES
    step = BAR * len(series) + BETWEEN
    top = 50
    height = top + step * len(rows) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}"><style>{ALONE}</style>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="10" y="18">{escape(title)}</text>'
        f'<text class="axis" x="10" y="34">{escape(unit)}</text>',
    ]
    for level in levels:
        x = NAMES + width * level / levels[-1]
        parts.append(f'<path class="grid" d="M{x:.1f} {top - 6}V{height - BOTTOM + 6}"/>')
        parts.append(
            f'<text class="axis" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{short(level)}</text>'
        )
    for number, name in enumerate(series):
        x = NAMES + 150 * number
        parts.append(f'<rect x="{x}" y="25" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(f'<text x="{x + 15}" y="34">{escape(name)}</text>')
    for row, (name, values) in enumerate(rows.items()):
        y = top + step * row
        middle = y + BAR * len(series) / 2 + 4
        parts.append(f'<text x="{NAMES - 8}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for number, one in enumerate(series):
            if one not in values:
                continue
            long, at = width * values[one] / levels[-1], y + BAR * number
            colour = COLOURS[number % len(COLOURS)]
            parts.append(
                f'<rect x="{NAMES}" y="{at}" width="{long:.1f}" height="{BAR - 2}" fill="{colour}"/>'
            )
            parts.append(
                f'<text class="axis" x="{NAMES + long + 4:.1f}" y="{at + 10}">{short(values[one])}</text>'
            )
    return "\n".join(parts) + "\n</svg>\n"
