"""The training step and loop: accumulation, out of memory, non-finite values, signals."""

import math
import signal

import pytest
import torch
from small_run import NUM_CLASSES, SMALL, small_config, small_data, small_state

from advisor.errors import DeviceError, Interrupted, NonFiniteError
from advisor.records import Note
from trainer.config import TrainConfig
from trainer.ema import Ema
from trainer.loop import Due, Stepper, TrainingData, train
from trainer.model import build_model, make_optimizer
from trainer.state import TrainState
from trainer.stop import StopRequest


def _weights(state) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in state.model.parameters()])


def _stepper(micro_batch: int, accumulation: int, **changes) -> tuple[Stepper, object]:
    config = small_config(micro_batch=micro_batch, accumulation=accumulation, **changes)
    state = small_state(config)
    return Stepper(state, small_data(), config), state


def _gradient_of_first_step(micro_batch: int, accumulation: int) -> torch.Tensor:
    stepper, state = _stepper(micro_batch, accumulation, clip_norm=1e9)
    kept = []
    state.optimizer.register_step_pre_hook(
        lambda *_: kept.append(torch.cat([p.grad.flatten().clone() for p in state.model.parameters()]))
    )
    stepper.step()
    return kept[0]


@pytest.mark.parametrize(("micro_batch", "accumulation"), [(8, 2), (4, 4)])
def test_the_gradient_does_not_depend_on_how_the_batch_is_cut(micro_batch, accumulation):
    whole, cut = _gradient_of_first_step(16, 1), _gradient_of_first_step(micro_batch, accumulation)
    assert (whole - cut).abs().max() < 1e-5


@pytest.mark.parametrize(("micro_batch", "accumulation"), [(8, 2), (4, 4)])
def test_fifty_steps_do_not_depend_on_how_the_batch_is_cut(micro_batch, accumulation):
    ends = []
    for layout in ((16, 1), (micro_batch, accumulation)):
        stepper, state = _stepper(*layout)
        start = _weights(state)
        for _ in range(50):
            stepper.step()
        ends.append(_weights(state))
    assert (ends[0] - start).abs().max() > 1e-3  # it did train
    assert (ends[0] - ends[1]).abs().max() < 1e-4


def test_bfloat16_follows_single_precision():
    losses = []
    for precision in ("fp32", "bf16"):
        stepper, _ = _stepper(16, 1, precision=precision)
        losses.append(torch.stack([stepper.step()[0] for _ in range(10)]))
    assert not torch.equal(losses[0], losses[1])
    assert torch.allclose(losses[0], losses[1], rtol=0.05)


def _raise_above(monkeypatch, largest: int) -> None:
    whole = Stepper._losses

    def limited(self, draw, chosen):
        if len(draw.item_B[chosen]) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(self, draw, chosen)

    monkeypatch.setattr(Stepper, "_losses", limited)


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_numbers(monkeypatch):
    expected, from_the_start = _stepper(4, 4)
    for _ in range(3):
        expected.step()
    _raise_above(monkeypatch, largest=4)
    stepper, state = _stepper(16, 1)
    for _ in range(3):
        stepper.step()
    assert stepper.micro_batch == 4
    assert torch.allclose(_weights(state), _weights(from_the_start), atol=1e-6)


def test_out_of_memory_at_one_sample_is_a_device_error(monkeypatch):
    _raise_above(monkeypatch, largest=0)
    stepper, _ = _stepper(2, 1)
    with pytest.raises(DeviceError, match="micro-batch 1"):
        stepper.step()


def test_out_of_memory_stops_at_once_if_the_user_says_so(monkeypatch):
    _raise_above(monkeypatch, largest=8)
    config = small_config()
    stepper = Stepper(small_state(config), small_data(), config, shrink_on_oom=False)
    with pytest.raises(DeviceError, match="micro-batch 16"):
        stepper.step()


class _Notes:
    """What the loop asked for, in order."""

    def __init__(self, stop: StopRequest | None = None, interrupt_at: int = -1) -> None:
        self.calls: list[object] = []
        self._stop, self._interrupt_at = stop, interrupt_at

    def due(self) -> Due:
        return Due(
            validate=lambda: self.calls.append("validate"),
            milestone=lambda k: self.calls.append(k),
            checkpoint=self._checkpoint,
            report=lambda window: self.calls.append(window),
            note=lambda text: self.calls.append(text),
        )

    def _checkpoint(self) -> None:
        self.calls.append("checkpoint")
        if self.calls.count("checkpoint") == self._interrupt_at:
            signal.raise_signal(signal.SIGTERM)


def _double_state(config: TrainConfig) -> TrainState:
    model = build_model(SMALL, (1, 8, 8), NUM_CLASSES, seed=0).double()
    return TrainState(model, Ema(model, config.ema_half_lives_samples), make_optimizer(model, lr=config.lr))


def _double_data() -> TrainingData:
    data = small_data()
    return TrainingData(x_NCHW=data.x_NCHW.double(), label_N=data.label_N)


def test_memory_that_runs_out_in_mid_run_changes_nothing_but_the_micro_batch(monkeypatch):
    """From step 4 on no more than 8 samples fit: the run goes on, and ends where one with 8 from the start ends.

    In double precision, for Adam makes whole steps of the rounding errors of gradients that are zero.
    """
    config = small_config(samples=160, checkpoint_every_samples=80, validate_every_samples=10_000)
    reference = small_config(micro_batch=8, accumulation=2, samples=160)
    expected = _double_state(reference)
    train(Stepper(expected, _double_data(), reference), expected, reference, _Notes().due(), StopRequest())
    state, notes, whole = _double_state(config), _Notes(), Stepper._losses
    start = _weights(state)

    def fails_later(self, draw, chosen):
        if state.samples_seen >= 4 * 16 and len(draw.item_B[chosen]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(self, draw, chosen)

    monkeypatch.setattr(Stepper, "_losses", fails_later)
    stepper = Stepper(state, _double_data(), config)
    train(stepper, state, config, notes.due(), StopRequest())
    assert stepper.micro_batch == 8 and state.samples_seen == 160
    assert (_weights(state) - start).abs().max() > 1e-3  # it did train
    assert (_weights(state) - _weights(expected)).abs().max() < 1e-5
    said = [call for call in notes.calls if isinstance(call, Note)]
    assert [(one.id, one.values) for one in said] == [("micro_batch_halved", {"before": 16, "after": 8})]


def test_a_run_reports_validates_and_saves_when_due():
    config = small_config(samples=160, num_milestones=2, checkpoint_every_samples=64, validate_every_samples=80)
    state, notes = small_state(config), _Notes()
    train(Stepper(state, small_data(), config), state, config, notes.due(), StopRequest())
    named = [call for call in notes.calls if isinstance(call, (str, int))]
    assert named == ["checkpoint", "validate", 1, "checkpoint", "checkpoint", "validate", 2, "checkpoint"]
    assert state.samples_seen == 160
    assert state.elapsed_s > 0
    assert sum(call.num_steps for call in notes.calls if hasattr(call, "num_steps")) == 10


def test_a_reason_to_stop_early_ends_the_run_after_a_checkpoint():
    config = small_config(samples=3200, num_milestones=1)
    state, notes, said = small_state(config), _Notes(), Note(id="stop_plateau", text="flat")
    due = notes.due()
    due.stop_reason = lambda: said if state.samples_seen >= 320 else None
    train(Stepper(state, small_data(), config), state, config, due, StopRequest())
    assert state.samples_seen == 320
    assert notes.calls[-2:] == ["checkpoint", said]


def test_a_signal_ends_the_run_after_a_saved_step():
    config = small_config(samples=3200)
    state = small_state(config)
    with StopRequest() as stop:
        notes = _Notes(stop, interrupt_at=1)
        with stop.deferred(), pytest.raises(Interrupted) as stopped:
            train(Stepper(state, small_data(), config), state, config, notes.due(), stop)
    assert stopped.value.exit_code == 143
    assert state.samples_seen == 160 + 16  # the step after the one in which the signal came
    assert notes.calls[-1] == "checkpoint"


def test_a_signal_outside_of_training_stops_at_once():
    with StopRequest() as stop, pytest.raises(Interrupted) as stopped:
        signal.raise_signal(signal.SIGINT)
    assert stopped.value.exit_code == 130
    assert stop.signal_number == signal.SIGINT


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_no_weight(monkeypatch, bad):
    config = small_config()
    state = small_state(config)
    stepper = Stepper(state, small_data(), config)
    stepper.step()
    before, whole = _weights(state), Stepper._losses
    monkeypatch.setattr(Stepper, "_losses", lambda *arguments: whole(*arguments) * bad)
    notes = _Notes()
    with pytest.raises(NonFiniteError, match="no weight was changed"):
        train(stepper, state, config, notes.due(), StopRequest())
    assert torch.equal(_weights(state), before)
    assert "checkpoint" not in notes.calls


# ---- fp16: the loss is scaled, steps that overflow are skipped -----------------------------------


def _fp16_run(samples: int = 3200, **changes) -> tuple[Stepper, object, TrainConfig]:
    config = small_config(precision="fp16", samples=samples, **changes)
    state = small_state(config)
    return Stepper(state, small_data(), config), state, config


def test_float16_follows_single_precision():
    losses = []
    for precision in ("fp32", "fp16"):
        stepper, state = _stepper(16, 1, precision=precision)
        losses.append(torch.stack([stepper.step()[0] for _ in range(12)]))
    assert state.scaler.get_scale() > 1
    assert not torch.equal(losses[0], losses[1])
    assert torch.allclose(losses[0], losses[1], rtol=0.05)


def _overflow_in_step(monkeypatch, bad_steps: set[int]) -> None:
    """Let the loss of these steps be so large that its gradient overflows."""
    whole, calls = Stepper._losses, []

    def losses(self, draw, chosen):
        calls.append(1)
        value = whole(self, draw, chosen)
        return value * 1e38 if len(calls) in bad_steps else value

    monkeypatch.setattr(Stepper, "_losses", losses)


def test_a_step_that_overflows_is_skipped_counted_and_told(monkeypatch):
    stepper, state, config = _fp16_run(samples=160)
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 256.0})
    _overflow_in_step(monkeypatch, {3, 4})
    notes = _Notes()
    train(stepper, state, config, notes.due(), StopRequest())
    windows = [call for call in notes.calls if hasattr(call, "num_skipped")]
    assert sum(window.num_skipped for window in windows) == state.skipped_steps == 2
    for window in windows:
        means = (window.loss, window.grad_norm)
        assert means == (None, None) if window.num_skipped == window.num_steps else all(map(math.isfinite, means))
    assert state.scaler.get_scale() == 64
    assert state.samples_seen == 160
    assert _weights(state).isfinite().all()


def test_a_skipped_step_changes_no_weight(monkeypatch):
    stepper, state, _ = _fp16_run()
    _overflow_in_step(monkeypatch, {1})
    before = _weights(state)
    stepper.step()
    assert torch.equal(_weights(state), before)
    for _ in range(20):
        stepper.step()
    assert not torch.equal(_weights(state), before)


def test_an_overflow_that_no_scale_avoids_ends_the_run(monkeypatch):
    stepper, state, config = _fp16_run()
    _overflow_in_step(monkeypatch, set(range(1, 100)))
    before = _weights(state)
    with pytest.raises(NonFiniteError, match="no weight was changed"):
        train(stepper, state, config, _Notes().due(), StopRequest())
    assert torch.equal(_weights(state), before)
    assert state.samples_seen == 17 * 16  # 65536 halved to below 1
