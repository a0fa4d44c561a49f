"""Small networks of the kinds that people train, as workloads: for predictions against direct traces."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it
from torch.utils.checkpoint import checkpoint

from advisor import Workload


class Average:
    decay = 0.999

    def __init__(self, model: nn.Module) -> None:
        self.model, self.shadow = model, copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self) -> None:
        for average, weight in zip(self.shadow.parameters(), self.model.parameters()):
            average.lerp_(weight, 1 - self.decay)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.shape
        heads = self.qkv(self.norm(x_BTC)).view(B, T, 3, 4, C // 4).permute(2, 0, 3, 1, 4)
        return x_BTC + self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(B, T, C))


class Transformer(nn.Module):
    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(500, width)
        feed = [
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(4 * width, width),
        ]
        self.blocks = nn.Sequential(Attention(width), *feed, Attention(width))
        self.head = nn.Linear(width, 500)

    def forward(self, token_BT: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(token_BT)))


class ModulatedBlock(nn.Module):
    """Of a diffusion transformer: scale, shift and gate of every part follow from the condition (adaLN-Zero)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention, self.norm = Attention(width), nn.LayerNorm(width, elementwise_affine=False)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))

    def forward(self, x_BTC: Tensor, condition_BC: Tensor) -> Tensor:
        shift, scale, gate = self.condition(condition_BC)[:, None].chunk(3, dim=-1)
        x_BTC = self.attention(x_BTC)
        return x_BTC + gate * self.feed(self.norm(x_BTC) * (1 + scale) + shift)


class DiT(nn.Module):
    def __init__(self, width: int = 128, patch: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.time = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(ModulatedBlock(width) for _ in range(3))
        self.out, self.shuffle = nn.Linear(width, 3 * patch * patch), nn.PixelShuffle(patch)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x)
        tokens, condition = patches.flatten(2).transpose(1, 2), self.time(torch.rand(len(x), 1, device=x.device))
        for block in self.blocks:
            tokens = block(tokens, condition)
        return self.shuffle(self.out(tokens).transpose(1, 2).unflatten(2, patches.shape[2:]))


class Recomputed(nn.Module):
    """Gradient checkpointing: the block keeps its inputs only, and runs again in the backward pass."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs: Tensor) -> Tensor:
        return checkpoint(self.block, *inputs, use_reentrant=False)


class Residual(nn.Module):
    def __init__(self, width: int, norm: type[nn.Module]) -> None:
        super().__init__()
        norms = [nn.GroupNorm(8, width) if norm is nn.GroupNorm else nn.BatchNorm2d(width) for _ in range(2)]
        convs = [nn.Conv2d(width, width, 3, padding=1) for _ in range(2)]
        self.body = nn.Sequential(norms[0], nn.SiLU(), convs[0], norms[1], nn.SiLU(), convs[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResNet(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        stages = [
            nn.Sequential(Residual(w, nn.BatchNorm2d), nn.Conv2d(w, 2 * w, 3, stride=2, padding=1))
            for w in (width, 2 * width, 4 * width)
        ]
        self.stem, self.stages, self.head = (
            nn.Conv2d(3, width, 3, padding=1),
            nn.Sequential(*stages),
            nn.Linear(8 * width, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.first, self.middle = Residual(width, nn.GroupNorm), Residual(2 * width, nn.GroupNorm)
        self.attention, self.last = Attention(2 * width), nn.Conv2d(3 * width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.first(self.stem(x))
        low = self.middle(self.down(high))
        B, C, H, W = low.shape
        low = self.attention(low.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(B, C, H, W)
        return self.last(torch.cat([high, F.interpolate(low, scale_factor=2.0)], 1))


def pictures(device, n: int) -> Tensor:
    return torch.randn(n, 3, 32, 32, device=device)


NETS = {"transformer": Transformer, "resnet": ResNet, "unet": UNet, "dit": DiT}
BLOCKS = (Attention, ModulatedBlock, Residual)


def recompute_blocks(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, BLOCKS):
            setattr(module, name, Recomputed(child))
        else:
            recompute_blocks(child)


def make(device, *, net: str, precision: str = "fp32", optimizer: str = "AdamW", checkpointing: int = 0) -> Workload:
    """One of the nets with clipping and EMA; the model is built on the CPU and then moved."""
    model = NETS[net]().to(device)
    if checkpointing:
        recompute_blocks(model)
    if net == "transformer":

        def batch(n: int) -> Tensor:
            return torch.randint(500, (n, 64), device=device)

        def loss(model: nn.Module, token_BT: Tensor) -> Tensor:
            return F.cross_entropy(model(token_BT).flatten(0, 1), token_BT.flatten())
    elif net == "resnet":

        def batch(n: int) -> Tensor:
            return pictures(device, n), torch.randint(10, (n,), device=device)

        def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            return F.cross_entropy(model(batch[0]), batch[1])
    else:

        def batch(n: int) -> Tensor:
            return pictures(device, n)

        def loss(model: nn.Module, x: Tensor) -> Tensor:
            return F.mse_loss(model(x), torch.randn_like(x))

    return Workload(
        model=model,
        optimizer=getattr(torch.optim, optimizer)(model.parameters(), lr=1e-3),
        batch=batch,
        loss=loss,
        ema=Average(model),
        clip_norm=1.0,
        autocast_dtype={"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision],
    )


NUM_SAMPLES, DECODED_SIZE = 8, 256


def samples(device) -> Workload:
    """Evaluates by sampling with guidance (twice the samples a call) and decodes what it sampled to large pictures."""
    workload = make(device, net="unet")
    decoder = nn.Sequential(nn.Upsample(scale_factor=DECODED_SIZE / 32), nn.Conv2d(3, 16, 3, padding=1)).to(device)

    def eval_step() -> Tensor:
        x = pictures(device, NUM_SAMPLES)
        for _ in range(2):
            with_condition, without = workload.model(torch.cat([x, x])).chunk(2)
            x = without + 3 * (with_condition - without)
        return decoder(x)

    workload.eval_step = eval_step
    return workload


def contrastive(device) -> Workload:
    """Every sample is compared with every other: memory grows with the square of the batch."""
    model = nn.Linear(64, 64).to(device)

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        z = model(x)
        return F.cross_entropy((z @ z.T).exp().log(), torch.arange(len(x), device=x.device))

    return Workload(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        batch=lambda n: torch.randn(n, 64, device=device),
        loss=loss,
    )


def reads_values(device) -> Workload:
    """Goes on differently where the loss is large: a simulated card cannot know."""
    workload = make(device, net="resnet")

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        value = F.cross_entropy(model(batch[0]), batch[1])
        if value > 1:  # this line
            value = value * 2
        return value

    workload.loss = loss
    return workload


def chunks(device) -> Workload:
    """Works in pieces of eight samples: another number of allocations at every batch."""
    workload = make(device, net="resnet")
    whole = workload.loss

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return torch.stack([whole(model, part) for part in zip(batch[0].split(8), batch[1].split(8))]).mean()

    workload.loss = loss
    return workload


def early_optimizer(device) -> Workload:
    """The optimizer is made before the model is moved, and two layers share a weight."""
    model = nn.Sequential(nn.Linear(512, 512, bias=False), nn.Linear(512, 512, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.Adam(model.parameters())
    model.to(device)
    return Workload(
        model=model,
        optimizer=optimizer,
        batch=lambda n: torch.ones(n, 512, device=device),
        loss=lambda model, x: model(x).square().mean(),
    )


def sized(device, *, num_features: int) -> Workload:
    """The synthetic workload, whose bytes are known."""
    from advisor.workload import synthetic

    return synthetic.make(device, num_features=num_features)


def looks_around(device) -> Workload:
    """Checks from inside that everything is as on a card of compute capability 8.0."""
    workload = make(device, net="transformer", precision="bf16")
    usual = workload.loss

    def loss(model: nn.Module, token_BT: Tensor) -> Tensor:
        assert (str(device), torch.cuda.is_available(), torch.cuda.get_device_capability()) == ("cuda:0", True, (8, 0))
        assert token_BT.is_cuda and torch.is_autocast_enabled("cuda")
        x = torch.randn(4, 8, device="cuda")
        weight = nn.Parameter(torch.zeros(8, 8, device=device))
        assert F.linear(x, weight).dtype == torch.bfloat16
        assert F.layer_norm(F.linear(x, weight), (8,)).dtype == torch.float32
        assert F.linear(x, weight).softmax(-1).dtype == torch.float32
        assert (x.bfloat16() + x).dtype == torch.float32
        with torch.autocast("cuda", enabled=False):
            assert F.linear(x, weight).dtype == torch.float32
        table = torch.arange(10, device=device)
        assert int((table == 7).nonzero()) == 7 and torch.tensor([3, 4], device=device)[1].item() == 4
        assert torch.ones(3).sum().item() == 3  # the CPU stays real
        return usual(model, token_BT)

    workload.loss = loss
    return workload
