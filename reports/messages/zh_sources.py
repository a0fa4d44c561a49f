"""数据来源的中文说法：记录里的来源是英文，按样式逐条改写；没有列出的来源原样显示。"""

import re

SOURCES: dict[str, str] = {
    r"given": "用户给出",
    r"preset (\S+)": r"预设 \1",
    r"assumed: (\d+) epochs": r"假定 \1 个 epoch",
    r"(?:about )?(\d+) epochs.*": r"默认约 \1 个 epoch",
    r"given by the user": "用户给出",
    r"given / batch": "用户给出的样本数 / 批量",
    r"the workload's optimizer and EMA": "读自训练步骤的优化器和 EMA",
    r"not given, and not readable from the workload": "没有给出，也无法从训练步骤读出",
    r"step traced on a simulated GPU, caching allocator replayed": "在模拟 GPU 上追踪训练步，重放显存分配器",
    r"the card is not here: no step was timed": "本机没有这块显卡，没有计时",
    r"no step was timed": "没有计时",
    r"not measured": "没有测量",
    r"not predictable from the time of a step": "无法由单步时间推算",
    r"steps x measured time of a step": "步数 × 实测单步时间",
    r"steps x mean time of a step \+ what comes between them; 80 % band": (
        "步数 × 单步平均时间 + 训练步之间的其他工作；80% 区间"
    ),
    r"first step - mean of the others": "第一步 − 其余各步的平均",
    r"(\S+) s for (\S+) of (\S+) parts, timed once; 80 % band": r"\3 份中的 \2 份实测 \1 秒，只计时一次；80% 区间",
    r"mean of (\d+) timed steps(?:; 80 % band)?": r"\1 步的平均；80% 区间",
    r"mean of (\d+) timings(?:; 80 % band)?": r"\1 次计时的平均；80% 区间",
    r"samples of the run / time of the run": "总样本数 / 总用时",
    r"steps x predicted time of a step": "步数 × 预测单步时间",
    r"(\d+) steps x predicted time of a step, without evaluation, sampling and checkpoints": (
        r"\1 步 × 预测单步时间，不含评估、采样和检查点"
    ),
    r"effective batch / predicted time of a step": "有效批量 / 预测单步时间",
    r"operators of the simulated step on a roofline fitted to kernels measured on a (.+?); 90 % interval": (
        r"模拟训练步的各算子，按 \1 上实测算子拟合的 roofline 计时；90% 区间"
    ),
    r"operators of the simulated step on a roofline fitted to kernels measured on (\d+) other cards, none on a (.+?);"
    r" 90 % interval": r"模拟训练步的各算子，按另外 \1 种显卡实测算子拟合的 roofline 计时（没有 \2 的数据）；90% 区间",
    r"predicted step-time ratio x bounds over every gradient noise scale \((.+)\)": (
        r"预测单步时间之比 × 任意梯度噪声尺度下的界 (\1)"
    ),
    r"2 % of a session": "会话的 2%",
    r"--price-per-hour": "--price-per-hour",
    r"--session": "--session",
    r"time of the run x price per hour": "总用时 × 每小时价格",
    r"samples a second x (\S+) s, down to a checkpoint every (\d+) samples": (
        r"每秒样本数 × \1 秒，退到最近的检查点（每 \2 个样本一个）"
    ),
    r"samples of the run / samples of a session": "总样本数 / 每次会话的样本数",
    r"effective batch / measured time of (\d+) steps": r"有效批量 / \1 步的实测时间",
    r"median of (\d+) steps with its interval": r"\1 步的中位数及其区间",
    r"effective batch / median of (\d+) timings": r"有效批量 / \1 次计时的中位数",
    r"median of (\d+) timings with its interval": r"\1 次计时的中位数及其区间",
    r"peak of (\d+) steps": r"\1 步中的峰值",
    r"peak memory / memory that may be used": "峰值 / 可用上限",
    r"median of (\d+) paired (?:step times|timings); the same effective batch makes the same progress": (
        r"\1 对单步时间之比的中位数；有效批量相同，进度也相同"
    ),
    r"step-time ratio x bounds over every gradient noise scale \((.+)\)": (
        r"单步时间之比 × 任意梯度噪声尺度下的界 (\1)"
    ),
    r"step-time ratio x measured gradient noise scale \((.+)\)": r"单步时间之比 × 实测梯度噪声尺度 (\1)",
    r"1 / \(1 \+ batch / measured gradient noise scale\) \((.+)\)": r"1 / (1 + 批量 / 实测梯度噪声尺度) (\1)",
    r"square-root rule, interval kappa\^0\.25 to kappa\^0\.75 \((.+)\)": (
        r"平方根规则，区间 kappa^0.25 ~ kappa^0.75 (\1)"
    ),
    r"square-root rule damped by the noise scale, interval kappa\^0\.25 to kappa\^0\.75 \((.+)\)": (
        r"按噪声尺度减弱的平方根规则，区间 kappa^0.25 ~ kappa^0.75 (\1)"
    ),
    r"half-life in samples kept: beta2\^kappa \((.+)\)": r"以样本计的半衰期不变：beta2^kappa (\1)",
    r"half-life in samples kept: decay\^kappa \((.+)\)": r"以样本计的半衰期不变：decay^kappa (\1)",
    r"half-life of 5 % of the run \((.+)\)": r"半衰期为全程的 5% (\1)",
    r"samples kept, but at least (\d+) steps, at most (\d+) times the samples": (
        r"样本数不变，但至少 \1 步，且不超过原样本数的 \2 倍"
    ),
    r"2 / \(1 - beta2\) steps, at most 5 % of the run \((.+)\)": r"2 / (1 - beta2) 步，最多为全程的 5% (\1)",
    r"1e-4 at batch 16, square root": "批量 16 时为 1e-4，按平方根换算",
    r"support vector machine \(RBF kernel, C = (\S+)\) on (\d+) principal components of the pixels": (
        r"支持向量机（RBF 核，C = \1，像素的 \2 个主成分）"
    ),
    r"linear discriminants \(shrunk covariance\) on (\d+) principal components of the pixels": (
        r"线性判别（收缩协方差，像素的 \1 个主成分）"
    ),
    r"support vector machine \(RBF kernel, C = (\S+)\) on a local network's features": (
        r"支持向量机（RBF 核，C = \1，本地网络的特征）"
    ),
    r"linear discriminants \(shrunk covariance\) on a local network's features": (
        "线性判别（收缩协方差，本地网络的特征）"
    ),
    r"(\d+) of (\d+), Wilson 95 % interval": r"\2 个中有 \1 个，Wilson 95% 区间",
    r"(\d+) items, 95 % interval from (\d+) half-samples": r"\1 个样本，由 \2 次半抽样得到 95% 区间",
    r"(\d+) items won, (\d+) lost of (\d+), paired 95 % interval": (
        r"\3 个样本中多对 \1 个、少对 \2 个，成对 95% 区间"
    ),
    r"nothing to count": "没有可以计数的样本",
    r"too few held-out items": "留出样本太少",
    r"fewer than four items a class": "每类不足四个样本",
    r"not evaluated": "没有评估",
    r"grid with factor (\S+)": r"按 \1 倍一档",
    r"samples of the run / items": "总样本数 / 数据集大小",
    r"time to memorize grows in proportion to the number of items \((.+)\); epochs of runs on (\d+) to (\d+) small"
    r" pictures": r"记住样本所需的时间与数据集大小成正比 (\1)；epoch 数来自 \2 ~ \3 张小图上的训练",
    r"search (\S+): (\d+) trainings of (\S+) % of the run, best of (\d+) on (\d+) fresh seeds": (
        r"搜索 \1：\2 次训练，各为全程的 \3%，\4 个候选在 \5 个新种子上比较，取最好"
    ),
    r"search (\S+): (\d+) trainings of (\S+) % of the run, best of (\d+) on (\d+) fresh seeds,"
    r" validation loss (\S+) % below the start's": (
        r"搜索 \1：\2 次训练，各为全程的 \3%，\4 个候选在 \5 个新种子上比较，取最好，验证 loss 比起点低 \6%"
    ),
}


_WHOLE_RUN = re.compile(
    r"(\d+) steps x (mean|median) of (\d+) (timed steps|timings)(?: \+ ([^;]+))?(?:; without ([^;]+))?(; 80 % band)?"
)
# 训练步之外的工作，英文名见 advisor.recommend.duration。
WORK: dict[str, str] = {
    "longer first step": "第一步多用的时间",
    "evaluation (taken to come every 5 % of the run)": "评估（假定每 5% 一次）",
    "validation": "验证",
    "sample grid": "样本图",
    "pictures to judge at a milestone": "里程碑处供评判的图片",
    "checkpoint": "检查点",
    "pictures to judge at the end": "结束时供评判的图片",
    "judging the pictures": "评判本身",
    "decoding by the VAE": "VAE 解码",
}


def source_in_chinese(source: str) -> str:
    """来源的中文说法；没有列出的原样返回。"""
    whole = _WHOLE_RUN.fullmatch(source)
    if whole:
        return _whole_run(*whole.groups())
    for pattern, template in SOURCES.items():
        match = re.fullmatch(pattern, source)
        if match:
            return match.expand(template)
    return source


def _whole_run(
    steps: str, kind: str, timed: str, unit: str, parts: str | None, without: str | None, band: str | None
) -> str:
    timings = f"{timed} 步" if unit == "timed steps" else f"{timed} 次计时"
    said = f"{steps} 步 × {timings}的{'平均' if kind == 'mean' else '中位数'}"
    if parts:
        said += f" + {_work(parts)}"
    if without:
        said += f"；不含{_work(without)}"
    return said + ("；80% 区间" if band else "")


def _work(listed: str) -> str:
    """一串工作，每项前可以有次数。"""
    pairs = (re.fullmatch(r"(?:(\d+) x )?(.*)", part) for part in listed.split(", "))
    named = ((match[1], WORK.get(match[2], match[2])) for match in pairs if match)
    return "、".join(f"{times} × {name}" if times else name for times, name in named)
