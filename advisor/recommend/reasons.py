"""Every sentence of an advice: an id, its English template, and the values that fill it.

Values are numbers in base units; the template says how they are written: ``{peak_bytes:bytes}``,
``{step_s:duration}``, ``{lr:lr}``, ``{num_items:count}``, ``{share:percent}``, ``{ratio:ratio}``.
Another language needs only its own templates and :func:`fill`.
"""

import string
from collections.abc import Callable
from typing import Any

from advisor.records import Note, Reason, Sign, Value
from advisor.units import format_bytes, format_count, format_duration, format_lr

REASONS: dict[str, str] = {
    # ---- an option's price and gain
    "present_setting": "This is the present setting: nothing has to be changed or tuned again.",
    "same_effective_batch": (
        "The effective batch stays {effective_batch}: learning rate, betas, EMA and warm-up stay as they are."
    ),
    "faster": (
        "An optimizer step takes {step_s:duration} instead of {present_step_s:duration}: {ratio:ratio} of the time"
        " (interval {low:ratio} to {high:ratio})."
    ),
    "slower": (
        "An optimizer step takes {step_s:duration} instead of {present_step_s:duration}: {ratio:ratio} times as long"
        " (interval {low:ratio} to {high:ratio})."
    ),
    "within_noise": (
        "An optimizer step takes {step_s:duration} instead of {present_step_s:duration} (ratio {low:ratio} to"
        " {high:ratio}): no gain above {min_gain:percent} that stands out of the measuring noise."
    ),
    "within_forecast": (
        "An optimizer step is predicted to take {step_s:duration} instead of {present_step_s:duration} (ratio"
        " {low:ratio} to {high:ratio}): no gain above {min_gain:percent} that stands out of the prediction's error."
    ),
    "throughput": "{samples_per_s:count} samples a second instead of {present_samples_per_s:count}.",
    "fits": "Peak memory {peak_bytes:bytes}: {share:percent} of the {budget_bytes:bytes} that may be used.",
    "more_memory": "Peak memory {peak_bytes:bytes} instead of {present_bytes:bytes}.",
    "less_memory": "Peak memory {peak_bytes:bytes} instead of {present_bytes:bytes}.",
    "scaled_lr": (
        "The learning rate has to follow: {present_lr:lr} to {lr:lr}, plausible from {low:lr} to {high:lr};"
        " beta2 and EMA decay are rescaled with it."
    ),
    "steps_per_epoch": "{steps} optimizer steps an epoch instead of {present_steps}.",
    "no_noise_scale": (
        "The gradient noise scale is not known, so the time to the same progress is only known to be"
        " {low:ratio} to {high:ratio} of the present one."
    ),
    "retune": "The effective batch changes by a factor of {factor:ratio}, beyond 4: tune the learning rate anew.",
    "untested_lr": (
        "What a learning rate is worth cannot be seen in a few steps: compare the validation loss at equal samples."
    ),
    "when_slow": "Worth a trial if the validation loss still falls steadily, but slowly.",
    "when_unstable": "Worth a trial if the loss swings more than its own sampling noise, or many steps are clipped.",
    "unstable_risk": "Twice the learning rate may be unstable; keep the warm-up and watch the share of clipped steps.",
    "slow_risk": "Half the learning rate needs more samples to the same loss.",
    "saves_memory": "Fits where the present micro-batch does not; the effective batch is the same.",
    # ---- what saves memory
    "recomputes_activations": (
        "Gradient checkpointing computes activations again in the backward pass instead of keeping them:"
        " the gradients stay the same."
    ),
    "half_precision": "Autocast to {precision} halves most activations; weights and optimizer stay in float32.",
    "buys_batch": "With it micro-batch {micro_batch} fits; without it, it does not.",
    "checkpointing_price": (
        "By rule a step takes up to a third longer, for one more forward pass (Chen et al., arXiv 1604.06174)."
    ),
    "about_as_fast": (
        "An optimizer step takes {step_s:duration} instead of {present_step_s:duration} (ratio {low:ratio} to"
        " {high:ratio}): no difference that stands out of the measuring noise."
    ),
    "check_half_precision": (
        "{precision} rounds: compare the validation loss of a short run with that of float32 before a long one."
    ),
    "saver_untried": "Not run, a rule only: switch it on in your own step, then ask again.",
    # ---- what a search for the learning rate found
    "refined_lr": (
        "A search of {num_trials} trainings of {share:percent} of the run found {lr:lr} better than {start_lr:lr}: on"
        " {num_seeds} fresh seeds the validation loss is {gain:percent} lower"
        " (interval {low:percent} to {high:percent})."
    ),
    "refined_stable": (
        "A search of {num_trials} trainings of {share:percent} of the run: {start_lr:lr} diverges on {num_seeds} fresh"
        " seeds, {lr:lr} is the best of those that do not."
    ),
    "refined_kept": (
        "A search of {num_trials} trainings of {share:percent} of the run found nothing detectably better than"
        " {start_lr:lr}: the best other, {lr:lr}, lowers the validation loss on {num_seeds} fresh seeds"
        " by {gain:percent} (interval {low:percent} to {high:percent}); what short trainings may mistake is up to"
        " {min_gain:percent}."
    ),
    "refined_alone": (
        "A search of {num_trials} trainings of {share:percent} of the run: no other learning rate than {start_lr:lr}"
        " trained on all of {num_seeds} fresh seeds."
    ),
    # ---- why an option cannot be had
    "does_not_fit": "Needs {peak_bytes:bytes}; {budget_bytes:bytes} may be used.",
    "may_not_fit": (
        "Predicted {peak_bytes:bytes}, at most {high_bytes:bytes}; {budget_bytes:bytes} may be used:"
        " too close to rely on."
    ),
    "out_of_memory": "Ran out of memory within {budget_bytes:bytes}.",
    "out_of_memory_unknown": "Ran out of memory.",
    "smaller_did_not_fit": "Not run: micro-batch {micro_batch}, which is smaller, does not fit already.",
    "timed_out": "Did not finish a step in time: {message}",
    "failed": "Could not be run: {message}",
    "non_finite": "The loss was NaN or infinite.",
    "above_largest": "Not run: {largest} is the largest micro-batch that is safe here.",
    "over_max_batch": "Micro-batch {micro_batch} is above the limit of {max_batch}.",
}

NOTES: dict[str, str] = {
    # ---- warnings
    "default_run_length": (
        "No run length was given: {epochs} epochs ({samples:count} samples) are assumed for times and milestones."
    ),
    "default_lr": (
        "No learning rate was given: {lr:lr} is a rule of thumb (1e-4 at batch 16, square root of the batch),"
        " not a tuned value."
    ),
    "epoch_convention": (
        "Steps an epoch are rounded up: {steps}, the last one with {last_batch} of {effective_batch} samples;"
        " with drop_last there are {steps_drop_last}."
    ),
    "batch_above_dataset": "The effective batch of {effective_batch} is larger than the data set of {num_items} items.",
    "present_does_not_fit": "The present setting does not run on this device: {message}",
    "not_interleaved": (
        "The settings were timed one after the other, because together they do not fit in half of the memory:"
        " a drift of the clock speed is not cancelled."
    ),
    "few_rounds": "Only {num_rounds} timed steps a setting: the intervals are the smallest and largest of them.",
    "step_time_rose": (
        "Steps took {change:percent} longer at the end of the {num_rounds} timed rounds than at their beginning"
        " (interval {low:percent} to {high:percent}): is the device throttling, or did another program begin? Settings"
        " that were timed in turns remain comparable, the length of the run is uncertain. Measure again when it is"
        " idle and cool."
    ),
    "step_time_fell": (
        "Steps took {change:percent} less time at the end of the {num_rounds} timed rounds than at their beginning"
        " (interval {low:percent} to {high:percent}): did another program end, or did the clock speed rise? Settings"
        " that were timed in turns remain comparable, the length of the run is uncertain. Measure again."
    ),
    "input_stall": (
        "The input takes {input_s:duration} of a step of {step_s:duration}, {share:percent} of it or more: load ahead"
        " with more workers, keep decoded samples in a cache, or augment on the device. That time grows with the"
        " batch: a larger one does not save it."
    ),
    "no_budget": "How much memory may be used is not known; --memory-budget sets a limit.",
    "noise_scale_unmeasured": "The gradient noise scale was not measured: the effective batch is not changed.",
    # ---- the largest micro-batch
    "searched": (
        "The largest micro-batch that is safe (accumulation {accumulation}) is {micro_batch}: it was run, with an"
        " evaluation, in a process of its own. The search took {steps} optimizer steps and ran out of memory"
        " {ooms} times."
    ),
    "searched_in_vain": (
        "No micro-batch was found to be safe in {steps} optimizer steps ({ooms} times out of memory): {message}"
    ),
    "stopped_memory": "A larger micro-batch would take more than the {budget_bytes:bytes} that may be used.",
    "stopped_max_batch": "No larger micro-batch was tried: --max-batch.",
    "stopped_dataset_size": "No larger micro-batch was tried: there are no more items in the data set.",
    "stopped_out_of_memory": "A larger one ran out of memory, though it should have fitted: {message}",
    "stopped_size_limit": "A larger one meets a size limit of the device, not its memory: {message}",
    "stopped_failure": "A larger one could not be run: {message}",
    "stopped_time": "Larger ones may fit, but to run them would take minutes.",
    "stopped_steps": "Larger ones may fit: the search ended after as many steps as it may take.",
    "retrying": (
        "Up to micro-batch {retrying} the step should still run, slowly, with the allocator giving back memory all the"
        " time."
    ),
    "others_changed": (
        "While it was searched, other processes took or gave back {num_bytes:bytes} on this device:"
        " what is free now may not be free later."
    ),
    "not_searched": (
        "How large a micro-batch could be was not searched: on a CPU it takes minutes and more."
        " --memory-budget asks for it."
    ),
    "noise_scale_made_up_data": (
        "The gradient noise scale was not measured, so the effective batch is not changed: the step was fed made-up"
        " data, whose noise is not that of yours. `cfgadvise train` measures it during the run."
    ),
    "noise_scale_batch_norm": (
        "The gradient noise scale was not measured, so the effective batch is not changed: with BatchNorm the samples"
        " of a micro-batch are not independent of each other."
    ),
    "noise_scale_one_sample": (
        "The gradient noise scale was not measured, so the effective batch is not changed: a batch of one sample cannot"
        " be compared with its parts."
    ),
    "noise_scale_too_slow": (
        "The gradient noise scale was not measured, so the effective batch is not changed: it would take"
        " {needed_s:duration} here; --noise-scale measures it all the same."
    ),
    "noise_scale_undetermined": (
        "The gradient noise scale was not determined, so the effective batch is not changed: {message}"
    ),
    "noise_scale_failed": (
        "The gradient noise scale could not be measured, so the effective batch is not changed: {message}"
    ),
    "noise_scale_early": (
        "The gradient noise scale of {value:count} samples is that of the first steps, where the loss has not fallen to"
        " half yet. It grows during training, so it only counts as a lower bound."
    ),
    "noise_scale_untrained": (
        "The gradient noise scale of {value:count} samples was measured from step {first_step} on of an untrained net;"
        " it grows as the loss falls, so up to twice its upper bound is reckoned with."
    ),
    "from_cache": ("Measured {age_s:duration} ago on this machine and taken from the cache; --no-cache measures anew."),
    # ---- a card that is not here
    "predicted_step": (
        "Nothing was run on a {gpu}: memory and times are predicted from the step on a simulated one, times with"
        " kernels that were measured on this card, within a 90 % interval. Run the same command there before a long"
        " training."
    ),
    "predicted_step_alike": (
        "Nothing was run on a {gpu}: memory and times are predicted from the step on a simulated one. No kernel of this"
        " card was measured, so times come from cards like it, within a wide 90 % interval. Run the same command there"
        " before a long training."
    ),
    "host_bound": (
        "At the present setting a {gpu} waits: starting the kernels takes the computer about {ratio:ratio} times as"
        " long as the card needs for them. A faster processor, torch.compile or CUDA graphs would help, and a larger"
        " micro-batch costs little."
    ),
    "predicted_only": (
        "Nothing was run on a {gpu}: its memory is predicted from the step on a simulated one, and times are not known."
        " Run the same command there before a long training."
    ),
    "largest_safe": (
        "The largest micro-batch whose whole interval fits on a {gpu} is {micro_batch}:"
        " {peak_bytes:bytes}, at most {high_bytes:bytes}."
    ),
    "largest_running": (
        "By the value without its interval, micro-batch {micro_batch} still runs at full speed and {retrying} at all,"
        " slowly, with the allocator giving back memory all the time."
    ),
    "kernels_of_cpu": (
        "This PyTorch cannot simulate a GPU: the step was traced on the CPU, whose kernels take other memory."
        " The intervals are wider for it."
    ),
    "bf16_emulated": (
        "{gpu} (compute capability {cc}) cannot compute in bfloat16: PyTorch emulates it, slower than float32."
        " Use float16 with loss scaling: --precision fp16."
    ),
    "fp16_without_tensor_cores": (
        "{gpu} (compute capability {cc}) has no tensor cores: float16 saves memory, but makes training hardly faster."
    ),
    "evaluation_not_traced": "The evaluation step is not in the prediction: {message}",
    "quadratic_memory": (
        "Memory grows with the square of the batch, because samples are compared with each other:"
        " more accumulation saves more than usual."
    ),
    # ---- where accumulation is not the same as a larger batch
    "trap_batch_norm": (
        "BatchNorm in {count} layers ({first} first): its statistics are those of one micro-batch, so the same"
        " effective batch from another micro-batch trains differently. Replace it by GroupNorm, or keep the"
        " micro-batch."
    ),
    "trap_sync_batch_norm": (
        "SyncBatchNorm in {count} layers ({first} first) joins the statistics of several GPUs, not those of accumulated"
        " micro-batches: another micro-batch trains differently. Replace it by GroupNorm, or keep the micro-batch."
    ),
    "trap_running_statistics": (
        "{count} layers ({first} first) keep running statistics, which move once a micro-batch, not once an optimizer"
        " step: with more accumulation they forget sooner. Scale their momentum with the micro-batch, or keep it."
    ),
    "trap_step_in_backward": (
        "{count} parameters ({first} first) have a hook that runs after every backward pass: an optimizer or EMA in it"
        " acts once a micro-batch, not once an optimizer step. Accumulate without it."
    ),
    # ---- a search for the learning rate
    "search_unfinished": (
        "The search for the learning rate is not finished: {ended} of {num_trials} trainings have ended."
        " The same refine command goes on from there; until then the learning rate stays."
    ),
    "search_of_short_runs": (
        "The learning rate was found in trainings of {share:percent} of the run: that of the whole run may lie"
        " elsewhere between {low:lr} and {high:lr}."
    ),
    # ---- monitoring
    "loss_baseline": (
        "Write down the training and validation loss at step {step} ({samples:count} samples):"
        " every later loss is compared with these, not with a fixed number."
    ),
    "plateau": (
        "Compare the validation loss every {every_steps:count} steps ({share:percent} of the run), on the same"
        " items and noise: a change below {tolerance:percent} twice running is a plateau:"
        " let the learning rate decay, or stop."
    ),
    "overfitting": (
        "If the validation loss rises at two checkpoints running ({every_steps:count} steps apart) while the training"
        " loss falls, use the checkpoint before the rise."
    ),
    "oscillation": (
        "Judge swings on means of {block_steps} steps: only a variance of these means above {factor} times the value"
        " that single steps explain (variance / {block_steps}) is an oscillation."
    ),
    "step_time": (
        "A step takes {median_s:duration} (upper bound {high_s:duration}): a mean of {block_steps} steps above"
        " that bound means other load, throttling or a slow disk."
    ),
    "memory": "Peak memory was {peak_bytes:bytes}: more than {budget_bytes:bytes} is not available.",
    "clipping": (
        "Count the steps whose gradient is clipped (norm above {clip_norm}): above {share:percent} of them"
        " the learning-rate rule does not hold, so lower the learning rate first."
    ),
    "look": "Look at the outputs at the milestones, side by side with those of the milestone before.",
}


CATALOGUE: dict[str, str] = {**REASONS, **NOTES}  # no id is in both


class _Writer(string.Formatter):
    """Writes a value as its unit is written; ``None`` as "unknown"."""

    def __init__(self, unknown: str) -> None:
        self._unknown = unknown

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return self._unknown
        if format_spec in _FORMATS:
            return _FORMATS[format_spec](value)
        return format(value, format_spec)


_FORMATS: dict[str, Callable[[Any], str]] = {
    "bytes": format_bytes,
    "duration": format_duration,
    "lr": format_lr,
    "count": lambda value: format_count(round(value)) if value >= 10 else f"{value:.3g}",
    "percent": lambda share: f"{100 * share:.3g} %",
    "ratio": lambda ratio: f"{ratio:.2f}",
}


def fill(template: str, values: dict[str, Value], *, unknown: str = "unknown") -> str:
    """The sentence, with every value in its unit."""
    return _Writer(unknown).vformat(template, (), values)


def reason(sign: Sign, reason_id: str, **values: Value) -> Reason:
    """A reason of the catalogue, with its English sentence."""
    return Reason(sign=sign, id=reason_id, text=fill(REASONS[reason_id], values), values=values)


def note(note_id: str, **values: Value) -> Note:
    """A warning or a hint for monitoring of the catalogue, with its English sentence."""
    return Note(id=note_id, text=fill(NOTES[note_id], values), values=values)
