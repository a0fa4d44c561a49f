"""How learning rate, betas and EMA follow the effective batch, for Adam-type optimizers.

Symbols: ``kappa = B / B0``, the factor by which the effective batch grows; ``Bn`` the gradient noise
scale in samples. Whatever is counted in samples (warm-up, schedule, half-lives) stays as it is, but for a warm-up of a
few steps.
Nothing changes at ``kappa = 1``: the very same claims come back.
"""

import math

from advisor.records import Claim, NoiseScale, Setting

RETUNE_FACTOR = 4.0
BETA2_LOW, BETA2_HIGH = 0.95, 0.9999
MIN_WARMUP_STEPS, MAX_WARMUP_FACTOR = 10, 4
_LR_SOURCE = "square-root rule, interval kappa^0.25 to kappa^0.75 (Malladi et al., arXiv 2205.10287)"
_LR_NOISE_SOURCE = "square-root rule damped by the noise scale, interval kappa^0.25 to kappa^0.75 (arXiv 2405.14578)"
_BETA2_SOURCE = "half-life in samples kept: beta2^kappa (arXiv 2507.07101)"
_EMA_SOURCE = "half-life in samples kept: decay^kappa (Busbridge et al., arXiv 2307.13813)"
_WARMUP_SOURCE = f"samples kept, but at least {MIN_WARMUP_STEPS} steps, at most {MAX_WARMUP_FACTOR} times the samples"


def lr_factor(kappa: float, *, present_batch: int = 1, noise_scale: float | None = None, q: float = 0.0) -> float:
    """Factor for the learning rate: ``sqrt(kappa) * ((Bn + B0) / (Bn + B))^q``.

    One family for the published rules: q = 0 Malladi et al. (arXiv 2205.10287), q = 1/2 AdaptDL's
    AdamScale, q = 1 the surge law of Li et al. (arXiv 2405.14578). Without a noise scale q is 0.
    """
    if noise_scale is None:
        return math.sqrt(kappa)
    saturation: float = ((noise_scale + present_batch) / (noise_scale + kappa * present_batch)) ** q
    return math.sqrt(kappa) * saturation


def scale_lr(lr: Claim, present_batch: int, batch: int, noise_scale: NoiseScale | None = None) -> Claim:
    """The learning rate at another batch, with the interval of the published exponents (1/4 to 3/4)."""
    kappa = batch / present_batch
    if kappa == 1 or lr.value is None:
        return lr
    saturated = noise_scale is not None and batch > noise_scale.value
    factor = lr_factor(
        kappa,
        present_batch=present_batch,
        noise_scale=noise_scale.value if noise_scale else None,
        q=0.5 if saturated else 0.0,
    )
    low, high = sorted((kappa**0.25, kappa**0.75))
    return Claim(
        value=lr.value * factor,
        low=lr.value * min(low, factor),
        high=lr.value * max(high, factor),
        basis="rule",
        source=_LR_NOISE_SOURCE if saturated else _LR_SOURCE,
    )


def scale_beta2(beta2: Claim, present_batch: int, batch: int) -> Claim:
    """Second-moment decay with the same half-life in samples, held within 0.95 to 0.9999.

    A present value outside of these bounds is not pulled back into them.
    """
    kappa = batch / present_batch
    if kappa == 1 or beta2.value is None:
        return beta2
    low, high = min(BETA2_LOW, beta2.value), max(BETA2_HIGH, beta2.value)
    return Claim(value=min(max(beta2.value**kappa, low), high), basis="rule", source=_BETA2_SOURCE)


def scale_ema(decay: Claim, present_batch: int, batch: int) -> Claim:
    """EMA decay an optimizer step with the same half-life in samples."""
    kappa = batch / present_batch
    if kappa == 1 or decay.value is None:
        return decay
    return Claim(value=decay.value**kappa, basis="rule", source=_EMA_SOURCE)


def scale_warmup(warmup_samples: Claim, present_batch: int, batch: int) -> Claim:
    """Warm-up of as many samples, unless a larger batch makes that a jump.

    It then gets 10 steps, or as many as it had; at most four times the samples. ``benchmarks/transfer.py`` says why: a
    small UNet that was moved from batch 16 to 128 and had 2 steps left ended with a loss 29 % above that with 9.
    """
    samples = warmup_samples.value
    if batch <= present_batch or samples is None:
        return warmup_samples
    least = min(batch * min(MIN_WARMUP_STEPS, samples / present_batch), MAX_WARMUP_FACTOR * samples)
    if samples >= least:
        return warmup_samples
    return Claim(value=round(least), basis="rule", source=_WARMUP_SOURCE)


def scale_setting(present: Setting, micro_batch: int, accumulation: int, noise_scale: NoiseScale | None) -> Setting:
    """The present setting carried over to another batch; beta1 is kept."""
    present_batch, batch = present.effective_batch, micro_batch * accumulation
    return Setting(
        micro_batch=micro_batch,
        accumulation=accumulation,
        lr=scale_lr(present.lr, present_batch, batch, noise_scale),
        beta1=present.beta1,
        beta2=scale_beta2(present.beta2, present_batch, batch),
        ema_decay=scale_ema(present.ema_decay, present_batch, batch),
        warmup_samples=scale_warmup(present.warmup_samples, present_batch, batch),
    )


def needs_retuning(present_batch: int, batch: int) -> bool:
    """Whether the batch changes by more than the rules were ever seen to carry."""
    return not 1 / RETUNE_FACTOR <= batch / present_batch <= RETUNE_FACTOR


# ---- values for a setting that nobody gave ------------------------------------------------------


def default_lr(batch: int) -> Claim:
    """Rule of thumb of published diffusion recipes: 1e-4 at batch 16, square root of the batch."""
    value = 1e-4 * math.sqrt(batch / 16)
    return Claim(value=value, low=0.3 * value, high=10 * value, basis="rule", source="1e-4 at batch 16, square root")


def default_ema_decay(batch: int, run_samples: float) -> Claim:
    """Decay a step for a half-life of 5 % of the run.

    Karras et al., arXiv 2206.00364, let the half-life grow to 5 % of the images seen.
    """
    decay = 0.5 ** (batch / max(0.05 * run_samples, batch))
    return Claim(value=decay, basis="rule", source="half-life of 5 % of the run (Karras et al., arXiv 2206.00364)")


def untuned_warmup(batch: int, beta2: float | None, run_samples: float) -> float:
    """Samples of linear warm-up: ``2 / (1 - beta2)`` steps, at most 5 % of the run.

    Ma and Yarats, arXiv 1910.04209, section 4: the untuned linear warm-up for Adam.
    """
    steps = 2 / (1 - beta2) if beta2 is not None else math.inf
    return min(steps * batch, 0.05 * run_samples)


def default_warmup_samples(batch: int, beta2: float | None, run_samples: float) -> Claim:
    """Samples of linear warm-up by :func:`untuned_warmup`, as a claim."""
    samples = round(untuned_warmup(batch, beta2, run_samples))
    source = "2 / (1 - beta2) steps, at most 5 % of the run (Ma and Yarats, arXiv 1910.04209)"
    return Claim(value=samples, basis="rule", source=source)
