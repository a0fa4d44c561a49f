"""Memory that runs out anywhere in a run costs no run: smaller pieces with the same result, or left out."""

import json

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from PIL import Image, ImageChops
from whole_run import last_weights, logged, out_of_memory, whole_run

from trainer.judge.judge import Judge
from trainer.oom import NoRoomError

WEIGHTS = "checkpoints/ckpt-000000000320/state.safetensors"


def limit(monkeypatch, largest: int) -> None:
    """Outside of training, the network finds no memory for more items than this."""
    whole = UNet2DModel.forward

    def limited(self, sample, *arguments, **named):
        if not torch.is_grad_enabled() and len(sample) > largest:
            raise out_of_memory()
        return whole(self, sample, *arguments, **named)

    monkeypatch.setattr(UNet2DModel, "forward", limited)


def is_about(found, expected) -> bool:
    """Whether two plain records agree up to rounding."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(is_about(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(is_about, found, expected))
    return found == pytest.approx(expected, rel=1e-3, abs=1e-5) if isinstance(expected, float) else found == expected


def greatest_difference(one, other) -> int:
    """Of two pictures, in grey levels."""
    return max(high for _, high in ImageChops.difference(Image.open(one), Image.open(other)).getextrema())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    whole_run(folder)
    return folder


def test_smaller_pieces_have_the_same_result(tmp_path, monkeypatch, undisturbed):
    limit(monkeypatch, largest=5)
    run = tmp_path / "run"
    said = whole_run(run)
    assert {one.id for one in said} >= {"sampling_in_pieces", "validation_in_pieces"}
    assert not [one.id for one in said if one.id.endswith("left_out")]
    assert last_weights(run) == last_weights(undisturbed)
    for found, expected in zip(logged(run, "metrics", "validation"), logged(undisturbed, "metrics", "validation")):
        assert is_about(found, expected)
    for name in ("samples/sample-1.png", "samples/sample-2.png", "evaluation/pairs-320-1.png"):
        assert greatest_difference(run / name, undisturbed / name) <= 2, name
    found, expected = (json.loads((one / "evaluation.json").read_text()) for one in (run, undisturbed))
    assert is_about(found["checkpoints"], expected["checkpoints"])
    warned = [event["id"] for event in logged(run, "events", "warning")]
    assert sorted(one for one in warned if one.endswith("_in_pieces")) == ["sampling_in_pieces", "validation_in_pieces"]


def test_what_does_not_fit_at_all_is_left_out_and_training_ends_as_it_would(tmp_path, monkeypatch, undisturbed):
    run = tmp_path / "run"
    limit(monkeypatch, largest=0)
    said = [one.id for one in whole_run(run)]
    for left_out in ("validation_left_out", "grid_left_out", "judgement_left_out"):
        assert said.count(left_out) == 1
    assert last_weights(run) == last_weights(undisturbed)
    assert not [*run.glob("samples/*")] and not (run / "evaluation.json").exists()
    assert (run / "pipeline" / "model_index.json").exists()
    assert [event["samples"] for event in logged(run, "events", "finished")] == [320]


def test_the_same_command_makes_up_for_a_judgement_that_did_not_fit(tmp_path, monkeypatch, undisturbed):
    run, whole = tmp_path / "run", Judge.judge

    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Judge, "judge", too_large)
    assert "judgement_left_out" in [one.id for one in whole_run(run)]
    assert not (run / "evaluation.json").exists()
    monkeypatch.setattr(Judge, "judge", whole)
    whole_run(run)
    assert (run / "evaluation.json").read_bytes() == (undisturbed / "evaluation.json").read_bytes()
    assert last_weights(run) == last_weights(undisturbed)
    assert "already_finished" in [one.id for one in whole_run(run)]


def test_baselines_that_do_not_fit_leave_the_other_checks(tmp_path, monkeypatch, undisturbed):
    def too_large(*_):
        raise out_of_memory()

    monkeypatch.setattr("trainer.health.monitor.compute_baselines", too_large)
    run = tmp_path / "run"
    assert "baselines_left_out" in [one.id for one in whole_run(run)]
    assert last_weights(run) == last_weights(undisturbed)
    found, expected = logged(run, "metrics", "validation"), logged(undisturbed, "metrics", "validation")
    assert [one["loss"] for one in found] == [one["loss"] for one in expected]
    assert "error_by_bucket" in expected[0] and "error_by_bucket" not in found[0]


def test_a_run_that_is_to_stop_is_saved_and_goes_on(tmp_path, monkeypatch, undisturbed):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        limit(patch, largest=5)
        with pytest.raises(NoRoomError, match=r"--on-oom shrink .*Saved at 80 samples") as stopped:
            whole_run(run, shrink_on_oom=False)
    assert stopped.value.exit_code == 3
    assert [event["samples"] for event in logged(run, "events", "out_of_memory")] == [80]
    whole_run(run, shrink_on_oom=False)
    assert last_weights(run) == last_weights(undisturbed)


def test_a_network_that_does_not_fit_says_what_to_do(tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise out_of_memory()

    monkeypatch.setattr("trainer.prepared.build_model", too_large)
    with pytest.raises(NoRoomError, match="choose a smaller preset"):
        whole_run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
