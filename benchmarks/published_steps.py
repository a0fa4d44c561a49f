"""The training steps of the published runs in ``data/xmem.csv``, as workloads.

Recipe (exp/trainer/*.py of Stone-ResearchLife/xMem): float32, no autocast, optimizer with its defaults made before
the model is moved, learning rate 1e-3. Pictures are 86 x 86, 1000 classes (10 for the small nets); texts are 128
tokens, and the outputs of a step (logits and key-value cache) stay alive until the next one has its own. The cache
held the keys and values of the forward pass themselves then; transformers of today copies them.
"""

import contextlib
import re
from typing import Any

import torch
from torch import nn

from advisor import Workload

VISION = {
    "ConvNeXtBase": ("convnext_base", 1000),
    "ConvNeXtTiny": ("convnext_tiny", 1000),
    "MnasNet": ("mnasnet1_0", 10),
    "MobeNetV3Large": ("mobilenet_v3_large", 10),
    "MobeNetV3Small": ("mobilenet_v3_small", 10),
    "MobileNetV2": ("mobilenet_v2", 1000),
    "RegNetX400MF": ("regnet_x_400mf", 1000),
    "RegNetY400MF": ("regnet_y_400mf", 1000),
    "ResNet101": ("resnet101", 1000),
    "ResNet152": ("resnet152", 1000),
    "VGG16": ("vgg16", 1000),
    "VGG19": ("vgg19", 1000),
}
NUM_TOKENS = 128
PICTURE_SIZE = 86


def make(device: torch.device, *, model: str, optimizer: str, keeps_gradients: int = 0) -> Workload:
    """One step of the published harness; ``keeps_gradients``: the old ones stay until the forward pass is over."""
    workload = _vision(device, model, optimizer) if model in VISION else _language(device, model, optimizer)
    return _with_late_zero_grad(workload) if keeps_gradients else workload


def _with_late_zero_grad(workload: Workload) -> Workload:
    optimizer, forward = workload.optimizer, workload.loss

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        value = forward(model, batch)
        type(optimizer).zero_grad(optimizer)
        return value

    optimizer.zero_grad = lambda set_to_none=True: None
    workload.loss = loss
    return workload


def _optimizer(name: str, parameters: Any) -> torch.optim.Optimizer:
    return getattr(torch.optim, name)(parameters, lr=1e-3)


def _vision(device: torch.device, name: str, optimizer: str) -> Workload:
    function, num_classes = VISION[name]
    model = getattr(torchvision_models(), function)(num_classes=num_classes)
    steps = _optimizer(optimizer, model.parameters())
    model.to(device).train()

    def batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = torch.randn(n, 3, PICTURE_SIZE, PICTURE_SIZE, device=device)
        return pictures, torch.randint(num_classes, (n,), device=device)

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return Workload(model=model, optimizer=steps, batch=batch, loss=loss)


def _language(device: torch.device, name: str, optimizer: str) -> Workload:
    torchvision_models()  # transformers looks for it, and would meet the import that fails
    import transformers

    _keep_keys_and_values_themselves()
    config = _config(name)
    is_encoder_decoder = getattr(config, "is_encoder_decoder", False)
    kind = transformers.AutoModelForSeq2SeqLM if is_encoder_decoder else transformers.AutoModelForCausalLM
    attention = "eager" if config.model_type in ("t5", "gpt_neo") else "sdpa"
    is_large = getattr(config, "hidden_size", 0) > 1024
    with torch.device("meta") if is_large else contextlib.nullcontext():
        model = kind.from_config(config, attn_implementation=attention)
    steps = _optimizer(optimizer, model.parameters())
    model.to(device).train()
    kept: dict[str, Any] = {}

    def batch(n: int) -> dict[str, torch.Tensor]:
        tokens = torch.randint(1000, (n, NUM_TOKENS), device=device)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens.clone()}

    def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        kept["outputs"] = model(**batch)
        return kept["outputs"].loss

    return Workload(model=model, optimizer=steps, batch=batch, loss=loss)


def _keep_keys_and_values_themselves() -> None:
    """The first update of a cache layer as transformers made it in 2025 (4.50): the states are kept, not copied."""
    from transformers import cache_utils

    layer = getattr(cache_utils, "DynamicLayer", None)
    if layer is None or hasattr(layer, "copying_update"):
        return  # a transformers of that time, or done before
    layer.copying_update = layer.update

    def update(self: Any, key_states: torch.Tensor, value_states: torch.Tensor, *rest: Any, **more: Any) -> Any:
        if getattr(self, "keys", None) is not None:
            return self.copying_update(key_states, value_states, *rest, **more)
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    layer.update = update


def _config(name: str) -> Any:
    """The published configurations, written out: nothing is downloaded."""
    import transformers as hf

    short = name.rpartition("/")[2]
    if short == "gpt-neo-125M":
        return hf.GPTNeoConfig(
            hidden_size=768, num_layers=12, num_heads=12, attention_types=[[["global", "local"], 6]], vocab_size=50257
        )
    if short == "gpt2":
        return hf.GPT2Config()
    if short == "opt-125m":
        return hf.OPTConfig()
    if short == "T5-small":
        return hf.T5Config(
            d_model=512, d_ff=2048, num_layers=6, num_heads=8, vocab_size=32128, decoder_start_token_id=0
        )
    if short == "Llama-3.2-3B-Instruct":
        return hf.LlamaConfig(
            hidden_size=3072, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=24,
            num_key_value_heads=8, vocab_size=128256, head_dim=128, tie_word_embeddings=True,
        )  # fmt: skip
    if short == "DeepSeek-R1-Distill-Qwen-1.5B":
        return hf.Qwen2Config(
            hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
            num_key_value_heads=2, vocab_size=151936, tie_word_embeddings=False,
        )  # fmt: skip
    if short == "Qwen3-4B":
        return hf.Qwen3Config(
            hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32,
            num_key_value_heads=8, head_dim=128, vocab_size=151936, tie_word_embeddings=True,
        )  # fmt: skip
    raise ValueError(f"no configuration is written down for {name}")


def torchvision_models() -> Any:
    """``torchvision.models``, also beside a torch for which its compiled operations were not built.

    Without them the import fails on the first operation that it gives a fake kernel to; none of the models here
    calls one, so a declaration is enough.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key

    def declare(name: str, key: Any) -> bool:
        if re.match(r"torchvision::\w+$", name) and not hasattr(torch.ops.torchvision, name.partition("::")[2]):
            library.define(f"{name.partition('::')[2]}(Tensor x) -> Tensor")
        return has_kernel(name, key)

    torch._C._dispatch_has_kernel_for_dispatch_key = declare
    try:
        import torchvision.models
    finally:
        torch._C._dispatch_has_kernel_for_dispatch_key = has_kernel
    _LIBRARIES.append(library)
    return torchvision.models


_LIBRARIES: list[torch.library.Library] = []  # a declaration lasts as long as its library
