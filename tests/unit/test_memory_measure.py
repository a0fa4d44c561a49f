"""Live tensors against sizes that are known beforehand, and the growth of the resident set."""

import gc

import pytest
import torch

from advisor.errors import UsageError
from advisor.measure.memory import LiveTensors, TensorMeter, meter_for
from advisor.measure.worker import NonFiniteLossError, Stepper
from advisor.workload import synthetic
from advisor.workload.protocol import Workload
from advisor.workload.state import static_breakdown

MEGA = 1_000_000
CPU = torch.device("cpu")


def tracked() -> LiveTensors:
    gc.collect()
    tracker = LiveTensors("cpu")
    tracker.add_existing(torch.nn.Linear(1, 1))
    return tracker


def test_the_peak_counts_what_lives_at_once_and_forgets_what_is_freed() -> None:
    tracker = tracked()
    before = tracker.live_bytes
    with tracker:
        first = torch.ones(MEGA)
        second = first + 1
        del first
        third = second * 2
        del second, third
    assert tracker.peak_bytes - before == 2 * 4 * MEGA
    assert tracker.live_bytes == before


def test_views_and_in_place_operations_take_nothing() -> None:
    tracker = tracked()
    with tracker:
        base = torch.ones(MEGA)
        once = tracker.live_bytes
        view = base.view(1000, 1000).t()[:10]
        base.add_(1)
        assert tracker.live_bytes == once
        assert view.shape == (10, 1000)


def test_tensors_made_before_are_counted() -> None:
    before = tracked().live_bytes
    data = torch.ones(MEGA)
    assert tracked().live_bytes - before == 4 * MEGA
    assert len(data) == MEGA


def test_other_devices_are_not_counted() -> None:
    tracker = tracked()
    before = tracker.live_bytes
    with tracker:
        abstract = torch.ones(MEGA, device="meta") + 1
        assert tracker.live_bytes == before
        assert abstract.is_meta


@pytest.mark.parametrize(("micro_batch", "accumulation"), [(2, 1), (8, 1), (4, 3)])
def test_the_synthetic_step_takes_exactly_what_it_says(micro_batch: int, accumulation: int) -> None:
    num_features = 50_000
    gc.collect()
    elsewhere_bytes = tracked().live_bytes
    workload = synthetic.make("cpu", num_features=num_features)
    stepper = Stepper(workload, CPU, micro_batch, accumulation, meter_for(CPU))
    stepper.step(tracks_memory=False)
    report = stepper.step(tracks_memory=True)

    known = synthetic.static_bytes(num_features)
    for name, num_bytes in known.items():
        assert getattr(report.breakdown, name) == num_bytes, name
    assert report.phase_bytes is not None
    kept_bytes = sum(known.values()) - known["gradients_bytes"]
    peak_bytes = report.phase_bytes["first_micro_batch"] - elsewhere_bytes
    assert peak_bytes == pytest.approx(kept_bytes + synthetic.micro_batch_bytes(num_features, micro_batch), abs=200)
    if accumulation > 1:
        later_bytes = report.phase_bytes["later_micro_batches"] - elsewhere_bytes
        assert later_bytes - peak_bytes == pytest.approx(known["gradients_bytes"], abs=200)
    assert report.peak_allocated_bytes == max(report.phase_bytes.values())


def test_storage_that_is_shared_counts_once() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(100, 100, bias=False), torch.nn.Linear(100, 100, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    class KeepsTheModel:
        def __init__(self) -> None:
            self.model, self.shadow = model, {"weights": [model[0].weight.detach().clone()]}

        def update(self) -> None: ...

    workload = Workload(
        model=model, optimizer=optimizer, batch=lambda n: torch.ones(n, 100), loss=lambda m, x: m(x).sum(),
        ema=KeepsTheModel(),
    )  # fmt: skip
    breakdown = static_breakdown(workload)
    assert breakdown.weights_bytes == breakdown.ema_bytes == 4 * 100 * 100
    assert breakdown.gradients_bytes == breakdown.optimizer_bytes == 0


def test_the_resident_set_grows_with_what_is_touched_and_keeps_its_peak() -> None:
    meter = TensorMeter(CPU)
    data = torch.ones(16 * MEGA)
    grown = meter.reserved_bytes()
    del data
    assert grown is not None and grown >= 0.9 * 64 * MEGA
    assert meter.reserved_bytes() == pytest.approx(grown, rel=0.05)


# ---- the step itself ----------------------------------------------------------------------------


def linear_workload(loss_factor: float = 1.0, **parts: object) -> Workload:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    fixed = torch.randn(12, 4)
    seen = {"k": 0}

    def batch(n: int) -> torch.Tensor:
        start = seen["k"] % 12
        seen["k"] += n
        return fixed[start : start + n]

    arguments = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batch": batch,
        "loss": lambda model, x: model(x).square().mean() * loss_factor,
    }
    return Workload(**{**arguments, **parts})  # type: ignore[arg-type]


def weights_after(micro_batch: int, accumulation: int, **parts: object) -> torch.Tensor:
    workload = linear_workload(**parts)
    stepper = Stepper(workload, CPU, micro_batch, accumulation, meter_for(CPU))
    for _ in range(3):
        stepper.step(tracks_memory=False)
    return workload.model.weight.detach().clone()  # type: ignore[union-attr, operator, return-value]


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_accumulation_makes_the_same_step(clip_norm: float | None) -> None:
    whole = weights_after(12, 1, clip_norm=clip_norm)
    assert torch.allclose(whole, weights_after(4, 3, clip_norm=clip_norm), atol=1e-6)
    assert not torch.allclose(whole, weights_after(12, 1, clip_norm=1e-4), atol=1e-6)


def test_a_loss_that_is_not_finite_is_told_apart() -> None:
    stepper = Stepper(linear_workload(float("nan")), CPU, 4, 1, meter_for(CPU))
    with pytest.raises(NonFiniteLossError):
        stepper.step(tracks_memory=False)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda model, x: 3.0, "one number; found float"),
        (lambda model, x: model(x), r"found a tensor of shape \(4, 1\)"),
        (lambda model, x: model(x).mean().detach(), "without gradient"),
    ],
)
def test_a_loss_that_cannot_be_trained_on_says_why(loss: object, message: str) -> None:
    stepper = Stepper(linear_workload(loss=loss), CPU, 4, 1, meter_for(CPU))
    with pytest.raises(UsageError, match=message):
        stepper.step(tracks_memory=False)


def test_the_average_moves_once_a_step() -> None:
    class Counter:
        updates = 0

        def update(self) -> None:
            self.updates += 1

    ema = Counter()
    Stepper(linear_workload(ema=ema), CPU, 4, 3, meter_for(CPU)).step(tracks_memory=True)
    assert ema.updates == 1
