"""Ways to save memory, tried for real: in a child on this CPU, and on a simulated card."""

from pathlib import Path

from advisor.recommend.planner import advise
from advisor.records import Advice, Option

NETS = str(Path(__file__).resolve().parents[1] / "fakes" / "small_nets.py")
PRECISIONS = {"bf16": {"precision": "bf16"}, "fp16": {"precision": "fp16"}}


def _options(advice: Advice) -> dict[str, Option]:
    return {one.id: one for one in advice.options}


def test_with_memory_as_the_goal_they_are_measured_and_those_that_cannot_be_switched_on_are_suggested() -> None:
    advice = advise(
        workload=f"{NETS}:make",
        parameters={"net": "transformer", "precision": "fp32"},
        dataset_size=100,
        device="cpu",
        batch_size=4,
        lr=1e-3,
        goal="memory",
        savers=PRECISIONS,
    )
    options = _options(advice)
    measured, suggested = options["bf16"], options["checkpointing"]
    assert (measured.step_s.basis, measured.peak_reserved_bytes.basis) == ("measured", "measured")
    assert measured.step_s.value > 0
    assert measured.peak_reserved_bytes.value > 0
    assert (suggested.step_s.value, suggested.peak_reserved_bytes.value) == (None, None)
    assert "fp16" not in options  # a CPU does not do it well


def test_for_a_card_that_is_not_here_they_are_predicted_where_the_present_setting_does_not_fit() -> None:
    """A P100 has no bfloat16; float16 makes the micro-batch fit."""
    common = {
        "workload": f"{NETS}:make",
        "parameters": {"net": "transformer", "precision": "fp32"},
        "dataset_size": 100_000,
        "gpu": "Tesla P100",
        "lr": 1e-3,
        "savers": PRECISIONS,
    }
    roomy = advise(batch_size=512, **common)
    assert not {"checkpointing", "bf16", "fp16"} & _options(roomy).keys()
    needed_bytes = int(roomy.recommended.peak_reserved_bytes.value)
    short = _options(advise(batch_size=512, memory_budget_bytes=needed_bytes, **common))
    assert short["keep"].verdict == "infeasible"
    assert "bf16" not in short
    saved = short["fp16"]
    assert (saved.verdict, saved.micro_batch, saved.peak_reserved_bytes.basis) == ("acceptable", 512, "predicted")
    assert saved.peak_reserved_bytes.high <= needed_bytes
    assert "buys_batch" in [one.id for one in saved.reasons]
