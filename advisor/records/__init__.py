"""What the advisor finds and says, as frozen records. These are the JSON contract.

A record that carries a figure carries its basis too (:class:`Claim`). Unknown is ``None``, never 0.
Units are the last word of a name: bytes, seconds, samples. A *step* is an optimizer step: it sees
``micro_batch * accumulation`` samples.
"""

from advisor.records.advice import Advice, Advices, Provenance, Refusal
from advisor.records.claims import Basis, Claim, Note, Reason, Sign, Value
from advisor.records.device import Benchmark, Device, DeviceProcess, Load, Peaks
from advisor.records.frozen import record
from advisor.records.measurements import (
    Breakdown,
    Measurement,
    Memory,
    MemoryPrediction,
    NoiseScale,
    Outcome,
    Speed,
    StepTime,
)
from advisor.records.options import Option, Setting, Verdict
from advisor.records.probe import Check, Host, Probe, Severity
from advisor.records.progress import Progress
from advisor.records.refinement import Finalist, Refinement, SearchBudget, SearchTrial
from advisor.records.run import Cost, Dataset, Exposure, Milestone, Occasion, Sessions, WorkloadRef

__all__ = [
    "Advice",
    "Advices",
    "Basis",
    "Benchmark",
    "Breakdown",
    "Check",
    "Claim",
    "Cost",
    "Dataset",
    "Device",
    "DeviceProcess",
    "Exposure",
    "Finalist",
    "Host",
    "Load",
    "Measurement",
    "Memory",
    "MemoryPrediction",
    "Milestone",
    "NoiseScale",
    "Note",
    "Occasion",
    "Option",
    "Outcome",
    "Peaks",
    "Probe",
    "Progress",
    "Provenance",
    "Reason",
    "Refinement",
    "Refusal",
    "SearchBudget",
    "SearchTrial",
    "Sessions",
    "Setting",
    "Severity",
    "Sign",
    "Speed",
    "StepTime",
    "Value",
    "Verdict",
    "WorkloadRef",
    "record",
]
