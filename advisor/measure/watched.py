"""Steps of a workload whose micro-batches a gradient noise meter watches, in the child of a measurement."""

import contextlib
from collections.abc import Iterator

import torch

from advisor.measure.gradient_noise import GradientNoiseMeter
from advisor.measure.messages import WatchReport
from advisor.measure.noise_scale import NoNoiseScaleError
from advisor.workload.protocol import Workload
from advisor.workload.step import TrainingStep


class WatchedSteps:
    """The same optimizer steps as elsewhere; the meter hooks in where micro-batches begin and the step ends."""

    def __init__(
        self, workload: Workload, device: torch.device, micro_batch: int, accumulation: int, *, is_settled: bool
    ) -> None:
        self._meter = GradientNoiseMeter(
            workload.model.parameters(), micro_batch=micro_batch, optimizer=workload.optimizer, is_settled=is_settled
        )
        self._step = TrainingStep(workload, device, micro_batch, accumulation, self._phase)

    def run(self, num_steps: int) -> WatchReport:
        """Run so many; says their mean loss, and the noise scale of all so far."""
        with self._meter:
            losses = [self._step.run() for _ in range(num_steps)]
        loss = float(torch.stack(losses).mean())
        try:
            found, refusal = self._meter.estimate_both(), None
        except NoNoiseScaleError as error:
            found, refusal = None, str(error)
        return WatchReport(loss=loss, num_watched=self._meter.num_steps, noise_scale=found, refusal=refusal)

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        if name in ("first_micro_batch", "later_micro_batches"):
            self._meter.before_backward()
        elif name == "optimizer":
            self._meter.step(grad_scale=self._step.loss_scale)
        yield
