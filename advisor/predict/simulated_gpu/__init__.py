"""A CUDA card that is not there: tensors with shapes and types but without values, and CUDA's choices.

The child process that enters :class:`SimulatedGpu` sees one card. Whatever is put on ``cuda`` becomes a fake
tensor of a device of our own (PyTorch's slot for other people's devices, ``PrivateUse1``); whatever stays on
the CPU is real. Kernels are chosen as CUDA chooses them: autocast's lists, attention, multi-tensor optimizers.

This package is the only place that touches the private parts of PyTorch which that needs. :func:`missing_parts` says
what the installed torch lacks of them.
"""

from advisor.predict.simulated_gpu.gpu import SimulatedGpu
from advisor.predict.simulated_gpu.redirection import redirected
from advisor.predict.simulated_gpu.torch_parts import missing_parts

__all__ = ["SimulatedGpu", "missing_parts", "redirected"]
