"""PyTorch's CUDA caching allocator, replayed: what a list of allocations and frees takes from the card.

Rules and constants are those of ``c10/cuda/CUDACachingAllocator.cpp`` (torch 2.6 to 2.13) for one stream and
default settings: sizes in units of 512 bytes; up to 1 MiB from segments of 2 MiB, below 10 MiB from segments
of 20 MiB, larger ones from segments of their own; best fit; a free neighbour is merged. Where the card is
full, whole cached segments are given back and the allocation is tried again: a *retry*, which is slow.
"""

import bisect
import contextlib
import math
from collections.abc import Collection, Sequence
from typing import Protocol

from advisor.records import record
from advisor.units import MIB

UNIT_BYTES = 512
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
    def fragmentation_frac(self) -> float:
        """Share of the reserved bytes that no tensor used at the peak (at least; the peaks may not coincide)."""
        return 1 - self.peak_allocated_bytes / self.peak_reserved_bytes if self.peak_reserved_bytes else 0.0


class OutOfSimulatedMemoryError(Exception):
    """The simulated card has no room for an allocation, even after everything cached was given back."""


class Block:
    """A piece of a segment: used or free, between its neighbours."""

    __slots__ = ("address", "is_free", "is_large", "next", "num_bytes", "previous")

    def __init__(self, address: int, num_bytes: int, *, is_large: bool) -> None:
        self.address, self.num_bytes, self.is_large, self.is_free = address, num_bytes, is_large, True
        self.previous: Block | None = None
        self.next: Block | None = None


class Allocator(Protocol):
    """Hands out blocks, and counts."""

    allocated_bytes: int
    reserved_bytes: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    num_retries: int

    def allocate(self, num_bytes: int) -> Block | None:
        """A block of at least so many bytes; ``None`` for none at all."""

    def free(self, block: Block | None) -> None:
        """Take the block back."""


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
    allocator: Allocator = ExpandableAllocator(limit_bytes) if expandable else CachingAllocator(limit_bytes)
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


def round_up(num_bytes: int, unit_bytes: int) -> int:
    """The next multiple of the unit."""
    return -(-num_bytes // unit_bytes) * unit_bytes


def segment_bytes(num_bytes: int) -> int:
    """The size of a new segment for an allocation of this (rounded) size."""
    if num_bytes <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    return LARGE_SEGMENT_BYTES if num_bytes < LARGE_BYTES else round_up(num_bytes, SEGMENT_UNIT_BYTES)


class FreeBlocks:
    """Free blocks of one pool, the smallest that is large enough found first, then the lowest address."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, int]] = []
        self._blocks: dict[int, Block] = {}

    def add(self, block: Block) -> None:
        bisect.insort(self._keys, (block.num_bytes, block.address))
        self._blocks[block.address] = block

    def remove(self, block: Block) -> None:
        del self._keys[bisect.bisect_left(self._keys, (block.num_bytes, block.address))]
        del self._blocks[block.address]

    def take_best(self, num_bytes: int) -> Block | None:
        k = bisect.bisect_left(self._keys, (num_bytes, -1))
        if k == len(self._keys):
            return None
        _, address = self._keys.pop(k)
        return self._blocks.pop(address)

    def all(self) -> list[Block]:
        return list(self._blocks.values())


class CachingAllocator:
    """The default: segments of fixed size, given back only as a whole."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit_bytes = math.inf if limit_bytes is None else limit_bytes
        self._pools = (FreeBlocks(), FreeBlocks())
        self._next_address = 0
        self.allocated_bytes = self.peak_allocated_bytes = 0
        self.reserved_bytes = self.peak_reserved_bytes = 0
        self.num_retries = 0

    def allocate(self, num_bytes: int) -> Block | None:
        if num_bytes <= 0:
            return None
        size = round_up(num_bytes, UNIT_BYTES)
        is_large = size > SMALL_BYTES
        block = self._pools[is_large].take_best(size) or self._new_segment(size, is_large=is_large)
        rest = block.num_bytes - size
        if rest > SMALL_BYTES if is_large else rest >= UNIT_BYTES:
            self._pools[is_large].add(split(block, size))
        block.is_free = False
        self.allocated_bytes += block.num_bytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def free(self, block: Block | None) -> None:
        if block is None:
            return
        self.allocated_bytes -= block.num_bytes
        block.is_free = True
        pool = self._pools[block.is_large]
        for neighbour in (block.previous, block.next):
            if neighbour is not None and neighbour.is_free:
                pool.remove(neighbour)
                merge(block, neighbour)
        pool.add(block)

    def _new_segment(self, size: int, *, is_large: bool) -> Block:
        num_bytes = segment_bytes(size)
        if self.reserved_bytes + num_bytes > self._limit_bytes:
            self.num_retries += 1
            self._give_back()
            if self.reserved_bytes + num_bytes > self._limit_bytes:
                raise OutOfSimulatedMemoryError
        block = Block(self._next_address, num_bytes, is_large=is_large)
        self._next_address += 2 * num_bytes  # a gap, so that two segments are never neighbours
        self.reserved_bytes += num_bytes
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        return block

    def _give_back(self) -> None:
        for pool in self._pools:
            for block in pool.all():
                if block.previous is None and block.next is None:
                    pool.remove(block)
                    self.reserved_bytes -= block.num_bytes


class ExpandableAllocator:
    """``expandable_segments:True``: one growing segment a pool, mapped page by page.

    Approximate: a retry unmaps the whole pages of free blocks, whose addresses are mapped again when needed.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit_bytes = math.inf if limit_bytes is None else limit_bytes
        self._arenas = (Arena(SMALL_SEGMENT_BYTES, is_large=False), Arena(LARGE_SEGMENT_BYTES, is_large=True))
        self.allocated_bytes = self.peak_allocated_bytes = 0
        self.reserved_bytes = self.peak_reserved_bytes = 0
        self.num_retries = 0

    def allocate(self, num_bytes: int) -> Block | None:
        if num_bytes <= 0:
            return None
        size = round_up(num_bytes, UNIT_BYTES)
        arena = self._arenas[size > SMALL_BYTES]
        block = arena.take(size) or self._grow(arena, size)
        block.is_free = False
        self.allocated_bytes += block.num_bytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def free(self, block: Block | None) -> None:
        if block is not None:
            self.allocated_bytes -= block.num_bytes
            self._arenas[block.is_large].put(block)

    def _grow(self, arena: "Arena", size: int) -> Block:
        if self.reserved_bytes + arena.growth_bytes(size) > self._limit_bytes:
            self.num_retries += 1
            self.reserved_bytes -= sum(each.unmap() for each in self._arenas)
            if self.reserved_bytes + arena.growth_bytes(size) > self._limit_bytes:
                raise OutOfSimulatedMemoryError
        self.reserved_bytes += arena.growth_bytes(size)
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        arena.map(size)
        block = arena.take(size)
        if block is None:
            raise AssertionError("an arena that has grown has room")
        return block


class Arena:
    """The address space of one pool: blocks side by side up to its top, which grows by pages."""

    def __init__(self, page_bytes: int, *, is_large: bool) -> None:
        self._page_bytes, self._is_large = page_bytes, is_large
        self._free = FreeBlocks()
        self._last: Block | None = None
        self._top = 0

    def take(self, size: int) -> Block | None:
        block = self._free.take_best(size)
        if block is not None and block.num_bytes - size >= UNIT_BYTES:
            rest = split(block, size)
            self._free.add(rest)
            if self._last is block:
                self._last = rest
        return block

    def put(self, block: Block) -> None:
        block.is_free = True
        for neighbour in (block.previous, block.next):
            if neighbour is not None and neighbour.is_free:
                self._free.remove(neighbour)
                if self._last is neighbour:
                    self._last = block
                merge(block, neighbour)
        self._free.add(block)

    def growth_bytes(self, size: int) -> int:
        """Whole pages that are missing behind the free end of the arena."""
        tail = self._last.num_bytes if self._last is not None and self._last.is_free else 0
        return round_up(size - tail, self._page_bytes)

    def map(self, size: int) -> None:
        """Add these pages at the top."""
        block = Block(self._top, self.growth_bytes(size), is_large=self._is_large)
        self._top += block.num_bytes
        if self._last is not None and is_next(self._last, block):
            self._last.next, block.previous = block, self._last
        self._last = block
        self.put(block)

    def unmap(self) -> int:
        """Give back the whole pages inside free blocks; says how many bytes."""
        given_back = 0
        for block in self._free.all():
            first = round_up(block.address, self._page_bytes)
            last = (block.address + block.num_bytes) // self._page_bytes * self._page_bytes
            if last > first:
                self._cut_out(block, first, last)
                given_back += last - first
        return given_back

    def _cut_out(self, block: Block, first: int, last: int) -> None:
        self._free.remove(block)
        before, after = first - block.address, block.address + block.num_bytes - last
        left, right = block.previous, block.next
        pieces = [Block(a, n, is_large=self._is_large) for a, n in ((block.address, before), (last, after)) if n]
        if before:
            pieces[0].previous = left
        if left is not None:
            left.next = pieces[0] if before else None
        if after:
            pieces[-1].next = right
        if right is not None:
            right.previous = pieces[-1] if after else None
        for piece in pieces:
            self._free.add(piece)
        if self._last is block:
            self._last = pieces[-1] if after else None


def is_next(block: Block, following: Block) -> bool:
    """Whether one block ends where the other begins."""
    return block.address + block.num_bytes == following.address


def split(block: Block, size: int) -> Block:
    """Shorten the block to this size; says what is left, a free block behind it."""
    rest = Block(block.address + size, block.num_bytes - size, is_large=block.is_large)
    rest.previous, rest.next = block, block.next
    if rest.next is not None:
        rest.next.previous = rest
    block.next, block.num_bytes = rest, size
    return rest


def merge(block: Block, neighbour: Block) -> None:
    """Let the block take in the neighbour before or behind it."""
    block.address = min(block.address, neighbour.address)
    block.num_bytes += neighbour.num_bytes
    if neighbour is block.previous:
        block.previous = neighbour.previous
        if block.previous is not None:
            block.previous.next = block
    else:
        block.next = neighbour.next
        if block.next is not None:
            block.next.previous = block
