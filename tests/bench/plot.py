"""A plot of curves on logarithmic scales, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 420, 60, 150, 20, 50
_COLOURS = ("#0b6e99", "#b3541e", "#5b7f2b", "#6b4c9a")
Points = Sequence[tuple[float, float]]


def plotted(curves: Mapping[str, Points], *, across: str, up: str) -> str:
    """The picture.

    Args:
        curves: Their points, by what stands at the end of each.
        across: What the horizontal axis counts.
        up: What the vertical one does.
    """
    points = [point for each in curves.values() for point in each]
    columns, rows = (_decades([point[axis] for point in points]) for axis in (0, 1))

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * _share(value, columns)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * _share(value, rows)

    def parts() -> Iterator[str]:
        for value in _marks(columns):
            yield f'<path class="grid" d="M{x(value):.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
            yield f'<text x="{x(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:g}</text>'
        for value in _marks(rows):
            yield f'<path class="grid" d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}"/>'
            yield f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        yield f'<text x="{middle:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>'
        middle = -(_TOP + _HEIGHT - _BOTTOM) / 2
        yield f'<text transform="rotate(-90)" x="{middle:.1f}" y="14" text-anchor="middle">{escape(up)}</text>'
        for number, (name, curve) in enumerate(curves.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            line = " ".join(f"{x(across):.1f},{y(up):.1f}" for across, up in curve)
            yield f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{line}"/>'
            last = curve[-1]
            yield f'<text x="{x(last[0]) + 8:.1f}" y="{y(last[1]) + 4:.1f}" fill="{colour}">{escape(name)}</text>'

    style = "text{font:13px sans-serif}.grid{stroke:#999;stroke-width:.5}"
    inside = "\n".join(parts())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">\n'
        f'<style>{style}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n{inside}\n</svg>\n'
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around values."""
    return math.floor(math.log10(min(values))), max(math.ceil(math.log10(max(values))), 1)


def _share(value: float, decades: tuple[int, int]) -> float:
    return (math.log10(value) - decades[0]) / (decades[1] - decades[0])


def _marks(decades: tuple[int, int]) -> list[float]:
    return [10.0**power for power in range(decades[0], decades[1] + 1)]
