"""Training steps of different kinds for the oracle: bound by launches, by arithmetic, and in between."""

from typing import Any

import torch
from torch import nn

from advisor import Workload


def mlp(device: Any) -> Workload:
    """Small matrix products: most of the time is overhead."""
    layers = [layer for _ in range(4) for layer in (nn.Linear(256, 256), nn.ReLU())]
    return _workload(nn.Sequential(*layers, nn.Linear(256, 10)).to(device), (256,), device)


def convolutions(device: Any) -> Workload:
    """A plain convolutional net on 32-pixel pictures."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.ReLU(), nn.MaxPool2d(2)]
    return _workload(nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10)).to(device), (3, 32, 32), device)


def attention(device: Any) -> Workload:
    """Two transformer layers over 64 positions."""
    layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return _workload(nn.Sequential(encoder, nn.Flatten(), nn.Linear(64 * 128, 10)).to(device), (64, 128), device)


def _workload(model: nn.Module, shape: tuple[int, ...], device: Any) -> Workload:
    def batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(n, *shape, device=device), torch.randint(10, (n,), device=device)

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return Workload(model=model, optimizer=optimizer, batch=batch, loss=loss, clip_norm=1.0, real_data=False)
