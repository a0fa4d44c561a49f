"""The gradient noise scale of a workload in a child process, and what makes it refuse."""

from pathlib import Path

import pytest

from advisor.measure.campaign import Place, Subject
from advisor.measure.messages import Built
from advisor.measure.noise_trial import NoiseOutcome, measure_noise_scale
from advisor.recommend.noise import noise_remarks
from advisor.records import NoiseScale

# Mean squared error of a linear model with unit features: the gradient of a sample is x (x'e - noise), whose
# noise scale is (d + 1 + d noise^2 / |e|^2) samples; e is what is still wrong in the weights.
STEP = """
import torch
from advisor import Workload

def make(device, lr=1e-7, start=1.0):
    torch.manual_seed(1)
    true = torch.randn(8)
    model = torch.nn.Linear(8, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_((1 - start) * true)

    def batch(n):
        x = torch.randn(n, 8)
        return x, x @ true + 0.1 * torch.randn(n)

    def loss(model, batch):
        x, y = batch
        return (model(x)[:, 0] - y).square().mean() / 2

    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.99))
    return Workload(model=model, optimizer=optimizer, batch=batch, loss=loss)
"""
PLACE = Place(torch_device="cpu", environment={}, budget_bytes=None)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "my_step.py"
    path.write_text(STEP)
    return f"{path}:make"


def built(**changes: bool) -> Built:
    values = {"has_ema": False, "tracking_costs_time": False, **changes}
    return Built(lr=None, beta1=None, beta2=None, ema_decay=None, clip_norm=None, precision=None, **values)


def trial(spec: str, layout: tuple[int, int] = (16, 1), **changes) -> NoiseOutcome:
    given = {"step_s": 0.001, "built": built(), "seconds": 60.0, **changes}
    parameters = given.pop("parameters", {})
    subject = Subject(spec=spec, parameters=parameters)
    return measure_noise_scale(
        layout, given["step_s"], given["built"], subject, PLACE, seconds=given["seconds"], timeout_s=60
    )


def test_where_the_loss_does_not_fall_it_is_that_of_the_last_steps_and_early(spec: str) -> None:
    outcome = trial(spec)
    assert outcome.noise_scale is not None, outcome.message
    assert outcome.noise_scale.is_early
    assert outcome.noise_scale.n == 100
    assert outcome.noise_scale.value == pytest.approx(9, rel=0.4), "d + 1"
    assert outcome.noise_scale.preconditioned is not None
    assert noise_remarks(outcome)[0].id == "noise_scale_early"


def test_steps_count_once_the_loss_has_fallen_to_half(spec: str) -> None:
    outcome = trial(spec, parameters={"lr": 0.02})
    assert outcome.noise_scale is not None, outcome.message
    assert not outcome.noise_scale.is_early
    assert outcome.noise_scale.n >= 100
    assert outcome.steps_run > outcome.noise_scale.n
    assert noise_remarks(outcome)[0].id == "noise_scale_untrained"


@pytest.mark.parametrize(
    ("layout", "changes", "refusal"),
    [
        ((16, 1), {"built": built(real_data=False)}, "made_up_data"),
        ((16, 1), {"built": built(has_batch_norm=True)}, "batch_norm"),
        ((1, 1), {}, "one_sample"),
        ((8, 2), {"step_s": 1.0}, "too_slow"),
    ],
)
def test_what_cannot_be_told_is_refused_before_anything_runs(layout, changes, refusal) -> None:
    outcome = trial("no_such_file.py:make", layout, **changes)
    assert (outcome.refusal, outcome.noise_scale, outcome.steps_run) == (refusal, None, 0)
    (said,) = noise_remarks(outcome)
    assert said.id == f"noise_scale_{refusal}"
    assert "unknown" not in said.text


def test_what_goes_wrong_is_said(spec: str) -> None:
    outcome = trial(spec, parameters={"lr": 1e38})
    assert outcome.refusal == "failed"
    assert noise_remarks(outcome)[0].text.endswith(outcome.message or "-")


def test_bounds_for_the_choice_of_a_batch() -> None:
    plain = NoiseScale(value=40.0, low=30.0, high=55.0, n=200)
    assert plain.bounds == (30.0, 55.0)
