"""Every draw of a run is a pure function of (seed, samples seen)."""

import torch

from trainer.order import batch_indices, draw_seed, draws, sample_index

ARGUMENTS = {"seed": 3, "num_items": 10, "batch": 8, "shape": (1, 4, 4), "num_times": 1000, "drop": 0.5}


def test_seeds_and_order_have_not_changed_since_the_first_release():
    assert draw_seed("perm", 7, 0) == 26229978422811824
    assert [sample_index(7, 13, k) for k in range(5)] == [6, 9, 5, 0, 4]


def test_every_epoch_shows_every_item_once_in_another_order():
    epochs = [[sample_index(1, 9, k) for k in range(start, start + 9)] for start in (0, 9, 18)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_batch_larger_than_the_data_set_runs_over_epochs():
    assert sorted(batch_indices(1, 3, samples_seen=0, batch=6).tolist()) == [0, 0, 1, 1, 2, 2]


def test_a_batch_is_a_part_of_the_order():
    for samples_seen, batch in ((0, 5), (7, 20), (26, 13)):
        expected = [sample_index(4, 13, k) for k in range(samples_seen, samples_seen + batch)]
        assert batch_indices(4, 13, samples_seen, batch).tolist() == expected


def test_draws_depend_on_nothing_but_seed_and_samples_seen():
    torch.manual_seed(1)
    first = draws(samples_seen=160, **ARGUMENTS)
    torch.manual_seed(2)
    again, later = draws(samples_seen=160, **ARGUMENTS), draws(samples_seen=168, **ARGUMENTS)
    assert torch.equal(first.noise_BCHW, again.noise_BCHW)
    assert torch.equal(first.time_B, again.time_B)
    assert torch.equal(first.item_B, again.item_B)
    assert torch.equal(first.drop_label_B, again.drop_label_B)
    assert not torch.equal(first.noise_BCHW, later.noise_BCHW)


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draws(samples_seen=0, **ARGUMENTS)
    assert torch.equal(torch.rand(3), expected)
