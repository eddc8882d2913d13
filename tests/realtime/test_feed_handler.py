"""The feed over real sockets: what is lost on one line comes by the other, what is lost on both is healed."""

from collections.abc import Iterator

import pytest

from config.settings import Settings
from exchange.feed import FeedLine, PacketKind, header, packets
from realtime.feed import datagrams
from realtime.feed.feed_handler import ASK_AGAIN_NS, FeedHandler
from realtime.feed.line_arbiter import OTHER_LINE_NS
from tests.support.feed import SILENCE_NS, Sender, a_handler, some_records
from tests.support.market import free_offset

SECOND = 1_000_000_000
TOKENS = (1, 2, 3, 500_000)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(port_offset=free_offset())


@pytest.fixture
def sender(settings: Settings) -> Iterator[Sender]:
    opened = Sender(settings)
    yield opened
    opened.close()


@pytest.fixture(params=["many at once", "one by one"])
def handler(
    settings: Settings, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeedHandler]:
    if request.param == "one by one":
        monkeypatch.setattr(datagrams, "_recvmmsg", None)
    opened = a_handler(settings, TOKENS)
    yield opened
    for socket in opened.sockets:
        socket.close()


@pytest.fixture
def joined(handler: FeedHandler, sender: Sender) -> FeedHandler:
    """In the middle of a session, with the snapshot it began with."""
    sender.ticks(some_records({1: 100, 2: 200, 3: 300}, trades=1), lines=())
    sender.heartbeat()
    handler.poll(0)
    handler.check(ASK_AGAIN_NS)
    sender.answer_snapshot()
    handler.poll(ASK_AGAIN_NS)
    assert handler.wanted is None
    assert prices(handler) == {1: 100, 2: 200, 3: 300}
    return handler


def prices(handler: FeedHandler) -> dict[int, int]:
    """Of every changed row."""
    rows = handler.values.take(handler.values.changed())
    return dict(zip(rows["token"].tolist(), rows["ltp"].tolist(), strict=True))


def stale(handler: FeedHandler) -> set[int]:
    rows = handler.values.take(handler.values.changed())
    return set(rows["token"][rows["stale"] == 1].tolist())


def test_the_last_tick_of_an_instrument_wins_within_a_batch(joined: FeedHandler, sender: Sender) -> None:
    for price in range(101, 151):
        sender.ticks(some_records({1: price, 500_000: price * 2}))
    joined.poll(2 * SECOND)
    assert prices(joined) == {1: 150, 500_000: 300}
    assert (joined.counts.packets, joined.counts.ticks, joined.counts.gaps) == (50, 100, 0)
    assert prices(joined) == {}, "told once"


def test_a_record_arrives_whole(joined: FeedHandler, sender: Sender) -> None:
    record = some_records({2: 250}, volume=2**40, high=260, low=240, open=245, previous_close=200, trades=9)
    record["bids"][0, 4], record["asks"][0, 0] = (248, 7), (251, 5)
    sender.ticks(record)
    joined.poll(2 * SECOND)
    row = joined.values.take(joined.values.changed())[0]
    assert row[list(record.dtype.names or ())].tobytes()[:128] == record.tobytes()
    assert row["received_ns"] > 0 and row["stale"] == 0


def test_packets_lost_on_one_line_come_by_the_other(joined: FeedHandler, sender: Sender) -> None:
    for number, price in enumerate(range(101, 121)):
        sender.ticks(some_records({1: price}), lines=[FeedLine.A if number % 3 else FeedLine.B])
    joined.poll(2 * SECOND)
    joined.check(2 * SECOND + OTHER_LINE_NS)
    assert prices(joined) == {1: 120}
    assert (joined.counts.packets, joined.counts.gaps) == (20, 0)


def test_a_late_copy_never_puts_a_price_back(joined: FeedHandler, sender: Sender) -> None:
    sender.ticks(some_records({1: 101}), lines=[FeedLine.B])
    sender.ticks(some_records({1: 102, 2: 202}), lines=[FeedLine.A])
    joined.poll(2 * SECOND)
    assert prices(joined) == {1: 102, 2: 202}
    assert joined.counts.packets == 2


def test_what_both_lines_lost_is_counted_and_healed_by_a_snapshot(
    joined: FeedHandler, sender: Sender
) -> None:
    sender.ticks(some_records({1: 101}), lines=())
    sender.ticks(some_records({3: 301}), lines=())
    sender.ticks(some_records({2: 201}))
    joined.poll(3 * SECOND)
    joined.check(3 * SECOND + OTHER_LINE_NS)
    assert (joined.counts.gaps, joined.counts.missed) == (1, 2)
    assert prices(joined) == {2: 201}
    sender.answer_snapshot()
    joined.poll(3 * SECOND)
    assert joined.wanted is None
    assert prices(joined) == {1: 101, 2: 201, 3: 301}
    assert joined.counts.healed == 2


def test_a_lost_last_packet_is_noticed_by_the_heartbeat(joined: FeedHandler, sender: Sender) -> None:
    sender.ticks(some_records({1: 101}), lines=())
    sender.heartbeat()
    joined.poll(3 * SECOND)
    joined.check(3 * SECOND + OTHER_LINE_NS)
    assert joined.counts.missed == 1


def test_an_answer_without_its_end_or_with_a_hole_is_asked_for_again(
    joined: FeedHandler, sender: Sender
) -> None:
    sender.ticks(some_records({1: 101}), lines=())
    sender.heartbeat()
    joined.poll(3 * SECOND)
    joined.check(3 * SECOND + OTHER_LINE_NS)
    whole, sender.table = sender.table, {1: sender.table[1]}
    sender.answer_snapshot()
    joined.poll(3 * SECOND)
    assert joined.wanted is not None, "instruments that we know are missing from the answer"
    joined.check(5 * SECOND)
    sender.table = whole
    sender.answer_snapshot(end=False)
    joined.poll(5 * SECOND)
    assert joined.wanted is not None, "the end is missing"
    joined.check(7 * SECOND)
    sender.answer_snapshot()
    joined.poll(7 * SECOND)
    assert joined.wanted is None


def test_prices_are_flagged_while_a_gap_is_not_healed(joined: FeedHandler, sender: Sender) -> None:
    prices(joined)
    sender.ticks(some_records({1: 101}), lines=())
    sender.ticks(some_records({2: 201}))
    joined.poll(3 * SECOND)
    joined.check(3 * SECOND + OTHER_LINE_NS)
    sender.heartbeat()
    joined.poll(5 * SECOND)
    joined.check(4 * SECOND + SILENCE_NS)
    assert stale(joined) == {1, 3}, "2 was told after the gap"


def test_silent_lines_make_every_price_stale_until_a_snapshot_says_otherwise(
    joined: FeedHandler, sender: Sender
) -> None:
    prices(joined)
    joined.check(SECOND + SILENCE_NS)
    assert joined.silent and joined.silent_lines(SECOND + SILENCE_NS) == ["A", "B"]
    assert stale(joined) == {1, 2, 3}
    sender.heartbeat()
    joined.poll(9 * SECOND)
    joined.check(9 * SECOND)
    assert not joined.silent
    assert stale(joined) == set(), "not told again, and still flagged"
    sender.answer_snapshot()
    joined.poll(9 * SECOND)
    rows = joined.values.take(joined.values.changed())
    assert rows["token"].tolist() == [1, 2, 3] and not rows["stale"].any()


def test_one_silent_line_is_named_and_nothing_is_stale(joined: FeedHandler, sender: Sender) -> None:
    prices(joined)
    sender.ticks(some_records({1: 101}), lines=[FeedLine.B])
    joined.poll(SECOND + SILENCE_NS)
    joined.check(SECOND + SILENCE_NS)
    assert joined.silent_lines(SECOND + SILENCE_NS) == ["A"]
    assert not joined.silent and stale(joined) == set()


def test_a_new_session_of_the_sender_starts_anew(joined: FeedHandler, sender: Sender) -> None:
    sender.session, sender.sequence = 2, 0
    sender.ticks(some_records({1: 11}))
    joined.poll(3 * SECOND)
    assert prices(joined) == {1: 11}
    joined.check(3 * SECOND)
    sender.table = {t: r for t, r in sender.table.items() if t != 3} | {
        3: some_records({3: 33})[0],
        2: some_records({2: 22})[0],
    }
    sender.answer_snapshot()
    joined.poll(3 * SECOND)
    assert prices(joined) == {1: 11, 2: 22, 3: 33}
    assert joined.wanted is None and joined.counts.gaps == 0


def test_a_stray_of_an_older_session_is_left_alone(joined: FeedHandler, sender: Sender) -> None:
    sender.session = 0
    sender.ticks(some_records({1: 1}))
    joined.poll(2 * SECOND)
    assert prices(joined) == {} and joined.counts.packets == 0


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"x",
        b"\xff" * 2000,
        header(PacketKind.TICKS, "BSE", 1, 2, 0),
        header(PacketKind.TICKS, "NSE", 1, 2, 0, count=3),
        header(PacketKind.TICKS, "NSE", 1, 2, 0, count=12) + bytes(12 * 128),
        header(PacketKind.TICKS, "NSE", 1, 2**63 + 5, 0),
    ],
    ids=["empty", "short", "noise", "another exchange", "cut off", "too many records", "huge number"],
)
def test_a_malformed_datagram_is_counted_and_changes_nothing(
    joined: FeedHandler, sender: Sender, datagram: bytes
) -> None:
    sender.send(datagram, FeedLine.A)
    joined.poll(2 * SECOND)
    joined.check(2 * SECOND + OTHER_LINE_NS)
    assert joined.counts.malformed == 1
    assert prices(joined) == {} and joined.counts.gaps == 0


def test_a_record_of_an_unknown_token_is_counted_and_kept_out(joined: FeedHandler, sender: Sender) -> None:
    sender.ticks(some_records({9: 1, 2**32 - 1: 2, 1: 101}))
    joined.poll(2 * SECOND)
    assert prices(joined) == {1: 101}
    assert joined.values.unknown == 2


def test_reordered_packets_of_a_batch_leave_the_newest_price(joined: FeedHandler, sender: Sender) -> None:
    first = list(packets(PacketKind.TICKS, "NSE", 1, 2, 0, some_records({1: 101})))
    second = list(packets(PacketKind.TICKS, "NSE", 1, 3, 0, some_records({1: 102})))
    for datagram in second + first:
        sender.send(datagram, FeedLine.A)
    joined.poll(2 * SECOND)
    assert prices(joined) == {1: 102} and joined.counts.packets == 2
