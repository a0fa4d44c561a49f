"""A real training step whose memory and time are known beforehand: for tests and demonstrations.

The model scales every feature of its input by a weight. One micro-batch of ``n`` samples then holds two
arrays of ``n x num_features`` floats at its peak: forward the input and its scaled copy, backward the
input and the products that are summed to the gradient. Time is slept: ``alpha_s + beta_s * n`` a micro-batch and
``gamma_s`` an optimizer step.
"""

import time

import torch

from advisor.workload.protocol import Workload

FLOAT_BYTES = 4


def make(
    device: torch.device | str,
    *,
    num_features: int = 250_000,
    alpha_s: float = 0.0,
    beta_s: float = 0.0,
    gamma_s: float = 0.0,
    max_samples: int | None = None,
) -> Workload:
    """The workload; above ``max_samples`` a micro-batch it runs out of memory, as a small device would."""
    model = ScaledFeatures(num_features).to(device)
    average = WeightAverage(model, gamma_s)

    def batch(n: int) -> torch.Tensor:
        if max_samples is not None and n > max_samples:
            raise torch.OutOfMemoryError(f"out of memory at {n} samples; {max_samples} fit")
        return torch.ones(n, num_features, device=device)

    def loss(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        time.sleep(alpha_s + beta_s * len(batch))
        scaled_BF = model(batch)
        return torch.as_tensor(scaled_BF.sum() / scaled_BF.numel())  # mean() would hold one array more

    return Workload(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.99)),
        batch=batch,
        loss=loss,
        ema=average,
        clip_norm=1.0,
        real_data=False,
    )


def static_bytes(num_features: int) -> dict[str, int]:
    """Exact bytes by cause, once an optimizer step was run; Adam keeps two moments and a step counter."""
    weights_bytes = FLOAT_BYTES * num_features
    return {
        "weights_bytes": weights_bytes,
        "gradients_bytes": weights_bytes,
        "optimizer_bytes": 2 * weights_bytes + FLOAT_BYTES,
        "ema_bytes": weights_bytes,
    }


def micro_batch_bytes(num_features: int, micro_batch: int) -> int:
    """Exact bytes that the first micro-batch holds at its peak besides weights, moments and EMA.

    Two arrays and the gradient that is summed from the second one; a few scalars more are not counted.
    """
    return FLOAT_BYTES * num_features * (2 * micro_batch + 1)


class ScaledFeatures(torch.nn.Module):
    """Multiplies every feature by a weight of its own."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(num_features))

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        """The scaled features."""
        return x_BF * self.weight


class WeightAverage:
    """Exponential moving average of the weights; sleeps a while for each update."""

    decay = 0.999

    def __init__(self, model: ScaledFeatures, gamma_s: float) -> None:
        self._model, self._gamma_s = model, gamma_s
        self._average = model.weight.detach().clone()

    def update(self) -> None:
        """Move towards the weights as they are now."""
        time.sleep(self._gamma_s)
        self._average.lerp_(self._model.weight.detach(), 1 - self.decay)
