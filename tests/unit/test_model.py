"""Networks: gradient checkpointing, the transformer, compilation."""

import copy
import dataclasses
import shutil

import pytest
import torch
from small_run import SMALL, small_config, small_data

from advisor.errors import UsageError
from trainer.compiled import Compiled
from trainer.ema import Ema
from trainer.loop import Stepper, TrainingData
from trainer.model import build_model, make_optimizer, null_class, sample_shape
from trainer.presets import PRESETS, DiTPreset
from trainer.state import TrainState

NUM_CLASSES = 4
SMALL_DIT = DiTPreset(
    num_layers=2,
    num_heads=2,
    head_channels=8,
    patch_pixels=2,
    reference_batch=16,
    reference_lr=1e-3,
    beta2=0.99,
    default_shape=(1, 8, 8),
    default_num_classes=NUM_CLASSES,
    summary="for tests",
)


def _state(preset, config, **changes) -> TrainState:
    model = build_model(preset, (1, 8, 8), NUM_CLASSES, seed=0, **changes)
    return TrainState(model, Ema(model, config.ema_half_lives_samples), make_optimizer(model, lr=config.lr))


def _trained(preset, steps: int = 4, **changes) -> tuple[list[float], torch.Tensor]:
    config = small_config(**changes)
    state = _state(preset, config, gradient_checkpointing=config.gradient_checkpointing)
    state.model.train()
    stepper = Stepper(state, small_data(), config)
    losses = [float(stepper.step()[0]) for _ in range(steps)]
    return losses, torch.cat([p.detach().flatten() for p in state.model.parameters()])


class _Kept:
    """Bytes that autograd keeps for the backward pass."""

    def __init__(self) -> None:
        self.num_bytes = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.num_bytes += tensor.numel() * tensor.element_size()
        return tensor


@pytest.mark.parametrize("preset", [SMALL, SMALL_DIT])
def test_gradient_checkpointing_changes_no_number_and_keeps_less(preset):
    plain, checkpointed = (_trained(preset, gradient_checkpointing=on) for on in (False, True))
    assert plain[0] == pytest.approx(checkpointed[0], abs=1e-6)
    assert (plain[1] - checkpointed[1]).abs().max() < 1e-6
    kept = []
    for on in (False, True):
        model = build_model(preset, (1, 8, 8), NUM_CLASSES, seed=0, gradient_checkpointing=on).train()
        meter = _Kept()
        with torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda tensor: tensor):
            model(torch.randn(16, 1, 8, 8), torch.arange(16), class_labels=torch.zeros(16, dtype=torch.long))
        kept.append(meter.num_bytes)
    assert kept[1] < 0.8 * kept[0]


def test_a_transformer_starts_at_zero_and_learns():
    """adaLN-Zero: at first it predicts nothing, whatever it is shown."""
    model = build_model(SMALL_DIT, (1, 8, 8), NUM_CLASSES, seed=0)
    x_BCHW = torch.randn(3, 1, 8, 8)
    assert model(x_BCHW, torch.arange(3), class_labels=torch.arange(3), return_dict=False)[0].abs().max() == 0
    label_N = torch.arange(40) % NUM_CLASSES
    shade_N111 = (label_N - 1.5).view(-1, 1, 1, 1)
    data = TrainingData(x_NCHW=shade_N111.expand(-1, 1, 8, 8).contiguous(), label_N=label_N)
    config = small_config(warmup_samples=0, lr=3e-3)
    stepper = Stepper(_state(SMALL_DIT, config), data, config)
    losses = [float(stepper.step()[0]) for _ in range(40)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_a_transformer_drops_labels_only_where_the_run_says_so():
    """diffusers would drop them by its own random numbers in training, which a resumed run could not repeat."""
    model = build_model(SMALL_DIT, (1, 8, 8), NUM_CLASSES, seed=0).train()
    emb = model.transformer_blocks[0].norm1.emb.class_embedder
    labels = torch.zeros(1000, dtype=torch.long)
    assert torch.equal(emb(labels), emb(labels)) and (emb(labels) == emb.embedding_table.weight[0]).all()
    assert null_class(model) == NUM_CLASSES
    assert len(emb.embedding_table.weight) == NUM_CLASSES + 1


def test_a_transformer_resumes_bit_for_bit():
    config = small_config()
    ends = []
    for stops_after in (4, 2):
        state = _state(SMALL_DIT, config)
        stepper = Stepper(state, small_data(), config)
        for k in range(4):
            if k == stops_after:
                files = state.to_files({})
                state = _state(SMALL_DIT, config)
                state.load_files(files, "here")
                stepper = Stepper(state, small_data(), config)
            stepper.step()
        ends.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))
    assert torch.equal(*ends)


def test_what_a_network_denoises():
    assert sample_shape(build_model(SMALL, (3, 8, 4), NUM_CLASSES, seed=0)) == (3, 8, 4)
    assert sample_shape(build_model(SMALL_DIT, (3, 8, 8), NUM_CLASSES, seed=0)) == (3, 8, 8)
    with pytest.raises(UsageError, match="squares"):
        build_model(SMALL_DIT, (3, 8, 4), NUM_CLASSES, seed=0)
    with pytest.raises(UsageError, match="multiple of 2"):
        build_model(SMALL_DIT, (3, 9, 9), NUM_CLASSES, seed=0)


def test_the_transformer_of_the_paper():
    """DiT-S/2 has 33 M parameters with one embedding of time and class; here every block has its own."""
    preset = PRESETS["dit-s"]
    with torch.device("meta"):
        model = build_model(preset, preset.default_shape, preset.default_num_classes, seed=0, device="meta")
    own = model.transformer_blocks[0].norm1.emb
    repeated = (preset.num_layers - 1) * sum(p.numel() for p in own.parameters())
    assert sum(p.numel() for p in model.parameters()) - repeated == pytest.approx(33e6, rel=0.02)


# ---- compilation --------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, while it imports its compiler
def test_a_compiled_network_has_the_weights_and_gradients_of_the_network():
    torch.compiler.reset()
    problems: list[str] = []
    model = torch.nn.Linear(3, 2)
    compiled, x = Compiled(model, problems.append), torch.randn(4, 3)
    assert torch.allclose(compiled(x), model(x))
    compiled(x).sum().backward()
    assert torch.allclose(model.weight.grad, x.sum(0).expand(2, 3))
    assert problems == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_a_compiler_a_compiled_run_goes_on_as_it_is(monkeypatch):
    """The same numbers; one note that says why."""
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nonexistent/c++"))
    torch.compiler.reset()
    data, ends, notes = small_data(), [], []
    for config in (small_config(compile=True), small_config()):
        state = _state(dataclasses.replace(SMALL_DIT, num_layers=1), config)
        stepper = Stepper(state, data, config)
        for _ in range(2):
            stepper.step()
        notes.append([said.id for said in stepper.take_notes()])
        ends.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))
    assert notes == [["not_compiled"], []]
    assert stepper.take_notes() == []
    assert torch.equal(*ends)


def test_the_average_of_a_checkpointed_network_is_a_network_of_its_own():
    model = build_model(SMALL, (1, 8, 8), NUM_CLASSES, seed=0, gradient_checkpointing=True)
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert next(other.parameters()).abs().max() > 0
