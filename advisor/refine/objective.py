"""What is trained in a search: the protocol that the trainer speaks, and any function of the same form.

A factory ``package.module:function`` or ``file.py:function`` is called as ``function(device, **parameters)`` in
every worker, once, and returns a :class:`Training`.
"""

from collections.abc import Callable
from typing import Any, Protocol

from advisor.records import record

Report = Callable[[int, float], None]
"""Told the validation loss after so many samples; it may raise to end a hopeless training."""


@record
class Order:
    """One training: ``samples`` long, with its schedule compressed to that length.

    Equal seeds give equal data order, noise and validation tuples, so that losses are compared in pairs.
    """

    lr: float
    seed: int
    samples: int


@record
class Outcome:
    """Validation loss of the averaged weights at the end; ``None`` if the training diverged.

    ``peak_bytes`` is what it took from the device, where that is known; ``fits`` whether there was enough.
    """

    loss: float | None
    peak_bytes: int | None = None
    fits: bool = True


class Training(Protocol):
    """Trains once as ordered."""

    def __call__(self, order: Order, report: Report) -> Outcome:
        """The loss at the end; ``report`` is called at some points on the way."""


Parameters = dict[str, Any]
