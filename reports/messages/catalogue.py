"""Which sentences a report is made of: every language gives a value for each of these names.

A missing or misspelled sentence is a type error, not a hole in a report. ``{placeholders}`` are the
same in every language. ``reasons``, ``notes`` and ``checks`` hold the sentences of records by id; a
record whose id is not there is shown with its own English text.
"""

from collections.abc import Callable, Mapping

from advisor.records import record
from reports.blocks import Lang


@record
class Messages:
    """All sentences of one language."""

    # ---- words
    title: str
    run_title: str
    subtitle: str
    legend: str
    mark_measured: str
    mark_predicted: str
    mark_rule: str
    mark_user: str
    basis_measured: str
    basis_predicted: str
    basis_rule: str
    basis_user: str
    word_vram: str
    word_memory: str
    unknown: str
    yes: str
    no: str
    list_separator: str
    sentence_gap: str
    range_sign: str
    aside: str
    percent_sign: str
    times: str
    before: str
    after: str
    # ---- heads of tables
    column_item: str
    column_value: str
    column_metric: str
    column_basis: str
    column_source: str
    column_interval: str
    column_batch: str
    column_micro_batch: str
    column_effective: str
    column_peak: str
    column_of_budget: str
    column_step: str
    column_run: str
    column_samples_per_s: str
    column_outcome: str
    column_verdict: str
    column_part: str
    column_size: str
    column_setting: str
    column_before: str
    column_after: str
    column_times_present: str
    column_steps: str
    column_samples: str
    column_time: str
    column_epoch: str
    column_look: str
    column_watch: str
    column_where: str
    column_how_often: str
    column_predicted: str
    column_actual: str
    column_difference: str
    column_inside: str
    column_trained_on: str
    column_accuracy: str
    column_bucket: str
    column_error: str
    column_zero: str
    column_wiener: str
    column_copier: str
    column_floor: str
    column_skill: str
    column_name: str
    column_grid: str
    column_time_predicted: str
    column_time_actual: str
    column_train_loss: str
    column_validation_loss: str
    column_generated: str
    column_real: str
    column_real_interval: str
    column_copies: str
    column_kid: str
    column_recognised: str
    column_synthetic: str
    column_guidance: str
    column_sampling_steps: str
    column_diversity: str
    # ---- names of figures
    name_lr: str
    name_ema: str
    name_accumulation: str
    name_warmup: str
    name_peak: str
    name_training_peak: str
    name_whole_peak: str
    name_memory_frac: str
    name_run: str
    name_training: str
    name_run_steps: str
    name_run_samples: str
    name_steps_per_epoch: str
    column_share_of_data: str
    column_drop_last: str
    name_same_progress: str
    # ---- 1 verdict
    section_verdict: str
    verdict_keep: str
    verdict_change: str
    verdict_price: str
    verdict_untimed: str
    verdict_ratio: str
    verdict_paste: str
    verdict_warnings: str
    config_title: str
    config_was: str
    config_unchanged: str
    run_finished: str
    run_interrupted: str
    run_unfinished: str
    # ---- 2 machine
    verdict_quality: str
    section_machine: str
    machine_device: str
    machine_total: str
    machine_usable: str
    machine_budget: str
    machine_capability: str
    machine_power: str
    machine_host: str
    machine_predicted_on: str
    machine_cores: str
    machine_software: str
    machine_workload: str
    # ---- 3 measurements
    section_measurements: str
    measured_how: str
    measured_spent: str
    outcomes: Mapping[str, str]
    predicted_memory: str
    predicted_memory_only: str
    breakdown: str
    breakdown_at: str
    part_weights: str
    part_gradients: str
    part_optimizer: str
    part_ema: str
    part_activations: str
    part_workspaces: str
    part_fragmentation: str
    part_context: str
    speed_fit: str
    speed_values: str
    speed_knee: str
    speed_fit_predicted: str
    speed_knee_predicted: str
    speed_no_fit: str
    chart_memory: str
    chart_speed: str
    chart_speed_predicted: str
    chart_lr: str
    chart_loss: str
    chart_budget: str
    chart_budget_above: str
    chart_beyond: str
    chart_activations: str
    chart_rest: str
    chart_fit: str
    chart_accumulated: str
    chart_knee: str
    chart_rule: str
    chart_effective: str
    chart_options: str
    chart_train: str
    chart_validation: str
    chart_grids: str
    # ---- 4 effective batch
    section_batch: str
    batch_unchanged: str
    batch_changed: str
    # ---- 5 data set
    section_dataset: str
    data_share: str
    data_steps: str
    data_epochs: str
    data_onset: str
    stop_copies: str
    steps_an_epoch: str
    epochs: str
    # ---- 6 options
    section_options: str
    option_title: str
    option_names: Mapping[str, str]
    option_recommended: str
    option_ratio: str
    verdicts: Mapping[str, str]
    # ---- 7 learning rate
    section_lr: str
    lr_rule: str
    lr_interval: str
    lr_ladder: str
    section_refinement: str
    refine_better: str
    refine_no_difference: str
    refine_unfinished: str
    refine_price: str
    refine_contest: str
    refine_errors: str
    refine_dashboard: str
    refine_loss: str
    refine_mean_loss: str
    refine_gain: str
    refine_remark: str
    refine_diverged: str
    refine_stopped: str
    refine_start: str
    # ---- 8 performance
    section_performance: str
    part_of_run: str
    occasion: str
    occasion_names: Mapping[str, str]
    # ---- 9 milestones
    section_milestones: str
    milestones_counted: str
    milestones_on_clock: str
    milestones_end: str
    milestones_no_loss: str
    milestones_bounds: str
    milestones_grids: str
    milestones_run: str
    milestones_unknown: str
    milestone_looks: Mapping[str, str]
    # ---- 10 monitoring
    section_monitoring: str
    watch_loss: str
    watch_samples: str
    watch_speed: str
    watch_warnings: str
    often_milestone: str
    often_always: str
    where_screen: str
    monitoring_scale: str
    # ---- 11 checkpoints
    section_checkpoints: str
    checkpoint_at_step: str
    checkpoint_at: str
    ask_validation: str
    ask_legible: str
    ask_distinct: str
    ask_still_falling: str
    ask_better: str
    ask_copies: str
    stop_title: str
    stop_good: str
    stop_worse: str
    stop_keep: str
    # ---- 12 troubleshooting
    section_troubleshooting: str
    oom_sign: str
    oom_cause: str
    oom_note: str
    slow_sign: str
    slow_cause: str
    nan_sign: str
    nan_cause: str
    flat_sign: str
    flat_cause: str
    jumpy_sign: str
    jumpy_cause: str
    copies_sign: str
    copies_cause: str
    alike_sign: str
    alike_cause: str
    lr_from: str
    section_final: str
    final_for: str
    final_next: str
    final_keep: str
    final_paste: str
    final_look: str
    final_not_worth: str
    final_tune: str
    # ---- 13 after the run
    section_actual: str
    actual_note: str
    actual_memory_note: str
    actual_unplanned: str
    section_happened: str
    section_config: str
    config_missing: str
    actual_other_setting: str
    run_best_validation: str
    run_last_loss: str
    run_checkpoints: str
    run_problems: str
    section_health: str
    health_no_alarm: str
    health_at: str
    health_label_used: str
    health_label_unused: str
    health_how: str
    health_baselines: str
    section_noise: str
    noise_how: str
    noise_worth: str
    noise_refused: str
    column_share_of_run: str
    column_noise: str
    column_noise_adam: str
    column_worth: str
    section_quality: str
    quality_how: str
    quality_unknown: str
    quality_helps: str
    quality_hurts: str
    quality_same: str
    quality_made: str
    quality_use: str
    copies_pca: str
    copies_pixels: str
    kid_held_out: str
    kid_train: str
    precision: str
    recall: str
    coverage: str
    diversity: str
    classes_recognised: str
    section_choice: str
    choice_unknown: str
    choice_use: str
    choice_chosen: str
    choice_feasible: str
    choice_gone: str
    choice_rule: str
    sampling_unknown: str
    sampling_title: str
    row_real: str
    grid_real: str
    pairs_note: str
    pairs_at: str
    real_only: str
    synthetic_only: str
    real_and_synthetic: str
    section_samples: str
    samples_note: str
    samples_none: str
    grid_at: str
    # ---- 14 method
    section_method: str
    method_measured: str
    method_predicted: str
    method_rule: str
    method_user: str
    method_noise_scale: str
    method_no_noise_scale: str
    method_origin: str
    method_logged: str
    method_unadvised: str
    section_warnings: str
    warnings_none: str
    page_contents: str
    page_language: str
    page_json: str
    page_json_thinned: str
    page_table: str
    page_picture_unreadable: str
    page_chosen: str
    cards_title: str
    section_cards: str
    column_card: str
    column_cost: str
    column_sessions: str
    cards_clear: str
    cards_unclear: str
    name_cost: str
    name_session_samples: str
    name_sessions: str
    name_checkpoint_every: str
    compare_title: str
    compare_legend: str
    compare_settings: str
    compare_expected: str
    compare_happened: str
    compare_ratio: str
    compare_colon: str
    compare_apart: str
    compare_note: str
    compare_same_data: str
    compare_other_data: str
    compare_device: str
    compare_step: str
    compare_dataset: str
    compare_length: str
    # ---- the live screen
    probe_bench: str
    probe_copy: str
    probe_upload: str
    live_done: str
    live_step: str
    live_samples: str
    live_epoch: str
    live_loss: str
    live_validation_loss: str
    live_lr: str
    live_speed: str
    live_samples_per_s: str
    live_memory: str
    live_remaining: str
    live_elapsed: str
    live_next: str
    live_no_milestone: str
    live_interrupt: str
    live_health: str
    live_healthy: str
    live_alarms: str
    # ---- probe
    probe_title: str
    probe_devices: str
    probe_device: str
    probe_none: str
    probe_others: str
    probe_power: str
    probe_temperature: str
    probe_ram: str
    probe_driver: str
    probe_peaks: str
    probe_link: str
    probe_unread: str
    probe_unread_part: str
    probe_checks: str
    probe_fine: str
    probe_topics: Mapping[str, str]
    probe_next: str
    probe_no_checks: str
    probe_fix: str
    reasons: Mapping[str, str]
    notes: Mapping[str, str]
    source: Callable[[str], str]
    checks: Mapping[str, tuple[str, str | None]]


def messages_in(lang: Lang) -> Messages:
    """The catalogue of a language."""
    from reports.messages.en import EN
    from reports.messages.zh import ZH

    return {"en": EN, "zh": ZH}[lang]
