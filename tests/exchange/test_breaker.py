"""The reject breaker, by the clock it is given."""

from domain.time import NANOS
from exchange.gateway.reject_breaker import SAMPLE_MIN, RejectBreaker


def test_a_few_rejects_among_few_answers_pause_nothing() -> None:
    breaker = RejectBreaker()
    assert not any(breaker.answer(n, rejected=True) for n in range(SAMPLE_MIN - 1))


def test_five_percent_is_allowed_and_the_next_reject_pauses() -> None:
    breaker = RejectBreaker()
    answers = [breaker.answer(n, rejected=n % 20 == 19) for n in range(100)]
    assert not any(answers)
    assert breaker.answer(101, rejected=True)
    assert breaker.is_paused


def test_rejects_older_than_a_second_do_not_count() -> None:
    breaker = RejectBreaker()
    for n in range(SAMPLE_MIN - 1):
        breaker.answer(n, rejected=True)
    assert not breaker.answer(2 * NANOS, rejected=True)


def test_it_resumes_only_after_the_bad_second() -> None:
    breaker = RejectBreaker()
    for n in range(SAMPLE_MIN):
        breaker.answer(n, rejected=True)
    assert not breaker.may_resume(NANOS // 2)
    assert breaker.may_resume(2 * NANOS)
    breaker.resume()
    assert not breaker.is_paused
