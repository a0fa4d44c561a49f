"""The language models of ``data/neusight_e2e.csv``, operator by operator as their users ran them, in plain PyTorch.

Eager attention that stores its scores, float32, as in transformers of 2023 (NeuSight's tracing lists every operator).
Weights are on ``meta``: only shapes matter here.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from advisor import Workload

# layers, width, heads, vocabulary
SIZES = {
    "bert_large": (24, 1024, 16, 30522),
    "gpt2_large": (36, 1280, 20, 50257),
    "gpt3_xl": (24, 3072, 24, 50257),
    "gpt3_27": (32, 2560, 32, 50257),
    "opt_13": (24, 2048, 32, 50272),
}
DROPOUT = 0.1


def make(device: torch.device, *, model: str, seq: int, layers: int, training: int) -> Workload:
    """Forward and backward of a batch; without ``training`` forward only, and a loss of nothing to please the step."""
    _, width, heads, vocabulary = SIZES[model]
    kind = {"bert": Bert, "gpt2": Gpt, "gpt3": Gpt, "opt": Opt}[model.split("_")[0]]
    with torch.device("meta"):
        net = kind(layers, width, heads, vocabulary, seq)
        idle = nn.Linear(1, 1)
    net.to(device).train(bool(training))
    idle.to(device)

    def batch(n: int) -> torch.Tensor:
        return torch.randint(1000, (n, seq), device=device)

    def loss(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        if training:
            logits = model(tokens)
            return F.cross_entropy(logits.view(-1, vocabulary), tokens.view(-1))
        with torch.no_grad():
            model(tokens)
        return idle.weight.sum()

    parameters = net.parameters() if training else idle.parameters()
    return Workload(model=net, optimizer=torch.optim.SGD(parameters, lr=0.0), batch=batch, loss=loss)


class Attention(nn.Module):
    """Scores stored, scaled, masked, softmax, dropout."""

    def __init__(self, width: int, heads: int, kind: str) -> None:
        super().__init__()
        self.heads, self.head_dim, self.kind = heads, width // heads, kind
        if kind == "gpt":
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.kind == "gpt":
            q, k, v = self.qkv(x).split(x.shape[-1], dim=2)
        else:
            q, k, v = self.q(x), self.k(x), self.v(x)
        mixed = self._bmm(q, k, v, mask) if self.kind == "opt" else self._matmul(q, k, v, mask)
        return F.dropout(self.out(mixed), DROPOUT, self.training)

    def _matmul(self, q: Any, k: Any, v: Any, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = (one.view(*one.shape[:2], self.heads, self.head_dim).transpose(1, 2) for one in (q, k, v))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.head_dim)
        if self.kind == "gpt":
            scores = torch.where(mask, scores, torch.full((), -1e9, device=q.device))
        else:
            scores = scores + mask
        weights = F.dropout(scores.softmax(-1), DROPOUT, self.training)
        return torch.matmul(weights, v).transpose(1, 2).reshape(q.shape[0], q.shape[2], -1)

    def _bmm(self, q: Any, k: Any, v: Any, mask: torch.Tensor) -> torch.Tensor:
        n, seq, width = q.shape
        q = q * self.head_dim**-0.5
        shape = (n, seq, self.heads, self.head_dim)
        q, k, v = (one.view(shape).transpose(1, 2).contiguous().view(-1, seq, self.head_dim) for one in (q, k, v))
        scores = torch.bmm(q, k.transpose(1, 2)).view(n, self.heads, seq, seq) + mask
        scores = torch.max(scores, torch.full((), -1e9, device=q.device)).view(-1, seq, seq)
        mixed = torch.bmm(F.softmax(scores, dim=-1), v).view(n, self.heads, seq, self.head_dim)
        return mixed.transpose(1, 2).reshape(n, seq, width)


class Block(nn.Module):
    """Attention and a perceptron, normalised before (``gpt``, ``opt``) or after (``bert``)."""

    def __init__(self, width: int, heads: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.attention = Attention(width, heads, kind)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.kind == "bert":
            x = self.norms[0](self.attention(x, mask) + x)
            return self.norms[1](self._perceptron(x) + x)
        x = self.attention(self.norms[0](x), mask) + x
        return self._perceptron(self.norms[1](x)) + x

    def _perceptron(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.wide(x)
        if self.kind == "gpt":
            hidden = 0.5 * hidden * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden.pow(3.0))))
        else:
            hidden = F.relu(hidden) if self.kind == "opt" else F.gelu(hidden)
        return F.dropout(self.narrow(hidden), DROPOUT, self.training)


class Net(nn.Module):
    """Embeddings, blocks, and a head over the vocabulary."""

    kind = ""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, seq: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(seq, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, self.kind) for _ in range(layers))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.tokens(tokens) + self.places(places)


class Gpt(Net):
    kind = "gpt"

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.embed(tokens), DROPOUT, self.training)
        seq = tokens.shape[1]
        mask = torch.ones(seq, seq, dtype=torch.bool, device=tokens.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


class Opt(Net):
    kind = "opt"

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        n, seq = tokens.shape
        mask = torch.zeros(n, 1, seq, seq, device=tokens.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


class Bert(Net):
    kind = "bert"

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, seq: int) -> None:
        super().__init__(layers, width, heads, vocabulary, seq)
        self.transform, self.transform_norm = nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.norm(self.embed(tokens)), DROPOUT, self.training)
        n, seq = tokens.shape
        mask = torch.zeros(n, 1, 1, seq, device=tokens.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.transform_norm(F.gelu(self.transform(x))))
