"""Are classes told apart, and what are the pictures good for? The bundled digits, and 1,550 emoji at 32 pixels.

    python -m benchmarks.usefulness [--runs DIR] [--only digits|emoji] [--emoji-preset NAME] [--emoji-samples S]

Each run is trained with the trainer's defaults, emoji with the smallest preset unless another is named; then
`cfgadvise evaluate --checkpoint latest --num-samples 1000` judges it, and its time is taken. What should be seen on
digits: a classifier trained on generated pictures alone reaches at least 97 % of the accuracy of one trained on real
ones, and adding them to the real ones does no harm beyond its interval. Emoji: see ``benchmarks.emoji`` for what it
needs. On two free cores digits take about 3 minutes; one free core trains on 11 emoji a second.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import emoji
from benchmarks.judged_runs import figures, machine, train
from trainer.evaluation_file import read_evaluation
from trainer.folder import RunFolder
from trainer.presets import PRESETS

LEAST_SHARE = 0.97


def main() -> None:
    """Train, evaluate, and print one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"), help="where the runs go, and stay")
    parser.add_argument("--only", choices=("digits", "emoji"))
    parser.add_argument("--emoji-preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--emoji-samples", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    results = {}
    if options.only != "emoji":
        results["digits"] = run(options.runs / "digits", None, {})
    if options.only != "digits":
        data = options.runs / "emoji"
        if not data.exists():
            emoji.make_folder(data)
        settings = {"preset": options.emoji_preset, "image_size": emoji.SIDE, "samples": options.emoji_samples}
        results["emoji"] = run(options.runs / "emoji-run", data, settings)
    if not options.json:
        print(json.dumps(results, indent=1), file=sys.stderr)
    print(json.dumps({"benchmark": "usefulness", "machine": machine(), "runs": results}))


def run(out: Path, data: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """One run, evaluated as a user would, and the two claims checked."""
    train_s = train(out, data=data, **settings)
    began_s = time.monotonic()
    command = [sys.executable, "-m", "advisor", "--quiet", "evaluate", str(out), "--device", "cpu"]
    subprocess.run([*command, "--checkpoint", "latest", "--num-samples", "1000"], check=True, stdout=subprocess.DEVNULL)
    evaluate_s = time.monotonic() - began_s
    known = read_evaluation(RunFolder(out))
    assert known is not None
    newest = known.checkpoints[-1]
    found = figures(newest)
    accuracy = newest.plain.accuracy if newest.plain else None
    assert accuracy is not None and accuracy.synthetic_only.value and accuracy.real_only.value
    share = accuracy.synthetic_only.value / accuracy.real_only.value
    return {
        "train_s": round(train_s, 1),
        "evaluate_s": round(evaluate_s, 1),
        "num_train": known.num_train_items,
        "chosen_samples": known.choice.samples if known.choice else None,
        "figures": found,
        "synthetic_share_of_real": round(share, 4),
        "is_synthetic_enough": share >= LEAST_SHARE,
        "is_both_not_worse": (accuracy.gain.high or 0.0) >= 0,
        "findings": [one.text for one in known.findings],
    }


if __name__ == "__main__":
    main()
