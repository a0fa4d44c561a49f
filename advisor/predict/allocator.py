"""PyTorch's CUDA caching allocator, replayed: what a list of allocations and frees takes from the card.

Rules and constants are those of ``c10/cuda/CUDACachingAllocator.cpp`` (torch 2.6 to 2.13) for one stream and
default settings: sizes in units of 512 bytes; up to 1 MiB from segments of 2 MiB, below 10 MiB from segments
of 20 MiB, larger ones from segments of their own; best fit; a free neighbour is merged. Where the card is
full, whole cached segments are given back and the allocation is tried again: a *retry*, which is slow.
"""

import abc
import contextlib
import math
from collections.abc import Collection, Sequence

from advisor.predict.blocks import UNIT_BYTES, Arena, Block, FreeBlocks, merge, round_up, split
from advisor.records import record
from advisor.units import MIB

SMALL_BYTES = MIB
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_BYTES = 10 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
SEGMENT_UNIT_BYTES = 2 * MIB
_NOTHING = contextlib.nullcontext()


@record
class Replay:
    """What the allocator came to. ``fits`` is false where it ran out: the peaks are then those before."""

    peak_allocated_bytes: int
    peak_reserved_bytes: int
    num_retries: int
    fits: bool

    @property
    def fragmentation_bytes(self) -> int:
        """Reserved bytes that no tensor used at the peak (at least; the peaks may not coincide)."""
        return self.peak_reserved_bytes - self.peak_allocated_bytes


class OutOfSimulatedMemoryError(Exception):
    """The simulated card has no room for an allocation, even after everything cached was given back."""


def replay(
    events: Sequence[int],
    sizes_bytes: Sequence[int],
    *,
    limit_bytes: int | None = None,
    expandable: bool = False,
    optional: Collection[int] = (),
) -> Replay:
    """Run the events (``k``: storage k is allocated, ``-k - 1``: it is freed) through the allocator.

    Where there is no room for a storage in ``optional``, the step goes on without it.
    """
    allocator = (ExpandableAllocator if expandable else CachingAllocator)(limit_bytes)
    blocks: dict[int, Block | None] = {}
    fits = True
    try:
        for event in events:
            if event >= 0:
                with contextlib.suppress(OutOfSimulatedMemoryError) if event in optional else _NOTHING:
                    blocks[event] = allocator.allocate(sizes_bytes[event])
            else:
                allocator.free(blocks.pop(-event - 1, None))
    except OutOfSimulatedMemoryError:
        fits = False
    return Replay(
        peak_allocated_bytes=allocator.peak_allocated_bytes,
        peak_reserved_bytes=allocator.peak_reserved_bytes,
        num_retries=allocator.num_retries,
        fits=fits,
    )


def segment_bytes(num_bytes: int) -> int:
    """The size of a new segment for an allocation of this (rounded) size."""
    if num_bytes <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    return LARGE_SEGMENT_BYTES if num_bytes < LARGE_BYTES else round_up(num_bytes, SEGMENT_UNIT_BYTES)


class Allocator(abc.ABC):
    """Hands out blocks of a card of limited size, and counts. How memory is cut up is left to its children."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit_bytes = math.inf if limit_bytes is None else limit_bytes
        self.allocated_bytes = self.peak_allocated_bytes = 0
        self.reserved_bytes = self.peak_reserved_bytes = 0
        self.num_retries = 0

    def allocate(self, num_bytes: int) -> Block | None:
        """A block of at least so many bytes; ``None`` for none at all.

        Raises:
            OutOfSimulatedMemoryError: if there is no room.
        """
        if num_bytes <= 0:
            return None
        size = round_up(num_bytes, UNIT_BYTES)
        block = self._take(size)
        if block is None:
            self._reserve(size)
            block = self._extend(size)
        block.is_free = False
        self.allocated_bytes += block.num_bytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def free(self, block: Block | None) -> None:
        """Take the block back."""
        if block is not None:
            self.allocated_bytes -= block.num_bytes
            block.is_free = True
            self._put(block)

    def _reserve(self, size: int) -> None:
        """Count what the card must give for this; where it has no room, give back first what is cached."""
        if self.reserved_bytes + self._missing_bytes(size) > self._limit_bytes:
            self.num_retries += 1
            self.reserved_bytes -= self._give_back()
            if self.reserved_bytes + self._missing_bytes(size) > self._limit_bytes:
                raise OutOfSimulatedMemoryError
        self.reserved_bytes += self._missing_bytes(size)
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)

    @abc.abstractmethod
    def _take(self, size: int) -> Block | None:
        """A free block cut to this size, if there is one."""

    @abc.abstractmethod
    def _put(self, block: Block) -> None:
        """Make a block free, and one with its free neighbours."""

    @abc.abstractmethod
    def _missing_bytes(self, size: int) -> int:
        """What the card must give so that this finds room."""

    @abc.abstractmethod
    def _extend(self, size: int) -> Block:
        """Take that from the card; says the block for this size."""

    @abc.abstractmethod
    def _give_back(self) -> int:
        """Give everything that is free as a whole back to the card; says how many bytes."""


class CachingAllocator(Allocator):
    """The default: segments of fixed size, given back only as a whole."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        super().__init__(limit_bytes)
        self._pools = (FreeBlocks(), FreeBlocks())
        self._next_address = 0

    def _take(self, size: int) -> Block | None:
        block = self._pools[size > SMALL_BYTES].take_best(size)
        return None if block is None else self._cut(block, size)

    def _cut(self, block: Block, size: int) -> Block:
        rest = block.num_bytes - size
        if rest > SMALL_BYTES if block.is_large else rest >= UNIT_BYTES:
            self._pools[block.is_large].add(split(block, size))
        return block

    def _put(self, block: Block) -> None:
        pool = self._pools[block.is_large]
        for neighbour in (block.previous, block.next):
            if neighbour is not None and neighbour.is_free:
                pool.remove(neighbour)
                merge(block, neighbour)
        pool.add(block)

    def _missing_bytes(self, size: int) -> int:
        return segment_bytes(size)

    def _extend(self, size: int) -> Block:
        block = Block(self._next_address, segment_bytes(size), is_large=size > SMALL_BYTES)
        self._next_address += 2 * block.num_bytes  # a gap, so that two segments are never neighbours
        return self._cut(block, size)

    def _give_back(self) -> int:
        given_back = 0
        for pool in self._pools:
            for block in pool.all():
                if block.previous is None and block.next is None:
                    pool.remove(block)
                    given_back += block.num_bytes
        return given_back


class ExpandableAllocator(Allocator):
    """``expandable_segments:True``: one growing segment a pool, mapped page by page.

    Approximate: a retry unmaps the whole pages of free blocks, whose addresses are mapped again when needed.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        super().__init__(limit_bytes)
        self._arenas = (Arena(SMALL_SEGMENT_BYTES, is_large=False), Arena(LARGE_SEGMENT_BYTES, is_large=True))

    def _take(self, size: int) -> Block | None:
        return self._arenas[size > SMALL_BYTES].take(size)

    def _put(self, block: Block) -> None:
        self._arenas[block.is_large].put(block)

    def _missing_bytes(self, size: int) -> int:
        return self._arenas[size > SMALL_BYTES].growth_bytes(size)

    def _extend(self, size: int) -> Block:
        arena = self._arenas[size > SMALL_BYTES]
        arena.map(size)
        block = arena.take(size)
        if block is None:
            raise AssertionError("an arena that has grown has room")
        return block

    def _give_back(self) -> int:
        return sum(arena.unmap() for arena in self._arenas)
