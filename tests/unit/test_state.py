"""State and checkpoints: exact, finite, and never trusted unread."""

import json
import logging

import pytest
import torch
from small_run import small_config, small_data, small_state

from advisor.errors import CheckpointError, NonFiniteError
from trainer.checkpoint import list_checkpoints, load_newest, save_checkpoint
from trainer.folder import open_run
from trainer.loop import Stepper


def _tensors(state) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state._named_tensors().items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_restart_from_a_checkpoint_continues_bit_for_bit(precision):
    config, data = small_config(precision=precision), small_data()
    straight = small_state(config)
    stepper = Stepper(straight, data, config)
    for _ in range(6):
        stepper.step()
    first = small_state(config)
    stepper = Stepper(first, data, config)
    for _ in range(3):
        stepper.step()
    files = first.to_files({})
    second = small_state(config, seed=99)  # other weights, so that a tensor that is not restored shows
    second.load_files(files, "here")
    stepper = Stepper(second, data, config)
    for _ in range(3):
        stepper.step()
    assert second.samples_seen == straight.samples_seen == 96
    expected, found = _tensors(straight), _tensors(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert second.scaler.state_dict() == straight.scaler.state_dict()


def test_the_loss_scale_and_the_skipped_steps_are_part_of_a_checkpoint():
    config = small_config(precision="fp16")
    source, target, unscaled = small_state(config), small_state(config), small_state(small_config())
    for state in (source, unscaled):
        Stepper(state, small_data(), config).step()
    source.scaler.load_state_dict(source.scaler.state_dict() | {"scale": 128.0, "_growth_tracker": 7})
    source.skipped_steps = 9
    target.load_files(source.to_files({}), "here")
    assert (target.scaler.get_scale(), target.scaler._get_growth_tracker(), target.skipped_steps) == (128.0, 7, 9)
    with pytest.raises(CheckpointError, match="loss scale"):
        target.load_files(unscaled.to_files({}), "here")


def test_loading_before_the_first_step_moves_no_weight():
    config = small_config()
    source, target = small_state(config), small_state(config, seed=5)
    Stepper(source, small_data(), config).step()
    target.load_files(source.to_files({}), "here")
    assert target.optimizer.param_groups[0]["weight_decay"] == source.optimizer.param_groups[0]["weight_decay"]
    assert torch.equal(next(iter(target.model.parameters())), next(iter(source.model.parameters())))


def test_values_that_are_not_finite_are_neither_written_nor_read():
    config = small_config()
    state = small_state(config)
    good = state.to_files({})
    with torch.no_grad():
        next(iter(state.model.parameters())).fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="no checkpoint was written"):
        state.to_files({})
    poisoned = dict(good)
    start = len(poisoned["state.safetensors"]) - 4
    poisoned["state.safetensors"] = poisoned["state.safetensors"][:start] + b"\x00\x00\xc0\x7f"
    with pytest.raises(CheckpointError, match="not finite"):
        small_state(config).load_files(poisoned, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {**d, "schema": "cfgadvise.state/9"}, "cfgadvise.state/9"),
        (lambda d: {k: v for k, v in d.items() if k != "schema"}, "cannot be read"),
    ],
)
def test_a_state_of_another_schema_is_refused(change, message):
    config = small_config()
    state = small_state(config)
    files = state.to_files({})
    files["state.json"] = json.dumps(change(json.loads(files["state.json"]))).encode()
    with pytest.raises(CheckpointError, match=message):
        state.load_files(files, "here")


def test_a_state_of_another_network_is_refused():
    config = small_config()
    files = small_state(config).to_files({})
    other = small_state(small_config(ema_half_lives_samples=(80, 161)))
    other.ema.averages.pop()
    with pytest.raises(CheckpointError, match="another network"):
        other.load_files(files, "here")


FILES = {"state.safetensors": b"x" * 1000, "state.json": b"{}"}


def test_the_newest_checkpoints_are_kept(tmp_path):
    for samples in (16, 160, 32, 1600):
        save_checkpoint(tmp_path, samples, FILES, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["ckpt-000000001600", "ckpt-000000000160"]


def test_no_checkpoint_is_a_fresh_start(tmp_path):
    assert load_newest(tmp_path / "checkpoints") is None


def _cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _delete(path):
    path.unlink()


@pytest.mark.parametrize("damage", [_cut, _flip, _delete])
@pytest.mark.parametrize("name", ["state.safetensors", "MANIFEST.json"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, caplog, damage, name):
    for samples in (16, 32):
        save_checkpoint(tmp_path, samples, FILES, keep=2)
    damage(tmp_path / "ckpt-000000000032" / name)
    with caplog.at_level(logging.WARNING):
        path, files = load_newest(tmp_path)
    assert path.name == "ckpt-000000000016"
    assert files == FILES
    assert "ckpt-000000000032" in caplog.text


def test_only_damaged_checkpoints_never_start_afresh(tmp_path):
    save_checkpoint(tmp_path, 16, FILES, keep=2)
    _cut(tmp_path / "ckpt-000000000016" / "state.safetensors")
    with pytest.raises(CheckpointError, match="none of 1 checkpoints"):
        load_newest(tmp_path)


def test_opening_a_run_removes_what_a_crash_left_in_any_of_its_folders(tmp_path):
    run = tmp_path / "run"
    for place in ("", "checkpoints", "samples"):
        (run / place / ".tmp-ckpt-000000000016-1").mkdir(parents=True)
        (run / place / ".del-old").mkdir()
    with open_run(run):
        assert not [*run.rglob(".tmp-*"), *run.rglob(".del-*")]
