"""The recommended setting as lines to paste: Python assignments, or TOML for ``cfgadvise train --config``."""

import tomlkit

from advisor.records import Advice, Claim, Option


def emit_python(advice: Advice) -> str:
    """Assignments with the names that training scripts of this kind use, each with its basis."""
    option = advice.recommended
    beta1, beta2 = option.betas
    lines = [
        ("train_batch_size", str(option.micro_batch), "measured"),
        ("gradient_accumulate_every", str(option.accumulation), "measured"),
        ("train_lr", _number(option.lr), option.lr.basis),
        ("adam_betas", _pair(beta1, beta2), beta2.basis),
        ("ema_decay", _number(option.ema_decay), option.ema_decay.basis),
        ("warmup_steps", _warmup_steps(option), option.warmup_samples.basis),
    ]
    known = [(name, text, basis) for name, text, basis in lines if text]
    width = max(len(name) + len(text) for name, text, _ in known) + 3
    return "\n".join(f"{f'{name} = {text}':<{width}}  # {basis}" for name, text, basis in known)


def emit_toml(advice: Advice) -> str:
    """The keys of a run's ``config.toml`` that the advice decides."""
    option = advice.recommended
    document = tomlkit.document()
    batch, optimizer = tomlkit.table(), tomlkit.table()
    batch["micro_batch"], batch["accumulation"] = option.micro_batch, option.accumulation
    values = {
        "lr": option.lr,
        "beta1": option.betas[0],
        "beta2": option.betas[1],
        "warmup_samples": option.warmup_samples,
    }
    for key, claim in values.items():
        if claim.value is not None:
            optimizer[key] = claim.value
            optimizer[key].comment(f"{claim.basis}: {claim.source}")
    document["batch"], document["optimizer"] = batch, optimizer
    return tomlkit.dumps(document).rstrip("\n")


def _number(claim: Claim) -> str:
    return "" if claim.value is None else f"{claim.value:.6g}"


def _pair(one: Claim, other: Claim) -> str:
    return f"({_number(one)}, {_number(other)})" if one.value is not None and other.value is not None else ""


def _warmup_steps(option: Option) -> str:
    samples = option.warmup_samples.value
    return "" if samples is None else str(round(samples / option.effective_batch))
