"""What runs out of memory is done in halves, with the same numbers, and lets go of what it held."""

import gc
import weakref

import numpy as np
import pytest
import torch
from small_run import NUM_CLASSES, SMALL, small_config, small_data, small_state
from whole_run import out_of_memory

from trainer.diffusion import Objective
from trainer.if_it_fits import IfItFits
from trainer.journal import Journal
from trainer.model import build_model
from trainer.oom import NoRoomError, Pieces, TooLarge, attempt, or_no_room
from trainer.remarks import Remarks
from trainer.sampling import generate
from trainer.validation import errors_at, fixed_tuples


def at_most(largest: int):
    """Doubles numbers, and asks in vain for memory for more than so many."""

    def double(x_N: torch.Tensor) -> torch.Tensor:
        if len(x_N) > largest:
            raise out_of_memory()
        return 2 * x_N

    return double


@pytest.mark.parametrize(("largest", "taken"), [(100, 40), (39, 20), (10, 10), (1, 1)])
def test_pieces_are_halved_until_they_fit_and_stay_so(largest, taken):
    pieces, x_N, sizes = Pieces(), torch.arange(95), []
    found = pieces("sampling", 40, at_most(largest), x_N)
    assert torch.equal(torch.cat(found), 2 * x_N)
    pieces("sampling", 40, lambda x_N: sizes.append(len(x_N)), x_N)
    assert max(sizes) == taken and sum(sizes) == 95
    told = [(said.id, said.values) for said in pieces.take_notes()]
    assert told == ([("sampling_in_pieces", {"before": 40, "after": taken})] if taken < 40 else [])
    assert pieces.take_notes() == []


def test_each_kind_of_work_has_a_size_of_its_own():
    pieces, sizes = Pieces(), []
    pieces("sampling", 40, at_most(5), torch.arange(95))
    pieces("validation", 40, lambda x_N: sizes.append(len(x_N)), torch.arange(95))
    assert sizes == [40, 40, 15]


@pytest.mark.parametrize(("largest", "may_shrink"), [(0, True), (39, False)])
def test_what_cannot_be_made_smaller_does_not_fit(largest, may_shrink):
    with pytest.raises(NoRoomError, match=r"^CUDA out of memory. Tried to allocate 2.00 GiB.$"):
        Pieces(may_shrink=may_shrink)("sampling", 40, at_most(largest), torch.arange(95))


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: invalid configuration argument"), ValueError("x")])
def test_other_errors_are_none_of_memory(error):
    def broken():
        raise error

    with pytest.raises(type(error)):
        attempt(broken)
    with pytest.raises(type(error)), or_no_room():
        broken()


@pytest.mark.parametrize("error", [out_of_memory(), MemoryError(), RuntimeError("MPS backend out of memory")])
def test_memory_runs_out_under_many_names(error):
    def broken():
        raise error

    assert isinstance(attempt(broken), TooLarge)
    with pytest.raises(NoRoomError, match="choose a smaller preset"), or_no_room():
        broken()


def test_what_the_failed_attempt_held_is_let_go():
    held = []

    def broken():
        x = torch.zeros(3)
        held.append(weakref.ref(x))
        raise out_of_memory()

    gc.disable()
    try:
        assert isinstance(attempt(broken), TooLarge)
        assert held[0]() is None
    finally:
        gc.enable()


# ---- the same numbers ---------------------------------------------------------------------------


class Limited(torch.nn.Module):
    """A network on a card for so many items at once."""

    def __init__(self, network, largest: int) -> None:
        super().__init__()
        self.network, self.config, self._largest, self.sizes = network, network.config, largest, []

    def forward(self, x_BCHW, *arguments, **named):
        self.sizes.append(len(x_BCHW))
        if len(x_BCHW) > self._largest:
            raise out_of_memory()
        return self.network(x_BCHW, *arguments, **named)


@pytest.fixture
def network():
    built = build_model(SMALL, (1, 8, 8), NUM_CLASSES, seed=0)
    with torch.no_grad():
        for parameter in built.parameters():  # a fresh network predicts nothing
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return built


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_pictures_in_pieces_are_the_same_pictures(monkeypatch, network, guidance):
    labels = torch.arange(20) % NUM_CLASSES
    expected = generate(network, labels, seed=3, num_steps=4, guidance=guidance)
    limited = Limited(network, largest=6)
    monkeypatch.setattr("trainer.sampling.sample_shape", lambda _: (1, 8, 8))
    monkeypatch.setattr("trainer.sampling.null_class", lambda _: NUM_CLASSES)
    found = generate(limited, labels, seed=3, num_steps=4, guidance=guidance)
    assert torch.allclose(found, expected, atol=1e-5)
    assert max(size for size in limited.sizes[-4:]) <= 6


def test_validation_in_pieces_has_the_same_errors(network):
    data = small_data()
    held_out, objective = fixed_tuples(data.x_NCHW, data.label_N, seed=1), Objective("cpu", 5.0)
    expected = errors_at(network, held_out, objective)
    found = errors_at(Limited(network, largest=9), held_out, objective)
    assert len(found) == 64 and torch.allclose(found, expected, atol=1e-6)


# ---- left out -----------------------------------------------------------------------------------


def if_it_fits(folder, **options) -> tuple[IfItFits, list, Journal]:
    said: list = []
    journal = Journal(folder, 0)
    return IfItFits(Pieces(**options), Remarks(journal, small_state(small_config()), said.append)), said, journal


def test_what_does_not_fit_is_left_out_said_once_and_written_each_time(tmp_path):
    do, said, _ = if_it_fits(tmp_path)
    assert do("grid_left_out", lambda: 7) == 7
    for _ in range(2):
        assert do("grid_left_out", lambda: at_most(0)(torch.arange(3))) is None
    assert do("judgement_left_out", lambda: np.empty(1) if at_most(0)(torch.arange(3)) else None) is None
    assert [one.id for one in said] == ["grid_left_out", "judgement_left_out"]
    assert said[0].values == {"problem": "CUDA out of memory. Tried to allocate 2.00 GiB."}
    assert (tmp_path / "events.jsonl").read_text().count('"grid_left_out"') == 2


def test_a_run_that_is_to_stop_stops_at_the_first(tmp_path):
    do, said, _ = if_it_fits(tmp_path, may_shrink=False)
    with pytest.raises(NoRoomError, match="--on-oom shrink"):
        do("grid_left_out", lambda: do.pieces("sampling", 40, at_most(39), torch.arange(95)))
    assert said == []
