"""A real VAE, saved to disk and loaded back: encoded once, cached with checksums, decoded again."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from picture_folder import make_pictures
from small_vae import save_kl, save_tiny

from advisor.errors import UsageError
from trainer.data import load_pictures
from trainer.latents import Pixels, encoded, load_codec

SIDE = 16


@pytest.fixture
def pictures(tmp_path):
    return load_pictures(str(make_pictures(tmp_path / "d", per_class=3)), SIDE)


@pytest.mark.parametrize("save", [save_kl, save_tiny])
def test_latents_are_encoded_once_and_read_back_equal(tmp_path, monkeypatch, pictures, save):
    monkeypatch.setenv("CFGADVISE_CACHE", str(tmp_path / "cache"))
    save(tmp_path / "vae")
    codec, said = load_codec(str(tmp_path / "vae"), "cpu"), []
    first = encoded(pictures, codec, SIDE, said.append)
    second = encoded(pictures, load_codec(str(tmp_path / "vae"), "cpu"), SIDE, said.append)
    assert first.shape[:2] == (9, 4)
    assert torch.equal(first, second)
    assert len(said) == 1
    assert codec.decode(first).shape == (9, 3, SIDE, SIDE)


def test_latents_are_scaled_as_the_vae_says(tmp_path, monkeypatch, pictures):
    monkeypatch.setenv("CFGADVISE_CACHE", str(tmp_path / "cache"))
    save_kl(tmp_path / "vae")
    vae = AutoencoderKL.from_pretrained(tmp_path / "vae").eval()
    x = torch.from_numpy(pictures.pixels).float() / 127.5 - 1
    with torch.no_grad():
        expected = vae.encode(x).latent_dist.mean * 0.5
    found = encoded(pictures, load_codec(str(tmp_path / "vae"), "cpu"), SIDE)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_damaged_cache_is_made_anew_and_other_data_get_another(tmp_path, monkeypatch, pictures):
    monkeypatch.setenv("CFGADVISE_CACHE", str(tmp_path / "cache"))
    save_kl(tmp_path / "vae")
    codec = load_codec(str(tmp_path / "vae"), "cpu")
    first = encoded(pictures, codec, SIDE)
    (cache,) = (tmp_path / "cache").rglob("latents.safetensors")
    content = bytearray(cache.read_bytes())
    content[-1] ^= 1
    cache.write_bytes(bytes(content))
    assert torch.equal(encoded(pictures, codec, SIDE), first)
    other = load_pictures(str(make_pictures(tmp_path / "e", per_class=2)), SIDE)
    assert len(encoded(other, codec, SIDE)) == 6


def test_pixels_survive_the_way_there_and_back(pictures):
    assert (Pixels().decode(Pixels().encode(pictures.pixels)) == pictures.pixels).all()


def test_grey_pictures_go_through_a_colour_vae(tmp_path):
    save_kl(tmp_path / "vae")
    codec = load_codec(str(tmp_path / "vae"), "cpu")
    assert codec.encode(np.zeros((2, 1, SIDE, SIDE), dtype=np.uint8)).shape == (2, 4, 8, 8)


@pytest.mark.parametrize("kind", ["missing", "empty", "other", "cut"])
def test_what_is_no_vae_is_one_clear_error(tmp_path, kind):
    folder = tmp_path / "vae"
    if kind != "missing":
        folder.mkdir()
    if kind == "other":
        (folder / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    if kind == "cut":
        save_kl(folder)
        weights = folder / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UsageError, match=str(folder)):
        load_codec(str(folder), "cpu")
