"""The training steps behind ``data/diffusion_runs.csv``, where enough of them is stated, and how we predict them.

A row counts if it names its network, card, precision and batch, and gives a rate. What rows leave out is assumed and
said (``ASSUMED``).
"""

import statistics
import sys
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it
from torch.utils.checkpoint import checkpoint

from advisor import Workload
from advisor.hardware.gpus import find_gpu
from advisor.predict.efficiency import efficiency_of
from advisor.predict.messages import TraceOrder
from advisor.predict.operators import fit_operators
from advisor.predict.simulation import Simulation
from advisor.predict.step_time import StepTimeModel

STEPS = f"{__file__}:make"
TIMEOUT_S = 500.0
CARDS = {
    "A100-80GB": "NVIDIA A100-SXM4-80GB",
    "A100": "NVIDIA A100-SXM4-80GB",
    "V100": "Tesla V100-SXM2-16GB",
    "RTX 4090": "NVIDIA GeForce RTX 4090",
    "RTX 2080 Ti 11GB": "NVIDIA GeForce RTX 2080 Ti",
}
ASSUMED = (
    "a run on several cards is its share of one, without their traffic; a VAE in the loop is diffusers' default one;"
    " fast-DiT's fp32 is with TF32, which its script allows, and which alone explains more FLOP than the float32 peak"
)
# model column -> network, latent or picture size, channels
NETS = {
    "DiT-XL/2": ("dit_xl", 32, 4),
    "SD 2.0-base U-Net": ("sd2", 32, 4),
    "diffusers UNet2DModel (128,128,256,256,512,512)": ("unet114", 64, 3),
    "torchcfm UNet CIFAR-10": ("torchcfm", 32, 3),
    "EDM DDPM++ CIFAR-10": ("ddpmpp", 32, 3),
    "NCSN++ continuous (subVP) CIFAR-10": ("ddpmpp", 32, 3),
    "EDM ADM ImageNet-64": ("adm64", 64, 3),
}


def make(
    device: torch.device, *, net: str, size: int, channels: int, dtype: str, tf32: int, recompute: int, vae: int
) -> Workload:
    """One step with AdamW: the net predicts noise; with ``vae``, of pictures that are encoded first."""
    torch.backends.cudnn.allow_tf32 = bool(tf32)
    torch.set_float32_matmul_precision("high" if tf32 == 2 else "highest")
    with torch.device("meta"):
        model = build(net, size, channels)
        encoder = encoder_of_pictures() if vae else nn.Identity()
    model.to(device).train()
    encoder.to(device)
    if recompute:
        _recompute(model)
    autocast = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(dtype)
    picture = (3, 8 * size, 8 * size) if vae else (channels, size, size)

    def batch(n: int) -> tuple[torch.Tensor, ...]:
        x = torch.randn(n, *picture, device=device)
        return x, torch.randint(1000, (n,), device=device), torch.randn(n, 77, 1024, device=device)

    def loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        x, t, text = batch
        if vae:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                x = encoder(x)[:, :channels]
        return F.mse_loss(model(x, t, text).float()[:, :channels], x)

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return Workload(model=model, optimizer=optimizer, batch=batch, loss=loss, autocast_dtype=autocast)


def encoder_of_pictures() -> nn.Module:
    """The encoder of Stable Diffusion's VAE, 8x down."""
    from diffusers.models.autoencoders.vae import Encoder

    return Encoder(
        in_channels=3, out_channels=4, down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, double_z=True,
    )  # fmt: skip


class Net(nn.Module):
    """A diffusers network as ``f(x, t, text)``."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = inner, kind

    def forward(self, x: torch.Tensor, t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        if self.kind == "dit":
            return self.inner(x, timestep=t, class_labels=t).sample
        if self.kind == "text":
            return self.inner(x, t, encoder_hidden_states=text).sample
        return self.inner(x, t).sample


def build(net: str, size: int, channels: int) -> nn.Module:
    """Networks as diffusers has them; those of EDM, NCSN++ and torchcfm as the nearest of one number of parameters."""
    import diffusers as d

    if net == "dit_xl":
        inner: Any = d.DiTTransformer2DModel(
            num_attention_heads=16, attention_head_dim=72, in_channels=4, out_channels=8, num_layers=28,
            sample_size=size, patch_size=2, num_embeds_ada_norm=1000,
        )  # fmt: skip
        return Net(inner, "dit")
    if net == "sd2":
        inner = d.UNet2DConditionModel(
            sample_size=size, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
        return Net(inner, "text")
    shapes: dict[str, dict[str, Any]] = {
        "unet114": {"block_out_channels": (128, 128, 256, 256, 512, 512), "layers_per_block": 2, "attend": (4,)},
        "torchcfm": {"block_out_channels": (128, 256, 256, 256), "layers_per_block": 2, "attend": (1,)},
        "ddpmpp": {"block_out_channels": (128, 256, 256), "layers_per_block": 4, "attend": (1,)},
        "adm64": {"block_out_channels": (192, 384, 576, 768), "layers_per_block": 3, "attend": (1, 2, 3)},
    }
    shape = shapes[net]
    levels = range(len(shape["block_out_channels"]))
    down = tuple("AttnDownBlock2D" if k in shape["attend"] else "DownBlock2D" for k in levels)
    inner = d.UNet2DModel(
        sample_size=size, in_channels=channels, out_channels=channels,
        block_out_channels=shape["block_out_channels"], layers_per_block=shape["layers_per_block"],
        down_block_types=down, up_block_types=tuple(x.replace("Down", "Up") for x in reversed(down)),
        attention_head_dim=64,
    )  # fmt: skip
    return Net(inner, "plain")


def _recompute(model: nn.Module) -> None:
    """Every block runs forward twice."""
    for block in model.inner.transformer_blocks:  # type: ignore[union-attr]
        forward = block.forward

        def again(*args: Any, forward: Any = forward, **kwargs: Any) -> Any:
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)

        block.forward = again


def compare(rows: list[dict[str, str]], simulation: Simulation, *, quiet: bool) -> dict[str, Any]:
    """Every row that states enough: predicted images a second with their interval."""
    runs, skipped = [], []
    for row in rows:
        reason = why_not(row)
        if reason is not None:
            skipped.append({"model": row["model"], "gpu": row["gpu"], "reason": reason})
            continue
        runs.append(predict(row, simulation))
        if not quiet:
            one = runs[-1]
            text = f"{one['ours']:6.1f} [{one['low']:.1f}..{one['high']:.1f}] images/s, measured {one['measured']:.1f}"
            what = f"{one['model'][:30]:30} {one['precision']:12.12} {one['gpu']:10.10}"
            print(f"{what} {text}", file=sys.stderr, flush=True)
    inside = [one["low"] <= one["measured"] <= one["high"] for one in runs]
    return {
        "n": len(runs),
        "in_interval_frac": statistics.fmean(inside) if inside else None,
        "median_high_over_low": statistics.median(one["high"] / one["low"] for one in runs) if runs else None,
        "assumed": ASSUMED,
        "runs": runs,
        "skipped": skipped,
    }


def why_not(row: dict[str, str]) -> str | None:
    """What is missing from a row, or ``None``."""
    missing = [name for name in ("batch_per_gpu", "img_per_s_per_gpu") if not row[name]]
    if missing:
        return f"{', '.join(missing)} not stated"
    if "not stated" in row["precision"]:
        return "precision not stated"
    if row["model"] not in NETS:
        return "its network is not written down here"
    return None if row["gpu"] in CARDS else "its card is not in the table"


def predict(row: dict[str, str], simulation: Simulation) -> dict[str, Any]:
    net, size, channels = NETS[row["model"]]
    if row["resolution_latent"].endswith("64x64x4 latent"):
        size = 64
    text = row["precision"]
    dtype = next((name for name in ("fp16", "bf16") if name in text), "fp32")
    is_fast_dit = "fast-DiT" in row["source"]
    tf32 = 2 if "+ TF32" in text or is_fast_dit else 0 if "TF32 off" in text or row["gpu"] == "V100" else 1
    gpu = find_gpu(CARDS[row["gpu"]])
    if gpu is None:
        raise ValueError(f"{row['gpu']} is not in the table of GPUs")
    batch, micro_batch = int(row["batch_per_gpu"]), int(row["batch_per_gpu"])
    if "microbatch 16" in row["settings"]:
        micro_batch = 16
    parameters = {"net": net, "size": size, "channels": channels, "dtype": dtype, "tf32": tf32}
    said = row["settings"] + (" VAE in loop" if "as above" in row["settings"] else "")
    parameters["recompute"] = int("gradient checkpointing" in said and "no checkpointing" not in said)
    parameters["vae"] = int("VAE in" in said or "VAE encode in" in said or "SD-VAE encode in" in said)
    orders = [
        TraceOrder(
            spec=STEPS,
            parameters=dict(parameters),
            compute_capability=float(gpu.compute_capability or 0),
            micro_batch=size_of_batch,
            accumulation=min(2, batch // micro_batch),
            num_steps=2,
        )
        for size_of_batch in (2, 4)
    ]
    found = simulation.trace_all(orders, timeout_s=TIMEOUT_S)
    operators = fit_operators([(one.trace.micro_batch, one.operators) for one in found if one.operators])
    if operators is None:
        raise ValueError(f"{row['model']} does not do the same at micro-batches 2 and 4")
    model = StepTimeModel(operators, efficiency_of(gpu), found[0].breakdown.gradients_bytes or 0)
    step_s = model.step_time(micro_batch, batch // micro_batch)
    return {
        **{key: row[key] for key in ("model", "precision", "gpu", "gpus", "settings", "confidence")},
        "batch": batch,
        "measured": float(row["img_per_s_per_gpu"]),
        "ours": batch / float(step_s.value or 0),
        "low": batch / float(step_s.high or 0),
        "high": batch / float(step_s.low or 0),
        "parameters_m": round((found[0].breakdown.weights_bytes or 0) / 4e6, 1),
        "host_over_card": round(model.host_share(micro_batch, batch // micro_batch), 2),
    }
