"""The English sentences of warnings and of what to watch, by id; :mod:`advisor.recommend.reasons` fills them."""

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
    "few_rounds": "Only {num_rounds} timings a setting: the intervals are the smallest and largest of them.",
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
        " data, whose noise is not that of yours. recommend --data DIR feeds a preset your pictures, and"
        " cfgadvise train measures it during the run."
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
        " kernels that were measured on such a card, within a 90 % interval. Run the same command there before a long"
        " training."
    ),
    "predicted_step_alike": (
        "Nothing was run on a {gpu}: memory and times are predicted from the step on a simulated one. No kernel of such"
        " a card was measured, so times come from cards like it, within a wide 90 % interval. Run the same command"
        " there before a long training."
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
        "Write down the training and validation loss at step {step:count} ({samples:count} samples):"
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
