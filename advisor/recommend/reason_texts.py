"""The English sentences of reasons, for and against an option, by id; :mod:`advisor.recommend.reasons` fills them."""

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
