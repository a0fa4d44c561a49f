"""A training that costs nothing: a parabola in log learning rate, with a little noise by seed and rate."""

import math
import random
import time
from pathlib import Path
from typing import Any

from advisor.refine.objective import Order, Outcome, Report

FLOOR = 0.2


class Parabola:
    """Loss ``FLOOR * (1 + curvature * (log2 lr / best)^2)``; leaves lines in a log, and waits while a file is there."""

    def __init__(self, best: float, curvature: float, noise: float, log: str | None, hold: str | None) -> None:
        self.best, self.curvature, self.noise, self.log, self.hold = best, curvature, noise, log, hold

    def __call__(self, order: Order, report: Report) -> Outcome:
        self._note("start", order)
        for k in range(1, 5):
            report(k * order.samples // 5, self.loss(order) * (1 + 0.1 * (5 - k)))
        self._note("wait", order)
        while self.hold is not None and Path(self.hold).exists():
            time.sleep(0.05)
        self._note("end", order)
        return Outcome(loss=self.loss(order), peak_bytes=1000)

    def loss(self, order: Order) -> float:
        octaves = math.log2(order.lr / self.best)
        shared = random.Random(order.seed).gauss(0, 10 * self.noise)  # a seed is as good or bad for every rate
        own = random.Random(f"{order.seed} {order.lr:.9g}").gauss(0, self.noise)
        return FLOOR * (1 + self.curvature * octaves**2) * math.exp(shared + own)

    def _note(self, what: str, order: Order) -> None:
        if self.log is not None:
            with Path(self.log).open("a") as file:
                file.write(f"{what} {order.lr:.6g} {order.seed}\n")


def make(
    device: str,
    *,
    best: float = 1e-3,
    curvature: float = 0.02,
    noise: float = 0.001,
    log: str | None = None,
    hold: str | None = None,
) -> Parabola:
    """A parabola with its optimum at ``best``."""
    return Parabola(best, curvature, noise, log, hold)


def fail(device: str, **values: Any) -> Any:
    """A factory whose training raises."""

    def training(order: Order, report: Report) -> Outcome:
        raise ValueError("the pictures are upside down")

    return training
