"""The estimated gradient noise scale against known ones, on the digits, and what it predicts.

    python -m benchmarks.noise_scale [--part linear|windows|samples ...] [--json]

linear   linear models whose gradient covariance is known in closed form: how many of 100 intervals hold the truth.
windows  the trainer's preset ``tiny`` on the digits, batch 32 as 4 x 8, Adam at 3e-4: raw and Adam-preconditioned in
         windows of steps, beside the research figures of another UNet2DModel (0.70 M parameters) on the same data.
samples  samples to the same validation loss at batch 32 over those at 16, beside (Bn + 32) / (Bn + 16), with Bn as the
         advice takes it (preconditioned) and raw; and at batch 64, which nothing was chosen by.

One thread is enough (OMP_NUM_THREADS=1). No part is a timing; together they take about 15 CPU-minutes.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from advisor.measure.gradient_noise import GradientNoiseMeter
from advisor.measure.noise_scale import NoNoiseScaleError
from advisor.recommend.options import relative_steps
from advisor.recommend.scaling import lr_factor
from benchmarks import digits
from trainer.loop import Stepper
from trainer.noise import NoiseFound, NoiseWatch, NoiseWindow
from trainer.state import TrainState

PARTS = ("linear", "windows", "samples")
NUM_REPEATS, NUM_STEPS = 100, 200
NUM_SAMPLES = 24_000
LARGER_BATCHES = (32, 64)
WINDOWS = ((100, 200), (200, 400), (400, 800), (800, 1200))
RESEARCH = {"raw": (43, 42, 45, 42), "preconditioned": (105, 121, 170, 209)}  # in the same windows


def main() -> None:
    """Run the parts, print what is seen on stderr and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "noise_scale", "machine": digits.machine()}
    for part in options.part or PARTS:
        started_s = time.perf_counter()
        found = {"linear": linear, "windows": windows, "samples": samples}[part]()
        result[part] = {**found, "elapsed_s": time.perf_counter() - started_s}
        if not options.json:
            print(f"{part}: {json.dumps(result[part])}", file=sys.stderr, flush=True)
    print(json.dumps(result))


# ---- a truth that is known ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """Half the squared error of a linear model: x normal with variances ``c``, weights off by ``e``, noise in y."""

    c: torch.Tensor
    e: torch.Tensor
    noise: float

    def true_noise_scale(self) -> float:
        """tr(Sigma) / |G|^2 with G = C e; second moments by Isserlis' theorem."""
        mean = self.c * self.e
        second = self.c * (self.e @ mean) + 2 * mean**2 + self.c * self.noise**2
        return float((second - mean**2).sum() / (mean**2).sum())

    def loss(self, weight: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
        x_BF = torch.randn(n, len(self.c), generator=generator) * self.c.sqrt()
        return (x_BF @ weight - self.noise * torch.randn(n, generator=generator)).square().mean() / 2


def linear() -> dict[str, Any]:
    """Coverage of the 95 % interval where the noise is small, middling and large beside the batch."""
    spectrum = 1 / torch.arange(1, 65).float()
    weights_off = torch.randn(64, generator=torch.Generator().manual_seed(0))
    rows = []
    for name, scale, noise in (("low", 1.0, 0.1), ("middle", 0.3, 1.5), ("high", 0.1, 1.5)):
        problem = Problem(c=spectrum, e=scale * weights_off, noise=noise)
        rows.append({"problem": name, **_coverage(problem)})
    return {"num_repeats": NUM_REPEATS, "num_steps": NUM_STEPS, "batch": "4 x 8", "problems": rows}


def _coverage(problem: Problem) -> dict[str, Any]:
    truth, found, refused = problem.true_noise_scale(), [], 0
    for seed in range(NUM_REPEATS):
        try:
            found.append(_measured(problem, seed))
        except NoNoiseScaleError:
            refused += 1
    values = [one.value for one in found]
    return {
        "truth": truth,
        "covered": sum(one.low <= truth <= one.high for one in found),
        "refused": refused,
        "median": statistics.median(values) if values else None,
        "median_high_over_low": statistics.median(one.high / one.low for one in found) if found else None,
    }


def _measured(problem: Problem, seed: int) -> Any:
    weight = torch.nn.Parameter(problem.e.clone())
    generator = torch.Generator().manual_seed(seed)
    with GradientNoiseMeter([weight], micro_batch=8) as meter:
        for _ in range(NUM_STEPS):
            weight.grad = None
            for _ in range(4):
                meter.before_backward()
                (problem.loss(weight, 8, generator) / 4).backward()
            meter.step()
    return meter.estimate()


# ---- the digits ---------------------------------------------------------------------------------


def windows() -> dict[str, Any]:
    """The noise scale of the UNet in windows of a run at a constant rate, beside the research figures."""
    plan = digits.config(batch=32, accumulation=4, lr=3e-4, samples=32 * 1200, seed=1, decay_frac=0.0)
    found: list[NoiseFound] = []
    planned = tuple(NoiseWindow(first_step=a, num_steps=b - a) for a, b in WINDOWS)
    digits.train_digits(digits.load_digits(), plan, network="tiny", around_step=_watching(planned, found))
    rows = []
    for (first, last), seen, raw, adam in zip(WINDOWS, found, RESEARCH["raw"], RESEARCH["preconditioned"]):
        row: dict[str, Any] = {"steps": f"{first}-{last}", "research": {"raw": raw, "preconditioned": adam}}
        if seen.noise_scale is None:
            rows.append({**row, "refusal": seen.refusal})
            continue
        shown = {"raw": seen.noise_scale, "preconditioned": seen.noise_scale.preconditioned}
        for name, one in shown.items():
            row[name] = {"value": one.value, "low": one.low, "high": one.high} if one else None
            row[f"{name}_holds_research"] = bool(one and one.low <= row["research"][name] <= one.high)
        rows.append(row)
    return {"network": "tiny", "batch": "4 x 8", "lr": 3e-4, "windows": rows}


def _watching(planned: tuple[NoiseWindow, ...], found: list[NoiseFound]) -> Callable[[Stepper, TrainState], None]:
    def step(stepper: Stepper, state: TrainState) -> None:
        if state.samples_seen == 0:
            stepper.noise = NoiseWatch(state, stepper._config, planned)
        stepper.step()
        seen = stepper.noise.take()
        found.extend([seen] if seen else [])

    return step


def samples() -> dict[str, Any]:
    """Samples to the same loss at a larger batch over those at 16: predicted from Bn during the run, and measured."""
    return {
        f"{network}_{batch}": _samples_ratio(network, lr, seeds, batch)
        for network, lr, seeds in (("mlp", 2e-3, 3), ("tiny", 7e-4, 2))
        for batch in LARGER_BATCHES
    }


def _samples_ratio(network: str, lr: float, num_seeds: int, batch: int) -> dict[str, Any]:
    data, rows = digits.load_digits(), []
    for seed in range(1, num_seeds + 1):
        found: list[NoiseFound] = []
        half = digits.config(batch=16, accumulation=2, lr=lr, samples=NUM_SAMPLES, seed=seed, decay_frac=0.0)
        kappa = batch / 16
        whole = digits.config(
            batch=batch, lr=lr * lr_factor(kappa), beta2=half.beta2**kappa, samples=NUM_SAMPLES, seed=seed,
            decay_frac=0.0, warmup_samples=half.warmup_samples,
        )  # fmt: skip
        planned = (NoiseWindow(first_step=100, num_steps=half.num_steps - 100),)
        one = digits.train_digits(
            data, half, network=network, num_validations=40, around_step=_watching(planned, found)
        )
        other = digits.train_digits(data, whole, network=network, num_validations=40)
        target = max(one.lowest_loss, other.lowest_loss)
        at_16, at_larger = one.samples_to(target), other.samples_to(target)
        assert at_16 and at_larger
        rows.append({"seed": seed, "loss": target, "measured": at_larger / at_16, **_predicted(found, batch)})
    measured = statistics.fmean(row["measured"] for row in rows)
    predicted, raw = (_mean([row.get(name) for row in rows]) for name in ("predicted", "predicted_raw"))
    return {
        "runs": rows,
        "measured": measured,
        "predicted": predicted,
        "error_frac": predicted / measured - 1 if predicted else None,
        "error_raw_frac": raw / measured - 1 if raw else None,
        "within_25_percent": bool(predicted and abs(predicted / measured - 1) <= 0.25),
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _predicted(found: list[NoiseFound], batch: int) -> dict[str, Any]:
    scale = found[0].noise_scale if found else None
    if scale is None:
        return {"predicted": None, "refusal": found[0].refusal if found else "no window"}
    values = [
        batch / 16 * relative_steps(batch, 16, bn)
        for bn in (scale.bounds[0], scale.expected, scale.bounds[1], scale.value)
    ]
    adam = scale.preconditioned
    return {
        "noise_scale": {"value": scale.value, "low": scale.low, "high": scale.high},
        "preconditioned": adam.value if adam else None,
        "predicted": values[1],
        "predicted_raw": values[3],
        "predicted_low": min(values),
        "predicted_high": max(values),
    }


if __name__ == "__main__":
    main()
