"""Every event word and every kind of alert has a meaning; the page of them is current."""

from pathlib import Path

from cli.events import page
from domain.events import ALERT_KINDS, ORDER_EVENTS, RECORD_EVENTS, AlertKind, RecordEvent
from domain.orders import OrderEvent

MEANINGS = [*ORDER_EVENTS.values(), *RECORD_EVENTS.values(), *ALERT_KINDS.values()]


def test_the_meanings_are_total_and_in_the_order_of_the_words() -> None:
    assert list(ORDER_EVENTS) == list(OrderEvent)
    assert list(RECORD_EVENTS) == list(RecordEvent)
    assert list(ALERT_KINDS) == list(AlertKind)
    assert all(meaning.cause and meaning.sentence.endswith(".") for meaning in MEANINGS)


def test_a_word_of_the_record_names_one_thing() -> None:
    words = [*OrderEvent, *RecordEvent]
    assert len(set(words)) == len(words)


def test_a_word_fits_the_column_of_the_record() -> None:
    assert all(len(word) <= 40 for word in (*OrderEvent, *RecordEvent))


def test_the_page_of_events_is_current() -> None:
    written = Path(__file__).parents[2] / "docs" / "events.md"
    assert written.read_text() == page(), "write it again: hundi events > docs/events.md"
