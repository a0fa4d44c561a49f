"""Steps and epochs of the reference case, and the two conventions against each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.recommend import dataset

COUNTS = st.integers(min_value=1, max_value=10**6)


@pytest.mark.parametrize(("batch", "steps", "dropping", "last"), [(16, 97, 96, 14), (32, 49, 48, 14), (8, 194, 193, 6)])
def test_the_reference_case(batch: int, steps: int, dropping: int, last: int) -> None:
    assert dataset.steps_per_epoch(1550, batch) == steps
    assert dataset.steps_per_epoch_drop_last(1550, batch) == dropping
    assert dataset.last_batch(1550, batch) == last


@given(COUNTS, st.integers(min_value=1, max_value=4096))
def test_an_epoch_sees_every_item_once(num_items: int, batch: int) -> None:
    steps, last = dataset.steps_per_epoch(num_items, batch), dataset.last_batch(num_items, batch)
    assert (steps - 1) * batch + last == num_items
    assert 1 <= last <= batch
    assert steps - dataset.steps_per_epoch_drop_last(num_items, batch) == (0 if last == batch else 1)


def test_a_run_counts_in_samples() -> None:
    assert dataset.num_steps(20_000, 16) == 1250
    assert dataset.num_steps(20_001, 16) == 1251
    assert dataset.epochs(3100, 1550) == 2
    length = dataset.default_run_samples(1550)
    assert length.value == dataset.DEFAULT_EPOCHS * 1550
    assert length.basis == "rule"
