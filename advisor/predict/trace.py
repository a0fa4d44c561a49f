"""The allocations and frees of a training step, in their order, with the phase in which each happens."""

from collections.abc import Sequence

from advisor.records import record

UNIT_BYTES = 512


@record
class PhaseStart:
    """From this event on, the step is in this phase."""

    phase: str
    event: int


@record
class Trace:
    """What some training steps at one micro-batch took and gave back.

    An event ``k >= 0`` allocates storage ``k`` (they are numbered in the order of their allocation), an event
    ``-k - 1`` frees it. ``sizes_bytes[k]`` is what storage ``k`` asked for. Those in ``kept`` are workspaces that a
    library never gives back, those in ``optional`` workspaces of a moment, without which the step goes on: a kernel
    that gets none gives way to a slower one.
    """

    micro_batch: int
    events: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    phases: tuple[PhaseStart, ...] = ()
    optional: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    def phase_at(self, event: int) -> str:
        """The phase of an event."""
        started = [one.phase for one in self.phases if one.event <= event]
        return started[-1] if started else "build"


@record
class PhasePeak:
    """The most that was allocated at once in a phase, over all of its times."""

    phase: str
    peak_allocated_bytes: int


def phase_peaks(
    events: Sequence[int], sizes_bytes: Sequence[int], phases: Sequence[PhaseStart]
) -> tuple[PhasePeak, ...]:
    """The peak of allocated bytes in every phase, in units of the allocator."""
    live_bytes, peaks, starts = 0, {"build": 0}, {start.event: start.phase for start in phases}
    phase = "build"
    for k, event in enumerate(events):
        if k in starts:
            phase = starts[k]
            peaks[phase] = max(peaks.get(phase, 0), live_bytes)
        size = rounded(sizes_bytes[event if event >= 0 else -event - 1])
        live_bytes += size if event >= 0 else -size
        peaks[phase] = max(peaks[phase], live_bytes)
    return tuple(PhasePeak(phase=name, peak_allocated_bytes=peak) for name, peak in peaks.items())


def rounded(num_bytes: int) -> int:
    """What an allocation of this size counts for."""
    return -(-num_bytes // UNIT_BYTES) * UNIT_BYTES
