"""Configurations: strict, complete, explained, and the same run or not."""

import dataclasses
import json

import pytest
import tomlkit
import torch
from picture_folder import make_pictures
from small_run import small_config

from advisor import schema
from advisor.errors import UsageError
from advisor.measure.messages import BuildOrder
from trainer.config import SECTIONS, TrainConfig, changed_fields, config_from
from trainer.config_file import parse_overrides, read_values, to_toml, updated_toml
from trainer.data import load_pictures, split_pictures
from trainer.plan import default_warmup, latent_layout, plan_config, present_setting, survey, workload_parameters
from trainer.presets import PRESETS, preset_named, reference_lr
from trainer.workload import make


def test_every_field_has_its_section():
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(
        field.name for field in dataclasses.fields(TrainConfig)
    )


def test_a_file_round_trips_with_its_reasons(tmp_path):
    config, path = small_config(), tmp_path / "config.toml"
    path.write_text(to_toml(config, {"lr": "because"}), encoding="utf-8")
    assert config_from(read_values(path), where="file") == config
    assert "lr = 0.001 # because" in path.read_text(encoding="utf-8")


def test_an_update_keeps_comments(tmp_path):
    text = updated_toml(to_toml(small_config(), {"lr": "because"}), small_config(guidance=3.0))
    assert "# because" in text
    assert tomlkit.parse(text)["sampling"]["guidance"] == 3.0


def test_overrides_are_toml_values_or_words():
    found = parse_overrides(
        ["lr=3e-4", "vae=some/path", "run.seed=7", 'preset="tiny"', "ema_half_lives_samples=[1, 2]"]
    )
    assert found == {"lr": 3e-4, "vae": "some/path", "seed": 7, "preset": "tiny", "ema_half_lives_samples": [1, 2]}


@pytest.mark.parametrize(
    ("assignment", "message"), [("lr", "key=value"), ("learning=1", "unknown key"), ("sed=1", "seed")]
)
def test_a_wrong_override_names_the_right_one(assignment, message):
    with pytest.raises(UsageError, match=message):
        parse_overrides([assignment])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": float("nan")}, "lr"),
        ({"lr": 0.0}, "lr must be a positive number"),
        ({"lr": "fast"}, "expected a number"),
        ({"micro_batch": 0}, "micro_batch must be at least 1"),
        ({"micro_batch": True}, "micro_batch"),
        ({"micro_batch": 8.0}, "expected a whole number"),
        ({"samples": -1}, "samples must be at least 1"),
        ({"beta2": 1.0}, "beta2 must be from 0 to below 1"),
        ({"preset": "tyni"}, "did you mean 'tiny'"),
        ({"image_size": 10}, "multiple of 4 for preset tiny"),
        ({"keep_checkpoints": 1}, "keep_checkpoints must be at least 2"),
        ({"precision": "fp64"}, "fp64"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    values = {**dataclasses.asdict(small_config()), **changes}
    with pytest.raises(UsageError, match=message):
        config_from(values, where="config")


def test_all_problems_come_in_one_message():
    with pytest.raises(UsageError) as error:
        config_from({**dataclasses.asdict(small_config()), "samples": 0, "lr": -1.0}, where="config")
    assert "samples" in str(error.value)
    assert "lr" in str(error.value)


@pytest.mark.parametrize("text", ["[oops]\nlr = 1", "lr = = 1", "\x00"])
def test_a_file_that_is_no_configuration(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"c\.toml"):
        read_values(path)


def test_a_run_may_be_cut_otherwise_but_not_changed():
    config = small_config(micro_batch=16, accumulation=1)
    assert changed_fields(config, small_config(micro_batch=4, accumulation=4)) == []
    assert changed_fields(config, small_config(guidance=9.0, keep_checkpoints=5)) == []
    assert changed_fields(config, small_config(micro_batch=8, accumulation=1)) == ["micro_batch was 16, is now 8"]
    assert changed_fields(config, small_config(lr=2e-3)) == ["lr was 0.001, is now 0.002"]


def test_the_reference_learning_rate_follows_the_square_root_of_the_batch():
    preset = preset_named("gait48")
    assert reference_lr(preset, 16) == 1e-4
    assert reference_lr(preset, 64) == pytest.approx(2e-4)


def test_warm_up_is_the_untuned_rule_within_the_run():
    assert default_warmup(10**6, 0.99, 16) == pytest.approx(200 * 16, abs=1)
    assert default_warmup(1_000, 0.99, 16) == 50


def test_the_bundled_digits_get_the_tiny_preset_at_their_own_size():
    config, why = plan_config(survey("digits"), "cpu", {})
    assert (config.preset, config.image_size, config.source) == ("tiny", 8, "digits")
    assert why["preset"]


def test_a_folder_is_planned_for_what_trains_it(tmp_path):
    folder = str(make_pictures(tmp_path / "d", side=100))
    source = survey(folder)
    assert (source.num_items, source.num_classes, source.side_pixels) == (18, 3, 100)
    assert plan_config(source, "cpu", {})[0].image_size == 32
    assert plan_config(source, "cuda", {})[0].image_size == 64
    with_vae = plan_config(source, "cuda", {"vae": "some/vae"})[0]
    assert (with_vae.preset, with_vae.image_size) == ("gait48", 96)


@pytest.mark.parametrize("held_out_frac", [0.1, 0.3, 0.0])
def test_the_advisor_hears_of_the_pictures_that_are_trained_on(tmp_path, held_out_frac):
    folder = make_pictures(tmp_path / "d", per_class=7)
    (folder / "red" / "0.png").unlink()
    for source in (str(folder), "digits"):
        labels = load_pictures(source, 8).labels
        expected = len(split_pictures(labels, held_out_frac, seed=1).train)
        assert survey(source).training_set(held_out_frac).num_items == expected


def test_what_the_user_says_stays(tmp_path):
    given = {"samples": 5_000, "lr": 3e-4, "preset": "gait48", "image_size": 16}
    config, why = plan_config(survey("digits"), "cpu", given)
    assert {name: getattr(config, name) for name in given} == given
    assert why["lr"] == "given by the user"
    assert config.ema_half_lives_samples == (250, 500)


def test_the_measured_step_has_the_shape_of_the_run(tmp_path):
    source = survey(str(make_pictures(tmp_path / "d", side=100)))
    config, _ = plan_config(source, "cuda", {"vae": "some/vae"})
    found = workload_parameters(source, dataclasses.asdict(config))
    assert (found["channels"], found["height"], found["num_classes"]) == (4, 12, 3)


def test_a_local_vae_says_what_its_latents_look_like(tmp_path):
    (tmp_path / "vae").mkdir()
    config = {"_class_name": "AutoencoderKL", "block_out_channels": [8, 16], "latent_channels": 3}
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config))
    source = survey(str(make_pictures(tmp_path / "d", side=64)))
    config, _ = plan_config(source, "cpu", {"vae": str(tmp_path / "vae")})
    found = workload_parameters(source, dataclasses.asdict(config))
    assert (found["channels"], found["height"], found["width"]) == (3, 32, 32)
    assert latent_layout("some/hub-id") == (8, 4)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_can_be_measured_without_data(name):
    config, _ = plan_config(survey("digits"), "cpu", {"preset": name})
    found = workload_parameters(None, dataclasses.asdict(config))
    assert (found["channels"], found["height"], found["width"]) == PRESETS[name].default_shape


def test_what_is_measured_is_what_is_configured():
    """The parameters go through a pipe of JSON to the child that builds the step."""
    config = small_config(preset="dit-tiny", precision="bf16", gradient_checkpointing=True)
    order = BuildOrder(
        spec="trainer.workload:make",
        parameters=workload_parameters(None, dataclasses.asdict(config)),
        device="cpu",
        micro_batch=1,
        accumulation=1,
        cap_bytes=None,
    )
    read = schema.from_json(BuildOrder, schema.to_json(order), where="order")
    assert read == order and read.parameters["gradient_checkpointing"] is True
    workload = make("cpu", **read.parameters)
    assert (workload.model.gradient_checkpointing, workload.autocast_dtype) == (True, torch.bfloat16)
    assert workload.loss(workload.model, workload.batch(2)).requires_grad


def test_the_present_setting_has_the_average_as_a_decay_per_step():
    setting = present_setting(dataclasses.asdict(small_config(ema_half_lives_samples=(160, 320))))
    assert setting.ema_decay.value**10 == pytest.approx(0.5)
    assert setting.effective_batch == 16


def test_what_the_user_decided_is_told_apart_from_the_preset():
    setting = present_setting(dataclasses.asdict(small_config()), {"lr"})
    assert (setting.lr.basis, setting.beta2.basis) == ("user", "rule")
