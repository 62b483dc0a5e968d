"""The plan against arbitrary events: each task finished once, nothing lost, never more open than allowed."""

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lightwork.parallel.batching import LATE, MOST_QUEUED, QUEUED, WORTH, Pace
from lightwork.parallel.plan import MOST_LOSSES, Loss, Plan, Send


def plan_of(workers=2, window=4, size=1, in_batches=True):
    plan = Plan(window, Pace(size), in_batches=in_batches, workers=workers)
    plan.begin(range(workers))
    return plan


def take(plan, count):
    first = plan.taken
    plan.took(count)
    plan.needs(first, count)


def sends(plan):
    return list(iter(plan.next_send, None))


class TestSending:
    def test_idle_workers_first_then_nobody_without_measurements(self):
        plan = plan_of()
        for _ in range(3):
            take(plan, 1)
        assert sends(plan) == [Send(0, 0, 1), Send(1, 1, 1)]
        assert plan.room() == 0

    def test_the_idle_worker_gets_what_a_busy_one_could_queue(self):
        pace = Pace(1)
        plan = Plan(inf, pace, in_batches=True, workers=2)
        plan.begin([0, 1])
        pace.ran(1, 1e-6)
        for _ in range(4):
            take(plan, 1)
        assert [send.worker for send in sends(plan)] == [0, 1, 0, 1]
        plan.done(1, 1)
        plan.done(1, 3)
        take(plan, 1)
        assert sends(plan) == [Send(1, 4, 1)]

    def test_no_worker_has_more_messages_than_allowed(self):
        pace = Pace(1)
        plan = Plan(inf, pace, in_batches=True, workers=1)
        plan.begin([0])
        pace.ran(1, 1e-9)
        for _ in range(20):
            take(plan, 1)
        assert len(sends(plan)) == MOST_QUEUED

    def test_an_answer_that_nobody_waits_for_is_dropped(self):
        plan = plan_of()
        take(plan, 2)
        assert sends(plan) == [Send(0, 0, 2)]
        assert plan.done(1, 0) == 0
        assert plan.done(0, 1) == 0
        assert plan.done(7, 0) == 0
        assert plan.done(0, 0) == 2
        assert plan.done(0, 0) == 0
        assert plan.finished == 2

    def test_before_there_is_a_crew_tasks_are_taken_on_trust(self):
        plan = Plan(4, Pace(1), in_batches=True, workers=2)
        assert plan.room() == 1
        take(plan, 1)
        assert plan.next_send() is None
        plan.begin([5])
        assert plan.next_send() == Send(5, 0, 1)

    def test_a_worker_that_comes_up_later(self):
        plan = plan_of(workers=0)
        assert plan.room() == 0
        plan.up(3)
        plan.up(3)
        take(plan, 1)
        take(plan, 1)
        assert sends(plan) == [Send(3, 0, 1)]


class TestWindow:
    def test_counts_batches(self):
        plan = plan_of(workers=8, window=4, size=10)
        for _ in range(4):
            assert plan.room() == 10
            take(plan, 10)
            plan.next_send()
        assert plan.room() == 0
        plan.handed(10)
        assert plan.room() == 10

    def test_a_size_that_shrinks_starves_nobody(self):
        """A long task lies in a batch of ten; batches of one go on beside it, up to the number that may be open."""
        pace = Pace()
        pace.size = 10
        plan = Plan(4, pace, in_batches=True, workers=2)
        plan.begin([0, 1])
        take(plan, plan.room())
        plan.next_send()
        pace.ran(1, 1.0)
        for _ in range(3):
            assert plan.room() == 1
            take(plan, 1)
            (send,) = sends(plan)
            plan.done(send.worker, send.first)
        assert plan.room() == 0
        plan.handed(1)
        assert plan.room() == 1

    def test_counts_tasks_and_leaves_each_worker_a_share(self):
        plan = plan_of(workers=2, window=5, size=10, in_batches=False)
        assert plan.room() == 3
        take(plan, 3)
        plan.next_send()
        assert plan.room() == 2
        take(plan, 2)
        plan.next_send()
        assert plan.room() == 0

    def test_slivers_of_a_batch_are_not_taken(self):
        plan = plan_of(workers=8, window=2, size=10)
        take(plan, 10)
        plan.next_send()
        take(plan, 6)
        plan.next_send()
        assert plan.room() == 0
        plan.handed(10)
        assert plan.room() == 10

    def test_one_task_is_always_allowed(self):
        assert plan_of(workers=8, window=1, size=10, in_batches=False).room() == 1

    def test_answered_tasks_are_open_until_handed_over(self):
        plan = plan_of(window=2)
        plan.took(1)
        plan.answered(1)
        plan.took(1)
        plan.answered(1)
        assert plan.room() == 0
        assert plan.finished == 2
        plan.handed(1)
        assert plan.room() == 1


class TestDeath:
    def test_the_claimed_task_is_blamed_and_the_others_go_one_by_one(self):
        plan = plan_of(workers=1, size=3)
        take(plan, 3)
        sends(plan)
        assert plan.died(0, 1) == Loss(1, [(0, 3)])
        plan.up(1)
        assert sends(plan) == [Send(1, 0, 1)]
        assert plan.finished == 1
        plan.done(1, 0)
        assert sends(plan) == [Send(1, 2, 1)]

    def test_what_had_run_is_gone_if_it_may_not_be_run_again(self):
        plan = plan_of(workers=1, size=5)
        take(plan, 5)
        sends(plan)
        assert plan.died(0, 3, [(0, 2), (3, 1)]) == Loss(3, [(0, 5)], frozenset({0, 1}))
        assert plan.finished == 3
        plan.up(1)
        assert sends(plan) == [Send(1, 2, 1)]
        plan.done(1, 2)
        assert sends(plan) == [Send(1, 4, 1)]

    def test_without_a_claim_nobody_is_blamed(self):
        plan = plan_of(workers=1, size=3)
        take(plan, 3)
        sends(plan)
        assert plan.died(0, None) == Loss(None, [(0, 3)])
        assert plan.finished == 0

    def test_a_claim_of_a_span_that_was_answered_blames_nobody(self):
        plan = plan_of(workers=1, size=2)
        take(plan, 2)
        sends(plan)
        plan.done(0, 0)
        take(plan, 2)
        sends(plan)
        assert plan.died(0, 1) == Loss(None, [(2, 2)])

    def test_an_idle_workers_death_touches_no_task(self):
        plan = plan_of(workers=2)
        assert plan.died(0, None) == Loss(None, [])
        assert plan.died(0, None) == Loss(None, [])
        take(plan, 1)
        assert sends(plan) == [Send(1, 0, 1)]

    def test_one_that_loses_its_worker_again_and_again_alone_is_blamed(self):
        plan = plan_of(workers=1, size=2)
        take(plan, 2)
        sends(plan)
        blamed = plan.died(0, None).blamed
        deaths = 0
        while blamed is None:
            deaths += 1
            plan.up(deaths)
            assert sends(plan)[0].first == 0
            blamed = plan.died(deaths, None).blamed
        assert (blamed, deaths) == (0, MOST_LOSSES)

    def test_workers_that_leave_bring_no_suspicion(self):
        plan = plan_of(workers=1, size=2)
        take(plan, 2)
        sends(plan)
        for number in range(3 * MOST_LOSSES):
            assert plan.died(number, None, left=True).blamed is None
            plan.up(number + 1)
            assert sends(plan)[0].first == 0
        assert plan.finished == 0

    def test_lost_tasks_go_before_new_ones(self):
        plan = plan_of(workers=1)
        take(plan, 1)
        sends(plan)
        take(plan, 1)
        plan.died(0, None)
        plan.up(1)
        assert sends(plan) == [Send(1, 0, 1)]


def loaded_plan(seconds, lengths=(1, 4), workers=2):
    """A plan whose first workers have spans of these lengths, begun at 0, of tasks that take so long as a rule."""
    pace = Pace(max(lengths))
    plan = Plan(inf, pace, in_batches=True, workers=workers)
    plan.begin(range(workers))
    pace.ran(1, seconds)
    for length in lengths:
        take(plan, length)
    assert [send.worker for send in sends(plan)] == list(range(len(lengths)))
    return plan


class TestTakingBack:
    def test_nothing_is_due_while_no_worker_has_more_than_it_runs(self):
        assert loaded_plan(1.0, (1, 1)).due == inf

    def test_what_lies_behind_a_message_that_takes_far_too_long(self):
        plan = loaded_plan(1e-4)
        assert plan.due == LATE
        assert plan.take_back(LATE * 0.99) == []
        assert plan.due == LATE
        assert plan.take_back(LATE) == [1]
        assert plan.due == inf
        assert plan.back(1, 1, 1) == [(2, 2), (4, 1)]
        assert plan.waiting()

    def test_but_not_behind_one_that_was_to_take_so_long(self):
        plan = loaded_plan(0.1)
        assert plan.take_back(0.79) == []
        assert plan.due == pytest.approx(0.8)
        assert plan.take_back(0.8) == [1]

    def test_the_clock_of_a_worker_starts_again_with_each_answer(self):
        plan = loaded_plan(1e-4, (1, 4))
        take(plan, 2)
        sends(plan)
        plan.done(0, 0, 1.0)
        assert plan.take_back(1.0 + LATE / 2) == [1]

    def test_for_an_idle_worker_if_it_is_worth_it(self):
        plan = loaded_plan(WORTH, (1, 4, 3), workers=3)
        plan.done(0, 0, 1e-4)
        assert plan.due <= WORTH
        assert plan.take_back(2e-4) == [1]
        plan = loaded_plan(WORTH / 10, (1, 4, 3), workers=3)
        plan.done(0, 0, 1e-4)
        assert plan.take_back(2e-4) == []
        assert plan.due == pytest.approx(2e-4 + WORTH)

    def test_nor_does_an_idle_worker_wait_long_for_what_was_to_be_brief(self):
        plan = loaded_plan(WORTH / 10, (1, 4, 3), workers=3)
        plan.done(0, 0, 1e-4)
        assert plan.take_back(QUEUED) == [1, 2]

    def test_not_for_an_idle_worker_for_whom_something_waits(self):
        plan = loaded_plan(WORTH, (1, 4))
        plan.done(0, 0, 1e-4)
        take(plan, 1)
        assert plan.take_back(2e-4) == []

    def test_a_worker_that_comes_up_finds_work(self):
        plan = loaded_plan(WORTH, (4,), workers=1)
        assert plan.take_back(1.0) == []
        plan.up(7)
        assert plan.due <= 1.0 + WORTH
        assert plan.take_back(1.0 + WORTH) == [0]

    def test_one_that_was_taken_back_from_gets_nothing_until_it_is_up(self):
        plan = loaded_plan(1e-4)
        assert plan.take_back(1.0) == [1]
        plan.back(1, 1, 1)
        plan.done(1, 1, 1.0)
        plan.done(0, 0, 1.0)
        for _ in range(3):
            take(plan, 1)
        assert {send.worker for send in sends(plan)} == {0}
        plan.up(1)
        take(plan, 1)
        assert sends(plan)[-1].worker == 1

    def test_nobody_is_asked_twice_nor_a_lone_worker_ever(self):
        plan = loaded_plan(1e-4)
        assert plan.take_back(1.0) == [1]
        assert plan.take_back(2.0) == []
        assert loaded_plan(1e-4, (4,), workers=1).take_back(1.0) == []

    def test_a_crew_that_gives_nothing_back_is_never_asked(self):
        plan = Plan(inf, Pace(4), in_batches=True, workers=2)
        plan.begin([0, 1], gives_back=False)
        take(plan, 4)
        sends(plan)
        plan.up(2)
        assert plan.due == inf

    @pytest.mark.parametrize("first_to_tell", [0, 1])
    def test_what_came_back_goes_first_and_in_order_whoever_tells_first(self, first_to_tell):
        plan = loaded_plan(1e-4, (4, 4, 1), workers=3)
        assert plan.take_back(1.0) == [0, 1]
        take(plan, 1)
        for worker in (first_to_tell, 1 - first_to_tell):
            if worker:
                assert plan.back(1, 4, 1) == [(5, 2), (7, 1)]
            else:
                assert plan.back(0, 0, 0) == [(0, 2), (2, 2)]
        plan.done(2, 8, 1.0)
        assert [send.first for send in sends(plan)] == [0, 2, 5, 7, 9]

    def test_what_two_dead_workers_leave_is_sent_again_in_order(self):
        plan = loaded_plan(1e-4, (2, 2, 1), workers=3)
        plan.died(0, None)
        plan.died(1, None)
        plan.done(2, 4)
        plan.up(3)
        assert next(send.first for send in sends(plan)) == 0

    def test_what_is_not_there_cannot_come_back(self):
        plan = loaded_plan(1e-4)
        assert plan.back(1, 2, 0) == plan.back(1, 1, 4) == plan.back(5, 1, 0) == []
        assert not plan.waiting()

    def test_the_death_of_one_blames_only_what_it_kept(self):
        plan = loaded_plan(1e-4)
        plan.take_back(1.0)
        plan.back(1, 1, 2)
        assert plan.died(1, 3) == Loss(None, [(1, 2)])
        plan = loaded_plan(1e-4)
        plan.take_back(1.0)
        plan.back(1, 1, 0)
        assert plan.died(1, 1) == Loss(None, [])


@pytest.mark.parametrize("workers", [1, 1000])
def test_many_tasks_in_bounded_state(workers):
    plan = plan_of(workers=workers, window=2 * workers, size=50)
    held = []
    for _ in range(20_000):
        while count := plan.room():
            take(plan, count)
            held.append(plan.next_send())
        send = held.pop(0)
        plan.handed(plan.done(send.worker, send.first))
        assert len(plan._spare) <= workers
        assert len(plan._idle) <= workers
    assert plan.finished == 1_000_000


class PlanMachine(RuleBasedStateMachine):
    """Events in any order; the machine keeps its own books of where each task is."""

    @initialize(
        workers=st.integers(1, 4),
        window=st.integers(1, 12) | st.just(inf),
        size=st.integers(1, 5) | st.none(),
        in_batches=st.booleans(),
        ahead=st.booleans(),
    )
    def begin(self, workers, window, size, in_batches, ahead):
        self.pace = Pace(size, ahead=ahead)
        self.window = window
        self.in_batches = in_batches or size is None
        self.plan = Plan(window, self.pace, in_batches=self.in_batches, workers=workers)
        self.plan.begin(range(workers))
        self.alive = set(range(workers))
        self.names = workers
        self.now = 0.0
        self.revoked: set[int] = set()
        self.lying: dict[tuple[int, int], int] = {}
        self.backlog: set[int] = set()
        self.finished: set[int] = set()
        self.waiting: set[int] = set()
        self.handed = 0
        self.most = self.pace.size

    @precondition(lambda self: self.plan.room())
    @rule(data=st.data())
    def take(self, data):
        room = self.plan.room()
        count = data.draw(st.integers(1, room))
        first = self.plan.taken
        self.plan.took(count)
        answered = data.draw(st.integers(0, count))
        for index in range(first, first + answered):
            self.plan.answered(1)
            self.finished.add(index)
        if answered < count:
            self.plan.needs(first + answered, count - answered)
            self.backlog.update(range(first + answered, first + count))

    @rule()
    def send(self):
        send = self.plan.next_send(self.now)
        if send is None:
            return
        assert send.worker not in self.revoked
        span = range(send.first, send.first + send.length)
        assert send.worker in self.alive
        assert set(span) <= self.backlog
        before = [length for (worker, _), length in self.lying.items() if worker == send.worker]
        assert self.pace.allows(len(before), sum(before))
        self.backlog -= set(span)
        self.lying[send.worker, send.first] = send.length

    @precondition(lambda self: self.lying)
    @rule(data=st.data(), seconds=st.floats(0, 1))
    def done(self, data, seconds):
        worker, first = data.draw(st.sampled_from(sorted(self.lying)))
        length = self.lying.pop((worker, first))
        assert self.plan.done(worker, first, self.now) == length
        assert self.plan.done(worker, first, self.now) == 0
        self.pace.ran(length, seconds)
        self.finish(range(first, first + length))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def died(self, data):
        worker = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.remove(worker)
        self.revoked.discard(worker)
        mine = {
            index
            for (name, first), length in self.lying.items()
            if name == worker
            for index in range(first, first + length)
        }
        self.lying = {key: length for key, length in self.lying.items() if key[0] != worker}
        claims = st.none() | st.integers(-1, self.plan.taken)
        claimed = data.draw(st.sampled_from(sorted(mine)) | claims if mine else claims)
        ran = data.draw(st.sets(st.sampled_from(sorted(mine)))) if mine else set()
        ran |= data.draw(st.sets(st.integers(0, self.plan.taken), max_size=2))  # it need not be the plan's
        loss = self.plan.died(worker, claimed, [(index, 1) for index in ran])
        assert {i for first, length in loss.spans for i in range(first, first + length)} == mine
        if claimed in mine:
            assert loss.blamed == claimed
        if loss.blamed is not None:
            assert loss.blamed in mine
            self.finish([loss.blamed])
        assert loss.gone == (ran & mine) - {loss.blamed}
        self.finish(loss.gone)
        self.backlog |= mine - self.finished

    @rule(seconds=st.sampled_from([1e-4, WORTH, QUEUED, LATE, 1.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @rule()
    def take_back(self):
        """Those named have more than they can be running, are not alone, and were not named before."""
        for worker in self.plan.take_back(self.now):
            assert worker in self.alive - self.revoked
            assert len(self.alive) > 1
            assert sum(length for (name, _), length in self.lying.items() if name == worker) > 1
            self.revoked.add(worker)
        assert self.plan.due > self.now

    @precondition(lambda self: any(worker in self.revoked for worker, _ in self.lying))
    @rule(data=st.data())
    def back(self, data):
        worker, first = data.draw(
            st.sampled_from(sorted(key for key in self.lying if key[0] in self.revoked))
        )
        length = self.lying.pop((worker, first))
        kept = data.draw(st.integers(0, length - 1))
        if kept:
            self.lying[worker, first] = kept
        pieces = self.plan.back(worker, first, kept)
        given_up = [index for begin, count in pieces for index in range(begin, begin + count)]
        assert given_up == list(range(first + kept, first + length))
        assert all(count for _, count in pieces)
        self.backlog.update(given_up)

    @precondition(lambda self: self.revoked)
    @rule(data=st.data())
    def up_again(self, data):
        worker = data.draw(st.sampled_from(sorted(self.revoked)))
        if not any(name == worker for name, _ in self.lying):
            self.plan.up(worker)
            self.revoked.remove(worker)

    @rule()
    def up(self):
        self.plan.up(self.names)
        self.alive.add(self.names)
        self.names += 1

    @rule(seconds=st.floats(0, 1))
    def away(self, seconds):
        self.pace.away(seconds)

    @precondition(lambda self: len(self.finished) > self.handed)
    @rule(data=st.data())
    def hand(self, data):
        count = data.draw(st.integers(1, len(self.finished) - self.handed))
        self.plan.handed(count)
        self.handed += count

    @precondition(lambda self: len(self.finished) > self.handed)
    @rule(data=st.data())
    def repeats(self, data):
        index = data.draw(st.sampled_from(sorted(self.finished)))
        self.finished.remove(index)
        self.waiting.add(index)
        self.plan.repeats(1, 1)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def due(self, data):
        index = data.draw(st.sampled_from(sorted(self.waiting)))
        self.waiting.remove(index)
        self.backlog.add(index)
        self.plan.needs(index, 1, again=True)

    def finish(self, indices):
        assert not self.finished & set(indices)
        self.finished |= set(indices)

    @invariant()
    def each_task_is_in_one_place(self):
        if not hasattr(self, "plan"):
            return
        lying = [i for (_, first), length in self.lying.items() for i in range(first, first + length)]
        everywhere = sorted([*lying, *self.backlog, *self.finished, *self.waiting])
        assert everywhere == list(range(self.plan.taken))
        assert self.plan.finished == len(self.finished)
        assert self.plan.waiting() == bool(self.backlog)

    @invariant()
    def never_more_open_than_allowed(self):
        if hasattr(self, "plan"):
            self.most = max(self.most, self.pace.size)
            limit = self.window * (self.most if self.in_batches else 1)
            assert self.plan.taken - self.handed <= limit

    def teardown(self):
        """Whatever happened, with a worker that works all tasks are finished."""
        if not hasattr(self, "plan"):
            return
        self.up()
        for index in self.waiting:
            self.backlog.add(index)
            self.plan.needs(index, 1)
        for _ in range(10_000):
            self.send()
            if self.lying:
                worker, first = min(self.lying)
                length = self.lying.pop((worker, first))
                assert self.plan.done(worker, first) == length
                self.finish(range(first, first + length))
            elif not self.backlog:
                break
        assert self.plan.finished == self.plan.taken


TestPlanMachine = PlanMachine.TestCase
TestPlanMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
