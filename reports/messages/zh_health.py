"""训练健康检查的中文句子，按 id 排列，见 trainer.health.alarms。"""

ALARMS: dict[str, str] = {
    "data_non_finite": (
        "{n} 张编码后的图片中有 {statistic} 张含 NaN 或无穷大（允许 {threshold} 张：{names}）：无法用来训练。"
        "请修复或删除这些文件，或者换一个 VAE。"
    ),
    "data_scale": (
        "数据的取值范围与噪声不匹配：均方根为 {statistic:.3g}，最大应为 {threshold:.3g}（n = {n} 张图片）。"
        "请检查像素的取值范围，或者 VAE 的缩放系数。"
    ),
    "labels_unrelated": (
        "类别与图片看起来没有关系：类间方差是类内方差的 {statistic:.2f} 倍，随机打乱的类别也能达到"
        "（{threshold:.2f}，n = {n} 张图片）。"
        "请检查每个类别文件夹里是不是它自己的图片。"
    ),
    "copies_expected": (
        "预计会出现复制品：{n} 张图片每张要看 {statistic:.0f} 次，"
        "而小规模实验在看到 {threshold:.0f} 次之前就开始过拟合。"
        "请增加图片；从 {from_samples:count} 个样本起要留意复制品。"
    ),
    "order_stuck": (
        "数据顺序卡住了：有一张图片出现了 {statistic} 次，每个 epoch 重新打乱时最多 {threshold} 次"
        "（n = {n} 次抽取）。"
        "请停止训练：这样只会看到一部分图片。"
    ),
    "order_repeats": (
        "每个 epoch 的数据顺序都一样：相邻两个 epoch 的秩相关为 {statistic:.1f} 个标准差，"
        "阈值 {threshold:.1f}（n = {n} 张图片）。"
        "请检查打乱顺序用的随机种子。"
    ),
    "bucket_untrained": (
        "第 {bucket} 个噪声区间（共 8 个）没有得到训练：它的训练 loss 只有按误差和权重推算的 {statistic:.3f}，"
        "低于 {threshold:.2f}（n = {n} 个样本）。请检查 loss 的权重。"
    ),
    "non_finite_step": (
        "在 {samples:count} 个样本处有 {statistic} 步的 loss 或梯度范数不是有限值，允许 {threshold} 步"
        "（检查了 n = {n} 步）；"
        "这一步的图片：{names}。权重没有被改动；请降低学习率，或者查看这些图片。"
    ),
    "gradient_spikes": (
        "梯度尖峰：最近 {n} 步中有 {statistic} 步比中位数高出 6 个稳健标准差以上，允许 {threshold} 步。"
        "请降低学习率，或者找出混进来的异常图片。"
    ),
    "clipped_often": (
        "最近 {n} 步中有 {statistic:percent} 的梯度被裁剪，超过 {threshold:percent}：学习率规则不再成立。"
        "请降低学习率，或者调大 clip_norm。"
    ),
    "loss_oscillates": (
        "loss 在震荡：各段均值上下摆动 {statistic:percent}，超过 {threshold:percent}；"
        "其方差是抽样本身所能解释的 {factor:.1f} 倍（n = {n} 段）。"
        "请把学习率减半，或者加长权重平均的半衰期。"
    ),
    "lr_too_high": (
        "没有学到东西，权重却已远离初始值（移动了自身长度的 {moved:.2f} 倍）：照这个速度，"
        "最终误差不低于 {statistic:.3f}，"
        "而最好的线性去噪器是 {threshold:.3f}（n = {n} 组）。请用十分之一的学习率重新开始：--set lr={lr:lr}。"
    ),
    "lr_too_low": (
        "学得太慢，权重几乎没有动（移动了自身长度的 {moved:.2f} 倍）：照这个速度，最终误差不低于 {statistic:.3f}，"
        "而最好的线性去噪器是 {threshold:.3f}（n = {n} 组）。请用十倍的学习率重新开始：--set lr={lr:lr}。"
    ),
    "ema_stuck": (
        "权重平均没有跟上权重：自上次验证以来只走了权重所走路程的 {statistic:.3f}，按半衰期至少应为 {threshold:.3f}"
        "（n = {n} 个权重）。这次训练的样本和导出的模型都不是训练所得。"
    ),
    "label_ignored": (
        "类别没有起作用：给出类别时误差只低 {statistic:.1f} 个标准误差，不到 {threshold:.1f}"
        "（n = {n} 组；可以排除 {limit:percent} 以上的改进）。请检查类别，并调小 label_dropout。"
    ),
    "overfit": (
        "开始过拟合：留出图片的误差连续两次上升，在第 {bucket} 个噪声区间（共 8 个）升高 {statistic:.1f} 个标准误差，"
        "阈值 {threshold:.1f}（n = {n} 组）。请选用 {best_samples:count} 个样本之前的检查点；增加图片，或者停止训练。"
    ),
    "plateau_reached": (
        "验证误差停滞不前：在全程的五分之一内变化不超过 {statistic:percent}，低于 {threshold:percent}（n = {n} 组）。"
        "请让学习率衰减，或者就此停止。"
    ),
    "samples_overdriven": (
        "生成的样本过饱和：取值的离散程度是真实图片的 {statistic:.2f} 倍，超过 {threshold:.2f}"
        "（n = {n} 个样本，引导强度 {guidance:g}）。请调低引导强度。"
    ),
    "step_slower": (
        "训练变慢了：单步时间是开始时的 {statistic:.2f} 倍，连续 {n} 行日志无一例外；阈值 {threshold:.2f}。"
        "请检查其他程序、温度和磁盘：cfgadvise probe。"
    ),
    "memory_grows": (
        "{memory}占用一直在增长：照这个速度，训练结束时需要 {statistic:bytes}，而总共只有 {threshold:bytes}"
        "（n = {n} 行日志）。中断后再运行同一条命令即可释放并继续。"
    ),
    "throttled": (
        "显卡自行降频（{reasons}），占 {statistic:percent} 的时间，超过 {threshold:percent}（n = {n} 行日志）。"
        "请清理风扇，或者调低功耗上限：cfgadvise probe。"
    ),
    "stop_plateau": (
        "提前停止：学习率已在衰减，而验证误差在全程的五分之一内变化不超过 {limit:percent}（n = {n} 组）。"
    ),
    "stop_overfit": "提前停止：高噪声区间的验证误差连续两次上升，继续训练只会更差。",
}
