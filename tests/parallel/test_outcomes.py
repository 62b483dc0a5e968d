from hypothesis import given
from hypothesis import strategies as st

from lightwork.parallel.outcomes import Outcomes


@st.composite
def spans_in_any_order(draw):
    lengths = draw(st.lists(st.integers(1, 5), max_size=30))
    spans, first = [], 0
    for length in lengths:
        spans.append((first, list(range(first, first + length))))
        first += length
    return draw(st.permutations(spans)), first


@given(spans_in_any_order())
def test_order_is_restored_as_soon_as_it_can_be(case):
    spans, total = case
    outcomes, read, arrived = Outcomes(ordered=True), [], set()
    for first, values in spans:
        outcomes.add(first, list(values))
        arrived.update(values)
        while outcomes.ready:
            read += outcomes.ready.popleft().results
        complete = next((i for i in range(total) if i not in arrived), total)
        assert read == list(range(complete))
    assert read == list(range(total))


@given(spans_in_any_order())
def test_unordered_comes_as_it_came(case):
    outcomes = Outcomes(ordered=False)
    for first, values in case[0]:
        outcomes.add(first, list(values))
        assert outcomes.ready.popleft().results == values


def test_failures_stay_at_their_place_and_the_lowest_is_known():
    outcomes = Outcomes(ordered=True)
    late, early = ValueError("late"), ValueError("early")
    outcomes.add(4, [None], {4: late})
    assert outcomes.failure == (4, late)
    outcomes.add(1, [1, None, 3], {2: early})
    assert outcomes.failure == (2, early)
    assert not outcomes.ready
    outcomes.add(0, [0])
    assert [chunk.failures for chunk in outcomes.ready] == [None, {2: early}, {4: late}]
