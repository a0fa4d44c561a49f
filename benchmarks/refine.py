"""The search for a learning rate against a grid: ``python -m benchmarks.refine [--samples N] --json``.

The bundled digits, preset tiny, batch 16, on a CPU. Nine learning rates a factor of 2 apart are trained for the
whole run; then `refine` starts 8 times below the best of them, with four workers of which one is killed, and
from the best itself. What it ends with is trained for the whole run on the seed of the grid, and compared.
"""

import argparse
import json
import os
import platform
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from advisor.hardware.probe import probe
from advisor.refine.budget import plan_budget
from advisor.refine.crew import run_workers, threads_each
from advisor.refine.messages import WorkOrder
from advisor.refine.records import Entry, Slot
from advisor.refine.search import Task, refine, study_name
from advisor.refine.study import Place, Space, Study, join_study, open_study
from advisor.refine.verdict import counted
from advisor.schema import to_plain
from trainer.config import TrainConfig
from trainer.plan import plan_config, survey
from trainer.proxy import search_identity

OBJECTIVE = "trainer.proxy:make"
CENTRE_LR, STEPS_EACH_SIDE = 2e-3, 4
GRID_SEED = 11
FAR = 8.0
NUM_WORKERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3200, help="length of the run")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=None, help="where the studies are kept; to go on with them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(measure(folder.resolve(), options.samples, options.trials)))


def measure(folder: Path, samples: int, trials: int) -> dict[str, Any]:
    """Grid, search from far off with a kill, search from the best, and the whole runs that decide."""
    config, _ = plan_config(survey("digits"), "cpu", {"samples": samples, "micro_batch": 16})
    storage = f"sqlite:///{folder / 'refine.db'}"
    rates = [CENTRE_LR * 2.0**k for k in range(-STEPS_EACH_SIDE, STEPS_EACH_SIDE + 1)]
    grid = whole_runs(storage, config, rates)
    best = min((loss, lr) for lr, loss in grid.items() if loss is not None)
    far = search(storage, config, best[1] / FAR, trials, kills=True)
    near = search(storage, config, best[1], trials, kills=False)
    ended = whole_runs(storage, config, [*rates, far["lr"], near["lr"]])
    for one in (far, near):
        one["loss_of_whole_run"] = ended[one["lr"]]
        one["above_grid"] = ended[one["lr"]] / best[0] - 1 if ended[one["lr"]] is not None else None
    return {
        "benchmark": "refine",
        "machine": machine(),
        "case": {
            "data": "digits 8x8",
            "preset": config.preset,
            "batch": config.effective_batch,
            "run_samples": samples,
            "grid_seed": GRID_SEED,
        },
        "grid": [{"lr": lr, "loss": grid[lr]} for lr in rates],
        "best_of_grid": {"lr": best[1], "loss": best[0]},
        "from_8x_below": far,
        "from_the_best": near,
    }


def whole_runs(storage: str, config: TrainConfig, rates: list[float]) -> dict[float, float | None]:
    """Validation loss of runs of full length, one for each learning rate, all on one seed."""
    slots = [Slot(id=f"{lr:.9g}", lr=lr, seed=GRID_SEED) for lr in dict.fromkeys(rates)]
    place = Place(url=storage, name="whole-runs")
    space = Space(lr_low=1e-6, lr_high=1.0, proxy_samples=config.samples, stops_early=False)
    study = open_study(place, space, slots)
    orders = [
        WorkOrder(
            place=place,
            space=space,
            objective=OBJECTIVE,
            parameters=to_plain(config),
            device="cpu",
            sampler_seed=k,
            ends_at_s=None,
            min_slots=0,
        )
        for k in range(NUM_WORKERS)
    ]
    run_workers(study, orders, threads_each(NUM_WORKERS), print_entry)
    losses = {one.slot: one.loss for one in counted(study.entries())}
    return {lr: losses[f"{lr:.9g}"] for lr in rates}


def search(storage: str, config: TrainConfig, start_lr: float, trials: int, *, kills: bool) -> dict[str, Any]:
    """One ``refine`` with four workers, and what became of its slots."""
    task = Task(
        start_lr=start_lr,
        budget=plan_budget(config.samples, None, num_trials=trials),
        objective=OBJECTIVE,
        parameters=to_plain(config),
        identity=search_identity(config, 1797, 10),
        device="cpu",
        storage=storage,
        num_workers=NUM_WORKERS,
    )
    killed: list[str] = []
    if kills:
        threading.Thread(target=kill_one, args=(task, killed), daemon=True).start()
    found = refine(task, lambda line: print(line, flush=True))
    entries = join_study(Place(url=storage, name=study_name(task)), _any_space(config)).entries()
    return {
        "start_lr": start_lr,
        "lr": found.lr,
        "conclusion": found.conclusion,
        "stated_samples": task.budget.total_samples,
        "stated_runs": task.budget.runs,
        "elapsed_s": found.elapsed_s,
        "workers": NUM_WORKERS,
        "killed": killed,
        "slots": trials,
        "slots_ended": len(counted(entries)),
        "attempts_failed": sum(one.state == "failed" for one in entries if one.slot),
        "slots_counted_twice": len(counted(entries)) - len({one.slot for one in counted(entries)}),
        "min_gain": found.min_gain,
        "trials": [to_plain(one) for one in found.trials],
        "finalists": [to_plain(one) for one in found.finalists],
    }


def kill_one(task: Task, killed: list[str]) -> None:
    """SIGKILL a worker in the middle of a training, once some have ended."""
    while not killed:
        time.sleep(1.0)
        try:
            study = join_study(Place(url=task.storage, name=study_name(task)), _any_space_of(task))
        except Exception:  # noqa: BLE001 - not there yet
            continue
        victim = _in_training(study)
        if victim is not None and len(counted(study.entries())) >= 2:
            os.kill(int(str(victim.worker).split(":")[-2]), signal.SIGKILL)
            killed.append(f"the worker of {victim.slot}, attempt {victim.number}")


def _in_training(study: Study) -> Entry | None:
    return next((one for one in study.entries() if one.state == "running" and one.worker and one.lr), None)


def _any_space(config: TrainConfig) -> Space:
    return Space(lr_low=1e-6, lr_high=1.0, proxy_samples=config.samples, stops_early=True)


def _any_space_of(task: Task) -> Space:
    return Space(lr_low=1e-6, lr_high=1.0, proxy_samples=task.budget.proxy_samples, stops_early=True)


def print_entry(entry: Entry) -> None:
    print(f"{entry.slot}: {entry.state} {entry.loss}", flush=True)


def machine() -> dict[str, Any]:
    host = probe().host
    return {
        "cpu": host.cpu_name,
        "cores": host.num_cores,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_average": host.load_average,
    }


if __name__ == "__main__":
    main()
