"""Watches the gradients of micro-batches inside real optimizer steps, for the gradient noise scale.

    meter = GradientNoiseMeter(model.parameters(), micro_batch=4, optimizer=optimizer)
    with meter:                                   # anywhere around ordinary steps
        for micro_batch in step:
            meter.before_backward()
            (loss / accumulation).backward()
        meter.step()                              # before clipping and the optimizer step
    meter.estimate()

The micro-batches must be independent draws of equal size (no stratified timesteps, no last smaller one), and the
model must keep no statistics across a batch (BatchNorm), or the samples of a micro-batch are not independent.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Literal

import torch

from advisor.errors import UsageError
from advisor.measure.noise_scale import NoNoiseScaleError, StepMoments, estimate_noise_scale, step_moments
from advisor.records import Claim, NoiseScale

SETTLING_STEPS = 5  # before that, Adam's second moments say little; AdaptDL leaves out as many

Variant = Literal["raw", "preconditioned"]
Moments = dict[torch.nn.Parameter, torch.Tensor]


class GradientNoiseMeter:
    """Watches the backward passes of a training loop, without changing a gradient or waiting for the device."""

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        *,
        micro_batch: int,
        optimizer: torch.optim.Optimizer | None = None,
        loss_is_divided: bool = True,
        is_settled: bool = False,
    ) -> None:
        """Watch nothing yet; that begins with :meth:`attach` or ``with``.

        Args:
            parameters: what is trained; those without ``requires_grad`` are left out.
            micro_batch: samples a backward pass sees.
            optimizer: an Adam, for the preconditioned noise scale.
            loss_is_divided: whether the loop divides each loss by the number of accumulation steps.
            is_settled: whether the optimizer has made steps before, so that its second moments say something.
        """
        self._parameters = [p for p in parameters if p.requires_grad]
        if not self._parameters or micro_batch < 1:
            raise UsageError("the noise scale needs parameters that require a gradient, and micro-batches with samples")
        self._micro_batch, self._optimizer, self._loss_is_divided = micro_batch, optimizer, loss_is_divided
        self._device = self._parameters[0].device
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._called: set[torch.nn.Parameter] = set()
        self._was_called_twice = False
        self._settling_steps = 0 if is_settled else SETTLING_STEPS
        self._num_steps = 0
        self._steps: dict[Variant, list[tuple[int, torch.Tensor]]] = {"raw": [], "preconditioned": []}
        self._scales: Moments = {}
        self._begin_step()

    def attach(self) -> None:
        """Watch every backward pass from now on."""
        if not self._handles:
            self._begin_step()
            self._handles = [p.register_hook(partial(self._see, p)) for p in self._parameters]

    def close(self) -> None:
        """Watch no longer; what was seen is kept."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> "GradientNoiseMeter":
        self.attach()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def num_steps(self) -> int:
        """Steps that were taken in so far."""
        return self._num_steps

    def forget_step(self) -> None:
        """Drop the micro-batches since the last step: it is done again."""
        self._begin_step()

    def before_backward(self) -> None:
        """Say that the next backward pass is of a new micro-batch."""
        if self._num_micro_batches == 0 and self._num_steps >= self._settling_steps:
            self._scales = _preconditioners(self._optimizer, self._parameters)
        self._num_micro_batches += 1
        self._called.clear()

    @torch.no_grad()
    def step(self, *, grad_scale: float = 1.0) -> None:
        """Take in the gradients of a whole step, after its last backward pass and before they are clipped.

        Args:
            grad_scale: what a ``GradScaler`` has multiplied the loss by, if it has not been undone yet.

        Raises:
            UsageError: if the step had fewer than two micro-batches.
        """
        n = self._num_micro_batches
        if n < 2:
            self._begin_step()
            raise UsageError(
                f"the noise scale needs two or more micro-batches in a step, found {n}: call before_backward() before"
                " each, and split the batch while measuring if it is not accumulated"
            )
        micro_factor = (n if self._loss_is_divided else 1) / grad_scale
        total_factor = (1 if self._loss_is_divided else 1 / n) / grad_scale
        for variant, of_micro_batches in self._sums.items():
            if variant == "preconditioned" and not self._scales:
                continue
            total = self._zero()
            for p in self._parameters:
                if p.grad is not None:
                    total += self._squared_norm(p, p.grad, variant)
            moments = torch.stack([of_micro_batches / n * micro_factor**2, total * total_factor**2])
            self._steps[variant].append((n, moments))
        self._num_steps += 1
        self._begin_step()

    def estimate(self, variant: Variant = "raw") -> NoiseScale:
        """The noise scale of all steps so far, with a 95 % interval.

        Args:
            variant: ``preconditioned`` divides gradients by the root of Adam's second moments first.

        Raises:
            NoNoiseScaleError: if the steps do not determine it.
        """
        if self._was_called_twice:
            raise NoNoiseScaleError(
                "a weight got its gradient in several parts in one backward pass (reentrant checkpointing does so)"
            )
        return estimate_noise_scale(self.moments(variant))

    def estimate_both(self) -> NoiseScale:
        """The raw noise scale with the preconditioned one beside it, where that one is determined too.

        Raises:
            NoNoiseScaleError: if the steps do not determine the raw one.
        """
        raw = self.estimate()
        try:
            adam = self.estimate("preconditioned")
        except NoNoiseScaleError:
            return raw
        source = f"{adam.n} steps, gradients divided by sqrt(v) + eps of Adam"
        claim = Claim(value=adam.value, low=adam.low, high=adam.high, basis="measured", source=source)
        return dataclasses.replace(raw, preconditioned=claim)

    def moments(self, variant: Variant = "raw") -> list[StepMoments]:
        """What every step so far says; steps with a gradient that is not finite are left out."""
        found = []
        for n, pair in self._steps[variant]:
            of_micro_batches, of_step = pair.tolist()
            if math.isfinite(of_micro_batches) and math.isfinite(of_step):
                found.append(step_moments(of_micro_batches, of_step, n, self._micro_batch))
        return found

    # -- one step ---------------------------------------------------------------------------------

    def _begin_step(self) -> None:
        self._num_micro_batches = 0
        self._called.clear()
        self._scales = {}
        self._sums: dict[Variant, torch.Tensor] = {"raw": self._zero(), "preconditioned": self._zero()}

    @torch.no_grad()
    def _see(self, p: torch.nn.Parameter, gradient: torch.Tensor) -> None:
        """Take in the gradient of one weight in one backward pass.

        Returns nothing: what a hook returns replaces the gradient.
        """
        if self._num_micro_batches == 0:
            return  # a backward pass that the loop did not announce
        self._was_called_twice |= p in self._called
        self._called.add(p)
        self._sums["raw"] += self._squared_norm(p, gradient, "raw")
        if self._scales:
            self._sums["preconditioned"] += self._squared_norm(p, gradient, "preconditioned")

    def _squared_norm(self, p: torch.nn.Parameter, gradient: torch.Tensor, variant: Variant) -> torch.Tensor:
        if variant == "preconditioned" and p not in self._scales:
            return self._zero()  # the optimizer does not know it, so it has no scale of its own
        values = gradient.to_dense() if gradient.is_sparse else gradient
        values = values.detach().float()  # the squares of half-precision numbers overflow
        if variant == "preconditioned":
            values = values / self._scales[p]
        return values.square().sum().to(self._device)

    def _zero(self) -> torch.Tensor:
        return torch.zeros((), device=self._device)


def _preconditioners(optimizer: torch.optim.Optimizer | None, parameters: Sequence[torch.nn.Parameter]) -> Moments:
    """``sqrt(v_hat) + eps`` as Adam will divide by, before this step's gradient enters; empty if it is no Adam."""
    if optimizer is None:
        return {}
    found: Moments = {}
    wanted = set(parameters)
    with torch.no_grad():
        for group in optimizer.param_groups:
            for p in wanted.intersection(group["params"]):
                state = optimizer.state.get(p, {})
                second = state.get("max_exp_avg_sq", state.get("exp_avg_sq"))
                if second is None or "betas" not in group:
                    continue
                step = torch.as_tensor(state["step"], dtype=torch.float32, device=second.device)
                found[p] = (second.float() / (1 - group["betas"][1] ** step)).sqrt() + group["eps"]
    return found
