"""``evaluation.json`` grows checkpoint by checkpoint, and what it says decides what is kept and used."""

import json

import numpy as np
import pytest
import torch
from small_run import NUM_CLASSES, SMALL, small_config

from advisor.errors import UsageError
from trainer.amounts import num_at_milestone, num_to_generate
from trainer.data import Pictures, split_pictures
from trainer.evaluate import Evaluator
from trainer.evaluation_file import read_evaluation
from trainer.folder import RunFolder
from trainer.latents import Pixels
from trainer.model import build_model


@pytest.fixture
def evaluator(tmp_path) -> Evaluator:
    random = np.random.default_rng(0)
    labels = np.arange(120) % NUM_CLASSES
    pixels = (random.integers(0, 100, (120, 1, 8, 8)) + 30 * labels[:, None, None, None]).astype(np.uint8)
    names = tuple(f"{k}.png" for k in range(120))
    pictures = Pictures(source="here", classes=("a", "b", "c", "d"), names=names, digests=names, pixels=pixels,
                        labels=labels)  # fmt: skip
    config = small_config(sampling_steps=2, guidance=2.0, held_out_frac=0.25)
    split = split_pictures(labels, config.held_out_frac, config.seed)
    return Evaluator(RunFolder(tmp_path), config, pictures, split, Pixels().encode(pixels), Pixels())


def _model(seed: int):
    model = build_model(SMALL, (1, 8, 8), NUM_CLASSES, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():  # a fresh network makes the same of every class
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


def test_every_checkpoint_gets_its_entry_and_a_second_judgement_replaces_the_first(evaluator, tmp_path):
    assert evaluator.chosen_samples() == () and evaluator.stop_reason() is None
    evaluator.evaluate(_model(0), 200, counts=evaluator.plan(40, 24))
    evaluator.evaluate(_model(1), 100, counts=[(1.0, 40)], whole=False)
    evaluator.evaluate(_model(0), 200, counts=evaluator.plan(60, 24))
    known = read_evaluation(RunFolder(tmp_path))
    assert [one.samples for one in known.checkpoints] == [100, 200]
    plain, guided = known.checkpoints[1].judgements
    assert (plain.guidance, plain.num_generated, guided.guidance, guided.num_generated) == (1.0, 60, 2.0, 24)
    assert plain.accuracy is not None and guided.accuracy is None
    assert known.checkpoints[0].plain.accuracy is None
    assert len(known.checkpoints[0].validation_losses) >= 30
    assert (tmp_path / plain.copies.sheet).exists() and (tmp_path / known.real_grid).exists()
    assert known.choice.samples == 200  # the only one that could be there: no checkpoint folder exists
    assert evaluator.chosen_samples() == (200,)


def test_the_same_model_gets_the_same_figures(evaluator):
    first = evaluator.evaluate(_model(0), 100, counts=[(1.0, 40)])
    assert evaluator.evaluate(_model(0), 100, counts=[(1.0, 40)]) == first


def test_advice_on_sampling_belongs_to_the_chosen_checkpoint(evaluator):
    evaluator.evaluate(_model(0), 100, counts=[(1.0, 40)], whole=False)
    evaluator.advise_sampling(_model(0), 100, num_generated=24)
    advised = evaluator.known().sampling
    assert {one.guidance for one in advised.tried} >= {1.0, 2.0, 3.0}
    steps = sorted({one.sampling_steps for one in advised.tried})
    assert steps == [2, 10, 20, 40][: len(steps)] and len(steps) >= 2
    evaluator.evaluate(_model(1), 200, counts=[(1.0, 40)], whole=False)
    assert evaluator.known().choice.samples == 200 and evaluator.known().sampling is None


def test_a_damaged_or_older_file_is_a_message_that_says_what_to_do(evaluator, tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({"schema": "cfgadvise.evaluation/1", "accuracy": None}))
    with pytest.raises(UsageError, match="delete the file, and `cfgadvise evaluate`"):
        evaluator.known()


def test_an_evaluation_stays_a_small_part_of_a_run():
    assert num_to_generate(40_000, 10) == 1000
    assert num_to_generate(2_000, 9) == 45
    assert num_to_generate(10**9, 31) == 992
    assert num_to_generate(1, 3) == 3
    assert num_at_milestone(40_000, 5, 10) == 100
    assert num_at_milestone(10**9, 5, 10) == 250
    assert num_at_milestone(10_000, 5, 10) == 0  # 25 pictures say nothing
    assert num_at_milestone(100_000, 1, 10) == 250  # there is the end only, which is judged in full
    assert num_at_milestone(30_000, 5, 100) == 0  # one of each class is more than can be afforded
