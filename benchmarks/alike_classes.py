"""31 classes with small differences and large variation inside a class: are they told apart, and what helps?

    python -m benchmarks.alike_classes [--runs DIR] [--samples S] [--rounds R] [--json]

Real pictures: 1,767 of the handwritten digits that scikit-learn ships, shuffled, 57 a class (50 to train on, 7 held
out), so every class holds all ten digits in many hands. A class differs from the others only by a faint cosine pattern,
one of 31, that is added to its pictures (grey values 40 + 175 x digit; root mean square of the pattern 12, about 6 % of
the variance of a pixel). Guessing reaches 3 %.

A short run is judged; what the evaluation says to change is changed, and judged again: a stronger guidance by pictures
of another seed, a longer training by another run. About 15 minutes on two free cores.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from advisor.evaluation import Evaluation
from advisor.records import Note
from benchmarks.judged_runs import figures, judge, machine, train
from trainer.folder import RunFolder
from trainer.trained import load_trained

NUM_CLASSES, PER_CLASS, HELD_OUT_FRAC = 31, 57, 0.123
PATTERN_RMS, SEED = 12, 0
NUM_GENERATED = 496


def main() -> None:
    """Train, judge, change, judge again; one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"), help="where the runs go, and stay")
    parser.add_argument("--samples", type=int, default=8000, help="length of the first run")
    parser.add_argument("--rounds", type=int, default=3, help="at most so many runs")
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    data = make_folder(options.runs / "alike-data")
    rounds, samples = [], options.samples
    while len(rounds) < options.rounds:
        rounds.append(run(options.runs / f"alike-{samples}", data, samples))
        if not options.json:
            print(json.dumps(rounds[-1], indent=1), file=sys.stderr)
        longer = rounds[-1]["longer_samples"]
        if longer is None or rounds[-1]["verdict"] == "apart":
            break
        samples = longer
    print(json.dumps({"benchmark": "alike_classes", "machine": machine(), "rounds": rounds}))


def make_folder(folder: Path) -> Path:
    """The pictures in class folders ``ID_1`` to ``ID_31``."""
    if folder.exists():
        return folder
    digits = load_digits().images / 16
    order = np.random.Generator(np.random.PCG64(SEED)).permutation(len(digits))[: NUM_CLASSES * PER_CLASS]
    for number, item in enumerate(order):
        label, place = number % NUM_CLASSES, folder / f"ID_{number % NUM_CLASSES + 1}"
        pixels = (40 + 175 * digits[item] + PATTERN_RMS * patterns()[label]).round().clip(0, 255)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number // NUM_CLASSES:02d}.png")
    return folder


def patterns() -> np.ndarray:
    """Cosine patterns of middle frequency, each with a mean square of 1."""
    place = np.arange(8) + 0.5
    waves = [np.cos(np.pi * place * k / 8) for k in range(8)]
    found = [np.outer(waves[u], waves[v]) for u in range(8) for v in range(8) if 5 <= u + v <= 9][:NUM_CLASSES]
    return np.array([one / np.sqrt((one**2).mean()) for one in found])


def run(out: Path, data: Path, samples: int) -> dict[str, Any]:
    """One run, its judgement, and what the stronger guidance really does if that was said to help."""
    train(out, data=data, image_size=8, samples=samples, held_out_frac=HELD_OUT_FRAC, keep_checkpoints=20,
          sampling_steps=10)  # fmt: skip
    known = judge(out, every=7, counts=[(1.0, NUM_GENERATED)], sweep=248)
    chosen = known.chosen
    assert chosen is not None
    guided, longer = _finding(known, "remedy_guidance"), _finding(known, "remedy_longer")
    found = figures(chosen)
    return {
        "run_samples": samples,
        "findings": [one.text for one in known.findings],
        "verdict": found["verdict"],
        "chosen": found,
        "checkpoints": [figures(one) for one in known.checkpoints],
        "advised_guidance": known.sampling.guidance if known.sampling else None,
        "with_advised_guidance": _resampled(out, known) if guided else None,
        # Guidance is free; when it was said to be enough and the classes are still alike, the next run is longer too.
        "longer_samples": int(longer.values["longer"] or 0) if longer else 2 * samples if guided else None,
    }


def _finding(known: Evaluation, name: str) -> Note | None:
    return next((one for one in known.findings if one.id == name), None)


def _resampled(out: Path, known: Evaluation) -> dict[str, Any]:
    """Figures at the advised guidance with pictures of another seed: the best of a sweep flatters itself."""
    import dataclasses

    from trainer.evaluate import evaluator_of

    assert known.sampling is not None and known.choice is not None
    trained = load_trained(RunFolder(out), str(known.choice.samples), "cpu")
    advised = known.sampling
    judgement = evaluator_of(RunFolder(out), trained).judged(
        trained.model, trained.samples_seen, advised.guidance, advised.sampling_steps, NUM_GENERATED, seed=1
    )
    return figures(dataclasses.replace(known.checkpoints[0], judgements=(dataclasses.replace(judgement, guidance=1.0),),
                                       validation_losses=()))  # fmt: skip


if __name__ == "__main__":
    main()
