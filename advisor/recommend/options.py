"""The settings worth comparing, and what each of them would cost: an option before its verdict."""

import math
from collections.abc import Mapping
from typing import Literal

from advisor.records import Claim, Measurement, NoiseScale, Setting, StepTime, Value, record

Goal = Literal["balanced", "time", "memory"]
SaverId = Literal["checkpointing", "bf16", "fp16"]
Changes = Mapping[SaverId, Mapping[str, Value]]  # which parameters of a workload's factory switch each of them on
LR_GRID_FACTOR = 2.0  # smaller steps are below what a run can tell apart from its seed


@record
class Candidate:
    """A setting to compare with the present one; ``lr_factor`` is on top of the scaling rule."""

    id: str
    micro_batch: int
    accumulation: int
    lr_factor: float = 1.0

    @property
    def effective_batch(self) -> int:
        """Samples an optimizer step sees."""
        return self.micro_batch * self.accumulation


def batch_candidates(present: tuple[int, int], goal: Goal) -> tuple[Candidate, ...]:
    """The present setting first, then other ways to the same batch, then half and twice the batch."""
    micro_batch, accumulation = present
    batch = micro_batch * accumulation
    found = [Candidate(id="keep", micro_batch=micro_batch, accumulation=accumulation)]
    if accumulation > 1:
        found.append(Candidate(id="no_accumulation", micro_batch=batch, accumulation=1))
    if goal == "memory" and (smaller := more_accumulation(present)):
        found.append(smaller)
    found.append(Candidate(id="larger_batch", micro_batch=2 * batch, accumulation=1))
    if batch > 1:
        found.append(Candidate(id="smaller_batch", micro_batch=batch // 2, accumulation=1))
    return tuple(found)


def speed_probe(candidates: tuple[Candidate, ...]) -> tuple[int, int] | None:
    """A layout to time beside candidates that are all without accumulation, which no fit of a step's time can do.

    The present batch in two parts: without one such layout what a micro-batch costs and what a step costs are one.
    """
    if any(one.accumulation > 1 for one in candidates) or candidates[0].micro_batch % 2:
        return None
    return candidates[0].micro_batch // 2, 2


def more_accumulation(setting: tuple[int, int]) -> Candidate | None:
    """The same effective batch from the next smaller micro-batch that divides it; ``None`` below 1."""
    micro_batch, accumulation = setting
    batch = micro_batch * accumulation
    smaller = next((b for b in range(micro_batch // 2, 0, -1) if batch % b == 0), None)
    if smaller is None:
        return None
    return Candidate(id="less_memory", micro_batch=smaller, accumulation=batch // smaller)


def lr_candidates(setting: tuple[int, int]) -> tuple[Candidate, ...]:
    """Higher and lower learning rate at one setting: its measurement is theirs."""
    micro_batch, accumulation = setting
    return tuple(
        Candidate(id=name, micro_batch=micro_batch, accumulation=accumulation, lr_factor=factor)
        for name, factor in (("higher_lr", LR_GRID_FACTOR), ("lower_lr", 1 / LR_GRID_FACTOR))
    )


# ---- what an option costs -----------------------------------------------------------------------

UNKNOWN_PROGRESS = Claim(value=None, basis="rule", source="not predictable from the time of a step")


def throughput(batch: int, step_s: StepTime | None) -> Claim:
    """Samples a second."""
    if step_s is None:
        return Claim(value=None, basis="measured", source="no step was timed")
    source = f"effective batch / median of {step_s.n} timings"
    return Claim(
        value=batch / step_s.median, low=batch / step_s.high, high=batch / step_s.low, basis="measured", source=source
    )


def step_time(step_s: StepTime | None) -> Claim:
    """Seconds an optimizer step takes."""
    if step_s is None:
        return Claim(value=None, basis="measured", source="no step was timed")
    source = f"median of {step_s.n} timings with its interval"
    return Claim(value=step_s.median, low=step_s.low, high=step_s.high, basis="measured", source=source)


def peak_memory(measurement: Measurement | None) -> Claim:
    """Bytes taken from the device at the peak."""
    value = measurement.peak_reserved_bytes if measurement else None
    steps = measurement.steps_run if measurement else 0
    return Claim(
        value=value, basis="measured", source=f"peak of {steps} steps" if value is not None else "not measured"
    )


def memory_share(measurement: Measurement | None, budget_bytes: int | None) -> Claim:
    """Peak memory as a share of what may be used (0 to 1, or above if it does not fit)."""
    peak_bytes = measurement.peak_reserved_bytes if measurement else None
    known = peak_bytes is not None and budget_bytes is not None
    return Claim(
        value=peak_bytes / budget_bytes if known and peak_bytes is not None and budget_bytes else None,
        basis="measured",
        source="peak memory / memory that may be used" if known else "not measured",
    )


def time_to_same_progress(
    candidate: Candidate, present: Setting, ratio: StepTime | None, noise_scale: NoiseScale | None
) -> Claim:
    """Time to the same progress as a ratio to the present setting; below 1 is sooner."""
    if candidate.lr_factor != 1 or ratio is None:
        return UNKNOWN_PROGRESS
    return relative_time(candidate.effective_batch, present.effective_batch, ratio, noise_scale)


def relative_time(batch: int, present_batch: int, ratio: StepTime, noise_scale: NoiseScale | None) -> Claim:
    """``t/t0 * (1 + Bn/B) / (1 + Bn/B0)``: McCandlish et al., arXiv 1812.06162, section 2.

    Without a noise scale only its bounds over Bn from 0 to infinity are known: ``t/t0`` and ``t/t0 * B0/B``.
    """
    if batch == present_batch:
        source = f"median of {ratio.n} paired timings; the same effective batch makes the same progress"
        return Claim(value=ratio.median, low=ratio.low, high=ratio.high, basis="measured", source=source)
    if noise_scale is None:
        steps = sorted((1.0, present_batch / batch))
        source = "step-time ratio x bounds over every gradient noise scale (arXiv 1812.06162)"
        return Claim(value=None, low=ratio.low * steps[0], high=ratio.high * steps[1], basis="predicted", source=source)
    low, high = noise_scale.bounds
    values = [relative_steps(batch, present_batch, bn) for bn in (low, noise_scale.expected, high)]
    return Claim(
        value=ratio.median * values[1],
        low=ratio.low * min(values),
        high=ratio.high * max(values),
        basis="predicted",
        source="step-time ratio x measured gradient noise scale (arXiv 1812.06162)",
    )


def relative_steps(batch: int, present_batch: int, noise_scale: float) -> float:
    """Steps to the same loss, as a ratio: ``(1 + Bn/B) / (1 + Bn/B0)`` (arXiv 1812.06162, section 2)."""
    if math.isinf(noise_scale):
        return present_batch / batch
    return (1 + noise_scale / batch) / (1 + noise_scale / present_batch)
