"""What a run does beside its steps is planned as the run does it."""

import pytest
import torch
from small_run import small_config

from advisor.measure.rehearsal import rehearse
from advisor.workload.protocol import Rehearsal
from trainer.loop import _crossed
from trainer.sampling import grid_labels
from trainer.timetable import timetable, timetable_of
from trainer.workload import make


def planned(**changes):
    return {one.id: one for one in timetable_of(small_config(**changes), 4, 5)}


@pytest.mark.parametrize(
    ("samples", "batch", "every"), [(800, 16, 160), (801, 16, 160), (1000, 48, 50), (1000, 7, 333), (100, 64, 10)]
)
def test_occasions_are_counted_as_the_loop_counts_them(samples, batch, every):
    changes = {"samples": samples, "micro_batch": batch, "validate_every_samples": every}
    found = planned(**changes, checkpoint_every_samples=every)
    validations = saves = seen = 0
    while seen < samples:
        before, seen = seen, seen + batch
        validating = bool(_crossed(every, before, seen))
        validations += validating or seen >= samples  # at the end it is validated, if it was not just now
        saves += validating or bool(_crossed(samples / 5, before, seen)) or seen >= samples
    assert found["validation"].num_times == validations
    assert found["checkpoints"].num_times == saves


def test_pictures_are_counted_in_passes_of_the_network():
    config = small_config(samples=40_000)
    found = planned(samples=40_000)
    assert found["grids"].units == len(grid_labels(4)) * config.sampling_steps * 2
    assert found["milestone_pictures"].num_times == 4
    assert found["milestone_pictures"].units == 100 * config.sampling_steps + 64
    assert found["final_pictures"].units == (1000 + 2 * 256) * config.sampling_steps + 64
    plain = planned(samples=40_000, guidance=1.0)
    assert plain["grids"].units * 2 == found["grids"].units
    assert plain["final_pictures"].units == 1000 * config.sampling_steps + 64


def test_what_a_run_does_not_do_is_not_planned():
    found = {one.id: one for one in timetable(800, 16, 4, 0)}
    assert (found["validation"].num_times, found["milestone_pictures"].num_times, found["decoding"].num_times) == (
        0,
        0,
        0,
    )
    assert planned(vae="some/vae")["decoding"].num_times == 1


def test_everything_planned_can_be_rehearsed_but_the_judging(monkeypatch, tmp_path):
    monkeypatch.setenv("CFGADVISE_CACHE", str(tmp_path / "cache"))
    workload = make("cpu", preset="tiny")
    before = {name: value.clone() for name, value in workload.model.state_dict().items()}
    workload.rehearsals = {
        name: Rehearsal(run=one.run, sizes=one.sizes[:1], units=one.units) for name, one in workload.rehearsals.items()
    }
    found = {one.id: one for one in rehearse(workload, lambda: None)}
    wanted = {one.rehearsal for one in timetable(800, 16, 4, 5)}
    assert wanted - found.keys() == {"classifiers", "decoding"}
    assert found["sampling"].units == 32 and all(one.seconds > 0 for one in found.values())
    assert list((tmp_path / "cache").iterdir()) == [], "the checkpoint is gone again"
    assert all(torch.equal(value, before[name]) for name, value in workload.model.state_dict().items())


def test_an_evaluation_of_ones_own_is_rehearsed_and_what_is_quick_is_tried_larger():
    sizes = []
    workload = make("cpu", preset="tiny")
    workload.rehearsals = {"quick": Rehearsal(run=sizes.append, sizes=(1, 3), units=2.0)}
    (found,) = rehearse(workload, lambda: None)
    assert (sizes, found.units) == ([1, 3], 6.0)
    workload.rehearsals, workload.eval_step = {}, lambda: sizes.append(0)
    assert [one.id for one in rehearse(workload, lambda: None)] == ["evaluation"]
    workload.eval_step = None
    assert rehearse(workload, lambda: None) == ()
