from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from origin_vllm.extensions.breaker import CircuitBreaker

from .conftest import FakeClock


def test_opens_after_failures_in_a_row_only(clock: FakeClock) -> None:
    breaker = CircuitBreaker(3, 10, clock)
    for _ in range(5):
        assert not breaker.failure()
        assert not breaker.failure()
        assert not breaker.success()
    assert [breaker.failure() for _ in range(3)] == [False, False, True]
    assert breaker.opened
    assert not breaker.allow()


def test_one_probe_after_the_cooldown(clock: FakeClock) -> None:
    breaker = CircuitBreaker(1, 10, clock)
    assert breaker.failure()
    clock.now += 9.9
    assert not breaker.allow()
    clock.now += 0.1
    assert breaker.would_allow()
    assert breaker.allow()
    assert not breaker.allow()  # only one
    assert breaker.failure()  # and it opens again, for another cooldown
    assert not breaker.allow()
    clock.now += 10
    assert breaker.allow()
    assert breaker.success()
    assert not breaker.opened
    assert breaker.allow()


def test_abandoned_probe_makes_room_for_another(clock: FakeClock) -> None:
    breaker = CircuitBreaker(1, 10, clock)
    breaker.failure()
    clock.now += 10
    assert breaker.allow()
    breaker.abandon()
    assert breaker.allow()


def test_success_from_before_the_opening_does_not_close(clock: FakeClock) -> None:
    breaker = CircuitBreaker(1, 10, clock)
    breaker.failure()
    assert not breaker.success()
    assert breaker.opened


@given(
    max_failures=st.integers(1, 4),
    steps=st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=60),
)
def test_against_a_model(max_failures: int, steps: list[tuple[bool, float]]) -> None:
    """One call after another: allowed exactly when closed or cooled down."""
    clock = FakeClock()
    breaker = CircuitBreaker(max_failures, 10, clock)
    in_a_row, opened_at = 0, None
    for good, pause in steps:
        clock.now += pause
        allowed = opened_at is None or clock.now - opened_at >= 10
        assert breaker.allow() == allowed
        if not allowed:
            continue
        if good:
            breaker.success()
            in_a_row, opened_at = 0, None
        else:
            breaker.failure()
            in_a_row += 1
            if in_a_row >= max_failures or opened_at is not None:
                opened_at = clock.now
        assert breaker.opened == (opened_at is not None)
