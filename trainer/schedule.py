"""Learning rate and EMA decay as pure functions of samples seen."""

from trainer.config import TrainConfig

# The average never remembers more than this part of the run so far, so that it forgets the start
# (Karras et al., arXiv 2206.00364, training code: ema_rampup_ratio).
EMA_RAMP_FRAC = 0.1


def lr_at(config: TrainConfig, samples_seen: int) -> float:
    """Learning rate of the step that starts after ``samples_seen`` samples.

    Linear warm-up, constant, then a linear decay to zero over the last ``decay_frac`` of the run.
    """
    reached = samples_seen + config.effective_batch
    warmup = min(1.0, reached / config.warmup_samples) if config.warmup_samples else 1.0
    if config.decay_frac == 0:
        return config.lr * warmup
    remaining_frac = max(0.0, 1 - samples_seen / config.samples)
    return config.lr * warmup * min(1.0, remaining_frac / config.decay_frac)


def ema_decay_at(half_life_samples: float, samples_seen: int, batch: int) -> float:
    """Share of the average that one step keeps: half of it is gone after one half-life of samples.

    Busbridge et al., arXiv 2307.13813: a half-life in samples stays right when the batch changes.
    """
    half_life = min(half_life_samples, EMA_RAMP_FRAC * (samples_seen + batch))
    return float(0.5 ** (batch / half_life))
