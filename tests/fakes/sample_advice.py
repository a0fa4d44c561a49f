"""An advice for the seed's case, from records alone. Every figure in it is invented test data."""

import dataclasses
import math
from pathlib import Path

from advisor.evaluation import (
    CheckpointEvaluation,
    Choice,
    ClassifierAccuracy,
    Compared,
    Confusion,
    Copies,
    Evaluation,
    Judgement,
    Likeness,
    SamplingAdvice,
    Separability,
)
from advisor.recommend.reasons import note, reason
from advisor.records import (
    Advice,
    Breakdown,
    Claim,
    Dataset,
    Device,
    Host,
    Measurement,
    Memory,
    MemoryPrediction,
    Milestone,
    Note,
    Option,
    Provenance,
    Speed,
    StepTime,
    Verdict,
    WorkloadRef,
)
from advisor.schema import to_json
from advisor.storage import JsonLines

MIB = 2**20
GIB = 2**30
NUM_ITEMS = 1550
RUN_SAMPLES = 150_000 * 16
BUDGET_BYTES = 14 * GIB
TEST_DATA = "test data, not a measurement"

HOST = Host(
    os="Linux 6.1", cpu_name="Test CPU", num_cores=2, ram_total_bytes=13 * GIB, ram_available_bytes=11 * GIB,
    python_version="3.11.9", torch_version="2.6.0+cu126", torch_cuda_version="12.6", driver_version="560.35.03",
    driver_cuda_version="12.6", in_container=True,
)  # fmt: skip

P100 = Device(
    index=0, kind="cuda", name="Tesla P100-PCIE-16GB", uuid="GPU-test-data", total_bytes=16 * GIB,
    free_bytes=15 * GIB, usable_bytes=15 * GIB, used_by_others_bytes=0, compute_capability="6.0", num_cores=None,
    temperature_c=41.0, power_w=31.0, power_limit_w=250.0, default_power_limit_w=250.0,
)  # fmt: skip

CPU = Device(
    index=None, kind="cpu", name="Test CPU", uuid=None, total_bytes=13 * GIB, free_bytes=11 * GIB,
    usable_bytes=11 * GIB, used_by_others_bytes=None, compute_capability=None, num_cores=2, temperature_c=None,
    power_w=None, power_limit_w=None, default_power_limit_w=None, unknown={"temperature_c": "not read on a CPU"},
)  # fmt: skip


def claim(value: float | None, low: float | None = None, high: float | None = None, basis: str = "measured") -> Claim:
    return Claim(value=value, low=low, high=high, basis=basis, source=TEST_DATA)


def option(
    option_id: str, micro_batch: int, accumulation: int, *, step_s: float, peak_bytes: int, verdict: Verdict,
    reasons: tuple = (), lr: float | None = None,
) -> Option:  # fmt: skip
    """An option whose step time is known to 3 percent, scaled from 8 x 2 at 1e-4 by the square-root rule."""
    batch = micro_batch * accumulation
    kappa = batch / 16
    scaled = batch != 16
    run_s = RUN_SAMPLES / batch * step_s
    ratio = claim(step_s / 0.2) if not scaled else claim(None, 0.8, 1.1, basis="predicted")
    ruled = claim(1e-4 * kappa**0.5, 1e-4 * kappa**0.25, 1e-4 * kappa**0.75, basis="rule")
    return Option(
        id=option_id,
        micro_batch=micro_batch,
        accumulation=accumulation,
        effective_batch=batch,
        lr=ruled if scaled else claim(1e-4 if lr is None else lr, basis="user" if lr is None else "rule"),
        betas=(claim(0.9, basis="user"), claim(0.99**kappa, basis="rule" if scaled else "user")),
        ema_decay=claim(0.9995**kappa, basis="rule" if scaled else "user"),
        warmup_samples=claim(8000, basis="rule"),
        peak_reserved_bytes=claim(peak_bytes),
        memory_frac=claim(peak_bytes / BUDGET_BYTES),
        step_s=claim(step_s, 0.97 * step_s, 1.03 * step_s),
        samples_per_s=claim(batch / step_s, batch / step_s / 1.03, batch / step_s / 0.97),
        steps_per_epoch=math.ceil(NUM_ITEMS / batch),
        run_s=claim(run_s, 0.97 * run_s, 1.03 * run_s, basis="predicted"),
        time_to_same_progress=ratio,
        verdict=verdict,
        reasons=reasons,
    )


KEEP = option(
    "keep", 8, 2, step_s=0.2, peak_bytes=1100 * MIB, verdict="acceptable", reasons=(reason("+", "present_setting"),)
)
RECOMMENDED = option(
    "no_accumulation", 16, 1, step_s=0.16, peak_bytes=1500 * MIB, verdict="recommended",
    reasons=(
        reason("+", "same_effective_batch", effective_batch=16),
        reason("+", "faster", step_s=0.16, present_step_s=0.2, ratio=0.8, low=0.77, high=0.83),
        reason("+", "fits", peak_bytes=1500 * MIB, share=1500 * MIB / BUDGET_BYTES, budget_bytes=BUDGET_BYTES),
        reason("-", "more_memory", peak_bytes=1500 * MIB, present_bytes=1100 * MIB),
    ),
)  # fmt: skip
LARGER = option(
    "larger_batch", 32, 1, step_s=0.3, peak_bytes=2300 * MIB, verdict="not_recommended",
    reasons=(
        reason("!", "scaled_lr", present_lr=1e-4, lr=1.41e-4, low=1.19e-4, high=1.68e-4),
        reason("-", "steps_per_epoch", steps=49, present_steps=97),
        reason("!", "no_noise_scale", low=0.8, high=1.1),
    ),
)  # fmt: skip
HIGHER_LR = option(
    "higher_lr", 16, 1, step_s=0.16, peak_bytes=1500 * MIB, verdict="acceptable", lr=2e-4,
    reasons=(reason("!", "when_slow"), reason("-", "unstable_risk"), reason("!", "untested_lr")),
)  # fmt: skip


def measured(one: Option) -> Measurement:
    median = one.step_s.value
    return Measurement(
        micro_batch=one.micro_batch,
        accumulation=one.accumulation,
        outcome="ok",
        peak_allocated_bytes=int(0.9 * one.peak_reserved_bytes.value),
        peak_reserved_bytes=one.peak_reserved_bytes.value,
        first_step_s=3 * median,
        step_s=StepTime(median=median, low=0.97 * median, high=1.03 * median, n=12),
        steps_run=13,
    )


def milestone(milestone_id: str, step: int) -> Milestone:
    elapsed_s = step * 0.16
    return Milestone(
        id=milestone_id,
        samples=16 * step,
        step=step,
        epoch=16 * step / NUM_ITEMS,
        elapsed_s=claim(elapsed_s, 0.97 * elapsed_s, 1.03 * elapsed_s, basis="predicted"),
    )


def sample_advice(**changes: object) -> Advice:
    """The seed's case: 1,550 pictures, one P100, batch 8 x 2, 150,000 steps."""
    advice = Advice(
        device=P100,
        workload=WorkloadRef(name="gait48", parameters={"image_size": 32}),
        dataset=Dataset(num_items=NUM_ITEMS, num_classes=31, source="--dataset-size"),
        run_samples=claim(RUN_SAMPLES, basis="user"),
        measurements=(
            *(measured(one) for one in (KEEP, RECOMMENDED, LARGER)),
            Measurement(micro_batch=512, accumulation=1, outcome="oom", message="out of memory"),
        ),
        optimizer_steps_run=52,
        oom_count=1,
        elapsed_s=41.5,
        memory=Memory(
            max_micro_batch=32,
            budget_bytes=BUDGET_BYTES,
            predicted=(
                MemoryPrediction(
                    micro_batch=64, reserved_bytes=3900 * MIB, low=3700 * MIB, high=4100 * MIB
                ),
            ),
            breakdown=Breakdown(
                weights_bytes=60 * MIB, gradients_bytes=60 * MIB, optimizer_bytes=120 * MIB, ema_bytes=60 * MIB,
                activations_bytes_per_sample=50 * MIB, context_bytes=300 * MIB,
            ),
        ),
        speed=Speed(alpha_s=0.02, beta_s=0.008, gamma_s=0.012, log_rmse=0.01, knee_micro_batch=48),
        noise_scale=None,
        recommended=RECOMMENDED,
        options=(KEEP, RECOMMENDED, LARGER, HIGHER_LR),
        milestones=tuple(
            milestone(name, step)
            for name, step in (("first_look", 1500), ("quarter", 37_500), ("half", 75_000), ("end", 150_000))
        ),
        monitoring=(
            note("loss_baseline", step=1500, samples=24_000),
            note("plateau", every_steps=7500, share=0.05, tolerance=0.01),
            note("look"),
        ),
        warnings=(note("epoch_convention", steps=97, last_batch=14, effective_batch=16, steps_drop_last=96),),
        provenance=Provenance(
            cfgadvise_version="0.1.0",
            created_at_utc="2026-11-23T08:00:00Z",
            command="cfgadvise recommend --dataset-size 1550 --batch-size 8 --accumulation 2 --lr 1e-4 --steps 150000",
            host=HOST,
        ),
    )  # fmt: skip
    return dataclasses.replace(advice, **changes)


def _share(value: float, total: int) -> Claim:
    margin = 2 * (value * (1 - value) / total) ** 0.5
    low, high = max(0.0, value - margin), min(1.0, value + margin)
    return Claim(value=value, low=low, high=high, basis="measured", source=f"{round(value * total)} of {total}")


def _distance(value: float) -> Claim:
    return Claim(value=value, low=value - 0.004, high=value + 0.004, basis="measured", source="half-samples")


def sample_judgement(
    *, guidance: float = 1.0, copied: float = 0.0, kid: float = 0.009, told: float = 0.97
) -> Judgement:
    """What was found in 1,000 items, as a good model makes them."""
    copies = Compared(generated=_share(copied, 1000), real=_share(0.0, 180))
    neighbours = Compared(generated=_share(0.93, 1000), real=_share(0.94, 1000))
    return Judgement(
        guidance=guidance,
        sampling_steps=20,
        num_generated=1000,
        copies=Copies(
            num_train_items=1550, in_pca=copies, in_pixels=copies, sheet=f"evaluation/pairs-1600-{guidance:g}.png"
        ),
        likeness=Likeness(
            features="64 principal components",
            kid_held_out=_distance(kid),
            kid_train=_distance(kid),
            kid_floor=_distance(0.0),
            precision=neighbours,
            recall=neighbours,
            coverage=neighbours,
            diversity=_distance(0.98),
            narrowest_class="b",
        ),
        separability=Separability(
            classifier="SVC",
            accuracy=Compared(generated=_share(told, 1000), real=_share(0.983, 180)),
            chance=0.5,
            confusions=(Confusion(asked="a", judged="b", share_frac=0.04),),
        ),
        accuracy=ClassifierAccuracy(
            classifier="SVC",
            num_test_items=180,
            real_only=_share(0.983, 180),
            synthetic_only=_share(0.944, 180),
            real_and_synthetic=_share(0.989, 180),
            gain=Claim(value=0.006, low=-0.01, high=0.02, basis="measured", source="paired"),
        )
        if guidance == 1
        else None,
    )


def sample_evaluation() -> Evaluation:
    """Two checkpoints, the later one chosen, with its findings and its setting for sampling."""
    guided = sample_judgement(guidance=2.0, kid=0.011)
    early = dataclasses.replace(sample_judgement(kid=0.05, told=0.8), accuracy=None)
    return Evaluation(
        num_train_items=1550,
        num_held_out_items=180,
        checkpoints=(
            CheckpointEvaluation(samples=800, judgements=(early,)),
            CheckpointEvaluation(samples=1600, judgements=(sample_judgement(), guided)),
        ),
        choice=Choice(samples=1600, select="kid", reason=Note(id="choice_last", text="The last.", values={})),
        sampling=SamplingAdvice(
            checkpoint_samples=1600,
            guidance=1.0,
            sampling_steps=20,
            reason=Note(id="", text="Least KID."),
            tried=(sample_judgement(), guided),
        ),
        findings=(Note(id="", text="The classes are told apart."),),
        real_grid="evaluation/real.png",
    )


def write_sample_run(folder: Path, advice: Advice | None = None) -> Path:
    """A finished run of 100 steps, as the trainer writes it, with one warning and one restart."""
    (folder / "samples").mkdir(parents=True)
    (folder / "checkpoints" / "ckpt-000000001600").mkdir(parents=True)
    (folder / "samples" / "sample-1.png").write_bytes(b"test data")
    (folder / "samples" / "sample-2.png").write_bytes(b"test data")
    (folder / "advice.json").write_text(to_json(advice or sample_advice()), encoding="utf-8")
    (folder / "evaluation.json").write_text(to_json(sample_evaluation()), encoding="utf-8")
    (folder / "config.toml").write_text("[batch]\nmicro_batch = 16\naccumulation = 1\n", encoding="utf-8")
    dataset = {
        "schema": "cfgadvise.dataset/1", "source": "pictures", "sha256": "0" * 64, "classes": ["a", "b"],
        "num_train": 1550, "num_held_out": 180, "held_out": [],
    }  # fmt: skip
    (folder / "dataset.json").write_text(to_json(dataset), encoding="utf-8")
    metrics, events = JsonLines(folder / "metrics.jsonl"), JsonLines(folder / "events.jsonl")
    events.append({"kind": "start", "samples": 0, "utc": "2026-11-23T08:00:00Z"})
    for step in range(10, 101, 10):
        metrics.append({
            "kind": "train", "samples": 16 * step, "step": step, "epoch": 16 * step / NUM_ITEMS, "loss": 1 / step,
            "lr": 1e-4, "grad_norm": 0.5, "samples_per_s": 100.0, "step_s": 0.16 + 0.001 * (step % 20),
            "elapsed_s": 0.165 * step, "peak_allocated_bytes": 1400 * MIB, "peak_reserved_bytes": 1510 * MIB,
        })  # fmt: skip
    metrics.append({"kind": "validation", "samples": 800, "step": 50, "loss": 0.5, "ema_loss": 0.4})
    metrics.append({"kind": "validation", "samples": 1600, "step": 100, "loss": 0.3, "ema_loss": 0.45})
    events.append({"kind": "sample", "samples": 800, "utc": "2026-11-23T08:00:10Z", "path": "samples/sample-1.png"})
    events.append({"kind": "interrupted", "samples": 800, "utc": "2026-11-23T08:00:11Z"})
    events.append({"kind": "resume", "samples": 800, "utc": "2026-11-23T08:00:12Z"})
    events.append({"kind": "warning", "samples": 900, "utc": "2026-11-23T08:00:13Z", "text": "loss rose"})
    events.append({"kind": "sample", "samples": 1600, "utc": "2026-11-23T08:00:20Z", "path": "samples/sample-2.png"})
    events.append({
        "kind": "finished", "samples": 1600, "utc": "2026-11-23T08:00:21Z", "elapsed_s": 17.2,
        "peak_allocated_bytes": 1400 * MIB, "peak_reserved_bytes": 1510 * MIB, "step_s": 0.165, "samples_per_s": 97.0,
    })  # fmt: skip
    return folder
