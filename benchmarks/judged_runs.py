"""Runs that the benchmarks of the evaluation train through the command line, and judge checkpoint by checkpoint."""

import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from advisor.evaluation import CheckpointEvaluation, Evaluation
from advisor.records import Claim
from trainer.checkpoint import list_checkpoints, samples_of
from trainer.evaluate import evaluator_of
from trainer.folder import RunFolder
from trainer.trained import load_trained

Settings = dict[str, Any]


def train(out: Path, *, data: Path | None = None, **settings: Any) -> float:
    """Train a run, or go on with it; returns the seconds that took, 0 for one that is finished."""
    if (out / "pipeline").exists():
        return 0.0
    command = [sys.executable, "-m", "advisor", "--quiet", "train", "--device", "cpu", "--out", str(out)]
    command += ["--data", str(data)] if data else []
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    began_s = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began_s


def judge(
    out: Path, *, every: int = 1, counts: list[tuple[float, int]], whole: bool = False, sweep: int = 0
) -> Evaluation:
    """Judge each ``every``-th checkpoint, first and last among them; those that are judged alike are not done again.

    ``sweep`` is the number of pictures for each setting of the sweep with the chosen checkpoint; 0 leaves it out.
    """
    folder = RunFolder(out)
    there = sorted((samples_of(path) for path in list_checkpoints(folder.checkpoints)), reverse=True)
    kept = sorted({*there[::every], there[-1]}, reverse=True)
    evaluator = None
    for samples in reversed(kept):
        trained = load_trained(folder, str(samples), "cpu")
        evaluator = evaluator or evaluator_of(folder, trained)
        if not _is_done(evaluator.known(), samples, counts, whole=whole):
            evaluator.evaluate(trained.model, samples, counts=counts, whole=whole)
            print(f"{out.name}: {samples}", file=sys.stderr, flush=True)
    assert evaluator is not None
    known = evaluator.known()
    assert known is not None and known.choice is not None
    if sweep and known.sampling is None:
        chosen = load_trained(folder, str(known.choice.samples), "cpu")
        evaluator.advise_sampling(chosen.model, chosen.samples_seen, sweep)
        known = evaluator.known()
        assert known is not None
    return known


def _is_done(known: Evaluation | None, samples: int, counts: list[tuple[float, int]], *, whole: bool) -> bool:
    one = next((one for one in known.checkpoints if one.samples == samples), None) if known else None
    if one is None:
        return False
    done = {judgement.guidance: judgement.num_generated for judgement in one.judgements}
    has_classifier = one.plain is not None and one.plain.accuracy is not None
    return (has_classifier or not whole) and all(done.get(guidance, 0) >= 0.9 * count for guidance, count in counts)


def figures(one: CheckpointEvaluation) -> dict[str, Any]:
    """The plain judgement of a checkpoint, short."""
    plain = one.plain
    assert plain is not None
    found: dict[str, Any] = {"samples": one.samples, "num_generated": plain.num_generated}
    if plain.copies is not None:
        found |= {"copies": short(plain.copies.in_pca.generated), "copies_held_out": short(plain.copies.in_pca.real)}
    if plain.likeness is not None:
        likeness = plain.likeness
        found |= {name: short(getattr(likeness, name)) for name in ("kid_held_out", "kid_train", "kid_floor")}
        found["diversity"] = short(likeness.diversity)
    if plain.separability is not None:
        told = plain.separability
        found |= {"recognised": short(told.accuracy.generated), "recognised_real": short(told.accuracy.real)}
        found |= {"verdict": told.verdict, "classifier": told.classifier}
    if plain.accuracy is not None:
        names = ("real_only", "synthetic_only", "real_and_synthetic", "gain")
        found["accuracy"] = {name: short(getattr(plain.accuracy, name)) for name in names}
        found["num_test_items"] = plain.accuracy.num_test_items
    if one.validation_losses:
        found["validation_loss"] = round(sum(one.validation_losses) / len(one.validation_losses), 4)
    return found


def short(claim: Claim) -> list[float | None]:
    """Value, low, high."""
    return [None if bound is None else round(bound, 4) for bound in (claim.value, claim.low, claim.high)]


def machine() -> dict[str, Any]:
    """Where this was run."""
    import torch

    from advisor.hardware.probe import probe

    host = probe().host
    return {
        "cpu": host.cpu_name,
        "num_cores": host.num_cores,
        "num_threads": torch.get_num_threads(),
        "os": platform.system(),
        "python": host.python_version,
        "torch": host.torch_version,
    }
