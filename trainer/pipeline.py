"""The finished model as a diffusers pipeline, which plain diffusers loads without this project."""

# diffusers resolves its classes when they are first used, which hides their attributes from type checkers.
# mypy: disable-error-code="attr-defined, no-untyped-call"

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from diffusers.models.unets.unet_2d import UNet2DModel
from PIL import Image

from advisor import storage
from advisor.errors import UsageError
from advisor.schema import nearest_name
from trainer.latents import Pixels, VaeCodec
from trainer.model import Denoiser
from trainer.sampling import generate, make_scheduler, picture_image


class ClassConditionalPipeline(DiffusionPipeline):
    """Pictures by class name: ``ClassConditionalPipeline.from_pretrained("RUN/pipeline")(["7", "3"])``."""

    _optional_components: ClassVar[list[str]] = ["unet", "transformer", "vae"]

    def __init__(
        self,
        scheduler: Any,
        unet: UNet2DModel | None = None,
        transformer: DiTTransformer2DModel | None = None,
        vae: Any = None,
        class_names: list[str] | None = None,
    ) -> None:
        """One of ``unet`` and ``transformer`` denoises; the other is ``None``."""
        super().__init__()
        self.register_modules(scheduler=scheduler, unet=unet, transformer=transformer, vae=vae)
        self.register_to_config(class_names=class_names or [])

    def __call__(
        self, class_names: Sequence[str], *, guidance: float = 1.5, num_steps: int = 20, seed: int = 0
    ) -> list[Image.Image]:
        """One picture for each name.

        Raises:
            UsageError: for a name that is no class of this model.
        """
        known = list(self.config["class_names"])
        for name in class_names:
            if name not in known:
                raise UsageError(f"no class {name!r} in this model{nearest_name(name, known)}")
        labels = torch.tensor([known.index(name) for name in class_names])
        model = self.unet if self.transformer is None else self.transformer
        codec = VaeCodec(self.vae, model.device) if self.vae is not None else Pixels()
        x_BCHW = generate(model, labels, seed=seed, num_steps=num_steps, guidance=guidance)
        return [picture_image(pixels) for pixels in codec.decode(x_BCHW)]


def export(folder: Path, model: Denoiser, vae: Any, class_names: Sequence[str]) -> None:
    """Write the pipeline folder as a whole, replacing an older one.

    Raises:
        StorageError: if the disk is full or not writable.
    """
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    part: dict[str, Any] = {"transformer" if isinstance(model, DiTTransformer2DModel) else "unet": model.eval()}
    pipeline = ClassConditionalPipeline(make_scheduler(), **part, vae=vae, class_names=list(class_names))
    with storage.storage_errors(folder):
        pipeline.save_pretrained(temporary, safe_serialization=True)
        if folder.exists():
            storage.remove_folder(folder)
        storage.DISK.rename(temporary, folder)
        storage.DISK.sync_folder(folder.parent)
