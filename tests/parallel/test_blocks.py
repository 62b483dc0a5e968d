"""Calls and blocks: the same tasks, whichever way they are read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import OptionTypeError, TaskFormatError
from lightwork.parallel.blocks import Block, over, over_rows
from lightwork.workers.payload import ATOMS

ADMITS = ATOMS


class TestCalls:
    @given(st.lists(st.integers(), max_size=30), st.lists(st.integers(0, 7), max_size=12), st.booleans())
    def test_blocks_and_single_tasks_make_the_same_calls_in_the_same_order(self, xs, reads, several):
        calls = over(pow, (xs, itertools.count())) if several else over(pow, (xs,))
        seen = []
        for count in reads:
            if count % 2:
                seen += calls.take(count, ADMITS)
            else:
                seen += itertools.islice(calls, count)
        seen += calls
        rows = zip(xs, itertools.count(), strict=False) if several else zip(xs, strict=True)
        assert seen == [(pow, row, {}) for row in rows]

    @pytest.mark.parametrize("kind", [list, iter])
    def test_what_is_denied_stays_in_the_input(self, kind):
        calls = over(sum, (kind([1, 2, [3], 4]),))
        assert calls.take(1, ADMITS).arguments == [1]
        assert not calls.is_denied
        assert calls.take(3, ADMITS).arguments == [2]
        assert calls.is_denied
        assert calls.take(2, ADMITS).arguments == []
        assert [args for _, args, _ in calls] == [([3],), (4,)]

    @pytest.mark.parametrize("several", [False, True])
    def test_nothing_behind_what_is_denied_is_read(self, several):
        source = iter([1, [2], 3, 4])
        calls = over(pow, (source, [5] * 4) if several else (source,))
        assert len(calls.take(4, ADMITS)) == 1
        assert list(source) == [3, 4]

    def test_every_argument_of_a_row_is_looked_at(self):
        assert len(over(pow, ([1, 2], [[3], 4])).take(2, ADMITS)) == 0
        assert len(over(pow, ([1, 2], [3, 4])).take(2, ADMITS)) == 2

    def test_nothing_is_read_ahead(self):
        source = iter(range(10))
        calls = over(abs, (source,))
        tasks = iter(calls)
        assert next(tasks)[1] == (0,)
        assert calls.take(2).arguments == [1, 2]
        assert next(tasks)[1] == (3,)
        assert list(source) == [4, 5, 6, 7, 8, 9]

    def test_the_shortest_input_ends_it_as_in_the_built_in(self):
        ours, builtin = iter(range(9)), iter(range(9))
        assert [args for _, args, _ in over(pow, (ours, [7, 8]))] == list(zip(builtin, [7, 8], strict=False))
        assert list(ours) == list(builtin)

    @pytest.mark.parametrize(
        ("iterables", "length"),
        [(([1, 2],), 2), (([1, 2, 3], "ab"), 2), ((iter([1]), [1]), None), ((range(5),), 5)],
    )
    def test_the_length_is_known_where_all_have_one(self, iterables, length):
        assert over(pow, iterables).length == length

    def test_rows_may_be_anything_that_holds_arguments(self):
        assert list(over_rows(pow, [(2, 3), [3, 2], iter((4, 1))])) == [
            (pow, (2, 3), {}),
            (pow, (3, 2), {}),
            (pow, (4, 1), {}),
        ]

    def test_a_row_that_holds_none_is_named(self):
        with pytest.raises(TaskFormatError, match=r"got 5 at position 1: starmap needs the arguments"):
            list(over_rows(pow, [(2, 3), 5]))

    def test_an_error_of_a_row_is_the_users_own(self):
        class Row:
            def __iter__(self):
                raise TypeError("mine")

        with pytest.raises(TypeError, match=r"^mine$"):
            list(over_rows(pow, [Row()]))

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: over(3, ([1],)), r"map\(3, \.\.\.\): int cannot be called"),
            (lambda: over(abs, ()), "needs something to go over"),
            (lambda: over(abs, ([1], 5)), "input 2, 5, is not iterable"),
            (lambda: over_rows(3, []), r"starmap\(3"),
            (lambda: over_rows(abs, 5), "input 1, 5, is not iterable"),
        ],
    )
    def test_slips_are_named(self, make, said):
        with pytest.raises(OptionTypeError, match=said):
            make()


class TestBlocks:
    @pytest.mark.parametrize("single", [True, False])
    def test_are_sequences_of_tasks(self, single):
        arguments = [1, 2, 3] if single else [(1,), (2,), (3,)]
        block = Block(abs, arguments, single=single)
        tasks = [(abs, (i,), {}) for i in (1, 2, 3)]
        assert list(block) == tasks
        assert [block[i] for i in range(-3, 3)] == tasks * 2
        assert list(block[1:]) == tasks[1:]
        assert list(reversed(block)) == tasks[::-1]
