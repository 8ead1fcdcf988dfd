import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_tracead.delivery import Delivery
from otel_tracead.receivers.kafka.ledger import Ledger, Position
from otel_tracead.receivers.kafka.partition import Partition
from otel_tracead.receivers.kafka.records import Recent


def ledger(offset: int = 0, replay: int | None = None) -> Ledger:
    return Ledger(Position(offset, offset if replay is None else replay))


def test_what_is_committed_lies_below_the_oldest_unsettled_record():
    book = ledger(5)
    first, second, third = book.read(5, 10), book.read(10, 11), book.read(15, 20)  # 11 to 14 were compacted away
    assert (book.position(), book.unsettled) == (Position(5, 5), 11)
    book.settle(second)
    book.settle(second)
    assert (book.position(), book.unsettled) == (Position(5, 5), 10)
    book.settle(first)
    assert book.position() == Position(15, 15)
    book.settle(third)
    assert (book.position(), book.unsettled) == (Position(20, 20), 0)


def test_a_trace_on_both_sides_of_the_offset_is_read_again_from_its_first_record():
    book = ledger()
    first, second, third = book.read(0, 10), book.read(10, 20), book.read(20, 30)
    third.oldest = first.first
    for settled in (first, third):
        book.settle(settled)
    assert book.position() == Position(10, 0)
    book.settle(second)
    assert book.position() == Position(30, 30)


def test_what_was_to_be_replayed_stays_so_until_something_new_is_handed_on():
    book = ledger(10, replay=4)
    again = book.read(4, 10)
    new = book.read(10, 12)
    assert book.position() == Position(10, 4)
    book.settle(again)
    assert book.position() == Position(10, 4)
    book.settle(new)
    assert book.position() == Position(12, 12)


def test_offsets_do_not_go_back():
    book = ledger(5)
    book.read(5, 8)
    for first, after in ((7, 9), (8, 8), (4, 5)):
        with pytest.raises(ValueError, match="were read after 8"):
            book.read(first, after)


@pytest.mark.parametrize(
    ("offset", "metadata", "replay"),
    [
        (10, "otel-tracead:4", 4),
        (10, "otel-tracead:0", 0),
        (10, "otel-tracead:11", 10),
        (10, "otel-tracead:-1", 10),
        (10, "otel-tracead:x", 10),
        (10, "otel-tracead:", 10),
        (10, "otel-tracead:" + "9" * 5000, 10),
        (10, "4", 10),
        (10, "", 10),
        (10, None, 10),
        (5_000_000, "otel-tracead:0", 4_000_000),
    ],
)
def test_what_others_wrote_beside_the_offset_is_not_believed(offset: int, metadata: str | None, replay: int):
    assert Position.committed(offset, metadata) == Position(offset, replay)


@given(st.integers(0, 10**12), st.integers(0, 999_999))
def test_positions_survive_the_broker(offset: int, back: int):
    position = Position(offset, max(0, offset - back))
    assert Position.committed(position.offset, position.metadata) == position


def test_deliveries_speak_for_their_partition():
    partition = Partition("topic", 3, Position(10, 4))
    again, new, more = partition.read(4, 10), partition.read(10, 12), partition.read(12, 20)
    assert [one.replayed for one in (again, new, more)] == [True, False, False]
    assert not new.withdrawn
    more.gathered_with(again)
    more.gathered_with(Delivery())
    again.settle()
    new.settle()
    assert partition.position() == Position(12, 4)
    more.settle()
    assert partition.position() == Position(20, 20)
    assert not new.withdrawn


def test_what_is_let_go_after_the_withdrawal_is_not_committed():
    partition = Partition("topic", 3, Position(0, 0))
    handed_on, let_go = partition.read(0, 5), partition.read(5, 10)
    handed_on.settle()
    partition.withdraw()
    assert let_go.withdrawn
    let_go.settle()
    assert partition.position() == Position(5, 5)


def test_a_topic_that_was_made_anew_is_counted_anew():
    partition = Partition("topic", 0, Position(100, 100))
    before = partition.read(100, 110)
    again = partition.read(0, 5)
    assert not again.replayed
    assert partition.position() == Position(0, 0)
    before.settle()
    assert partition.position() == Position(0, 0)
    again.gathered_with(before)
    again.settle()
    assert partition.position() == Position(5, 5)


def test_the_first_record_says_where_a_partition_starts_of_which_nothing_is_known():
    partition = Partition("topic", 0, None)
    assert (partition.position(), partition.next, partition.unsettled) == (None, 0, 0)
    partition.read(40, 42)
    assert (partition.position(), partition.next, partition.unsettled) == (Position(40, 40), 42, 2)


def test_the_same_value_is_known_again_for_a_while():
    recent, partition, other = Recent(3), Partition("topic", 0, None), Partition("topic", 1, None)
    assert recent.is_new(partition, b"a")
    assert not recent.is_new(partition, b"a")
    assert recent.is_new(other, b"a")
    for value in (b"b", b"c", b"d"):
        recent.is_new(partition, value)
    assert recent.is_new(partition, b"a")


class LedgerMachine(RuleBasedStateMachine):
    """Two readers after each other: whatever the first left behind, the second misses nothing and judges no half trace.

    Records are numbered by offset; each belongs to a trace. A trace is handed on whole, with all records of it so far.
    """

    @initialize(start=st.integers(0, 5))
    def begin(self, start):
        self.traces: dict[int, int] = {}  # record -> trace
        self.handed_on: set[int] = set()  # records
        self.open: dict[int, list] = {}  # trace -> deliveries
        self.partition = Partition("t", 0, Position(start, start))
        self.next = self.start = start
        self.best = Position(start, start)

    @rule(traces=st.lists(st.integers(0, 6), min_size=1, max_size=4), gap=st.integers(0, 2))
    def read(self, traces, gap):
        first = self.next + gap
        delivery = self.partition.read(first, first + len(traces))
        for offset, trace in enumerate(traces, first):
            self.traces[offset] = trace
            if delivery not in self.open.setdefault(trace, []):
                self.open[trace].append(delivery)
                delivery.hold()
        delivery.settle()
        self.next = first + len(traces)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def hand_on(self, data):
        trace = data.draw(st.sampled_from(sorted(self.open)))
        first, *later = deliveries = self.open.pop(trace)
        for one in later:
            one.gathered_with(first)
        for one in deliveries:
            one.settle()
        done = {offset for offset, known in self.traces.items() if known == trace}
        self.handed_on |= done
        for offset in done:  # what comes later with this number is another trace
            self.traces[offset] = -1 - offset if len(done) == 1 else 1000 + min(done)

    @invariant()
    def the_next_reader_misses_nothing_and_finds_traces_whole(self):
        if not hasattr(self, "partition"):
            return
        position = self.partition.position()
        assert self.start <= position.replay <= position.offset <= self.next
        assert position.offset >= self.best.offset
        self.best = position
        below = {offset for offset in self.traces if offset < position.offset}
        assert below <= self.handed_on
        for trace in {self.traces[offset] for offset in self.traces if offset >= position.offset}:
            first = min(offset for offset, known in self.traces.items() if known == trace)
            assert first >= position.replay
        assert Position.committed(position.offset, position.metadata) == position

    def teardown(self):
        if hasattr(self, "partition"):
            for deliveries in self.open.values():
                for one in deliveries:
                    one.settle()
            assert self.partition.unsettled == 0
            assert self.partition.position().offset == self.next


TestLedger = LedgerMachine.TestCase
