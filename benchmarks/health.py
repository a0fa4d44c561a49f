"""Planted faults: is each found by its own alarm and by no other, and are healthy runs left in peace?

Real runs of the tiny preset on the bundled digits, in folders that are deleted afterwards. Faults go in through what a
user could get wrong (configuration, pictures, labels) or through one replaced function of the trainer. Runs with a
fault are stopped at a share of their length; what is counted is where the alarm came.

    python -m benchmarks.health [--only NAME ...] [--json]      faults and healthy runs
    python -m benchmarks.health --cost [--rounds N] [--json]    the same run with and without checks, interleaved
"""

import argparse
import contextlib
import dataclasses
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

import trainer.latents
import trainer.loop
import trainer.order
from advisor.errors import CfgadviseError
from trainer.data import Pictures, load_pictures, split_pictures
from trainer.diffusion import NUM_TIMES, Objective
from trainer.ema import Ema
from trainer.folder import open_run
from trainer.health.monitor import Health
from trainer.occasions import Observers
from trainer.plan import plan_config, survey
from trainer.run import Run
from trainer.stop import StopRequest

Patch = Callable[[], contextlib.AbstractContextManager[object]]
SAMPLES, FAULT_SHARE, FOUND_WITHIN = 40_000, 0.16, 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One run: what is wrong with it, and which alarms say so. ``share`` of the run is trained."""

    name: str
    expected: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    pictures: Callable[[Pictures], Pictures] = lambda pictures: pictures
    patch: Patch = contextlib.nullcontext
    share: float = FAULT_SHARE
    samples: int = SAMPLES


class _Enough(Exception):
    """The planned share of the run is trained."""


# ---- faults -------------------------------------------------------------------------------------


def shuffled(pictures: Pictures) -> Pictures:
    """The same labels, on other pictures."""
    return dataclasses.replace(pictures, labels=np.random.default_rng(0).permutation(pictures.labels))


def sixty(pictures: Pictures) -> Pictures:
    """Six pictures of each digit."""
    chosen = np.sort(np.concatenate([np.flatnonzero(pictures.labels == digit)[:6] for digit in range(10)]))
    return dataclasses.replace(
        pictures,
        names=tuple(pictures.names[k] for k in chosen),
        digests=tuple(pictures.digests[k] for k in chosen),
        pixels=pictures.pixels[chosen],
        labels=pictures.labels[chosen],
    )


def zeroed_bucket(bucket: int) -> Patch:
    """The training step's weights are 0 in one eighth of the schedule; validation keeps its own."""

    class Zeroed(Objective):
        def weights(self, time_B: torch.Tensor) -> torch.Tensor:
            return super().weights(time_B) * (time_B * 8 // NUM_TIMES != bucket)

    return lambda: mock.patch.object(trainer.loop, "Objective", Zeroed)


def encoded_as(change: Callable[[torch.Tensor, np.ndarray], torch.Tensor]) -> Patch:
    """What comes out of the codec is changed."""
    encode = trainer.latents.Pixels.encode
    return lambda: mock.patch.object(
        trainer.latents.Pixels, "encode", lambda self, pixels: change(encode(self, pixels), pixels)
    )


def one_nan(x_NCHW: torch.Tensor, _pixels: np.ndarray) -> torch.Tensor:
    x_NCHW[1000, 0, 3, 3] = float("nan")
    return x_NCHW


def nan_later() -> contextlib.AbstractContextManager[object]:
    """The loss of one picture is NaN, though the picture is not."""
    whole = trainer.loop.Stepper._losses

    def broken(self: Any, draw: Any, chosen: slice) -> torch.Tensor:
        return torch.where((draw.item_B[chosen] == 1000), float("nan"), whole(self, draw, chosen))

    return mock.patch.object(trainer.loop.Stepper, "_losses", broken)


def same_batch() -> contextlib.AbstractContextManager[object]:
    """The place in the data is not moved on."""
    indices = trainer.order.batch_indices
    return mock.patch.object(
        trainer.order, "batch_indices", lambda seed, num_items, _seen, batch: indices(seed, num_items, 0, batch)
    )


def same_epochs() -> contextlib.AbstractContextManager[object]:
    """Every epoch has the order of the first."""
    order = trainer.order._epoch_order
    return mock.patch.object(trainer.order, "_epoch_order", lambda seed, num_items, _epoch: order(seed, num_items, 0))


def blind_to_labels() -> contextlib.AbstractContextManager[object]:
    """Labels are right, but the training step always gets the first one."""
    whole = trainer.loop.Stepper.__init__

    def blind(self: Any, state: Any, data: Any, *arguments: Any, **named: Any) -> None:
        whole(self, state, dataclasses.replace(data, label_N=data.label_N * 0), *arguments, **named)

    return mock.patch.object(trainer.loop.Stepper, "__init__", blind)


CASES = (
    Case(name="healthy, seed 1", share=1.0),
    *(Case(name=f"healthy, seed {seed}", changes={"seed": seed}, share=1.0, samples=20_000) for seed in (2, 3, 4, 5)),
    Case(name="learning rate 30x", expected=frozenset({"lr_too_high"}), changes={"lr": 0.03}),
    Case(name="learning rate / 100", expected=frozenset({"lr_too_low"}), changes={"lr": 1e-5}),
    Case(name="labels shuffled", expected=frozenset({"labels_unrelated"}), pictures=shuffled),
    Case(name="labels not used", expected=frozenset({"label_ignored"}), patch=blind_to_labels),
    Case(
        name="60 pictures",
        expected=frozenset({"copies_expected"}),
        allowed=frozenset({"overfit"}),
        pictures=sixty,
        share=0.5,
    ),
    Case(name="bucket 1 not weighted", expected=frozenset({"bucket_untrained"}), patch=zeroed_bucket(0)),
    Case(name="bucket 4 not weighted", expected=frozenset({"bucket_untrained"}), patch=zeroed_bucket(3)),
    Case(name="NaN in one latent", expected=frozenset({"data_non_finite"}), patch=encoded_as(one_nan)),
    Case(name="NaN in one step", expected=frozenset({"non_finite_step"}), patch=nan_later),
    Case(
        name="EMA not updated",
        expected=frozenset({"ema_stuck"}),
        patch=lambda: mock.patch.object(Ema, "update", lambda *_: None),
    ),
    Case(name="same batch again", expected=frozenset({"order_stuck"}), patch=same_batch),
    Case(name="same order each epoch", expected=frozenset({"order_repeats"}), patch=same_epochs),
    Case(
        name="pixels 0 to 255",
        expected=frozenset({"data_scale"}),
        patch=encoded_as(lambda _, pixels: torch.from_numpy(pixels).float()),
    ),
    Case(
        name="guidance 20",
        expected=frozenset({"samples_overdriven"}),
        changes={"guidance": 20.0, "num_milestones": 12},
    ),
)


# ---- runs ---------------------------------------------------------------------------------------


def run_case(case: Case, folder: Path) -> dict[str, Any]:
    """Train it; returns its alarms with the share of the run at which each came."""
    alarms: list[dict[str, Any]] = []
    seen, samples = [0], case.samples

    def on_progress(progress: Any) -> None:
        seen[0] = progress.samples
        if progress.samples >= case.share * samples and case.share < 1:
            raise _Enough

    changes = {"seed": 1, "samples": samples, "num_milestones": 1, **case.changes}
    config, _ = plan_config(survey("digits"), "cpu", changes)
    pictures = case.pictures(load_pictures("digits", config.image_size))
    error = None
    with case.patch(), open_run(folder) as place, StopRequest() as stop:
        split = split_pictures(pictures.labels, config.held_out_frac, config.seed)
        observers = Observers(on_progress=on_progress, on_note=lambda note: None)
        run = Run(place, config, pictures, split, "cpu", observers, device_name="cpu")
        run.write_plan({}, None)
        try:
            run.execute(stop)
        except _Enough:
            pass
        except CfgadviseError as raised:
            error = f"{type(raised).__name__}: {raised}"
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event in events:
        if event["kind"] == "alarm":
            alarms.append({"id": event["id"], "at_frac": event["samples"] / samples, "values": event["values"]})
    return {"name": case.name, "samples": samples, "trained_frac": seen[0] / samples, "alarms": alarms, "error": error}


def judged(case: Case, found: dict[str, Any]) -> dict[str, Any]:
    """Whether it is as it should be: its alarm within a tenth of the run, and no other at all."""
    ids = [one["id"] for one in found["alarms"]]
    in_time = {one["id"] for one in found["alarms"] if one["at_frac"] <= FOUND_WITHIN + 1e-9}
    right = case.expected <= in_time and not set(ids) - case.expected - case.allowed
    return {**found, "expected": sorted(case.expected), "as_it_should_be": right}


def faults(names: list[str], *, quiet: bool) -> Iterator[dict[str, Any]]:
    for case in CASES:
        if names and not any(case.name.startswith(name) for name in names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = judged(case, run_case(case, Path(folder) / "run"))
        if not quiet:
            print(line(found), file=sys.stderr, flush=True)
        yield found


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    alarms = ", ".join(f"{one['id']} at {100 * one['at_frac']:.1f} %" for one in found["alarms"]) or "no alarm"
    return f"{'ok  ' if found['as_it_should_be'] else 'BAD '}{found['name']:24} {alarms}"


def cost(rounds: int, stop_at: int, *, quiet: bool) -> dict[str, Any]:
    """Processor time of the first part of a run without and with checks: pairs, each in random order."""
    pairs, shares = [], []
    random = np.random.default_rng(0)
    for _ in range(rounds):
        times_s: dict[bool, float] = {}
        for watch in random.permutation([False, True]).tolist():
            with tempfile.TemporaryDirectory() as folder:
                times_s[watch], inside_s = _cpu_times_s(Path(folder) / "run", stop_at, watch)
            if watch:
                rest_s = times_s[watch] - sum(inside_s.values())
                shares.append({name: spent_s / rest_s for name, spent_s in inside_s.items()})
        pairs.append(times_s[True] / times_s[False])
        if not quiet:
            print(f"with / without: {pairs[-1]:.4f}, inside the checks: {shares[-1]}", file=sys.stderr, flush=True)
    return {
        "rounds": rounds,
        "samples": stop_at,
        "ratios": pairs,
        "median_ratio": statistics.median(pairs),
        "shares_inside_the_checks": shares,
        "median_share": statistics.median(sum(one.values()) for one in shares),
    }


def _cpu_times_s(folder: Path, stop_at: int, watch: bool) -> tuple[float, dict[str, float]]:
    """Processor seconds from the first step to ``stop_at`` samples, and those of them spent inside the checks."""
    ended_s, inside_s = [0.0], dict.fromkeys(("start", "stepped", "reported", "validated"), 0.0)

    def on_progress(progress: Any) -> None:
        ended_s[0] = time.process_time()
        if progress.samples >= stop_at:
            raise _Enough

    def clocked(name: str) -> Callable[..., Any]:
        function = getattr(Health, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            before_s = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                inside_s[name] += time.process_time() - before_s

        return timed

    config, _ = plan_config(survey("digits"), "cpu", {"seed": 1, "samples": SAMPLES, "num_milestones": 1})
    pictures = load_pictures("digits", config.image_size)
    split = split_pictures(pictures.labels, config.held_out_frac, config.seed)
    with contextlib.ExitStack() as patches, open_run(folder) as place, StopRequest() as stop:
        for name in inside_s:
            patches.enter_context(mock.patch.object(Health, name, clocked(name)))
        observers = Observers(on_progress=on_progress, on_note=lambda note: None)
        run = Run(place, config, pictures, split, "cpu", observers, device_name="cpu", watch_health=watch)
        run.write_plan({}, None)
        started_s = time.process_time()
        with contextlib.suppress(_Enough):
            run.execute(stop)
    return ended_s[0] - started_s, inside_s


def machine() -> dict[str, Any]:
    """Where this was run."""
    from advisor.hardware.probe import probe

    host = probe().host
    return {
        "cpu": host.cpu_name,
        "num_cores": host.num_cores,
        "threads": torch.get_num_threads(),
        "os": platform.system(),
        "python": host.python_version,
        "torch": host.torch_version,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="cases whose name begins so")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=4000, help="of a run of 40,000 whose cost is measured")
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    if options.cost:
        result: dict[str, Any] = {"cost": cost(options.rounds, options.samples, quiet=options.json)}
    else:
        cases = list(faults(options.only, quiet=options.json))
        result = {"cases": cases, "num_right": sum(one["as_it_should_be"] for one in cases), "num_cases": len(cases)}
    result = {"schema": "cfgadvise.benchmark/1", "name": "health", "machine": machine(), **result}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
