"""The run that is advised: its step and its data, when to look, what it costs, and how it is cut into sessions."""

from typing import Literal

from advisor.records.claims import Claim, Value
from advisor.records.frozen import record


@record
class WorkloadRef:
    """Which step was measured: a preset's name or ``file.py:function``, and its parameters."""

    name: str
    parameters: dict[str, Value]


@record
class Dataset:
    """How many items there are, and where that number comes from."""

    num_items: int
    num_classes: int | None = None
    source: str


@record
class Exposure:
    """How often the run sees each item, and after how many samples a generative network may begin to copy them."""

    samples_per_item: Claim
    memorization_onset_samples: Claim


@record
class Occasion:
    """Something that a run does beside its steps: how often, and what it takes each time.

    ``spread`` over the run means: in proportion to the samples seen.
    """

    id: str
    num_times: int
    each_s: Claim
    when: Literal["start", "spread", "end"] = "spread"


@record
class Milestone:
    """A point of the run at which to look, in all the units that people count in."""

    id: str
    samples: int
    step: int
    epoch: float
    elapsed_s: Claim


@record
class Cost:
    """Money, in whatever unit the price was given."""

    price_per_hour: Claim
    run: Claim


@record
class Sessions:
    """A run where the machine is taken away after a while: how far each session comes.

    ``checkpoint_every_samples``: how often to save, so that little is lost with a session. ``ends_at_samples``: what
    was seen and saved when each of the first sessions ends.
    """

    session_s: Claim
    images_per_session: Claim
    num_sessions: Claim
    checkpoint_every_samples: int | None = None
    ends_at_samples: tuple[int, ...] = ()
