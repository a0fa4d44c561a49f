"""What the search for the largest micro-batch means for an advice. Pure."""

from collections.abc import Iterable

from advisor.measure.found import Found
from advisor.recommend.options import Candidate
from advisor.recommend.reasons import note
from advisor.records import Measurement, MemoryPrediction, Note, record

_LEAST_ERROR_FRAC = 0.02  # what a replay of fitted histories was found to be exact to; see docs/methods-memory.md


@record
class Searched:
    """What was found with this accumulation. ``others_bytes``: change of other processes' memory meanwhile."""

    found: Found
    accumulation: int
    others_bytes: int | None = None

    @property
    def micro_batch(self) -> int | None:
        """The largest that was run and checked."""
        return self.found.micro_batch

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Everything that the search ran."""
        return tuple(one.measurement(self.accumulation) for one in self.found.attempts)

    def allows(self, candidate: Candidate, budget_bytes: int | None) -> bool:
        """Whether the candidate is worth running: not if it is known not to fit.

        Without accumulation a micro-batch takes less than what was searched with it: its gradients are not there yet.
        """
        largest, curve = self.found.micro_batch, self.found.curve
        if largest is None or candidate.micro_batch <= largest or self.found.stop in ("time", "steps"):
            return True
        if self.found.stop != "memory" or candidate.accumulation >= self.accumulation:
            return False
        if curve is None or budget_bytes is None:
            return False
        gradients_bytes = max(one.gradients_bytes for one in self.found.attempts)
        return curve.at(candidate.micro_batch) - gradients_bytes <= budget_bytes

    def predictions(self, micro_batches: Iterable[int]) -> tuple[MemoryPrediction, ...]:
        """Bytes at those of these micro-batches that were not run; none where no law was found."""
        curve, error = self.found.curve, max(_LEAST_ERROR_FRAC, self.found.error_frac or 0)
        if curve is None:
            return ()
        run = {one.micro_batch for one in self.found.attempts if one.outcome == "ok"}
        return tuple(
            MemoryPrediction(
                micro_batch=micro_batch,
                reserved_bytes=curve.at(micro_batch),
                low=round(curve.at(micro_batch) * (1 - error)),
                high=round(curve.at(micro_batch) * (1 + error)),
            )
            for micro_batch in sorted(set(micro_batches) - run)
        )

    def notes(self, budget_bytes: int | None) -> list[Note]:
        """What was found, why none larger is given, and what disturbed the search."""
        found = self.found
        spent = {"steps": found.steps_run, "ooms": found.oom_count}
        if found.micro_batch is None:
            notes = [note("searched_in_vain", message=found.message, **spent)]
        else:
            notes = [
                note("searched", micro_batch=found.micro_batch, accumulation=self.accumulation, **spent),
                note(f"stopped_{found.stop}", message=found.message, budget_bytes=budget_bytes),
            ]
        if found.retrying is not None and found.retrying > (found.micro_batch or 0):
            notes.append(note("retrying", retrying=found.retrying))
        if self.others_bytes:
            notes.append(note("others_changed", num_bytes=self.others_bytes))
        return notes
