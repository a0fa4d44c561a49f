"""Makes the workload of a factory, and says plainly what is wrong with it."""

import inspect
from collections.abc import Mapping

import torch

from advisor.errors import UsageError
from advisor.records import Value
from advisor.workload.load import Factory
from advisor.workload.protocol import Workload


def build_workload(factory: Factory, spec: str, device: torch.device, parameters: Mapping[str, Value]) -> Workload:
    """The workload that the factory of this spec makes, on this device, from a fixed seed.

    Raises:
        UsageError: if the factory does not take the parameters, or makes something else.
    """
    try:
        inspect.signature(factory).bind(device, **parameters)
    except TypeError as error:
        raise UsageError(f"{spec} must take the device and {dict(parameters)}: {error}") from None
    torch.manual_seed(0)
    workload = factory(device, **parameters)
    if not isinstance(workload, Workload):
        raise UsageError(f"{spec} returned {type(workload).__name__}; it must return an advisor.Workload")
    return workload
