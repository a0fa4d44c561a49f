"""Memory as PyTorch's caching allocator cuts it up: blocks side by side in a segment, the free ones in order."""

import bisect

UNIT_BYTES = 512


class Block:
    """A piece of a segment: used or free, between its neighbours."""

    __slots__ = ("address", "is_free", "is_large", "next", "num_bytes", "previous")

    def __init__(self, address: int, num_bytes: int, *, is_large: bool) -> None:
        self.address, self.num_bytes, self.is_large, self.is_free = address, num_bytes, is_large, True
        self.previous: Block | None = None
        self.next: Block | None = None


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


def round_up(num_bytes: int, unit_bytes: int) -> int:
    """The next multiple of the unit."""
    return -(-num_bytes // unit_bytes) * unit_bytes


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
