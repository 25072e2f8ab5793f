"""Where boxes stand whose arrows go from left to right: a layered drawing.

After K. Sugiyama et al. (1981): each box has a column behind those of all that use it; where an arrow passes a column,
a place is kept for it; the order within columns is swept towards the mean place of a box's neighbours, which lessens
crossings; then boxes move as near to the height of their neighbours as the gaps between them allow, which is a
regression with an order, solved by pooling adjacent violators. Nothing depends on chance or on the order of a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_SWEEPS = 8
_PASSING = 10
"""The height that is kept for an arrow that passes a column."""


@dataclass(frozen=True)
class Spot:
    """Where a box stands.

    Attributes:
        column: From 0, counted among columns that have a box.
        y: Of its upper edge.
    """

    column: int
    y: float


@dataclass(frozen=True)
class Layout:
    """Where boxes and arrows are.

    Attributes:
        spots: By box.
        paths: By arrow, ``(tail, head)``: for each column that it passes, the column and the height at which it does.
        columns: How many there are.
        height: Of the whole.
    """

    spots: Mapping[str, Spot]
    paths: Mapping[tuple[str, str], tuple[tuple[int, float], ...]]
    columns: int
    height: float


def columns_of(boxes: Mapping[str, tuple[int, bool]], arrows: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The column of each box: behind all that use it.

    Args:
        boxes: By name, the least column, and whether it stands in the last one, as what nothing is behind does.
        arrows: ``(tail, head)`` each; one that closes a circle moves nobody.
    """
    before: dict[str, list[str]] = {name: [] for name in boxes}
    for tail, head in arrows:
        before[head].append(tail)
    column: dict[str, int] = {}
    open_: set[str] = set()

    def place(name: str) -> int:
        if name not in column:
            open_.add(name)
            column[name] = max([boxes[name][0], *(place(tail) + 1 for tail in before[name] if tail not in open_)])
            open_.discard(name)
        return column[name]

    last = max((place(name) for name in boxes), default=0)
    column = {name: last if boxes[name][1] else column[name] for name in boxes}
    used = {number: index for index, number in enumerate(sorted(set(column.values())))}
    return {name: used[number] for name, number in column.items()}


def arranged(
    heights: Mapping[str, float], columns: Mapping[str, int], arrows: Iterable[tuple[str, str]], gap: float
) -> Layout:
    """Where boxes stand in their columns.

    Args:
        heights: By box; what has no neighbours keeps this order.
        columns: By box.
        arrows: Of each, its tail and head. Those that do not go to the right are not looked at.
        gap: Between two boxes of a column.
    """
    size: dict[object, float] = dict(heights.items())
    place: dict[object, int] = dict(columns.items())
    near: dict[object, list[object]] = {name: [] for name in heights}
    passing: dict[tuple[str, str], list[object]] = {}
    for tail, head in arrows:
        if columns[head] <= columns[tail]:
            continue
        chain: list[object] = [(tail, head, column) for column in range(columns[tail] + 1, columns[head])]
        passing[tail, head] = chain
        for dummy, column in zip(chain, range(columns[tail] + 1, columns[head]), strict=True):
            size[dummy], place[dummy], near[dummy] = _PASSING, column, []
        for one, other in zip([tail, *chain], [*chain, head], strict=True):
            near[one].append(other)
            near[other].append(one)
    count = max(place.values(), default=-1) + 1
    stacks: list[list[object]] = [[each for each in size if place[each] == column] for column in range(count)]
    middle: dict[object, float] = {}
    for stack in stacks:
        _settle(stack, size, {}, gap, middle)
    for sweep in range(_SWEEPS):
        for column in range(count) if sweep % 2 == 0 else reversed(range(count)):
            beside = column - 1 if sweep % 2 == 0 else column + 1

            def wanted(each: object, beside: int = beside) -> float:
                heights = [middle[other] for other in near[each] if place[other] == beside]
                return sum(heights) / len(heights) if heights else middle[each]

            stacks[column].sort(key=wanted)
            _settle(stacks[column], size, {each: wanted(each) for each in stacks[column]}, gap, middle)
    for _ in range(_SWEEPS):
        for stack in stacks:
            wishes = {
                each: sum(middle[other] for other in near[each]) / len(near[each]) for each in stack if near[each]
            }
            _settle(stack, size, wishes, gap, middle)
    _pack(size, place, near, gap, middle)
    return Layout(
        {name: Spot(columns[name], round(middle[name] - heights[name] / 2, 1)) for name in heights},
        {arrow: tuple((place[dummy], round(middle[dummy], 1)) for dummy in chain) for arrow, chain in passing.items()},
        count,
        round(max((middle[each] + size[each] / 2 for each in size), default=0), 1),
    )


def _pack(
    size: Mapping[object, float],
    place: Mapping[object, int],
    near: Mapping[object, Sequence[object]],
    gap: float,
    middle: dict[object, float],
) -> None:
    """Move what hangs together up as a whole, one below the other, what has no neighbours last; begin at 0.

    Args:
        size: Heights.
        place: Columns.
        near: Neighbours.
        gap: Between two in a column.
        middle: Where the middle of each is: what is changed.
    """
    parts: list[list[object]] = []
    seen: set[object] = set()
    for each in size:
        part = [each] if each not in seen else []
        seen.add(each)
        for member in part:
            beside = [other for other in near[member] if other not in seen]
            seen.update(beside)
            part += dict.fromkeys(beside)
        if part:
            parts.append(part)
    parts.sort(key=lambda part: (len(part) == 1, min(middle[each] - size[each] / 2 for each in part)))
    free: dict[int, float] = {}
    for part in parts:
        shift = max(free.get(place[each], 0.0) - middle[each] + size[each] / 2 for each in part)
        for each in part:
            middle[each] += shift
            free[place[each]] = max(free.get(place[each], 0.0), middle[each] + size[each] / 2 + gap)


def _settle(
    stack: Sequence[object],
    size: Mapping[object, float],
    wishes: Mapping[object, float],
    gap: float,
    middle: dict[object, float],
) -> None:
    """Put what stands in a column, in its order, as near to where it wishes to be as the gaps allow.

    Args:
        stack: The column, from the top.
        size: Heights.
        wishes: Where the middle of each is to be; without a wish, where it is.
        gap: Between two.
        middle: Where the middle of each is: what is changed.
    """
    offsets: list[float] = []
    below = 0.0
    for each in stack:
        offsets.append(below + size[each] / 2)
        below += size[each] + gap
    pools: list[tuple[float, int]] = []
    for each, offset in zip(stack, offsets, strict=True):
        total, number = wishes.get(each, middle.get(each, offset)) - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / number:
            earlier = pools.pop()
            total, number = total + earlier[0], number + earlier[1]
        pools.append((total, number))
    shifts = [total / number for total, number in pools for _ in range(number)]
    for each, offset, shift in zip(stack, offsets, shifts, strict=True):
        middle[each] = offset + shift
