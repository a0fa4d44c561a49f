"""What the network is trained on: latents of a VAE, encoded once and cached, or plain pixels.

The cache is one checksummed safetensors file, named by everything that decides its content (data,
VAE, size), so that no run ever reads the latents of another.

Shapes: N pictures, C channels, H and W height and width of a latent.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from advisor import storage
from advisor.errors import StorageError, UsageError
from advisor.records import Note
from trainer.config import NO_VAE
from trainer.data import Pictures
from trainer.notes import note
from trainer.oom import Pieces

_CACHE_FILE = "latents.safetensors"
_BATCH = 16


class Pixels:
    """The identity codec: pictures themselves, from -1 to 1."""

    vae = None

    def encode(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Pictures ``[N, C, H, W]`` in uint8 as float32 from -1 to 1."""
        return torch.from_numpy(pixels).float() / 127.5 - 1

    def decode(self, x_NCHW: Tensor) -> NDArray[np.uint8]:
        """The inverse of :meth:`encode`, clipped to what a picture can show."""
        scaled: NDArray[np.uint8] = ((x_NCHW.float().cpu() + 1) * 127.5).round().clamp(0, 255).byte().numpy()
        return scaled


class VaeCodec:
    """Latents of a diffusers ``AutoencoderKL`` or ``AutoencoderTiny``, scaled as its config says."""

    def __init__(self, vae: Any, device: torch.device | str, pieces: Pieces | None = None) -> None:
        self.vae = vae.to(device).eval().requires_grad_(False)
        self._device, self._pieces = device, pieces or Pieces()
        self._scale = float(vae.config.get("scaling_factor") or 1.0)
        self._shift = float(vae.config.get("shift_factor") or 0.0)

    @torch.no_grad()
    def encode(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Scaled latents of pictures ``[N, C, H, W]``, float32 on the CPU.

        A KL-VAE's mean is taken, not a draw from its posterior: the cache must not depend on chance.
        """
        rgb = np.repeat(pixels, 3, axis=1) if pixels.shape[1] == 1 else pixels
        return torch.cat(self._pieces("encoding", _BATCH, self._encode_batch, rgb)).contiguous()

    def _encode_batch(self, pixels: NDArray[np.uint8]) -> Tensor:
        encoded = self.vae.encode((torch.from_numpy(pixels).float() / 127.5 - 1).to(self._device))
        latents: Tensor = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return ((latents - self._shift) * self._scale).float().cpu()

    @torch.no_grad()
    def decode(self, x_NCHW: Tensor) -> NDArray[np.uint8]:
        """Pictures ``[N, 3, H, W]`` in uint8 from scaled latents."""
        return np.concatenate(self._pieces("decoding", _BATCH, self._decode_batch, x_NCHW))

    def _decode_batch(self, x_NCHW: Tensor) -> NDArray[np.uint8]:
        """At once on the CPU and a quarter of the size: many pictures in full need more memory than the network."""
        return Pixels().decode(self.vae.decode(x_NCHW.to(self._device) / self._scale + self._shift).sample)

    def fingerprint(self) -> str:
        """SHA-256 over the VAE's configuration and weights."""
        digest = hashlib.sha256(json.dumps(dict(self.vae.config), sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.vae.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


Codec = Pixels | VaeCodec


def load_codec(vae: str, device: torch.device | str, pieces: Pieces | None = None) -> Codec:
    """The codec that a configuration names: ``none``, a local folder or a hub id.

    ``pieces`` says how many pictures it takes at once.

    Raises:
        UsageError: if it cannot be loaded as an ``AutoencoderKL`` or ``AutoencoderTiny``.
    """
    if vae == NO_VAE:
        return Pixels()
    from diffusers import AutoencoderKL, AutoencoderTiny  # slow to import, and pixels do not need it

    kinds: dict[str, Any] = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
    try:
        kind = AutoencoderKL.load_config(vae).get("_class_name")
        if kind not in kinds:
            raise UsageError(f"vae {vae}: is a {kind}; supported are {', '.join(kinds)}")
        loaded = kinds[kind].from_pretrained(vae, use_safetensors=True, low_cpu_mem_usage=False)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"vae {vae}: cannot be loaded ({reason}); give a local diffusers folder, a hub id that this machine "
            "can reach, or vae=none to train on pixels"
        ) from None
    return VaeCodec(loaded, device, pieces)


def encoded(
    pictures: Pictures, codec: Codec, image_size: int, on_note: Callable[[Note], None] = lambda _: None
) -> Tensor:
    """What the network is trained on, for every picture: ``[N, C, H, W]``, float32 on the CPU.

    Pixels are not cached: converting them costs less than reading a cache. A damaged cache is made
    anew.

    Raises:
        StorageError: if the cache cannot be written.
    """
    if isinstance(codec, Pixels):
        return codec.encode(pictures.pixels)
    known = cached(pictures, codec, image_size)
    if known is not None:
        return known
    on_note(note("encoding", count=len(pictures.names)))
    latents, folder = codec.encode(pictures.pixels), _cache_folder(pictures, codec, image_size)
    storage.write_folder(folder, {_CACHE_FILE: safetensors.torch.save({"latents": latents})})
    storage.remove_leftovers(folder.parent)
    return latents


def cached(pictures: Pictures, codec: Codec, image_size: int) -> Tensor | None:
    """The same where it was encoded before and is undamaged, else ``None``."""
    if isinstance(codec, Pixels):
        return None
    try:
        files = storage.read_folder(_cache_folder(pictures, codec, image_size))
    except StorageError:
        return None
    return safetensors.torch.load(files[_CACHE_FILE])["latents"]


def _cache_folder(pictures: Pictures, codec: VaeCodec, image_size: int) -> Path:
    """Below ``CFGADVISE_CACHE`` or the platform's cache folder."""
    root = Path(os.environ.get("CFGADVISE_CACHE") or platformdirs.user_cache_dir("cfgadvise"))
    identity = f"{pictures.sha256} {codec.fingerprint()} {image_size}"
    return root / "latents" / hashlib.sha256(identity.encode()).hexdigest()[:32]
