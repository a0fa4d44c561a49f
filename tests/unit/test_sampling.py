"""Sampling, grids, the exported pipeline, and what a classifier makes of generated pictures."""

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DModel
from small_run import NUM_CLASSES, SMALL

from advisor.errors import UsageError
from trainer.data import Pictures, split_pictures
from trainer.diffusion import Objective
from trainer.evaluate import classifier_accuracy, num_to_generate
from trainer.latents import Pixels
from trainer.model import build_model, null_class
from trainer.pipeline import ClassConditionalPipeline, export
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


def test_the_exported_pipeline_loads_with_plain_diffusers(tmp_path, model):
    export(tmp_path / "pipeline", model, None, CLASSES)
    export(tmp_path / "pipeline", model, None, CLASSES)  # a second time replaces the first
    unet = UNet2DModel.from_pretrained(tmp_path / "pipeline", subfolder="unet")
    scheduler = DPMSolverMultistepScheduler.from_pretrained(tmp_path / "pipeline", subfolder="scheduler")
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), model.parameters(), strict=True))
    assert scheduler.config.prediction_type == "v_prediction"
    assert not list(tmp_path.glob(".*"))
    pipeline = ClassConditionalPipeline.from_pretrained(tmp_path / "pipeline")
    pictures = pipeline(["b", "d"], num_steps=4, seed=1)
    x_BCHW = generate(model, torch.tensor([1, 3]), seed=1, num_steps=4, guidance=1.5)
    assert (np.asarray(pictures[1].convert("L")) == Pixels().decode(x_BCHW)[1, 0]).all()
    with pytest.raises(UsageError, match="did you mean"):
        pipeline(["bb"])


def _striped(per_class: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.Generator(np.random.PCG64(seed))
    labels = np.arange(4 * per_class) % 4
    pixels = random.normal(128, noise, (len(labels), 1, 8, 8))
    for row, label in enumerate(labels):
        pixels[row, 0, label * 2 : label * 2 + 2] += 60
    return pixels.clip(0, 255).astype(np.uint8), labels


def test_accuracy_tells_good_pictures_from_mixed_up_ones():
    pixels, labels = _striped(per_class=40, noise=20, seed=0)
    pictures = Pictures(
        source="here", classes=CLASSES, names=("x",) * len(labels), digests=("",) * len(labels),
        pixels=pixels, labels=labels,
    )  # fmt: skip
    split = split_pictures(labels, 0.25, seed=0)
    fake, fake_labels = _striped(per_class=40, noise=20, seed=1)
    good = classifier_accuracy(fake, fake_labels, pictures, split)
    mixed = classifier_accuracy(fake, np.roll(fake_labels, 1), pictures, split)
    assert good.num_test_items == 40
    assert good.real_only > 0.95
    assert good.synthetic_only > 0.95
    assert mixed.synthetic_only < 0.1


def test_an_evaluation_stays_a_small_part_of_a_run():
    assert num_to_generate(40_000, 10) == 1000
    assert num_to_generate(2_000, 9) == 45
    assert num_to_generate(10**9, 31) == 992
    assert num_to_generate(1, 3) == 3
