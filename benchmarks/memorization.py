"""When do copies begin? Digits with 60, 300 and 1,500 training pictures, judged along the run.

    python -m benchmarks.memorization [--runs DIR] [--every K] [--json]

Each run sees 96,000 pictures (10 sampling steps; every twentieth of the run is kept). What should be seen, from
Bonnaire et al., arXiv 2505.17638, and from small experiments of our own: the onset of copies grows with the number
of pictures; held-out pictures are no copies; KID against the training pictures falls below its floor where copies
begin; the checkpoint that is chosen lies before them. About 20 minutes on two free cores.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.judged_runs import figures, judge, machine, train

SIZES = (60, 300, 1500)
SAMPLES, NUM_DIGITS = 96_000, 1797
NUM_GENERATED = 256


def main() -> None:
    """Train, judge, and print one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/benchmarks"), help="where the runs go; finished ones stay"
    )
    parser.add_argument("--every", type=int, default=1, help="judge each so-manieth checkpoint")
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    results = [run(size, options.runs / f"mem-{size}", options.every) for size in SIZES]
    if not options.json:
        for result in results:
            print(text(result), file=sys.stderr)
    print(json.dumps({"benchmark": "memorization", "machine": machine(), "runs": results}))


def run(size: int, out: Path, every: int) -> dict[str, Any]:
    """One size: where copies begin, and what is chosen."""
    train(
        out, samples=SAMPLES, held_out_frac=round(1 - size / NUM_DIGITS, 5), keep_checkpoints=40, num_milestones=2,
        sampling_steps=10,
    )  # fmt: skip
    known = judge(out, every=every, counts=[(1.0, NUM_GENERATED)])
    assert known.choice is not None
    rows = [figures(one) for one in known.checkpoints]
    rejected = {one.samples: one.reason.text for one in known.choice.rejected}
    copying = [row["samples"] for row in rows if "copies" in rejected.get(row["samples"], "")]
    return {
        "num_train": known.num_train_items,
        "chosen_samples": known.choice.samples,
        "chosen_why": known.choice.reason.text,
        "first_copying_samples": min(copying, default=None),
        "first_copying_epochs": round(min(copying) / known.num_train_items, 1) if copying else None,
        "is_chosen_before_copies": not copying or known.choice.samples < min(copying),
        "rejected": rejected,
        "checkpoints": rows,
    }


def text(result: dict[str, Any]) -> str:
    """A table for people."""
    lines = [
        f"N = {result['num_train']}: chosen {result['chosen_samples']}, copies from {result['first_copying_samples']}"
    ]
    for row in result["checkpoints"]:
        names = ("copies", "kid_held_out", "kid_train", "kid_floor", "recognised")
        cells = "  ".join(f"{name} {row[name][0]:.4f}" for name in names)
        lines.append(f"  {row['samples']:6d}  {cells}  validation {row['validation_loss']:.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
