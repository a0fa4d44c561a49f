"""Why a value of a card could not be read, in words, by the reason that the probe gives."""

from collections.abc import Mapping

READING_REASONS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "not_supported": "not supported",
        "no_permission": "no permission",
        "missing_function": "unknown to this driver",
        "not_found": "not found",
        "lost": "lost",
        "reset_required": "needs a reset",
        "uninitialized": "the driver was reloaded",
        "driver_not_loaded": "the driver is not loaded",
        "driver_mismatch": "the driver was updated",
        "no_library": "no driver",
        "no_nvml": "not an NVIDIA card",
        "not_text": "not readable as text",
        "implausible": "an impossible value",
        "timeout": "no answer in time",
        "operating_system": "refused by the operating system",
        "version_mismatch": "another version of the driver",
        "torch_failed": "PyTorch failed",
        "not_a_cuda_build": "PyTorch is built without CUDA",
        "not_usable": "the device cannot be used",
        "failed": "failed",
    },
    "zh": {
        "not_supported": "不支持",
        "no_permission": "没有权限",
        "missing_function": "驱动太旧",
        "not_found": "没有找到",
        "lost": "失联",
        "reset_required": "需要重置",
        "uninitialized": "驱动被重新加载",
        "driver_not_loaded": "驱动没有加载",
        "driver_mismatch": "驱动刚更新过",
        "no_library": "没有驱动",
        "no_nvml": "不是 NVIDIA 显卡",
        "not_text": "不是可读的文本",
        "implausible": "数值不合理",
        "timeout": "超时",
        "operating_system": "被操作系统拒绝",
        "version_mismatch": "驱动版本不符",
        "torch_failed": "PyTorch 出错",
        "not_a_cuda_build": "PyTorch 不带 CUDA",
        "not_usable": "设备不可用",
        "failed": "失败",
    },
}


def reason_in_words(reason: str, lang: str) -> str:
    """The reason as people say it; one that is not in the list, such as ``error_999``, as it is."""
    return READING_REASONS[lang].get(reason, reason.replace("_", " "))
