"""The simulated caching allocator: its rules one by one, and what holds for any run of allocations and frees."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.predict.allocator import (
    LARGE_SEGMENT_BYTES,
    SMALL_SEGMENT_BYTES,
    CachingAllocator,
    ExpandableAllocator,
    replay,
)
from advisor.units import KIB, MIB

BOTH = pytest.mark.parametrize("make", [CachingAllocator, ExpandableAllocator])
sizes = st.one_of(st.integers(1, 4 * KIB), st.integers(1, 3 * MIB), st.integers(1, 40 * MIB))


@pytest.mark.parametrize(
    ("asked", "reserved"),
    [
        (1, SMALL_SEGMENT_BYTES),
        (MIB, SMALL_SEGMENT_BYTES),
        (MIB + 1, LARGE_SEGMENT_BYTES),
        (10 * MIB - 512, LARGE_SEGMENT_BYTES),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (100 * MIB, 100 * MIB),
    ],
)
def test_size_of_a_new_segment(asked: int, reserved: int) -> None:
    assert replay([0], [asked]).peak_reserved_bytes == reserved


def test_sizes_are_rounded_to_512_bytes() -> None:
    assert replay([0, 1], [1, 513]).peak_allocated_bytes == 512 + 1024


def test_an_empty_tensor_takes_nothing() -> None:
    result = replay([0, -1], [0])
    assert (result.peak_allocated_bytes, result.peak_reserved_bytes, result.fits) == (0, 0, True)


def test_a_large_block_is_not_split_for_a_rest_of_one_mebibyte() -> None:
    first = [30 * MIB]
    exact = replay([0, -1, 1], [*first, 29 * MIB])  # the rest of exactly 1 MiB stays with the block
    assert exact.peak_allocated_bytes == 30 * MIB
    split = replay([0, -1, 1, 2], [*first, 28 * MIB, 2 * MIB])  # the rest of 2 MiB holds the next one
    assert split.peak_reserved_bytes == 30 * MIB


def test_small_tensors_do_not_take_the_rest_of_large_segments() -> None:
    assert replay([0, 1], [5 * MIB, 100]).peak_reserved_bytes == LARGE_SEGMENT_BYTES + SMALL_SEGMENT_BYTES


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    # Frees 40 and 20 MiB; 20 MiB must not eat the 40, or 40 would need a new segment.
    events, asked = [0, 1, -1, -2, 2, 3], [40 * MIB, 20 * MIB, 20 * MIB, 40 * MIB]
    assert replay(events, asked).peak_reserved_bytes == 60 * MIB


def test_freed_neighbours_are_merged() -> None:
    quarters, whole = [5 * MIB] * 4, 20 * MIB - 512
    events = [0, 1, 2, 3, -1, -3, -2, -4, 4]
    assert replay(events, [*quarters, whole]).peak_reserved_bytes == LARGE_SEGMENT_BYTES


def test_a_full_card_gives_cached_segments_back_before_it_dies() -> None:
    events, asked = [0, -1, 1], [40 * MIB, 60 * MIB]
    unlimited = replay(events, asked)
    assert (unlimited.peak_reserved_bytes, unlimited.num_retries) == (100 * MIB, 0)
    limited = replay(events, asked, limit_bytes=70 * MIB)
    assert (limited.fits, limited.num_retries, limited.peak_reserved_bytes) == (True, 1, 60 * MIB)
    assert not replay([0, 1], asked, limit_bytes=70 * MIB).fits


def test_a_segment_in_use_cannot_be_given_back() -> None:
    events, asked = [0, 1, -1, 2], [40 * MIB, 10 * MIB, 50 * MIB]
    held = replay([0, -1, 1, 2], [40 * MIB, 10 * MIB, 50 * MIB], limit_bytes=80 * MIB)
    assert not held.fits  # 10 MiB live in the 40 MiB segment
    assert replay(events, asked, limit_bytes=80 * MIB).fits


def test_a_step_goes_on_without_a_workspace_that_does_not_fit() -> None:
    events, asked = [0, 1, -2, 2], [40 * MIB, 100 * MIB, 40 * MIB]
    assert not replay(events, asked, limit_bytes=100 * MIB).fits
    without = replay(events, asked, limit_bytes=100 * MIB, optional={1})
    assert (without.fits, without.peak_reserved_bytes, without.num_retries) == (True, 80 * MIB, 1)
    assert replay(events, asked, optional={1}).peak_reserved_bytes == 140 * MIB


def test_expandable_segments_need_no_more_than_the_tensors_and_a_page_a_pool() -> None:
    growing = [k * MIB for k in range(30, 50)]
    events = [event for k in range(len(growing)) for event in ((k, -k - 1))]
    result = replay(events, growing, expandable=True)
    assert result.peak_reserved_bytes <= max(growing) + LARGE_SEGMENT_BYTES
    assert replay(events, growing).peak_reserved_bytes > 8 * max(growing)


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Events and sizes, every free after its allocation."""
    asked, events, live = [], [], []
    for _ in range(draw(st.integers(1, 60))):
        if live and draw(st.booleans()):
            events.append(-live.pop(draw(st.integers(0, len(live) - 1))) - 1)
        else:
            live.append(len(asked))
            events.append(len(asked))
            asked.append(draw(sizes))
    return events, asked


@BOTH
@given(runs())
@settings(max_examples=60, deadline=None)
def test_blocks_never_overlap_and_nothing_is_lost(make: type, run: tuple[list[int], list[int]]) -> None:
    events, asked = run
    allocator, live = make(), {}
    for event in events:
        if event >= 0:
            live[event] = allocator.allocate(asked[event])
        else:
            allocator.free(live.pop(-event - 1))
        spans = sorted((b.is_large, b.address, b.address + b.num_bytes) for b in live.values())
        # Pools have address spaces of their own only where segments expand; within one pool nothing overlaps.
        for (pool, _, end), (next_pool, start, _) in itertools.pairwise(spans):
            assert pool != next_pool or end <= start
        assert all(live[k].num_bytes >= asked[k] for k in live)
        assert allocator.allocated_bytes == sum(b.num_bytes for b in live.values())
        assert allocator.reserved_bytes >= allocator.allocated_bytes
    for block in live.values():
        allocator.free(block)
    assert allocator.allocated_bytes == 0


@BOTH
@given(runs(), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_a_limit_is_never_exceeded(make: type, run: tuple[list[int], list[int]], limit_mib: int) -> None:
    events, asked = run
    result = replay(events, asked, limit_bytes=limit_mib * MIB, expandable=make is ExpandableAllocator)
    assert result.peak_allocated_bytes <= result.peak_reserved_bytes <= limit_mib * MIB


@BOTH
@given(runs())
@settings(max_examples=60, deadline=None)
def test_a_limit_at_the_peak_changes_nothing(make: type, run: tuple[list[int], list[int]]) -> None:
    events, asked = run
    expandable = make is ExpandableAllocator
    free = replay(events, asked, expandable=expandable)
    assert replay(events, asked, limit_bytes=free.peak_reserved_bytes, expandable=expandable) == free


@given(runs())
@settings(max_examples=60, deadline=None)
def test_the_same_step_again_takes_nothing_more_when_all_was_freed(run: tuple[list[int], list[int]]) -> None:
    events, asked = run
    rest = [-k - 1 for k in range(len(asked)) if -k - 1 not in events]
    whole = [*events, *rest]
    again = [e + len(asked) if e >= 0 else e - len(asked) for e in whole]
    once, twice = replay(whole, asked), replay([*whole, *again], [*asked, *asked])
    assert twice.peak_allocated_bytes == once.peak_allocated_bytes
    assert twice.peak_reserved_bytes <= 2 * once.peak_reserved_bytes
