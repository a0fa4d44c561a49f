"""The recommended setting as lines to paste: Python, TOML for ``cfgadvise train --config``, Accelerate, Lightning."""

import math
from collections.abc import Callable

import tomlkit

from advisor.records import Advice, Claim, Option


def emit_python(advice: Advice) -> str:
    """Assignments with the names that training scripts of this kind use, each with its basis."""
    option = advice.recommended
    return _commented(
        [
            (f"train_batch_size = {option.micro_batch}", _basis(option)),
            (f"gradient_accumulate_every = {option.accumulation}", _basis(option)),
            *_optimizer_lines(option),
        ]
    )


def emit_accelerate(advice: Advice) -> str:
    """Python for a loop with Hugging Face Accelerate, which accumulates inside ``accelerator.accumulate(model)``."""
    option = advice.recommended
    lines = [
        (f"train_batch_size = {option.micro_batch}", f"{_basis(option)}: batch_size of the DataLoader, on each device"),
        (f"accelerator = Accelerator(gradient_accumulation_steps={option.accumulation})", _basis(option)),
        *_optimizer_lines(option),
    ]
    return f"from accelerate import Accelerator\n\n{_commented(lines)}"


def emit_lightning(advice: Advice) -> str:
    """Python for a Lightning ``Trainer``, whose ``max_steps`` are optimizer steps."""
    option, samples = advice.recommended, advice.run_samples.value
    arguments = [f"accumulate_grad_batches={option.accumulation}"]
    if samples is not None:
        arguments.append(f"max_steps={math.ceil(samples / option.effective_batch)}")
    length = "" if samples is None else f"; length of the run: {advice.run_samples.basis}"
    lines = [
        (f"train_batch_size = {option.micro_batch}", f"{_basis(option)}: batch_size of the DataLoader, on each device"),
        (f"trainer = Trainer({', '.join(arguments)})", _basis(option) + length),
        *_optimizer_lines(option),
    ]
    return f"from lightning.pytorch import Trainer\n\n{_commented(lines)}"


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


EMITTERS: dict[str, Callable[[Advice], str]] = {
    "python": emit_python,
    "toml": emit_toml,
    "accelerate": emit_accelerate,
    "lightning": emit_lightning,
}


def _basis(option: Option) -> str:
    """Why to believe in the layout: the step was run or, for a card that is not here, its memory was predicted."""
    known = [claim for claim in (option.step_s, option.peak_reserved_bytes) if claim.value is not None]
    return known[0].basis if known else "user"


def _optimizer_lines(option: Option) -> list[tuple[str, str]]:
    beta1, beta2 = option.betas
    lines = [
        ("train_lr", _number(option.lr), option.lr.basis),
        ("adam_betas", _pair(beta1, beta2), beta2.basis),
        ("ema_decay", _number(option.ema_decay), option.ema_decay.basis),
        ("warmup_steps", _warmup_steps(option), option.warmup_samples.basis),
    ]
    return [(f"{name} = {text}", basis) for name, text, basis in lines if text]


def _commented(lines: list[tuple[str, str]]) -> str:
    width = max(len(code) for code, _ in lines)
    return "\n".join(f"{code:<{width}}  # {remark}" for code, remark in lines)


def _number(claim: Claim) -> str:
    return "" if claim.value is None else f"{claim.value:.6g}"


def _pair(one: Claim, other: Claim) -> str:
    return f"({_number(one)}, {_number(other)})" if one.value is not None and other.value is not None else ""


def _warmup_steps(option: Option) -> str:
    samples = option.warmup_samples.value
    return "" if samples is None else str(round(samples / option.effective_batch))
