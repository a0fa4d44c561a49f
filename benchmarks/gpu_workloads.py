"""Training steps that the programme for a real GPU measures: the trainer's presets, and nets of other kinds."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

from advisor import Workload

NETS = Path(__file__).resolve().parents[1] / "tests" / "fakes"
PRESETS = {"unet": "gait48", "dit": "dit-s", "base": "base", "tiny": "tiny", "dit-tiny": "dit-tiny"}
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def make(
    device: torch.device,
    *,
    net: str,
    precision: str = "fp32",
    cudnn_benchmark: bool = False,
    limit_bytes: int = 0,
) -> Workload:
    """The workload of this name; ``limit_bytes`` holds on the CPU only, in the place of a cap on a card."""
    torch.backends.cudnn.benchmark = cudnn_benchmark
    if limit_bytes and torch.device(device).type == "cpu":
        from benchmarks.limited_device import LimitedDevice

        LimitedDevice(limit_bytes).__enter__()  # until the process ends
    if net in PRESETS:
        from trainer.workload import make as make_preset

        return make_preset(device, preset=PRESETS[net], precision=precision)
    return _OTHERS[net](device, _DTYPES[precision])


def _classifier(device: torch.device, dtype: Any, model: nn.Module, shape: tuple[int, ...]) -> Workload:
    model = model.to(device)

    def batch(n: int) -> tuple[Tensor, Tensor]:
        return torch.randn(n, *shape, device=device), torch.randint(10, (n,), device=device)

    return Workload(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-4),
        batch=batch,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        clip_norm=1.0,
        autocast_dtype=dtype,
    )


def _resnet(device: torch.device, dtype: Any) -> Workload:
    import torchvision

    return _classifier(device, dtype, torchvision.models.resnet50(num_classes=10), (3, 96, 96))


def _own_resnet(device: torch.device, dtype: Any) -> Workload:
    return _classifier(device, dtype, _small_nets().ResNet(width=64), (3, 64, 64))


def _mlp(device: torch.device, dtype: Any) -> Workload:
    layers = [nn.Linear(4096, 4096), nn.GELU(), nn.Linear(4096, 4096), nn.GELU(), nn.Linear(4096, 10)]
    return _classifier(device, dtype, nn.Sequential(*layers), (4096,))


def _small_mlp(device: torch.device, dtype: Any) -> Workload:
    return _classifier(device, dtype, nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10)), (64,))


def _transformer(device: torch.device, dtype: Any) -> Workload:
    model = _small_nets().Transformer(width=512).to(device)

    def batch(n: int) -> Tensor:
        return torch.randint(500, (n, 256), device=device)

    def loss(model: nn.Module, token_BT: Tensor) -> Tensor:
        return F.cross_entropy(model(token_BT).flatten(0, 1), token_BT.flatten())

    return Workload(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-4),
        batch=batch,
        loss=loss,
        ema=_small_nets().Average(model),
        clip_norm=1.0,
        autocast_dtype=dtype,
    )


def _small_nets() -> Any:
    if str(NETS) not in sys.path:
        sys.path.append(str(NETS))
    import small_nets

    return small_nets


_OTHERS = {
    "resnet50": _resnet,
    "resnet": _own_resnet,
    "transformer": _transformer,
    "mlp": _mlp,
    "small-mlp": _small_mlp,
}
