"""The trainings that a search plans, and the attempts at them."""

from typing import Literal

from advisor.records import record

State = Literal["finished", "stopped_early", "running", "waiting", "failed"]


@record
class Slot:
    """One training that the plan asks for. ``lr`` is ``None`` where the sampler is to choose it."""

    id: str
    lr: float | None
    seed: int


@record
class Entry:
    """One attempt at a slot, as the study holds it. ``loss`` is ``None`` if it diverged or did not end."""

    number: int
    slot: str | None
    state: State
    lr: float | None
    seed: int | None
    loss: float | None = None
    worker: str | None = None
    peak_bytes: int | None = None
    fits: bool = True
    message: str | None = None
