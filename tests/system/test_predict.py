"""Predictions from real child processes with a simulated GPU: against direct traces, known bytes, and refusals."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from advisor import schema
from advisor.errors import DeviceError, UsageError, WorkloadError
from advisor.predict.affine import fit
from advisor.predict.allocator import replay
from advisor.predict.cards import card_named
from advisor.predict.memory import WIDE_HIGH_FRAC, WIDE_LOW_FRAC, MemoryModel, predict_memory
from advisor.predict.messages import TraceOrder
from advisor.predict.simulation import Simulation
from advisor.predict.trace import Trace
from advisor.records import Advice
from advisor.workload import synthetic
from tests.fakes import small_nets

Kind = tuple[str, str, int]
NETS = str(Path(__file__).resolve().parents[1] / "fakes" / "small_nets.py")
P100 = card_named("Tesla P100")
TIMEOUT_S = 200
PROBES, FACTORS = (4, 8, 16), (4, 8, 16)
PRECISIONS = ("fp32", "bf16")
KINDS = (  # the last: with gradient checkpointing
    *product(("unet", "dit", "transformer", "resnet"), PRECISIONS, (0,)),
    *product(("dit",), PRECISIONS, (1,)),
    ("unet", "fp32", 1),
)


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with Simulation() as children:
        yield children


def predict(simulation: Simulation, function: str, **parameters: str | int) -> MemoryModel:
    return predict_memory(f"{NETS}:{function}", parameters, P100, simulation=simulation, timeout_s=TIMEOUT_S)


def order(function: str, micro_batch: int, **parameters: str | int) -> TraceOrder:
    return TraceOrder(
        spec=f"{NETS}:{function}",
        parameters=dict(parameters),
        compute_capability=8.0,
        micro_batch=micro_batch,
        accumulation=2,
        num_steps=2,
    )


@pytest.fixture(scope="module")
def traces(simulation: Simulation) -> Callable[[Kind], list[Trace]]:
    """At the probes' batches, then directly at those to predict."""
    batches = (*PROBES, *(PROBES[-1] * factor for factor in FACTORS))

    @functools.cache
    def traces_of(kind: Kind) -> list[Trace]:
        net, precision, checkpointing = kind
        given = {"net": net, "precision": precision, "checkpointing": checkpointing}
        orders = [order("make", batch, **given) for batch in batches]
        return [one.trace for one in simulation.trace_all(orders, timeout_s=TIMEOUT_S)]

    return traces_of


@pytest.mark.parametrize("kind", KINDS)
def test_the_replay_is_what_a_direct_trace_shows_up_to_sixteen_times_the_batch(
    kind: Kind, traces: Callable[[Kind], list[Trace]]
) -> None:
    """Accumulation, clipping and EMA are in every step."""
    probes, truths = traces(kind)[:3], traces(kind)[3:]
    found = fit(probes)
    assert found.degree == 1
    for truth in truths:
        expected = replay(truth.events, truth.sizes_bytes)
        predicted = replay(found.events, found.at(truth.micro_batch))
        assert predicted.peak_allocated_bytes == pytest.approx(expected.peak_allocated_bytes, rel=0.005)
        assert predicted.peak_reserved_bytes == pytest.approx(expected.peak_reserved_bytes, rel=0.02)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_checkpointing_keeps_less(precision: str, traces: Callable[[Kind], list[Trace]]) -> None:
    kept, recomputed = (traces(("dit", precision, checkpointing))[-1] for checkpointing in (0, 1))
    peaks = [replay(one.events, one.sizes_bytes).peak_allocated_bytes for one in (kept, recomputed)]
    assert peaks[1] < 0.7 * peaks[0]


def test_bytes_that_are_known_beforehand(simulation: Simulation) -> None:
    num_features = 1_000_000
    model = predict(simulation, "sized", num_features=num_features)
    assert model.is_simulated
    breakdown = model.breakdown(P100)
    known = synthetic.static_bytes(num_features)
    assert {name: getattr(breakdown, name) for name in known} == known
    assert breakdown.activations_bytes_per_sample == pytest.approx(8 * num_features, rel=0.01)
    assert breakdown.workspaces_bytes == model.workspaces_bytes(16)
    at_16 = model.replay(16)
    assert breakdown.fragmentation_bytes == at_16.peak_reserved_bytes - at_16.peak_allocated_bytes > 0
    static_bytes = known["weights_bytes"] + known["optimizer_bytes"] + known["ema_bytes"]
    expected = static_bytes + synthetic.micro_batch_bytes(num_features, 50)
    assert model.phase_bytes(50)["first_micro_batch"] == pytest.approx(expected, rel=0.01)
    at_50 = model.at(50)
    assert at_50.low < at_50.reserved_bytes < at_50.high
    assert at_50.reserved_bytes >= expected


def test_the_largest_batch_is_the_last_that_fits(simulation: Simulation) -> None:
    model = predict(simulation, "make", net="resnet")
    budget_bytes = 2**30
    safe = model.largest_safe(budget_bytes)
    assert model.at(safe).high <= budget_bytes < model.at(safe + 1).high
    limits = model.limits(budget_bytes)
    assert safe <= limits.safe <= limits.retrying
    assert model.replay(limits.retrying, limit_bytes=budget_bytes).fits
    assert not model.replay(limits.retrying + 1, limit_bytes=budget_bytes).fits
    assert model.largest_safe(budget_bytes, most=3) == 3
    assert model.largest_safe(2**20) == 0


def test_an_optimizer_made_before_the_move_and_shared_weights_are_followed(simulation: Simulation) -> None:
    breakdown = predict(simulation, "early_optimizer").breakdown(P100)
    assert breakdown.weights_bytes == breakdown.gradients_bytes == 512 * 512 * 4
    assert breakdown.optimizer_bytes == pytest.approx(2 * 512 * 512 * 4, abs=16)


def test_memory_that_grows_with_the_square_is_fitted_with_the_square(simulation: Simulation) -> None:
    model = predict(simulation, "contrastive")
    assert model.fit.degree == 2
    smaller, larger = (model.replay(micro_batch) for micro_batch in (4000, 8000))
    assert 3.5 < larger.peak_allocated_bytes / smaller.peak_allocated_bytes < 4.1
    assert larger.peak_reserved_bytes > 3.5 * smaller.peak_reserved_bytes  # segments may fit worse or better


def test_a_step_that_is_another_at_every_batch_is_refused(simulation: Simulation) -> None:
    with pytest.raises(DeviceError, match=r"does not do the same.*real device"):
        predict(simulation, "chunks")


def test_a_step_that_needs_values_is_refused_with_the_line(simulation: Simulation) -> None:
    line = 1 + next(k for k, text in enumerate(Path(NETS).read_text().splitlines()) if "# this line" in text)
    with pytest.raises(UsageError, match=rf"small_nets\.py, line {line}, needs the values") as refused:
        predict(simulation, "reads_values")
    assert not isinstance(refused.value, WorkloadError)


def test_the_users_own_mistake_is_shown_as_such(simulation: Simulation) -> None:
    with pytest.raises(WorkloadError, match="KeyError") as raised:
        predict(simulation, "make", net="no such net")
    assert "small_nets.py" in raised.value.traceback_text


def test_the_users_code_sees_a_cuda_card_and_a_real_cpu(simulation: Simulation) -> None:
    assert simulation.trace_all([order("looks_around", 4)], timeout_s=TIMEOUT_S)[0].evaluation_problem is None


def test_every_phase_of_a_step_has_its_peak(simulation: Simulation) -> None:
    model = predict(simulation, "samples")
    peaks = model.phase_bytes(4)
    assert list(peaks) == ["build", "first_micro_batch", "clip", "optimizer", "ema", "evaluation"]
    decoded_bytes = small_nets.NUM_SAMPLES * (3 + 16) * small_nets.DECODED_SIZE**2 * 4
    assert peaks["evaluation"] >= peaks["build"] + decoded_bytes
    assert model.at(2).reserved_bytes >= peaks["evaluation"] > peaks["first_micro_batch"]


def test_float16_with_loss_scaling(simulation: Simulation) -> None:
    """Half-precision activations take about half; the scaler's checks need no values."""
    full, half = (predict(simulation, "make", net="transformer", precision=name) for name in ("fp32", "fp16"))
    assert 0.4 < half.at(512).reserved_bytes / full.at(512).reserved_bytes < 0.9
    assert (full.built.precision, half.built.precision) == (None, "fp16")


def test_a_card_without_bfloat16_emulates_it(simulation: Simulation) -> None:
    """As PyTorch does on a real P100: the step runs, though slowly, and its memory can be told."""
    half = predict(simulation, "make", net="unet", precision="bf16")
    assert half.built.precision == "bf16"
    assert half.at(256).reserved_bytes > half.at(128).reserved_bytes


@pytest.mark.parametrize(
    "other_torch",
    [
        "import torch; del torch._C._ExcludeDispatchKeyGuard",
        "from torch.utils import backend_registration as b; b._setup_privateuseone_for_python_backend = lambda: None",
    ],
    ids=("a private part is gone", "a private part means something else"),
)
def test_where_this_torch_cannot_simulate_a_card_there_is_an_answer_with_a_wider_margin(
    other_torch: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(other_torch)  # Python runs it at the start of every process
    step = tmp_path / "my_step.py"
    step.write_text("import small_nets\n\ndef make(device):\n    return small_nets.make(device, net='transformer')\n")
    command = ["recommend", "--gpu", "P100", "--workload", f"{step}:make", "--dataset-size", "1550", "--json"]
    run = subprocess.run(
        [sys.executable, "-m", "advisor", *command],
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(NETS).parent)])},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    advice = schema.from_json(Advice, run.stdout, where="stdout")
    assert "kernels_of_cpu" in {one.id for one in advice.warnings}
    peak = advice.recommended.peak_reserved_bytes
    assert (peak.basis, peak.low, peak.high) == (
        "predicted",
        round(WIDE_LOW_FRAC * peak.value),
        round(WIDE_HIGH_FRAC * peak.value),
    )
