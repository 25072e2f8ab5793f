"""The order in which a group's nodes change, and how many are down meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet.plan import Rollout


@given(
    count=st.integers(1, 40),
    window=st.integers(1, 40) | st.integers(1, 100).map("{}%".format),
    canary=st.booleans(),
    order=st.lists(st.integers(0, 50), max_size=10),
)
def test_no_more_than_the_window_is_down_and_a_canary_goes_alone(
    count: int, window: int | str, canary: bool, order: list[int]
) -> None:
    rollout = Rollout.model_validate({"window": window, "canary": canary, "order": order})
    most = rollout.most_down(count)
    assert most == (window if isinstance(window, int) else max(1, count * int(window[:-1]) // 100))
    indices = rollout.indices(count)
    assert sorted(indices) == list(range(count))
    first = [index for index in dict.fromkeys(order) if index < count]
    assert list(indices[: len(first)]) == first
    waits = [rollout.waits_for(position, count) for position in range(count)]
    for position, behind in enumerate(waits):
        assert behind is None or behind < position
        # Those behind it that may have begun while it is not ready.
        others = [each for each in waits[position + 1 :] if each is None or each < position]
        assert len(others) < most
    if canary and count > 1:
        assert waits[1] == 0
