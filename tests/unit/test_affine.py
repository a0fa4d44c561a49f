"""Alignment of traces, what a fit says far beyond them, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.predict.affine import NotAffineError, fit, fit_two, lagrange_weights
from advisor.predict.trace import PhaseStart, Trace, phase_peaks

EVENTS = (0, 1, 2, -2, -3)


def trace(micro_batch: int, *sizes: int, events: tuple[int, ...] = EVENTS) -> Trace:
    phases = (PhaseStart(phase="first_micro_batch", event=1), PhaseStart(phase="optimizer", event=4))
    return Trace(micro_batch=micro_batch, events=events, sizes_bytes=sizes, phases=phases)


def traces(size, batches=(4, 8, 16)) -> list[Trace]:
    return [trace(b, 1000, size(b), 50 * b) for b in batches]


@given(st.integers(0, 10**9), st.integers(0, 10**7), st.integers(1, 10**5))
def test_affine_sizes_are_found_exactly_at_any_batch(a: int, b: int, micro_batch: int) -> None:
    found = fit(traces(lambda n: a + b * n))
    assert found.degree == 1
    assert found.at(micro_batch) == (1000, a + b * micro_batch, 50 * micro_batch)


def test_a_step_of_rounding_is_no_misfit() -> None:
    found = fit(traces(lambda n: 100_000 * n + (512 if n == 8 else 0), (4, 8, 12, 16)))
    assert found.degree == 1
    assert 0 < found.misfit_frac < 0.01


def test_memory_that_grows_with_the_square_is_refused_and_fitted_with_one_trace_more() -> None:
    def contrastive(n: int) -> int:
        return 4 * n * n + 100 * n

    with pytest.raises(NotAffineError) as refused:
        fit(traces(contrastive))
    assert refused.value.aligned
    found = fit(traces(contrastive, (4, 8, 12, 16)))
    assert found.degree == 2
    assert found.at(1000)[1] == contrastive(1000)


def test_what_no_polynomial_explains_is_refused() -> None:
    with pytest.raises(NotAffineError, match="neither affine nor quadratic"):
        fit(traces(lambda n: 2**n * 1000, (4, 8, 12, 16)))


def test_traces_of_different_steps_are_refused_with_the_phase() -> None:
    other = trace(16, 1000, 16, 800, events=(0, 1, 2, -2, 3))
    with pytest.raises(NotAffineError, match="'optimizer'") as refused:
        fit([*traces(lambda n: n)[:2], other])
    assert not refused.value.aligned


def test_batch_one_and_two_traces_say_nothing() -> None:
    with pytest.raises(ValueError, match="micro-batch 1"):
        fit(traces(lambda n: n, (1, 2, 4)))
    with pytest.raises(ValueError, match="two traces"):
        fit(traces(lambda n: n, (2, 4)))


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(1, 10**5))
def test_two_traces_give_a_line_where_it_may_be_one(a: int, b: int, micro_batch: int) -> None:
    found = fit_two(*traces(lambda n: a + b * n, (6, 12)))
    assert found.at(micro_batch) == (1000, a + b * micro_batch, 50 * micro_batch)


@given(st.integers(1, 100), st.integers(0, 10**4), st.integers(1, 10**4))
def test_two_traces_give_a_square_where_no_line_can_be(c: int, b: int, micro_batch: int) -> None:
    found = fit_two(*traces(lambda n: c * n * n + b * n, (5, 9)))
    assert found.at(micro_batch)[1] == pytest.approx(c * micro_batch**2 + b * micro_batch, rel=1e-6, abs=1)


def test_two_traces_of_different_steps_are_refused() -> None:
    with pytest.raises(NotAffineError):
        fit_two(trace(4, 1, 2, 3), trace(8, 1, 2, 3, events=(0, 1, -2, 2, -3)))


def test_sizes_are_never_negative() -> None:
    assert min(fit(traces(lambda n: 100 * n - 200)).at(1)) >= 0


@given(st.sets(st.integers(2, 100), min_size=2, max_size=3), st.integers(1, 1000))
def test_weights_sum_to_one(points: set[int], x: int) -> None:
    assert sum(lagrange_weights(sorted(points), x)) == pytest.approx(1)


def test_peaks_by_phase() -> None:
    peaks = phase_peaks(EVENTS, (1024, 2048, 512), traces(lambda n: n)[0].phases)
    assert {one.phase: one.peak_allocated_bytes for one in peaks} == {
        "build": 1024,
        "first_micro_batch": 3584,
        "optimizer": 1536,
    }
