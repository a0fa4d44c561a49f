"""The reports' English."""

from advisor.recommend.note_texts import NOTES
from advisor.recommend.reason_texts import REASONS
from reports.messages.catalogue import Messages

EN = Messages(
    # ---- words
    title="Training configuration report",
    run_title="Training run report",
    subtitle="{subject} on {device}, {day}",
    legend="Where each figure comes from: ",
    mark_measured="[M]",
    mark_predicted="[P]",
    mark_rule="[R]",
    mark_user="[U]",
    basis_measured="measured",
    basis_predicted="predicted",
    basis_rule="rule or arithmetic",
    basis_user="given by you",
    word_vram="GPU memory",
    word_memory="memory",
    unknown="unknown",
    yes="yes",
    no="no",
    list_separator=", ",
    sentence_gap=" ",
    range_sign=" - ",
    aside=" ({interval})",
    percent_sign=" %",
    times="{ratio}",
    before="before: ",
    after="now:    ",
    # ---- heads of tables
    column_item="Item",
    column_value="Value",
    column_metric="Metric",
    column_basis="Basis",
    column_source="Source",
    column_interval="Interval",
    column_batch="Batch",
    column_micro_batch="Micro-batch",
    column_effective="Effective",
    column_peak="Peak {memory}",
    column_of_budget="Of budget",
    column_step="Step time",
    column_run="Whole run",
    column_samples_per_s="Samples/s",
    column_outcome="Outcome",
    column_verdict="Verdict",
    column_part="Part of {memory}",
    column_size="Size",
    column_setting="Setting",
    column_before="Before",
    column_after="Now",
    column_times_present="× present",
    column_steps="Step",
    column_samples="Samples",
    column_time="Time",
    column_epoch="Epoch",
    column_look="What to do there",
    column_watch="Watch",
    column_where="Where",
    column_how_often="How often",
    column_predicted="Predicted",
    column_actual="Actual",
    column_difference="Change",
    column_inside="Inside",
    column_trained_on="Classifier trained on",
    column_accuracy="Accuracy",
    column_bucket="Noise bucket",
    column_error="Error",
    column_zero="Predicting zero",
    column_wiener="Linear denoiser",
    column_copier="Perfect copier",
    column_floor="Training floor",
    column_skill="Skill",
    column_name="Name",
    column_grid="Grid",
    column_time_predicted="Predicted time",
    column_time_actual="Actual time",
    column_train_loss="Training loss",
    column_validation_loss="Validation loss",
    column_generated="Generated",
    column_real="Real",
    column_real_interval="Interval, real",
    column_copies="Copies",
    column_kid="KID",
    column_recognised="Recognised",
    column_synthetic="Use alone",
    column_guidance="Guidance",
    column_sampling_steps="Steps",
    column_diversity="Variety",
    # ---- names of figures
    name_lr="Learning rate",
    name_ema="EMA decay",
    name_accumulation="Accumulation",
    name_warmup="Warm-up samples",
    name_peak="Peak {memory}",
    name_training_peak="Peak {memory}, training",
    name_whole_peak="Peak {memory}, whole run",
    name_memory_frac="Share of the {memory} budget",
    name_run="Total time",
    name_training="Training steps alone",
    name_run_steps="Total steps",
    name_run_samples="Total samples",
    name_steps_per_epoch="Steps an epoch",
    column_share_of_data="Share",
    column_drop_last="drop_last",
    name_same_progress="Time to the same progress",
    # ---- 1 verdict
    section_verdict="Verdict",
    verdict_keep=(
        "Keep your setting: batch {micro_batch} × accumulation {accumulation} = effective batch {effective_batch},"
        " learning rate {lr}."
    ),
    verdict_change=(
        "Use batch {micro_batch} × accumulation {accumulation} = effective batch {effective_batch}, learning rate {lr}."
    ),
    verdict_price=(
        "Peak {memory} {peak}, {frac} of the budget. One step takes {step}; the run of {steps} steps takes {run}."
    ),
    verdict_untimed="Peak {memory} {peak}, {frac} of the budget; {steps} steps. How long they take is not known.",
    verdict_ratio="Time to the same progress, relative to your present setting: {ratio}.",
    verdict_paste="Paste these lines into your configuration:",
    verdict_warnings="Warnings to read before you rely on this: {count} (last section).",
    config_title="configuration of your training script",
    config_was="was {before}",
    config_unchanged="unchanged",
    run_finished="The run is finished: {samples} samples in {elapsed} (restarts: {resumes}).",
    run_interrupted=(
        "The run was interrupted at {samples} samples after {elapsed}; the same command again resumes it"
        " (restarts: {resumes})."
    ),
    run_unfinished="The run has reached {samples} samples in {elapsed} and is not finished (restarts: {resumes}).",
    verdict_quality=(
        "Trained on generated samples only, a classifier gets {synthetic} of held-out real samples right; trained on"
        " real ones only, {real}."
    ),
    # ---- 2 machine
    section_machine="Machine",
    machine_device="Device",
    machine_total="Total {memory}",
    machine_usable="Usable {memory}",
    machine_budget="Budget of {memory}",
    machine_capability="Compute capability",
    machine_power="Power limit",
    machine_host="Computer",
    machine_predicted_on="Predicted on",
    machine_cores="cores",
    machine_software="Software",
    machine_workload="Training step",
    # ---- 3 measurements
    section_measurements="Batch size against {memory} and speed",
    measured_how=(
        "Each row was run on this device in a process of its own. Peak {memory} is what that process took from the"
        " device; the interval is that of the median step time."
    ),
    measured_spent="Spent on it: {steps} optimizer steps, {elapsed}, {ooms} out-of-memory errors.",
    outcomes={
        "ok": "ok",
        "oom": "OOM",
        "error": "error",
        "timeout": "timed out",
        "non_finite": "NaN or infinite",
    },
    predicted_memory="Predicted peak {memory} of micro-batches that were not run:",
    predicted_memory_only="Predicted peak {memory}; nothing was run on this card:",
    breakdown="Where the {memory} goes. Only the activations grow in proportion to the batch:",
    breakdown_at="Where the {memory} goes at the recommended batch. Only activations grow in proportion to it:",
    part_weights="Weights",
    part_gradients="Gradients",
    part_optimizer="Optimizer state",
    part_ema="EMA weights",
    part_activations="Activations, each sample",
    part_workspaces="Workspaces of libraries",
    part_fragmentation="Fragmentation: reserved, not used",
    part_context="Device context",
    speed_fit="Step time fitted to the measured rows, for micro-batch b and accumulation a:",
    speed_values="alpha = {alpha}, beta = {beta}, gamma = {gamma}.",
    speed_knee="Micro-batch {knee} reaches 95 % of the highest speed within what was timed.",
    speed_fit_predicted="Step time fitted to the predicted ones, for micro-batch b and accumulation a:",
    speed_knee_predicted="Micro-batch {knee} reaches 95 % of the highest speed within the sizes of this fit.",
    speed_no_fit="Too few rows to fit the step time to the batch: only the measured sizes are compared.",
    chart_memory="Peak {memory} by micro-batch",
    chart_speed="Speed by micro-batch",
    chart_speed_predicted="Predicted speed by micro-batch",
    chart_lr="Learning rate by effective batch",
    chart_loss="Loss during the run",
    chart_budget="budget",
    chart_budget_above="The budget, {budget}, is far above this chart: {times} times its largest value.",
    chart_beyond="Micro-batch {micro_batch} would dwarf the others: it stands in the table only.",
    chart_activations="Activations",
    chart_rest="Not attributed: workspace, allocator, program",
    chart_fit="fit",
    chart_accumulated="with accumulation",
    chart_knee="95 % of the reachable speed",
    chart_rule="square-root rule",
    chart_effective="Effective batch",
    chart_options="options",
    chart_train="training",
    chart_validation="validation, averaged weights",
    chart_grids="sample grids",
    # ---- 4 effective batch
    section_batch="Effective batch, and what changes with it",
    batch_unchanged=(
        "The effective batch is the same, so each step sees as many samples and averages the same gradients, up to"
        " rounding: learning rate, betas, EMA and warm-up stay as they are."
    ),
    batch_changed=(
        "The effective batch changes, so learning rate, betas, EMA and warm-up have to change with it; the table"
        " gives their new values."
    ),
    # ---- 5 data set
    section_dataset="Fit to the data set",
    data_share="One step sees {batch} of {items} samples: {share}.",
    data_steps="One epoch takes {steps} steps, rounded up; a loader with drop_last makes {whole}.",
    data_epochs="The whole run sees every sample {epochs} times.",
    data_onset=(
        "A generative network may begin to copy its training items after about {onset} samples, which is {epochs}"
        " epochs; a larger network sooner. Other networks overfit rather than copy."
    ),
    stop_copies="From {samples} samples (epoch {epochs}) on, look for copies of training items at every milestone.",
    steps_an_epoch="steps an epoch",
    epochs="epochs",
    # ---- 6 options
    section_options="Options, risks and verdicts",
    option_title="Option {number}: {name} ({batch}) - {verdict}",
    option_names={
        "keep": "your present setting",
        "refined": "a searched learning rate",
        "no_accumulation": "no accumulation",
        "larger_batch": "a larger batch",
        "higher_lr": "a higher learning rate",
        "lower_lr": "a lower learning rate",
        "less_memory": "less memory",
        "smaller_batch": "a smaller batch",
        "checkpointing": "gradient checkpointing",
        "bf16": "bfloat16",
        "fp16": "float16 with loss scaling",
    },
    option_recommended="For its reasons, see section 1.",
    option_ratio="Time to the same progress, relative to the present setting: {ratio}.",
    verdicts={
        "recommended": "recommended",
        "acceptable": "acceptable",
        "not_recommended": "not recommended",
        "infeasible": "not possible",
    },
    # ---- 7 learning rate
    section_lr="Learning rate: rule and interval",
    lr_rule="Optimizers of the Adam family: the learning rate follows the square root of the effective batch B.",
    lr_interval=(
        "The interval comes from exponents 0.25 to 0.75 in place of the square root's 0.5. When the batch grows or"
        " shrinks by more than a factor of 4, tune the learning rate anew."
    ),
    lr_ladder="To tune it, try steps of 2 and compare the validation loss at equal samples: {ladder}.",
    section_refinement="Search for the learning rate",
    refine_better="Better than the start, {start}: learning rate {lr}.",
    refine_no_difference="No detectable difference: keep {start}.",
    refine_unfinished="Not finished: until the same command has run to its end, keep {start}.",
    refine_price=(
        "{trials} trainings of {share} of the run and the contest; planned for {runs} runs, took {elapsed} this time."
        " Done again after a failure: {retried}; left out for lack of time: {left}."
    ),
    refine_contest="The best on fresh seeds",
    refine_errors=(
        "Gain in mean validation loss over the start, paired by seed; the interval is two standard errors."
        " Its low end must be above {min_gain}."
    ),
    refine_dashboard="Every training: optuna-dashboard {storage} (study {study})",
    refine_loss="Validation loss",
    refine_mean_loss="Mean validation loss",
    refine_gain="Gain",
    refine_remark="Remark",
    refine_diverged="diverged",
    refine_stopped="stopped early",
    refine_start="start",
    # ---- 8 performance
    section_performance="Expected performance of the recommended setting",
    part_of_run="– {part}",
    occasion="{times} × {name}",
    occasion_names={
        "first_step": "first step, beyond the others",
        "evaluation": "evaluation, taken to come every 5 % of the run",
        "validation": "validation",
        "grids": "sample grid",
        "milestone_pictures": "pictures to judge at a milestone",
        "checkpoints": "checkpoint",
        "final_pictures": "pictures to judge at the end",
    },
    # ---- 9 milestones
    section_milestones="Milestones",
    milestones_counted=(
        "Counted in samples seen, so that they hold after a restart or a change of batch. Times are training time."
    ),
    milestones_on_clock=(
        "Counted in samples seen, so that they hold after a restart or a change of batch. Times are those on the clock,"
        " with what comes between the training steps."
    ),
    milestones_end="The run ends after {run}.",
    milestones_no_loss=(
        "What the loss will be is not predicted: no law gives it for new data. Compare it with the milestone before."
    ),
    milestones_bounds=(
        "Two bounds of a validation loss stand at a milestone that was not reached yet: falling on at the pace so far,"
        " and falling no further; at most {far} times as far as the run has come. Of {later} later losses in {curves}"
        " recorded trainings, {inside} lay inside."
    ),
    milestones_grids=("cfgadvise train draws {num} sample grids, evenly spread: sample-k.png at k/{num} of the run."),
    milestones_run=(
        "The run draws a sample grid at each of its {num} milestones. Counted in samples seen; times are training time."
    ),
    milestones_unknown="The run's configuration does not say when it draws samples.",
    milestone_looks={
        "first_look": "Is the loss falling?",
        "quarter": "First look at samples",
        "half": "Compare with quarter",
        "three_quarters": "Still improving?",
        "end": "Evaluate, then stop",
    },
    # ---- 10 monitoring
    section_monitoring="Monitoring",
    watch_loss="Training and validation loss",
    watch_samples="Generated samples",
    watch_speed="Speed and {memory}",
    watch_warnings="Warnings of the health checks",
    often_milestone="at each milestone",
    often_always="all the time",
    where_screen="live screen",
    monitoring_scale=(
        "There is no good or bad value of a diffusion loss as such: its scale depends on the parameterisation, the"
        " weighting and the noise level. Compare it with this run's own earlier values and with the held-out data."
    ),
    # ---- 11 checkpoints
    section_checkpoints="Checkpoints, and when to stop",
    checkpoint_at_step="Step {step}",
    checkpoint_at="Step {step} ({time})",
    ask_validation="Is the validation loss lower than at the milestone before?",
    ask_legible="Do the samples look like the data?",
    ask_distinct="Can the classes be told apart?",
    ask_still_falling="Is the validation loss still falling?",
    ask_better="Are the samples better than half-way, and the classes still apart?",
    ask_copies="Are the samples new, not copies of training items?",
    stop_title="When to stop early, and which checkpoint to use",
    stop_good=(
        "The samples serve their purpose at two milestones running: stop; more steps mainly add the risk of copies."
    ),
    stop_worse=(
        "The validation loss rises at two checkpoints running while the training loss falls: stop, and use the"
        " checkpoint before the rise."
    ),
    stop_keep="Otherwise use the checkpoint with the lowest validation loss, not simply the last one.",
    # ---- 12 troubleshooting
    section_troubleshooting="If you see this, do that",
    oom_sign="Out of {memory}",
    oom_cause="Cause: another process took {memory}, or evaluation and sampling need more than a step does.",
    oom_note="effective batch stays {batch}",
    slow_sign="Samples/s fall clearly below the table",
    slow_cause="Cause: heat, a power limit, another process on the device, or slow data loading.",
    nan_sign="The loss becomes NaN or infinite",
    nan_cause="Cause: usually too high a learning rate, or overflow in fp16. Start again with:",
    flat_sign="The validation loss falls too slowly",
    flat_cause="Cause: often too low a learning rate. Try:",
    jumpy_sign="The loss swings strongly",
    jumpy_cause="Cause: too high a learning rate, or too small an effective batch. First try:",
    copies_sign="Samples are copies of training items",
    copies_cause=(
        "Cause: the model memorises; the training loss alone does not show it. Look at an earlier checkpoint:"
    ),
    alike_sign="All classes look alike, or all samples of a class do",
    alike_cause=(
        "Cause: the condition is ignored (alike classes), or the guidance is too strong (alike samples)."
        " Compare guidance scales:"
    ),
    lr_from="from {lr}",
    section_final="Final advice",
    final_for="What speaks for it",
    final_next="What to do next",
    final_keep="Train with the setting that you have.",
    final_paste="Paste the lines of section 1 and train.",
    final_look="Look at the samples and the validation loss at each milestone before you change anything.",
    final_not_worth="Leave alone what does not pay here: {options}.",
    final_tune="Tune the learning rate only if the validation loss gives a reason (section 7).",
    # ---- 13 after the run
    section_actual="Predicted and actual",
    actual_note=(
        "Actual step time is the median of the log's lines. The time of training steps is compared for the samples that"
        " the run has seen. Total time is that on the clock, with validation, sampling, checkpoints and judging; it is"
        " compared for a finished run."
    ),
    actual_memory_note=(
        "Advised was the {memory} of training steps alone, so only the peak before the first validation compares"
        " with it. The peak of the whole run also holds the data, validation, sampling and evaluation, for which"
        " nothing was predicted."
    ),
    actual_unplanned=(
        "Nothing was predicted for this run, so there is nothing to compare with. Step time is the median of the"
        " log's lines."
    ),
    section_happened="What happened",
    section_config="Configuration of the run",
    config_missing="No config.toml can be read.",
    actual_other_setting=(
        "The run was trained with batch {micro_batch} × {accumulation}, for which nothing was predicted."
    ),
    run_best_validation="Lowest validation loss: {loss}, at {samples} samples.",
    run_last_loss="Last training loss: {loss}, at {samples} samples.",
    run_checkpoints="Checkpoints kept (samples seen): {checkpoints}.",
    run_problems="Files of the run that could not be read in full:",
    section_health="What the run's health checks saw",
    health_no_alarm="No alarm.",
    health_at="At {samples} samples: ",
    health_label_used="The label is used: with it, held-out items are denoised better than without.",
    health_label_unused="The label is not used: with it, held-out items are denoised no better than without.",
    health_how=(
        "Squared error of the averaged weights on held-out items after {samples} samples, by eighths of the noise"
        " schedule, from little noise to much; always the same items and noise."
    ),
    health_baselines=(
        "Computed from the data: a network that predicts zero; the best linear denoiser; one that knows all training"
        " items by heart, on held-out items, and on training items (no training error goes below that)."
        " Skill is the share of the linear denoiser's error that the network has removed."
    ),
    section_noise="Gradient noise scale, as measured during the run",
    noise_how=(
        "The batch, in samples, at which noise and signal of the gradient weigh the same (arXiv 1812.06162). It grows"
        " as the loss falls, so it was measured more than once: as the gradients are, and as Adam divides them."
    ),
    noise_worth=(
        "What a sample of the batch used was worth beside one of a very small batch: far below one half the batch"
        " wastes samples, near one a larger batch would save steps almost in proportion. Its interval is the one by"
        " which the advice chooses: up to twice the upper bound of Adam's value."
    ),
    noise_refused="After {samples} samples it could not be determined: {why}",
    column_share_of_run="Of the run",
    column_noise="Noise scale",
    column_noise_adam="As Adam sees it",
    column_worth="Worth of a sample at batch {batch}",
    section_quality="Quality: what the generated samples are good for",
    quality_how=(
        "Classifier {classifier}, tested on {test} held-out real samples; generated ones were made without guidance."
    ),
    quality_unknown="Not evaluated: no accuracy is recorded for this run.",
    quality_helps=(
        "Adding generated samples to the real ones changes accuracy by {gain} percentage points: more than chance."
    ),
    quality_hurts=(
        "Adding generated samples to the real ones costs accuracy: {gain} percentage points, more than chance."
    ),
    quality_same=(
        "Adding generated samples to the real ones changes accuracy by {gain} percentage points: within chance."
    ),
    quality_made=(
        "{generated} generated samples from the checkpoint at {checkpoint} samples, guidance {guidance}, {steps}"
        " sampling steps. Real: held-out samples that training never saw, treated alike."
    ),
    quality_use="What the generated samples are good for",
    copies_pca="Copies (PCA)",
    copies_pixels="Copies (pixels)",
    kid_held_out="KID (held-out)",
    kid_train="KID (training)",
    precision="Precision",
    recall="Recall",
    coverage="Coverage",
    diversity="Class variety",
    classes_recognised="Recognised",
    section_choice="Which checkpoint, and how to sample",
    choice_unknown="No checkpoint was evaluated. cfgadvise evaluate does it.",
    choice_use="Use the checkpoint at {samples} samples. ",
    choice_chosen="to be used",
    choice_feasible="feasible",
    choice_gone="not kept",
    choice_rule=(
        "Feasible: no more copies than held-out samples beyond chance, and no validation loss that rises at high noise."
        " Use alone: accuracy on held-out real samples of a classifier trained on generated ones only."
    ),
    sampling_unknown="Guidance and sampling steps have not been compared yet:",
    sampling_title="Guidance and sampling steps",
    row_real="real",
    grid_real="real training samples",
    pairs_note=(
        "Left a generated sample, right the training sample nearest to it; above, its distance relative to the second"
        " nearest. Below 0.33 it counts as a copy."
    ),
    pairs_at="closest pairs, guidance {guidance}",
    real_only="real samples only",
    synthetic_only="generated samples only",
    real_and_synthetic="both",
    section_samples="Generated samples",
    samples_note="Each column is one class, drawn from the same noise. Files are relative to the run folder.",
    samples_none="No sample grid was written.",
    grid_at="after {samples} samples",
    # ---- 14 method
    section_method="Method and bases",
    method_measured="Measured: this very point was run on this device.",
    method_predicted="Predicted: calculated, not run; with an interval.",
    method_rule="Rule: a named law or plain arithmetic; its source is in the table.",
    method_user="Given: what you said about your run; it was not checked.",
    method_noise_scale="Gradient noise scale: {value} samples.",
    method_no_noise_scale="Not measured: the gradient noise scale; what a larger batch gains per sample is not known.",
    method_origin="Made by cfgadvise {version} on {day}, with the command:",
    method_logged="Measured: read from the run's own logs.",
    method_unadvised=(
        "There is no advice for this run: whether another batch or learning rate would do better was not"
        " measured. cfgadvise train --auto measures it."
    ),
    section_warnings="Warnings",
    warnings_none="None.",
    page_contents="Contents",
    page_language="Language",
    page_json="The records behind this report (JSON)",
    page_json_thinned="The logs are thinned out here; metrics.jsonl has every line.",
    page_table="Table",
    page_picture_unreadable="This picture cannot be read.",
    page_chosen="recommended",
    cards_title="One step on several cards",
    section_cards="Cards",
    column_card="Card",
    column_cost="Price of the run",
    column_sessions="Sessions",
    cards_clear="{card} surely ends first: its whole interval lies below those of the others.",
    cards_unclear="Which card ends first is not sure: the intervals of the predicted times overlap.",
    name_cost="Price of the run",
    name_session_samples="Samples kept in a session of {session}",
    name_sessions="Sessions of {session}",
    name_checkpoint_every="Checkpoint every so many samples",
    compare_title="Comparison",
    compare_legend="A: {first}. B: {second}.",
    compare_settings="Settings",
    compare_expected="Expected cost of the recommended setting",
    compare_happened="What happened",
    compare_ratio="B : A",
    compare_colon=": ",
    compare_apart="Apart",
    compare_note=(
        "Apart: the two intervals do not touch. Without intervals on both sides, whether a difference is more"
        " than chance is not known."
    ),
    compare_same_data="Both were made for the same device and step.",
    compare_other_data=(
        "They differ in more than the setting: {differences}. The figures below do not compare settings alone."
    ),
    compare_device="device",
    compare_step="training step",
    compare_dataset="data",
    compare_length="length of the run",
    # ---- the live screen
    probe_bench="Dense TFLOP/s and GB/s: measured just now / at best, by the table of GPUs (~: estimated).",
    probe_copy="Memory GB/s",
    probe_upload="Host GB/s",
    live_done="done",
    live_step="step",
    live_samples="samples",
    live_epoch="epoch",
    live_loss="loss",
    live_validation_loss="validation",
    live_lr="lr",
    live_speed="speed",
    live_samples_per_s="samples/s",
    live_memory="memory",
    live_remaining="left",
    live_elapsed="elapsed",
    live_next="next",
    live_no_milestone="end of the run",
    live_interrupt="ctrl-c saves and stops",
    live_health="Health",
    live_healthy="no alarm",
    live_alarms="alarms: {count}",
    # ---- probe
    probe_title="This machine",
    probe_devices="Devices",
    probe_device="Device",
    probe_none="No device was found.",
    probe_others="Others",
    probe_power="Power",
    probe_temperature="Temp.",
    probe_ram="RAM free",
    probe_driver="driver",
    probe_peaks="Dense TFLOP/s and GB/s at best, by the table of GPUs (~: estimated); --bench measures them.",
    probe_link="PCIe",
    probe_unread="Not to be read from the driver: {parts}; --json names them.",
    probe_unread_part="{count} ({reason})",
    probe_checks="Checks",
    probe_fine="Fine: {topics}.",
    probe_topics={
        "kernels": "PyTorch's kernels",
        "driver": "driver",
        "throttling": "throttling",
        "power": "power limit",
        "link": "PCIe link",
        "ecc": "memory errors",
        "others": "other programs",
        "shm": "/dev/shm",  # noqa: S108
        "disk": "disk",
    },
    probe_next="Next: {command}",
    probe_no_checks="Nothing to mend.",
    probe_fix=" Fix: ",
    source=lambda text: text,
    reasons=REASONS,
    notes=NOTES,
    checks={},
)
