"""Other tools' batch-size finders on a device that is limited as ours is.

    python -m benchmarks.finder_peers '[{"tool": "lightning_power", "kind": "sized", ...}, ...]'

Prints one JSON object a line for each order. ``peaks`` is no finder: it says what the step takes at two micro-batches.
"""

import contextlib
import gc
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from advisor.workload.protocol import Workload
from advisor.workload.step import TrainingStep
from benchmarks.limited_device import LimitedDevice, build

STEPS_PER_TRIAL = 3  # Lightning's default; accelerate leaves it to the user, who gets the same
CPU = torch.device("cpu")


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for order in json.loads(sys.argv[1]):
        print(json.dumps(answer(**order)), flush=True)
        gc.collect()


def answer(*, tool: str, kind: str, start: int, limit_bytes: int | None = None, **parameters: Any) -> dict[str, Any]:
    """What the tool finds; each order has a device of its own."""
    device, counter = LimitedDevice(limit_bytes or sys.maxsize), Counter()

    def make() -> Workload:
        return counter.watch(build(CPU, kind, **parameters))

    def search(folder: str) -> Any:
        if tool == "peaks":
            return [peak(make, device, micro_batch) for micro_batch in (start, start + 1)]
        if tool == "accelerate":
            return accelerate(make, start)
        return lightning(make(), tool.removeprefix("lightning_"), folder)

    found, crash, started_s = None, None, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, device:
        try:
            found = search(folder)
        except Exception as error:  # a finder that lets the error through has no answer
            if tool == "peaks":
                raise
            crash = f"{type(error).__name__}: {error}".splitlines()[0]
    return {
        "found": found,
        "steps": counter.num_steps,
        "errors": device.num_errors + counter.num_errors,
        "elapsed_s": time.perf_counter() - started_s,
        **({"crash": crash} if crash else {}),
    }


class Counter:
    """Counts optimizer steps, and errors that the workload itself throws."""

    def __init__(self) -> None:
        self.num_steps = self.num_errors = 0

    def watch(self, workload: Workload) -> Workload:
        workload.optimizer.register_step_post_hook(self._count_step)
        original = workload.batch

        def batch(n: int) -> Any:
            try:
                return original(n)
            except torch.OutOfMemoryError as error:
                self.num_errors += "samples" in str(error)
                raise

        workload.batch = batch
        return workload

    def _count_step(self, *_: Any) -> None:
        self.num_steps += 1


def peak(make: Callable[[], Workload], device: LimitedDevice, micro_batch: int) -> int:
    """The most bytes of live tensors in two steps and an evaluation."""
    kept_bytes = device.live_bytes
    device.peak_bytes = kept_bytes
    run(make(), micro_batch, 2)
    return device.peak_bytes - kept_bytes


def run(workload: Workload, micro_batch: int, num_steps: int) -> None:
    step = TrainingStep(workload, CPU, micro_batch, 1, lambda _: contextlib.nullcontext())
    for _ in range(num_steps):
        step.run()
    if workload.eval_step is not None:
        with torch.no_grad():
            workload.eval_step()


def accelerate(make: Callable[[], Workload], start: int) -> int:
    from accelerate.utils import find_executable_batch_size

    @find_executable_batch_size(starting_batch_size=start)
    def train(batch_size: int) -> int:
        run(make(), batch_size, STEPS_PER_TRIAL)
        return batch_size

    return int(train())


def lightning(workload: Workload, mode: str, folder: str) -> int | None:
    import lightning.pytorch as pl
    from lightning.pytorch.tuner import Tuner

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.batch_size = workload.model, 2

        def training_step(self, count: int, _: int) -> torch.Tensor:
            return workload.loss(self.model, workload.batch(count))  # on the device only now, as after a transfer

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return workload.optimizer

        def on_train_batch_end(self, *_: Any) -> None:
            if workload.ema is not None:
                workload.ema.update()

        def train_dataloader(self) -> torch.utils.data.DataLoader:
            return torch.utils.data.DataLoader(range(1_000_000), batch_size=self.batch_size, collate_fn=len)

    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=workload.clip_norm,
    )
    return Tuner(trainer).scale_batch_size(Module(), mode=mode)


if __name__ == "__main__":
    main()
