"""How much the scaling rules lose against tuning anew, when a tuned setting moves to another batch.

    python -m benchmarks.transfer [--network mlp|tiny] [--samples N] [--seeds N] [--quick] [--json]

Digits: the learning rate is tuned at batch 16, then moved to 32, 64 and 128 by our rules (learning rate, beta2,
warm-up; averages and schedule in samples), and beside that left as it is. Tuned anew means the best of a grid of
factors sqrt(2) around the rule's learning rate, extended while the best lies at its edge, with beta2 by the rule and
with beta2 unchanged, and warm-up by the rule. Every run sees the same number of samples; figures are means over the
seeds of the final validation loss. The best of a grid is lower than its expectation, so the loss of the rules is
rather overstated.

One thread is enough (OMP_NUM_THREADS=1); the defaults take about 15 CPU-minutes, --quick two.
"""

import argparse
import json
import math
import statistics
import sys
import time
from typing import Any

from advisor.recommend.scaling import default_ema_decay, scale_setting
from advisor.records import Claim, Setting
from benchmarks import digits

BASE_BATCH, BATCHES = 16, (32, 64, 128)
BASE_LR, BETA2 = 1.5e-3, 0.99
GRID_FACTOR = math.sqrt(2)
MAX_LOSS_FRAC = 0.015


def main() -> None:
    """Run the grid, print a table on stderr and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("mlp", "tiny"), default="mlp")
    parser.add_argument("--samples", type=int, default=24_000)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, metavar="B", help="where it is moved to")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, 6,000 samples: shows that it works, no more")
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.seeds = 6_000, 1
    started_s = time.perf_counter()
    lab = Lab(options.network, options.samples, range(1, options.seeds + 1), quiet=options.json)
    tuned, best_loss = lab.tuned(BASE_BATCH, BASE_LR, [BETA2], lab.warmup_samples)
    rows = [lab.move(tuned["lr"], batch) for batch in options.batches]
    result = {
        "benchmark": "transfer",
        "machine": digits.machine(),
        "network": options.network,
        "samples": options.samples,
        "seeds": options.seeds,
        "tuned_at": BASE_BATCH,
        "tuned": {**tuned, "loss": best_loss},
        "moved": rows,
        "max_rule_excess_frac": max(row["rule_excess_frac"] for row in rows),
        "within_1_5_percent": all(row["rule_excess_frac"] <= MAX_LOSS_FRAC for row in rows),
        "num_runs": len(lab.losses),
        "runs": [
            {"batch": b, "lr": lr, "beta2": beta2, "warmup_samples": warmup, "losses": x}
            for (b, lr, beta2, warmup), x in lab.losses.items()
        ],
        "elapsed_s": time.perf_counter() - started_s,
    }
    print(json.dumps(result))


class Lab:
    """Trains what is asked for, once."""

    def __init__(self, network: str, samples: int, seeds: range, *, quiet: bool) -> None:
        self._network, self._samples, self._seeds, self._quiet = network, samples, seeds, quiet
        self._data = digits.load_digits()
        self.warmup_samples = digits.config(batch=BASE_BATCH, lr=BASE_LR, samples=samples, seed=0).warmup_samples
        self.losses: dict[tuple[int, float, float, int], list[float]] = {}

    def loss(self, batch: int, lr: float, beta2: float, warmup_samples: int) -> float:
        """Mean final validation loss over the seeds."""
        key = (batch, lr, beta2, warmup_samples)
        if key not in self.losses:
            self.losses[key] = [self._train(*key, seed) for seed in self._seeds]
            if not self._quiet:
                shown = " ".join(f"{x:.4f}" for x in self.losses[key])
                print(f"batch {batch:4} lr {lr:.2e} beta2 {beta2:.4f}  {shown}", file=sys.stderr, flush=True)
        return statistics.fmean(self.losses[key])

    def _train(self, batch: int, lr: float, beta2: float, warmup_samples: int, seed: int) -> float:
        plan = digits.config(
            batch=batch, lr=lr, samples=self._samples, seed=seed, beta2=beta2, warmup_samples=warmup_samples
        )
        return digits.train_digits(self._data, plan, network=self._network).final_loss

    def tuned(
        self, batch: int, centre: float, beta2s: list[float], warmup_samples: int
    ) -> tuple[dict[str, float], float]:
        """The best of a grid that is extended until its best point is an inner one."""
        best: tuple[dict[str, float], float] | None = None
        for beta2 in dict.fromkeys(beta2s):
            powers = list(range(-2, 3))
            while True:
                found = {k: self.loss(batch, centre * GRID_FACTOR**k, beta2, warmup_samples) for k in powers}
                k = min(found, key=lambda power: found[power])
                if k not in (powers[0], powers[-1]):
                    break
                powers = [powers[0] - 1, *powers] if k == powers[0] else [*powers, powers[-1] + 1]
            if best is None or found[k] < best[1]:
                best = {"lr": centre * GRID_FACTOR**k, "beta2": beta2}, found[k]
        assert best is not None
        return best

    def move(self, tuned_lr: float, batch: int) -> dict[str, Any]:
        """The tuned setting at another batch: by our rules, unchanged, and tuned anew."""
        moved = scale_setting(_present(tuned_lr, self._samples, self.warmup_samples), batch, 1, None)
        lr, beta2, warmup_samples = (
            float(moved.lr.value or 0), float(moved.beta2.value or 0), int(moved.warmup_samples.value or 0)
        )  # fmt: skip
        by_rule = self.loss(batch, lr, beta2, warmup_samples)
        constant = self.loss(batch, tuned_lr, BETA2, self.warmup_samples)
        best, best_loss = self.tuned(batch, lr, [beta2, BETA2], warmup_samples)
        at_best = self.losses[batch, best["lr"], best["beta2"], warmup_samples]
        differences = [a / b - 1 for a, b in zip(self.losses[batch, lr, beta2, warmup_samples], at_best)]
        return {
            "batch": batch,
            "rule": {"lr": lr, "beta2": beta2, "warmup_samples": warmup_samples, "loss": by_rule},
            "constant": {"lr": tuned_lr, "beta2": BETA2, "warmup_samples": self.warmup_samples, "loss": constant},
            "tuned_anew": {**best, "warmup_samples": warmup_samples, "loss": best_loss},
            "rule_excess_frac": by_rule / best_loss - 1,
            "constant_excess_frac": constant / best_loss - 1,
            "rule_excess_by_seed_frac": differences,
        }


def _present(lr: float, samples: int, warmup_samples: int) -> Setting:
    def rule(value: float) -> Claim:
        return Claim(value=value, basis="user", source="tuned")

    return Setting(
        micro_batch=BASE_BATCH, accumulation=1, lr=rule(lr), beta1=rule(0.9), beta2=rule(BETA2),
        ema_decay=default_ema_decay(BASE_BATCH, samples), warmup_samples=rule(warmup_samples),
    )  # fmt: skip


if __name__ == "__main__":
    main()
