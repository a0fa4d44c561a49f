"""What was measured for a question, kept for the next time that it is asked on the same machine."""

import bisect
import dataclasses
from collections.abc import Callable

from advisor.measure.cache import measurement_key, recall, remember
from advisor.measure.campaign import Campaign, Place, Point
from advisor.measure.found import Found
from advisor.measure.noise_trial import NoiseOutcome
from advisor.recommend.case import Question
from advisor.recommend.options import Candidate
from advisor.recommend.reasons import note
from advisor.recommend.savers import Saver
from advisor.recommend.searched import Searched
from advisor.recommend.verdicts import exceeds
from advisor.records import Device, Note, record

_SAME_BUDGET_FRAC = 0.02  # free memory is never twice the same


@record
class Measured:
    """Everything that was measured for a question, and the memory that might be used then."""

    budget_bytes: int | None
    candidates: tuple[Candidate, ...]
    campaign: Campaign
    savers: tuple[Saver, ...]
    noise: NoiseOutcome
    searched: Searched | None = None


@record
class Kept:
    """The same as it is written down: a search without its traces, and its curve as a table."""

    measured: Measured
    table: tuple[tuple[int, int], ...] | None


def recalled_or(
    question: Question, device: Device, place: Place, measure: Callable[[], Measured]
) -> tuple[Measured, float | None]:
    """What was measured, and how many seconds ago if it is from the cache; else it is measured now and kept."""
    asked = {
        "layout": [question.micro_batch, question.accumulation],
        "goal": question.goal,
        "max_batch": question.max_batch,
        "noise_scale": question.noise_scale,
        "savers": question.savers,
        "budget_is_given": question.memory_budget_bytes is not None,
        "num_items": question.dataset.num_items,
    }
    key = measurement_key(question.subject, place, device, question.machine.host, asked)
    found = recall(key, Kept) if key is not None and question.use_cache else None
    if found is not None and _still_holds(found[0].measured, place.budget_bytes):
        return unpacked(found[0]), found[1]
    measured = measure()
    if key is not None and _is_worth_keeping(measured):
        remember(key, packed(measured))
    return measured, None


def age_remarks(age_s: float | None) -> tuple[Note, ...]:
    """That the measurements are from the cache, and how old they are."""
    return () if age_s is None else (note("from_cache", age_s=age_s),)


def _is_worth_keeping(measured: Measured) -> bool:
    """A step that raised or hung may have been mended by the next time."""
    outcomes = {point.measurement.outcome for point in measured.campaign.points}
    return bool(outcomes) and outcomes <= {"ok", "oom"} and measured.noise.refusal != "failed"


def packed(measured: Measured) -> Kept:
    """Without what JSON cannot hold, or is of no use any more."""
    searched = measured.searched
    if searched is None:
        return Kept(measured=measured, table=None)
    found, curve = searched.found, searched.found.curve
    largest = 4 * max(one.micro_batch for one in found.attempts) if found.attempts else 0
    table = None if curve is None else tuple((batch, curve.at(batch)) for batch in _grid(largest))
    attempts = tuple(dataclasses.replace(one, trace=None) for one in found.attempts)
    bare = dataclasses.replace(searched, found=dataclasses.replace(found, attempts=attempts, curve=None))
    return Kept(measured=dataclasses.replace(measured, searched=bare), table=table)


def unpacked(kept: Kept) -> Measured:
    """As it was measured."""
    searched = kept.measured.searched
    if searched is None or not kept.table:
        return kept.measured
    found: Found = dataclasses.replace(searched.found, curve=Table(kept.table))
    return dataclasses.replace(kept.measured, searched=dataclasses.replace(searched, found=found))


class Table:
    """Bytes at some micro-batches, straight lines between them."""

    def __init__(self, rows: tuple[tuple[int, int], ...]) -> None:
        self._rows = rows

    def at(self, micro_batch: int) -> int:
        """Bytes at any micro-batch; beyond the last row the last line goes on."""
        above = bisect.bisect_left(self._rows, (micro_batch, 0))
        if above < len(self._rows) and self._rows[above][0] == micro_batch:
            return self._rows[above][1]
        above = min(max(above, 1), len(self._rows) - 1)
        (low, low_bytes), (high, high_bytes) = self._rows[above - 1], self._rows[above]
        return round(low_bytes + (high_bytes - low_bytes) * (micro_batch - low) / (high - low))


def _grid(largest: int) -> list[int]:
    """Every micro-batch up to 64, and from there on powers of two and their one and a half."""
    doubled = {factor * 2**k for factor in (1, 3) for k in range(largest.bit_length() + 1)}
    return sorted({*range(1, 65), *doubled})


def _still_holds(measured: Measured, budget_bytes: int | None) -> bool:
    """Whether the same settings fit into today's memory as did then; those that ran out might fit into more."""
    points, then_bytes = measured.campaign.points, measured.budget_bytes
    if measured.searched is not None:
        known = budget_bytes is not None and then_bytes is not None
        if not known or abs((budget_bytes or 0) - (then_bytes or 0)) > _SAME_BUDGET_FRAC * (then_bytes or 0):
            return False
    if any(point.measurement.outcome == "oom" for point in points) and budget_bytes != then_bytes:
        return budget_bytes is not None and then_bytes is not None and budget_bytes < then_bytes
    return all(_fits(point, budget_bytes) == _fits(point, then_bytes) for point in points)


def _fits(point: Point, budget_bytes: int | None) -> bool:
    return point.measurement.outcome == "ok" and not exceeds(point.measurement, budget_bytes)
