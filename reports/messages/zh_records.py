"""建议中的理由、提醒与机器检查的中文句子，按 id 排列。

模板的写法与 ``advisor.recommend.reasons`` 相同；少数英文片段（如进程列表）在中文里省去。
"""

REASONS: dict[str, str] = {
    "present_setting": "这就是现有配置：什么都不用改，也不用重新调参。",
    "same_effective_batch": "有效批量仍为 {effective_batch}：学习率、betas、EMA 和预热都保持不变。",
    "faster": (
        "单步 {step_s:duration}，原来 {present_step_s:duration}："
        "用时是原来的 {ratio:ratio} 倍（区间 {low:ratio} ~ {high:ratio}）。"
    ),
    "slower": (
        "单步 {step_s:duration}，原来 {present_step_s:duration}："
        "变慢，用时是原来的 {ratio:ratio} 倍（区间 {low:ratio} ~ {high:ratio}）。"
    ),
    "within_noise": (
        "单步 {step_s:duration}，原来 {present_step_s:duration}（比值 {low:ratio} ~ {high:ratio}）："
        "没有超出测量误差、且大于 {min_gain:percent} 的提升。"
    ),
    "within_forecast": (
        "预测单步 {step_s:duration}，原来 {present_step_s:duration}（比值 {low:ratio} ~ {high:ratio}）："
        "没有超出预测误差、且大于 {min_gain:percent} 的提升。"
    ),
    "throughput": "每秒 {samples_per_s:count} 个样本，原来 {present_samples_per_s:count} 个。",
    "fits": "{memory}峰值 {peak_bytes:bytes}，占可用的 {budget_bytes:bytes} 的 {share:percent}。",
    "more_memory": "{memory}峰值 {peak_bytes:bytes}，原来 {present_bytes:bytes}，占用增加。",
    "less_memory": "{memory}峰值 {peak_bytes:bytes}，原来 {present_bytes:bytes}，占用减少。",
    "scaled_lr": (
        "学习率要跟着调整：{present_lr:lr} 改为 {lr:lr}，合理区间 {low:lr} ~ {high:lr}；beta2 和 EMA 衰减也要一起换算。"
    ),
    "steps_per_epoch": "每个 epoch {steps} 步，原来 {present_steps} 步。",
    "no_noise_scale": "梯度噪声尺度未知，达到同等进度的用时只能确定在现有配置的 {low:ratio} ~ {high:ratio} 倍之间。",
    "retune": "有效批量变为 {factor:ratio} 倍，超出 4 倍的范围：学习率需要重新调。",
    "untested_lr": "学习率好不好，几步之内看不出来：请在相同样本数处比较验证 loss。",
    "when_slow": "适用场景：验证 loss 一直在下降，但下降太慢。",
    "when_unstable": "适用场景：loss 的震荡超出采样噪声，或者很多步的梯度被裁剪。",
    "unstable_risk": "学习率加倍可能不稳定：保留预热，并注意梯度被裁剪的比例。",
    "slow_risk": "学习率减半后，达到同样的 loss 需要更多样本。",
    "saves_memory": "现有的单次批量放不下时，它能放下；有效批量相同。",
    "refined_lr": (
        "用 {num_trials} 次短训练（各为全程的 {share:percent}）搜索，{lr:lr} 优于 {start_lr:lr}："
        "换 {num_seeds} 个新种子，验证 loss 低 {gain:percent}（区间 {low:percent} ~ {high:percent}）。"
    ),
    "refined_stable": (
        "用 {num_trials} 次短训练（各为全程的 {share:percent}）搜索：{start_lr:lr} 在 {num_seeds} 个新种子上发散，"
        "不发散的学习率中 {lr:lr} 最好。"
    ),
    "refined_kept": (
        "用 {num_trials} 次短训练（各为全程的 {share:percent}）搜索，没有发现明显优于 {start_lr:lr} 的学习率："
        "其余最好的 {lr:lr} 在 {num_seeds} 个新种子上使验证 loss 降低 {gain:percent}"
        "（区间 {low:percent} ~ {high:percent}），而短训练本身的偏差可达 {min_gain:percent}。"
    ),
    "refined_alone": (
        "用 {num_trials} 次短训练（各为全程的 {share:percent}）搜索：除 {start_lr:lr} 外，"
        "没有别的学习率能在全部 {num_seeds} 个新种子上完成训练。"
    ),
    "recomputes_activations": "梯度检查点不保存激活，反向传播时重新计算：梯度不变。",
    "half_precision": "autocast 到 {precision}，多数激活的占用减半；权重和优化器仍为 float32。",
    "buys_batch": "启用后放得下单次批量 {micro_batch}，不启用则放不下。",
    "checkpointing_price": ("按规则，多做一次前向传播，单步用时最多增加三分之一（Chen et al., arXiv 1604.06174）。"),
    "about_as_fast": (
        "单步 {step_s:duration}，原来 {present_step_s:duration}（比值 {low:ratio} ~ {high:ratio}）："
        "没有超出测量噪声的差别。"
    ),
    "check_half_precision": "{precision} 有舍入误差：长时间训练之前，先短跑一次，与 float32 比较验证 loss。",
    "saver_untried": "没有实跑，只是规则：请在自己的训练步里启用，然后再运行一次。",
    "does_not_fit": "需要 {peak_bytes:bytes}，只能用 {budget_bytes:bytes}。",
    "may_not_fit": "预估 {peak_bytes:bytes}，最多 {high_bytes:bytes}，只能用 {budget_bytes:bytes}：余量太小，不可靠。",
    "out_of_memory": "在 {budget_bytes:bytes} 之内发生{memory}溢出 (OOM)。",
    "out_of_memory_unknown": "{memory}溢出 (OOM)。",
    "smaller_did_not_fit": "没有实跑：更小的单次批量 {micro_batch} 已经放不下。",
    "timed_out": "一步没有在限定时间内完成：{message}",
    "failed": "无法运行：{message}",
    "non_finite": "loss 为 NaN 或无穷大。",
    "above_largest": "没有实跑：这里安全的最大单次批量是 {largest}。",
    "over_max_batch": "单次批量 {micro_batch} 超过上限 {max_batch}。",
}

# 训练过程中的提示，见 trainer.notes。
RUN_NOTES: dict[str, str] = {
    "resumed": "从 {samples:count} 个样本处的检查点继续训练。",
    "already_finished": "{path} 已经训练完成；要另做一次训练，请换一个 --out。",
    "encoding": "正在用 VAE 编码 {count:count} 张图片，只需做一次。",
    "samples_drawn": "看过 {samples:count} 张图片后的样本：{path}",
    "data_animated": "有 {count} 张动图，只使用第一帧（{names}）。",
    "data_one_picture": "只有一张图片：训练结果只能是它的复制品。",
    "data_not_encoded": (
        "没有测量梯度噪声尺度，因此不改变有效批量：VAE {vae} 还没有编码过这些图片，这一步用的是随机生成的 latent。"
        "训练时会先编码，并在训练过程中测量。"
    ),
    "data_slow_to_decode": (
        "没有测量梯度噪声尺度，因此不改变有效批量：解码 {count:count} 张图片约需 {needed_s:duration}，"
        "这一步用的是随机生成的图片。加上 --noise-scale 仍会解码；cfgadvise train 会在训练过程中测量。"
    ),
    "data_not_kept": (
        "没有测量梯度噪声尺度，因此不改变有效批量：解码后的图片无法保存给测量进程使用，"
        "这一步用的是随机生成的图片：{problem}"
    ),
    "batch_repeats": "训练图片只有 {num_train} 张，批量却是 {batch}：每个批量里每张图片出现 {times:ratio} 次。",
    "not_compiled": "网络无法编译，按原样运行，数值不变：{problem}",
    "micro_batch_halved": "{memory}不足 (OOM)：单次批量由 {before} 减为 {after}，有效批量不变。",
    "encoding_in_pieces": "编码时{memory}不足 (OOM)：每次由 {before} 张图片减为 {after} 张，其余不变。",
    "validation_in_pieces": "验证时{memory}不足 (OOM)：每次由 {before} 张图片减为 {after} 张，其余不变。",
    "sampling_in_pieces": "采样时{memory}不足 (OOM)：每次由 {before} 张图片减为 {after} 张，其余不变。",
    "decoding_in_pieces": "解码时{memory}不足 (OOM)：每次由 {before} 张图片减为 {after} 张，其余不变。",
    "validation_left_out": "{memory}不足 (OOM)，这次验证已略过：{problem}。训练继续。",
    "grid_left_out": "{memory}不足 (OOM)，这张样本图已略过：{problem}。训练继续。",
    "judgement_left_out": "{memory}不足 (OOM)，这次对样本的评判已略过：{problem}。运行继续。",
    "baselines_left_out": "{memory}不足 (OOM)，健康检查的基线已略过：{problem}。训练继续，但不再评判学到了什么。",
    "checks_left_out": "{memory}不足 (OOM)，一项健康检查已略过：{problem}。训练继续。",
    "noise_scale_left_out": "{memory}不足 (OOM)，不再测量梯度噪声尺度：{problem}。训练继续。",
    "other_batch_from_here": (
        "训练到 {share:percent} 时，梯度噪声尺度为 {value:count} 个样本（{low:count} 到 {high:count}）："
        "若从此改用单次批量 {micro_batch} × 梯度累积 {accumulation}、学习率 {lr:lr}，"
        "达到同样进展所需时间约为现在的 {ratio:ratio}（{ratio_low:ratio} 到 {ratio_high:ratio}）。"
        "这里没有改动任何设置：一次训练的批量保持不变。"
    ),
    "save_failed": "在 {samples:count} 个样本处没能保存检查点：{problem}",
    "tracker_failed": "跟踪工具 {name} 出错，之后不再使用：{problem}。训练继续。",
    "tracker_hangs": "跟踪工具 {name} 在 {patience_s:duration} 内没有结束，不再等它。",
    # ---- 对生成图片的评判
    "sweeping": "正在用 {samples:count} 个样本处的检查点尝试不同的引导强度和采样步数。",
    "judging": "正在评判 {samples:count} 个样本处的检查点。",
    "checkpoint_copies": (
        "{count} 张生成图片中有 {share:percent} 是复制品（最多 {high:percent}；留出图片为 {control:percent}，"
        "允许高出 {allowance:percent}）。"
    ),
    "checkpoint_rising": "第 {bucket}/{buckets} 个噪声段的验证 loss 连续两次上升（p = {p}，界限 {limit}）。",
    "choice_kid": "{count} 个检查点中有 {feasible} 个可用，其中 KID 最低（{value}）；在误差范围内取最早的一个。",
    "choice_classifier": (
        "{count} 个检查点中有 {feasible} 个可用，用它的图片训练的分类器最好（准确率 {value:percent}）；"
        "在误差范围内取最早的一个。"
    ),
    "choice_validation": "{count} 个检查点中有 {feasible} 个可用，其中验证 loss 最低：留出图片太少，算不出 KID。",
    "choice_last": "{count} 个检查点中有 {feasible} 个可用，取最后一个：没有留出图片，无法评判。",
    "choice_none_feasible": (
        "{count} 个检查点都在复制训练图片或已经过拟合；{samples:count} 个样本处复制最少（{share:percent}）。"
    ),
    "stop_infeasible": "{before:count} 和 {samples:count} 个样本处的检查点都在复制或过拟合：继续训练只会更糟。",
    "stop_flat": (
        "从 {before:count} 到 {samples:count} 个样本，验证 loss（变化不到 {limit:percent}）和 KID 都没有改善。"
    ),
    "sampling_advised": (
        "引导强度 {guidance}、采样 {steps} 步：在 KID（{kid}，{count} 张图片）和类别识别率（{recognised:percent}）"
        "都不明显差于最优的前提下，取最小的。"
    ),
    "found_copies": (
        "复制：引导强度 {guidance} 时，{count} 张图片中有 {share:percent} 是复制品（最多 {high:percent}），"
        "留出图片为 {control:percent}；训练到 {samples:count} 个样本，训练图片 {num_train} 张。"
        "请用选定的检查点；若要训练更久，应增加图片、去除重复，或者提前停止。"
    ),
    "found_guidance": (
        "引导强度 {guidance} 过大：KID 为 {kid}（至少 {low}），不用引导时为 {plain}（至多 {plain_high}）；"
        "类内多样性只有真实图片的 {diversity:percent}。请改用 {advised}。"
    ),
    "found_unjudged": (
        "无法判断类别之间能否区分：分类器只能认出 {real:percent} 的留出真实图片（随机猜测为 {chance:percent}），"
        "{count} 张生成图片中认出 {share:percent}。每类需要更多真实图片，或者使用 --features。"
    ),
    "found_alike": (
        "类别之间没有区分开：{count} 张生成图片中只认出 {share:percent}（最多 {high:percent}），"
        "随机猜测为 {chance:percent}，真实图片为 {real:percent}。"
    ),
    "found_partly": (
        "类别之间只区分开一部分：{count} 张生成图片中认出 {share:percent}（{low:percent} 到 {high:percent}），"
        "真实图片为 {real:percent}。"
    ),
    "found_apart": (
        "类别之间区分开了：{count} 张生成图片中认出 {share:percent}（{low:percent} 到 {high:percent}），"
        "真实图片为 {real:percent}，随机猜测为 {chance:percent}。"
    ),
    "found_confused": "最常见的混淆：{asked} 被认作 {judged}，占它的图片的 {share:percent}。",
    "remedy_guidance": "建议：引导强度改为 {guidance}，识别率由 {before:percent} 变为 {share:percent}。",
    "remedy_longer": (
        "建议：训练更久。识别率从 {first:count} 个样本处的 {before:percent} 升到 {samples:count} 个样本处的 "
        "{share:percent}；可以试试 --samples {longer}。"
    ),
    "remedy_unknown": "怎样改善还不知道：cfgadvise evaluate --checkpoint all 会比较各检查点和引导强度。",
    "remedy_condition": (
        "建议：加大引导和延长训练都没有提高识别率。可以增加每类图片、降低 label_dropout，或者换更大的预设。"
    ),
    "found_narrow": (
        "即使不用引导，多样性也不足：同类图片之间的距离只有真实图片的 {diversity:percent}，{narrowest} 最窄。"
        "KID 还在下降就继续训练；否则应增加每类图片。"
    ),
    "found_few_held_out": "只留出了 {count} 张图片，少于 {least} 张算不出 KID。下次训练请提高 held_out_frac。",
}

NOTES: dict[str, str] = {
    "default_run_length": "没有给出训练长度：时间和里程碑按 {epochs} 个 epoch（{samples:count} 个样本）计算。",
    "default_lr": "没有给出学习率：{lr:lr} 是经验值（批量 16 时为 1e-4，按批量的平方根换算），没有经过调参。",
    "epoch_convention": (
        "每个 epoch 的步数向上取整：{steps} 步，最后一步只有 {last_batch} 个样本（满批量为 {effective_batch}）；"
        "若使用 drop_last，则为 {steps_drop_last} 步。"
    ),
    "batch_above_dataset": "有效批量 {effective_batch} 比整个数据集（{num_items} 个样本）还大。",
    "present_does_not_fit": "现有配置在这台设备上无法运行：{message}",
    "not_interleaved": "各配置是逐个计时的（同时放不进一半的{memory}），时钟频率漂移的影响没有抵消。",
    "few_rounds": "每个配置只计时了 {num_rounds} 次，区间就是其中的最小值和最大值。",
    "step_time_rose": (
        "计时的 {num_rounds} 轮中，末轮的单步用时比首轮长 {change:percent}（区间 {low:percent} ~ {high:percent}）："
        "设备是否在降频，或有其他程序开始运行？轮流计时的配置之间仍可比较，但全程用时不准。"
        "请在设备空闲、温度正常时重新测量。"
    ),
    "step_time_fell": (
        "计时的 {num_rounds} 轮中，末轮的单步用时比首轮短 {change:percent}（区间 {low:percent} ~ {high:percent}）："
        "是否有其他程序结束，或时钟频率上升？轮流计时的配置之间仍可比较，但全程用时不准。请重新测量。"
    ),
    "input_stall": (
        "单步 {step_s:duration} 中，取数据至少占 {input_s:duration}（{share:percent}）："
        "可增加数据加载进程并提前读取、缓存解码后的样本，或把数据增强移到设备上。"
        "这部分用时随批量增长，加大批量省不下来。"
    ),
    "no_budget": "不知道可以用多少{memory}；可用 --memory-budget 指定上限。",
    "noise_scale_made_up_data": (
        "没有测量梯度噪声尺度，因此不改变有效批量：这一步用的是随机生成的数据，其噪声不代表你的数据。"
        "recommend --data DIR 会用你的图片测量预设，cfgadvise train 会在训练过程中测量。"
    ),
    "noise_scale_batch_norm": (
        "没有测量梯度噪声尺度，因此不改变有效批量：使用 BatchNorm 时，同一单次批量中的样本彼此不独立。"
    ),
    "noise_scale_one_sample": "没有测量梯度噪声尺度，因此不改变有效批量：只有一个样本的批量无法再拆分比较。",
    "noise_scale_too_slow": (
        "没有测量梯度噪声尺度，因此不改变有效批量：在这台机器上需要 {needed_s:duration}；加上 --noise-scale 仍可测量。"
    ),
    "noise_scale_undetermined": "梯度噪声尺度未能测定，因此不改变有效批量：{message}",
    "noise_scale_failed": "梯度噪声尺度无法测量，因此不改变有效批量：{message}",
    "noise_scale_early": (
        "梯度噪声尺度 {value:count} 个样本来自最初的若干步，此时 loss 还没有降到初始值的一半。"
        "它会随训练增大，因此这里只当作下限。"
    ),
    "noise_scale_untrained": (
        "梯度噪声尺度 {value:count} 个样本是从未经训练的网络的第 {first_step} 步起测得的；"
        "它会随 loss 下降而增大，因此按其上限的两倍以内来考虑。"
    ),
    "from_cache": "测量结果来自缓存，是 {age_s:duration}前在这台机器上测得的；--no-cache 会重新测量。",
    "noise_scale_unmeasured": "没有测量梯度噪声尺度，因此不改变有效批量。",
    "trap_batch_norm": (
        "{count} 层 BatchNorm（第一层：{first}）只统计单次批量：有效批量相同而单次批量不同时，训练效果会不同。"
        "请换成 GroupNorm，或保持单次批量不变。"
    ),
    "trap_sync_batch_norm": (
        "{count} 层 SyncBatchNorm（第一层：{first}）只跨 GPU 合并统计量，不跨梯度累积：单次批量改变后训练效果会不同。"
        "请换成 GroupNorm，或保持单次批量不变。"
    ),
    "trap_running_statistics": (
        "{count} 层（第一层：{first}）带有滑动统计量：每个单次批量更新一次，而不是每个优化器步更新一次，"
        "累积越多遗忘越快。"
        "请按单次批量换算其动量，或保持单次批量不变。"
    ),
    "trap_step_in_backward": (
        "{count} 个参数（第一个：{first}）带有每次反向传播后执行的钩子：其中的优化器或 EMA 按单次批量执行，"
        "而不是按优化器步执行。使用梯度累积时请去掉它。"
    ),
    "search_unfinished": (
        "学习率搜索尚未完成：{num_trials} 次训练中已结束 {ended} 次。"
        "重新执行同一条 refine 命令即可继续；在此之前学习率不变。"
    ),
    "search_of_short_runs": (
        "这个学习率来自全程 {share:percent} 长度的训练：整个训练的最优值可能在 {low:lr} ~ {high:lr} 之间的别处。"
    ),
    "predicted_step": (
        "没有在 {gpu} 上实跑：{memory}和用时由模拟 GPU 上的训练步推算，用时依据该型号上实测过的算子，带 90% 区间。"
        "长时间训练之前，请在装有该显卡的机器上运行同一条命令。"
    ),
    "predicted_step_alike": (
        "没有在 {gpu} 上实跑：{memory}和用时由模拟 GPU 上的训练步推算。该型号没有实测过的算子，用时借助同类显卡估计，"
        "90% 区间较宽。长时间训练之前，请在装有该显卡的机器上运行同一条命令。"
    ),
    "host_bound": (
        "按现有配置，{gpu} 要等主机：主机启动算子的时间约为显卡计算时间的 {ratio:ratio} 倍。"
        "换更快的 CPU、用 torch.compile 或 CUDA graph 会有帮助；加大单次批量几乎不增加用时。"
    ),
    "searched": (
        "安全的最大单次批量（累积 {accumulation} 步）为 {micro_batch}：已在独立进程中连同评估步骤实跑确认。"
        "搜索共用了 {steps} 个优化器步，{memory}耗尽 {ooms} 次。"
    ),
    "searched_in_vain": "用了 {steps} 个优化器步（{memory}耗尽 {ooms} 次），没有找到安全的单次批量：{message}",
    "stopped_memory": "单次批量再大，就会超出可用的 {budget_bytes:bytes}。",
    "stopped_max_batch": "受 --max-batch 限制，没有尝试更大的单次批量。",
    "stopped_dataset_size": "数据集里没有更多样本，因此没有尝试更大的单次批量。",
    "stopped_out_of_memory": "更大的单次批量按推算放得下，实跑时{memory}却耗尽了：{message}",
    "stopped_size_limit": "更大的单次批量受限于设备对张量大小的限制，而不是{memory}：{message}",
    "stopped_failure": "更大的单次批量无法运行：{message}",
    "stopped_time": "更大的单次批量也许放得下，但实跑需要好几分钟。",
    "stopped_steps": "更大的单次批量也许放得下，但搜索已用完允许的步数。",
    "retrying": "单次批量不超过 {retrying} 时应当还能跑，但显存分配器会不断回收，速度很慢。",
    "others_changed": (
        "搜索期间，其他进程在这台设备上占用或释放了 {num_bytes:bytes}：现在空闲的{memory}以后未必空闲。"
    ),
    "not_searched": "没有搜索单次批量最大能到多少：在 CPU 上需要几分钟甚至更久；给出 --memory-budget 即可搜索。",
    "predicted_only": (
        "没有在 {gpu} 上实跑：{memory}由模拟 GPU 上的训练步推算得出，用时未知。"
        "长时间训练之前，请在装有该显卡的机器上运行同一条命令。"
    ),
    "largest_safe": (
        "整个误差区间都放得进 {gpu} 的最大单次批量为 {micro_batch}：{peak_bytes:bytes}，最多 {high_bytes:bytes}。"
    ),
    "bf16_emulated": (
        "{gpu}（计算能力 {cc}）不支持 bfloat16 运算：PyTorch 只能模拟，比 float32 还慢。"
        "请改用 float16 加 loss scaling：--precision fp16。"
    ),
    "fp16_without_tensor_cores": "{gpu}（计算能力 {cc}）没有 Tensor Core：float16 能省{memory}，但训练几乎不会变快。",
    "largest_running": (
        "不计误差区间，单次批量 {micro_batch} 仍能全速运行；{retrying} 勉强能运行，但显存分配器会不断回收，速度很慢。"
    ),
    "kernels_of_cpu": "当前的 PyTorch 不能模拟 GPU：训练步是在 CPU 上跟踪的，其算子占用不同，因此区间更宽。",
    "evaluation_not_traced": "预估中不包括评估步骤：{message}",
    "quadratic_memory": "样本之间要两两比较，{memory}随批量的平方增长：增加累积步数比通常更省。",
    "loss_baseline": (
        "在第 {step:count} 步（{samples:count} 个样本）记下训练 loss 和验证 loss："
        "以后都与它们比较，而不是与某个固定的数比较。"
    ),
    "plateau": (
        "每 {every_steps:count} 步（全程的 {share:percent}）用相同的样本和噪声比较验证 loss："
        "连续两次变化小于 {tolerance:percent} 就是进入平台期，可以降低学习率或者停止。"
    ),
    "overfitting": "若训练 loss 下降而验证 loss 连续两个检查点（每 {every_steps:count} 步）上升，改用上升前的检查点。",
    "oscillation": (
        "判断震荡要看每 {block_steps} 步的平均值：其方差大于“单步方差 / {block_steps}”的 {factor:g} 倍才算震荡。"
    ),
    "step_time": (
        "单步时间 {median_s:duration}（上界 {high_s:duration}）："
        "若 {block_steps} 步的平均值超过上界，说明有其他负载、降频，或者磁盘太慢。"
    ),
    "memory": "{memory}峰值为 {peak_bytes:bytes}，上限是 {budget_bytes:bytes}。",
    "clipping": (
        "统计梯度被裁剪（范数大于 {clip_norm:g}）的步数：超过 {share:percent} 时学习率规则不再成立，应先降低学习率。"
    ),
    "look": "在每个里程碑查看生成样本，与上一个里程碑的并排比较。",
}

# id -> (message, fix)
CHECKS: dict[str, tuple[str, str | None]] = {
    "TORCH": ("没有安装 PyTorch：无法测量，也无法训练。", "{install}"),
    "NVML-LIBRARY": (
        "PyTorch 是 CUDA {torch_cuda} 版本，但没有找到 NVIDIA 驱动：只能在 CPU 上训练。",
        "安装 NVIDIA 驱动并重启；在容器里请用 --gpus all 启动",
    ),
    "NVML-DRIVER": ("NVIDIA 驱动已安装，但没有加载：所有 GPU 都不能用。", "sudo modprobe nvidia    # 若失败，请重启"),
    "NVML-MISMATCH": ("NVIDIA 驱动更新过，但内核里还是旧版本：重启之前所有 GPU 都不能用。", "sudo reboot"),
    "NVML-FAILED": (
        "NVIDIA 管理库没有响应（{reason}）：GPU 的显存和功耗未知。",
        "nvidia-smi    # 查看驱动自己的报错",
    ),
    "BINDING": (
        "已弃用的 pynvml 包遮挡了 nvidia-ml-py：读不到 GPU 信息。",
        "pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py",
    ),
    "BINDING-OLD": (
        "已弃用的 pynvml 包与 nvidia-ml-py 同时存在，PyTorch 会因此发出警告。",
        "pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py",
    ),
    "CPU-WHEEL": ("这个 PyTorch（{torch}）不带 CUDA：GPU 闲置，训练在 CPU 上进行。", "{install}"),
    "DRIVER": ("驱动最高支持 CUDA {driver_cuda}，而这个 PyTorch 需要 {torch_cuda}：GPU 不能用。", "{install}"),
    "DRIVER-OLD": (
        "驱动只支持 CUDA {driver_cuda}，对现在的 PyTorch 来说太旧：GPU 不能用。",
        "sudo apt install nvidia-driver-580 && sudo reboot    # Ubuntu；其他系统请从 NVIDIA 网站安装 580 分支",
    ),
    "ARCH": ("这个 PyTorch（{torch}）没有计算能力 {cc} 的内核：第一个运算就会失败。", "{install}"),
    "ARCH-NONE": (
        "现在的 PyTorch 都没有计算能力 {cc} 的内核：这块 GPU 不能训练。",
        "cfgadvise recommend --device cpu",
    ),
    "ARCH-LAST": (
        "计算能力 {cc} 在这个 PyTorch 上可用；支持它的最后一个版本是 CUDA 12.6 的 2.14。",
        'pip install "torch<2.15" --index-url https://download.pytorch.org/whl/cu126',
    ),
    "ARCH-UNKNOWN": (
        "没有查到 PyTorch 带有哪些内核（{reason}）：不能确定它能否在这块 GPU 上运行。",
        'python -c "import torch; print(torch.cuda.get_arch_list())"',
    ),
    "LOST": (
        "{name} 已从总线掉线（{reason}）：重启之前没有任何响应。",
        "sudo reboot    # 恢复后请检查供电线、温度，以及 `dmesg | grep Xid`",
    ),
    "NO-PERMISSION": (
        "当前账户没有使用 {name} 的权限。",
        "sudo usermod -aG video,render $USER    # 然后重新登录；在容器里请把设备传进去",
    ),
    "MEMORY-UNKNOWN": (
        "读不到空闲显存（{reason}）：最大批量只能小心地试出来。",
        "cfgadvise recommend --memory-budget 8GiB    # 填你确知空闲的大小",
    ),
    "DISPLAY": (
        "这块 GPU 同时在显示桌面：桌面占用显存，使用时还会更多。",
        "sudo systemctl isolate multi-user.target    # 关闭桌面；`graphical.target` 可恢复",
    ),
    "DISPLAY-WINDOWS": (
        "Windows 用这块 GPU 显示桌面：桌面占用显存，使用时还会更多。",
        "把显示器接到处理器的核显上，或者训练时关闭浏览器和游戏",
    ),
    "OTHERS": (
        "其他进程占用了这块 GPU 的 {used} 显存（{percent}%）：{processes}。",
        "ps -fp {pids}    # 查看是谁的进程；结束它们，或者用 --device 换一块 GPU",
    ),
    "OTHERS-UNNAMED": (
        "其他进程占用了这块 GPU 的 {used} 显存（{percent}%）。",
        "nvidia-smi    # 查看是哪些进程；结束它们，或者用 --device 换一块 GPU",
    ),
    "OTHERS-OUTSIDE": (
        "容器之外的进程占用了这块 GPU 的 {used} 显存（{percent}%），在容器里看不到是谁。",
        "nvidia-smi    # 在宿主机上查看；也可以用 --device 换一块 GPU",
    ),
    "THROTTLE-POWER": (
        "GPU 因功耗上限而降频：{limit_w} W，默认 {default_w} W（{percent}%）。",
        "sudo nvidia-smi -i {nvml_index} -pl {default_w}",
    ),
    "POWER-FULL": ("GPU 正工作在默认功耗上限 {limit_w} W：满负荷时这很正常。", None),
    "THROTTLE-HEAT": (
        "GPU 过热（{temperature_c} °C），正在降频：每一步都会变慢。",
        "清理风扇、保持风道畅通；或者降低发热：sudo nvidia-smi -i {nvml_index} -pl {lower_w}",
    ),
    "THROTTLE-HOT": (
        "GPU 过热，正在降频：每一步都会变慢。",
        "清理风扇、保持风道畅通；笔记本电脑请放在硬而平的桌面上",
    ),
    "THROTTLE-HARDWARE": (
        "显卡硬件在强制降频（供电或硬件保护）：每一步都会变慢。",
        "检查 GPU 供电线和电源；nvidia-smi -i {nvml_index} -q -d PERFORMANCE",
    ),
    "POWERCAP": (
        "功耗上限为 {limit_w} W，默认 {default_w} W（{percent}%）：满负荷时会变慢。",
        "sudo nvidia-smi -i {nvml_index} -pl {default_w}",
    ),
    "CLOCK": (
        "负载下 GPU 频率只有 {clock_mhz} MHz，最高 {max_mhz} MHz。",
        "sudo nvidia-smi -i {nvml_index} -rgc    # 若设过频率限制，可用它解除",
    ),
    "PCIE": (
        "PCIe 链路为 x{width}，最大 x{max_width}：向 GPU 拷贝的速度只有 {percent}%。潜变量缓存到 GPU 之后不受影响。",
        "把显卡换到全长插槽，或者重新插好显卡和转接线",
    ),
    "PCIE-GEN": (
        "负载下 PCIe 为第 {generation} 代，最高第 {max_generation} 代：拷贝较慢。潜变量缓存到 GPU 之后不受影响。",
        "在主板固件里把该插槽的 PCIe 速度设为 auto；转接线也可能限速",
    ),
    "MIG": (
        "这是一个 {total} 的 MIG 切片：显存独占，但无法测量能耗。",
        "CUDA_VISIBLE_DEVICES={uuid}    # 写在命令前面，选择这个切片",
    ),
    "MIG-EMPTY": (
        "MIG 已开启，但没有任何切片：CUDA 找不到可用设备。",
        "sudo nvidia-smi -i {nvml_index} -mig 0    # 恢复整卡；或用 `nvidia-smi mig -cgi` 创建切片",
    ),
    "ECC": (
        "上次重启以来有 {count} 个无法纠正的显存错误：结果可能有误。",
        "sudo reboot    # 若再次出现：nvidia-smi -i {nvml_index} -q -d ECC,ROW_REMAPPER，并更换显卡",
    ),
    "SYSMEM": (
        "在 Windows 和 WSL 上，驱动会借用系统内存而不报错：批量过大时不会停下，而是慢很多倍。",
        "NVIDIA 控制面板 > 管理 3D 设置 > CUDA - 系统内存回退策略 > 偏好无系统内存回退",
    ),
    "BF16": (
        "没有快速的 bfloat16（计算能力 {cc}）：请用 float16 加 loss scaling。",
        'with torch.autocast("cuda", torch.float16): ...    # 反向传播配合 torch.amp.GradScaler()',
    ),
    "BF16-FP32": (
        "没有 Tensor Core（计算能力 {cc}）：bfloat16 和 float16 都不会明显加快训练。",
        "cfgadvise recommend --precision fp32",
    ),
    "COMPUTE-PROHIBITED": (
        "GPU 的计算模式为 prohibited：任何程序都不能在它上面计算。",
        "sudo nvidia-smi -i {nvml_index} -c DEFAULT",
    ),
    "COMPUTE-EXCLUSIVE": (
        "GPU 的计算模式为 exclusive_process：正在运行的进程独占它，其他进程无法使用。",
        "sudo nvidia-smi -i {nvml_index} -c DEFAULT",
    ),
    "HIDDEN": (
        "CUDA_VISIBLE_DEVICES 把 {name} 排除在训练之外。",
        "CUDA_VISIBLE_DEVICES={uuid}    # 写在命令前面，选择它",
    ),
    "ORDER": (
        "CUDA 按速度给显卡编号，nvidia-smi 按插槽编号；{cards} 各是哪一块只是推测。",
        "export CUDA_DEVICE_ORDER=PCI_BUS_ID    # 让两种编号一致",
    ),
    "SHM": (
        "/dev/shm 只有 {free}：多进程读数据时会因总线错误 (bus error) 而失败。",  # noqa: S108
        "docker run --shm-size=8g ...    # 或者 --ipc=host",
    ),
    "DISK": (
        "当前目录所在磁盘只剩 {free}：可能放不下检查点。",
        "清理磁盘，或者写到别处：cfgadvise train --out /path/with/space",
    ),
    "CORES": (
        "只能使用一个 CPU 核：读数据和启动内核要共用它。",
        "在容器里请放宽限制：docker run --cpus 4 ...",
    ),
}
