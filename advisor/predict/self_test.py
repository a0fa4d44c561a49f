"""Whether this PyTorch can simulate a card: what that needs is there, and a small training step runs on it.

The parts that are needed are private and may change with any release: a name that is gone is found by looking, one
that means something else by using it.
"""

import contextlib

import torch

from advisor.predict.simulated_gpu import SimulatedGpu, missing_parts

_CAPABILITY = 8.0  # with bfloat16 and every kernel of attention


class SelfTestError(Exception):
    """The small step ran, but not as on a card."""


def usable_gpu() -> SimulatedGpu | None:
    """A simulated card, entered until the process ends; ``None`` where this PyTorch cannot simulate one."""
    if missing_parts():
        return None
    with contextlib.ExitStack() as stack:
        try:
            gpu = stack.enter_context(SimulatedGpu())
            _run_small_step(gpu)
        except Exception:  # noqa: BLE001 - whatever a changed private part raises, the CPU is left
            return None
        stack.pop_all()
        return gpu


def _run_small_step(gpu: SimulatedGpu) -> None:
    """A layer, autocast, attention, a backward pass and an optimizer, as most workloads have them.

    Raises:
        SelfTestError: if a result is not where it should be, or nothing was recorded.
    """
    recorder = gpu.insert_card(_CAPABILITY)
    layer = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer.to("cuda")
    gpu.adopt(optimizer)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        heads = layer(torch.ones(2, 2, 2, 8, device="cuda"))
        loss = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads).float().mean()
    loss.backward()
    optimizer.step()
    if not (loss.is_cuda and heads.dtype == torch.bfloat16 and recorder.num_events):
        raise SelfTestError(f"{heads.dtype} on {loss.device}, {recorder.num_events} events")
