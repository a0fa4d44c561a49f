"""What one measurement says, as claims: tables and charts take them from here."""

from advisor.records import Claim, Measurement, StepTime

MEASUREMENT = "measurements"


def memory_claim(one: Measurement) -> Claim:
    """Its peak memory."""
    return Claim(value=one.peak_reserved_bytes, basis="measured", source=f"{MEASUREMENT}: peak_reserved_bytes")


def step_claim(step_s: StepTime | None) -> Claim:
    """Its step time with the interval."""
    if step_s is None:
        return Claim(value=None, basis="measured", source=MEASUREMENT)
    low, high = min(step_s.low, step_s.median), max(step_s.high, step_s.median)
    return Claim(value=step_s.median, low=low, high=high, basis="measured", source=f"{MEASUREMENT}: n={step_s.n}")


def rate_claim(one: Measurement) -> Claim:
    """Samples in a second, with the interval of its step time."""
    step, batch = step_claim(one.step_s), one.micro_batch * one.accumulation
    rate, low, high = (batch / duration_s if duration_s else None for duration_s in (step.value, step.high, step.low))
    return Claim(value=rate, low=low, high=high, basis="measured", source=f"{MEASUREMENT}: samples / step_s")
