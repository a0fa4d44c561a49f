"""The meter on a real CUDA device: known bytes, the cap, and a clean out-of-memory."""

import pytest
import torch

from advisor.measure.campaign import Place, Subject, measure_settings
from advisor.measure.memory import CudaMeter
from advisor.measure.messages import BuildOrder, Failure, StepReport
from advisor.measure.sandbox import Sandbox
from advisor.measure.worker import Stepper
from advisor.predict.allocator import replay
from advisor.predict.trace import Trace
from advisor.recommend.largest import Bounds, find_largest
from advisor.workload import synthetic

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
SYNTHETIC = "advisor.workload.synthetic:make"
ROUNDING_BYTES = 64 * 512  # the allocator rounds every block up


def test_allocated_bytes_are_those_that_are_known() -> None:
    """Weights of 4 MiB fill the allocator's segments exactly: it never gives more than was asked for."""
    device, num_features = torch.device("cuda:0"), 2**20
    stepper = Stepper(synthetic.make(device, num_features=num_features), device, 8, 1, CudaMeter(device))
    stepper.step(tracks_memory=True)
    report = stepper.step(tracks_memory=True)
    known = synthetic.static_bytes(num_features)
    kept_bytes = sum(known.values()) - known["gradients_bytes"]
    assert report.phase_bytes is not None
    assert report.phase_bytes["first_micro_batch"] == pytest.approx(
        kept_bytes + synthetic.micro_batch_bytes(num_features, 8), abs=ROUNDING_BYTES
    )
    assert report.peak_reserved_bytes is not None
    assert report.peak_allocated_bytes is not None
    assert report.peak_reserved_bytes >= report.peak_allocated_bytes


def test_the_cap_ends_in_a_clean_out_of_memory() -> None:
    order = BuildOrder(
        spec=SYNTHETIC, parameters={"num_features": 1_000_000}, device="cuda:0", micro_batch=256, accumulation=1,
        cap_bytes=2**30,
    )  # fmt: skip
    with Sandbox(SYNTHETIC) as sandbox:
        sandbox.build(order, timeout_s=120)
        failure = sandbox.step(tracks_memory=False, timeout_s=120)
    assert isinstance(failure, Failure)
    assert failure.outcome == "oom"


def test_settings_are_compared_on_the_device() -> None:
    subject = Subject(spec=SYNTHETIC, parameters={"num_features": 100_000, "alpha_s": 0.02})
    place = Place(torch_device="cuda:0", environment={}, budget_bytes=4 * 2**30)
    campaign = measure_settings([(8, 2), (16, 1)], subject, place)
    assert [p.measurement.outcome for p in campaign.points] == ["ok", "ok"]
    ratio = campaign.points[1].ratio_to_present
    assert ratio is not None
    assert ratio.median < 0.9


def test_the_allocators_own_history_replays_to_what_was_reserved() -> None:
    order = BuildOrder(
        spec=SYNTHETIC, parameters={"num_features": 1_000_000}, device="cuda:0", micro_batch=16, accumulation=2,
        cap_bytes=None, keeps_history=True,
    )  # fmt: skip
    with Sandbox(SYNTHETIC) as sandbox:
        sandbox.build(order, timeout_s=120)
        steps = [sandbox.step(tracks_memory=False, timeout_s=120) for _ in range(2)]
        history = sandbox.history(timeout_s=120)
    assert isinstance(history, Trace)
    assert isinstance(steps[-1], StepReport)
    replayed = replay(history.events, history.sizes_bytes)
    assert replayed.peak_reserved_bytes == pytest.approx(steps[-1].peak_reserved_bytes, rel=0.02)


def test_the_largest_micro_batch_is_found_within_a_budget_without_running_out() -> None:
    budget_bytes = 2**30
    found = find_largest(
        Subject(spec=SYNTHETIC, parameters={"num_features": 1_000_000}),
        Place(torch_device="cuda:0", environment={}, budget_bytes=budget_bytes),
        Bounds(
            budget_bytes=budget_bytes, num_items=100_000, max_batch=None, start=4, accumulation=1, time_limit_s=200,
            timeout_s=120,
        ),
        capability=float(".".join(map(str, torch.cuda.get_device_capability()))),
        on_progress=lambda _: None,
    )  # fmt: skip
    assert found.micro_batch is not None
    assert 0.9 * budget_bytes <= 8_000_000 * found.micro_batch <= budget_bytes
    assert (found.stop, found.oom_count) == ("memory", 0)
    assert found.steps_run <= 9
