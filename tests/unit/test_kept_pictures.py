"""What a measurement trains on: the training pictures of a folder, decoded once, found again by their name."""

import dataclasses
import os

import numpy as np
import pytest
import torch
from picture_folder import make_pictures
from small_run import small_config
from small_vae import save_kl

from advisor.errors import DataError, StorageError
from advisor.measure.noise_trial import NoiseOutcome
from advisor.recommend.noise import noise_remarks
from trainer.data import load_pictures, split_pictures
from trainer.kept_pictures import KeptPictures, keep_pictures, kept
from trainer.latents import encoded, load_codec
from trainer.plan import workload_parameters
from trainer.workload import make


@pytest.fixture
def folder(tmp_path):
    return make_pictures(tmp_path / "d", per_class=10)


def config_of(folder, **changes):
    return small_config(source=str(folder), image_size=8, **changes)


def loaded(config):
    pictures = load_pictures(config.source, config.image_size)
    return pictures, split_pictures(pictures.labels, config.held_out_frac, config.seed)


def test_only_the_pictures_that_are_trained_on_are_kept(folder):
    config = config_of(folder)
    pictures, split = loaded(config)
    x_NCHW, label_N = kept(str(keep_pictures(config).parameters["data"]))
    assert np.array_equal(x_NCHW, pictures.pixels[split.train])
    assert np.array_equal(label_N, pictures.labels[split.train])


def test_they_are_decoded_once_and_other_pictures_have_another_name(folder, monkeypatch):
    config = config_of(folder)
    first = keep_pictures(config, loaded(config))
    with monkeypatch.context() as patched:
        patched.setattr("trainer.kept_pictures.load_pictures", None)
        assert keep_pictures(config) == first
    for other in (dataclasses.replace(config, image_size=4), dataclasses.replace(config, seed=1)):
        assert keep_pictures(other).parameters != first.parameters
    picture = folder / "red" / "0.png"
    os.utime(picture, ns=(0, 0))
    changed = keep_pictures(config)
    assert changed.parameters != first.parameters
    picture.unlink()
    assert keep_pictures(config).parameters not in (first.parameters, changed.parameters)


def test_what_no_measurement_counts_of_any_more_is_deleted(folder):
    first = str(keep_pictures(config_of(folder)).parameters["data"])
    root = next(path for path in folder.parent.rglob(first))
    os.utime(root, (0, 0))
    keep_pictures(config_of(folder, seed=1))
    with pytest.raises(StorageError):
        kept(first)


def test_a_picture_that_cannot_be_decoded_is_named(folder):
    (folder / "red" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"red/0\.png"):
        keep_pictures(config_of(folder))


def test_decoding_that_takes_too_long_is_refused_and_says_how_long(folder):
    said = keep_pictures(config_of(folder), affordable_s=0.0).made_up_because
    assert said is not None and said.id == "data_slow_to_decode"
    assert said.values["count"] == 30
    assert noise_remarks(NoiseOutcome(refusal="made_up_data"), said) == (said,)


def test_a_cache_that_cannot_be_written_is_refused(folder, monkeypatch):
    monkeypatch.setenv("CFGADVISE_CACHE", "/dev/null/below")
    found = keep_pictures(config_of(folder))
    assert (found.parameters, found.made_up_because.id) == ({}, "data_not_kept")


def test_latents_are_taken_once_a_run_has_encoded_them(folder, tmp_path):
    save_kl(tmp_path / "vae")
    config = config_of(folder, vae=str(tmp_path / "vae"))
    assert keep_pictures(config).made_up_because.id == "data_not_encoded"
    pictures, split = loaded(config)
    latents = encoded(pictures, load_codec(config.vae, "cpu"), config.image_size)
    x_NCHW, _ = kept(str(keep_pictures(config, (pictures, split)).parameters["data"]))
    assert np.array_equal(x_NCHW, latents.numpy()[split.train])


def test_the_measured_step_trains_on_them_and_needs_them(folder):
    config = config_of(folder)
    pictures, split = loaded(config)
    real = {
        tuple(one) for one in (torch.from_numpy(pictures.pixels[split.train]).float() / 127.5 - 1).flatten(1).tolist()
    }
    parameters = {**workload_parameters(None, dataclasses.asdict(config)), "channels": 3, "num_classes": 3}
    workload = make("cpu", **parameters, **keep_pictures(config).parameters)
    assert workload.real_data and not make("cpu", **parameters).real_data
    seen = [workload.batch(9) for _ in range(3)]  # an epoch
    assert {tuple(one) for batch in seen for one in batch[0].flatten(1).tolist()} == real
    assert not torch.equal(seen[0][3], seen[1][3])
    assert workload.loss(workload.model, seen[0]).requires_grad
    with pytest.raises(StorageError):
        make("cpu", **parameters, data="0" * 32)


def test_the_loss_is_that_of_the_run():
    usual = workload_parameters(None, dataclasses.asdict(small_config()))
    other = workload_parameters(None, dataclasses.asdict(small_config(label_dropout=0.2)))
    assert other == {**usual, "label_dropout": 0.2}
    assert KeptPictures().parameters == {}
