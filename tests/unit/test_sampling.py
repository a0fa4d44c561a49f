"""Sampling, grids and the exported pipeline."""

import numpy as np
import pytest
import torch
from diffusers import DiTTransformer2DModel, DPMSolverMultistepScheduler, UNet2DModel
from small_run import NUM_CLASSES, SMALL

from advisor.errors import UsageError
from trainer.diffusion import Objective
from trainer.latents import Pixels
from trainer.model import build_model, null_class
from trainer.pipeline import ClassConditionalPipeline, export
from trainer.presets import PRESETS
from trainer.sampling import draw_grid, generate, grid_labels

CLASSES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def model():
    return build_model(SMALL, (1, 8, 8), NUM_CLASSES, seed=0).eval()


def _generate(model, **changes):
    arguments = {"seed": 1, "num_steps": 4, "guidance": 1.5, **changes}
    return generate(model, torch.arange(NUM_CLASSES), **arguments)


@pytest.mark.parametrize("sampler", ["dpm++", "ddim"])
def test_the_same_seed_gives_the_same_pictures(model, sampler):
    first, again = (_generate(model, sampler=sampler) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, _generate(model, sampler=sampler, seed=2))
    assert first.isfinite().all()


def test_guidance_one_is_the_conditional_model(model):
    assert torch.allclose(_generate(model, guidance=1.0), _generate(model, guidance=1.0 + 1e-6), atol=1e-3)
    assert not torch.allclose(_generate(model, guidance=1.0), _generate(model, guidance=3.0), atol=1e-3)


def test_the_null_class_is_the_last(model):
    assert null_class(model) == NUM_CLASSES


class _Oracle(torch.nn.Module):
    """Knows the one picture there is: the best possible v-prediction for it."""

    def __init__(self, x_CHW, config):
        super().__init__()
        self.x_CHW, self.config = x_CHW, config
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z_BCHW, time, class_labels, return_dict=False):
        times = torch.as_tensor(time).expand(len(z_BCHW)) if torch.as_tensor(time).ndim == 0 else time
        alpha, sigma = (t[times].view(-1, 1, 1, 1) for t in _schedule())
        return ((alpha * z_BCHW - self.x_CHW) / sigma,)


def _schedule():
    objective = Objective("cpu", 5.0)
    return objective._alpha_T, objective._sigma_T


@pytest.mark.parametrize("sampler", ["dpm++", "ddim"])
def test_a_perfect_model_is_sampled_back_to_its_picture(model, sampler):
    """Objective and samplers must agree on schedule, parameterisation and direction of time."""
    x_CHW = torch.linspace(-1, 1, 64).view(1, 8, 8)
    found = _generate(_Oracle(x_CHW, model.config), sampler=sampler, num_steps=20)
    assert (found - x_CHW).abs().max() < 0.02


def test_a_perfect_model_has_no_loss(model):
    x_CHW = torch.linspace(-1, 1, 64).view(1, 8, 8)
    time_B = torch.tensor([10, 400, 900])
    oracle, noise_BCHW = _Oracle(x_CHW, model.config), torch.randn(3, 1, 8, 8)
    losses_B = Objective("cpu", 5.0).losses(
        oracle, x_CHW.expand(3, -1, -1, -1), torch.zeros(3).long(), time_B, noise_BCHW
    )
    assert losses_B.max() < 1e-6


def test_min_snr_weights_in_their_v_form():
    alpha_T, sigma_T = _schedule()
    snr_T = (alpha_T / sigma_T) ** 2
    weight_T = Objective("cpu", 5.0)._weight_T
    clean, noisy = snr_T > 5, snr_T < 5
    assert torch.allclose(weight_T[clean], 5 / (snr_T[clean] + 1))
    assert torch.allclose(weight_T[noisy], snr_T[noisy] / (snr_T[noisy] + 1))


def test_a_grid_has_one_column_a_class():
    labels = grid_labels(4)
    pictures = np.zeros((len(labels), 1, 8, 8), dtype=np.uint8)
    pictures[labels.numpy() == 2] = 200
    grid = np.asarray(draw_grid(pictures, CLASSES).convert("L"))
    width = grid.shape[1] // 4
    means = [grid[30:90, k * width + 10 : (k + 1) * width - 10].mean() for k in range(4)]
    assert np.argmax(means) == 2
    assert grid.shape[1] >= 4 * 64


def test_many_classes_go_on_in_a_band_below():
    labels = grid_labels(31)
    pictures = np.zeros((len(labels), 1, 8, 8), dtype=np.uint8)
    pictures[labels.numpy() == 30] = 255
    grid = np.asarray(draw_grid(pictures, [f"ID_{k}" for k in range(31)]).convert("L"))
    left = 4 + (30 - 16) * 68
    assert grid.shape[1] == 4 + 16 * 68
    assert (grid[-60:-10, left + 8 : left + 56] == 255).all()
    assert grid[-60:-10, left - 60 : left - 12].max() == 0


@pytest.mark.parametrize("name", ["", "a very long name of a class", "中文"])
def test_a_grid_with_any_class_name(name):
    assert draw_grid(np.zeros((1, 3, 8, 8), dtype=np.uint8), (name,)).mode == "RGB"


def _transformer():
    model = build_model(PRESETS["dit-tiny"], (1, 8, 8), NUM_CLASSES, seed=0).eval()
    with torch.no_grad():
        model.proj_out_2.weight.normal_(std=0.1)  # at first it predicts zero for everything
    return model


@pytest.mark.parametrize(("part", "kind"), [("unet", UNet2DModel), ("transformer", DiTTransformer2DModel)])
def test_the_exported_pipeline_loads_with_plain_diffusers(tmp_path, model, part, kind):
    model = _transformer() if part == "transformer" else model
    export(tmp_path / "pipeline", model, None, CLASSES)
    export(tmp_path / "pipeline", model, None, CLASSES)  # a second time replaces the first
    loaded = kind.from_pretrained(tmp_path / "pipeline", subfolder=part)
    scheduler = DPMSolverMultistepScheduler.from_pretrained(tmp_path / "pipeline", subfolder="scheduler")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    assert scheduler.config.prediction_type == "v_prediction"
    assert not list(tmp_path.glob(".*"))
    pipeline = ClassConditionalPipeline.from_pretrained(tmp_path / "pipeline")
    pictures = pipeline(["b", "d"], num_steps=4, seed=1)
    x_BCHW = generate(model, torch.tensor([1, 3]), seed=1, num_steps=4, guidance=1.5)
    assert (np.asarray(pictures[1].convert("L")) == Pixels().decode(x_BCHW)[1, 0]).all()
    with pytest.raises(UsageError, match="did you mean"):
        pipeline(["bb"])
