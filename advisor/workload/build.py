"""Makes the workload that a spec names, and says plainly what is wrong with it."""

import inspect
from collections.abc import Mapping

import torch

from advisor.errors import UsageError
from advisor.records import Value
from advisor.workload.load import load_factory
from advisor.workload.protocol import Workload


def build_workload(spec: str, device: torch.device, parameters: Mapping[str, Value]) -> Workload:
    """The workload, on this device, from a fixed seed.

    Raises:
        UsageError: if there is no such factory, it does not take the parameters, or makes something else.
    """
    factory = load_factory(spec)
    try:
        inspect.signature(factory).bind(device, **parameters)
    except TypeError as error:
        raise UsageError(f"{spec} must take the device and {dict(parameters)}: {error}") from None
    torch.manual_seed(0)
    workload = factory(device, **parameters)
    if not isinstance(workload, Workload):
        raise UsageError(f"{spec} returned {type(workload).__name__}; it must return an advisor.Workload")
    return workload
