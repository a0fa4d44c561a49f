"""The English sentences of the checks by identity: what is wrong, what it costs, and what mends it.

Another language needs only the ``id`` and ``values`` of a :class:`advisor.records.Check` to say it
anew. A fix is a line to paste wherever there is one; words after ``#`` are a comment to it.
"""

from advisor.records import Severity, record


@record
class CheckText:
    """The sentences of one check, with places for its values."""

    severity: Severity
    message: str
    fix: str | None = None


CATALOGUE: dict[str, CheckText] = {
    "TORCH": CheckText(
        severity="blocker",
        message="PyTorch is not installed: nothing can be measured or trained.",
        fix="{install}",
    ),
    "NVML-LIBRARY": CheckText(
        severity="warning",
        message="PyTorch is built for CUDA {torch_cuda}, but no NVIDIA driver was found: training runs on the CPU.",
        fix="Install the NVIDIA driver and reboot; in a container, start it with --gpus all",
    ),
    "NVML-DRIVER": CheckText(
        severity="blocker",
        message="The NVIDIA driver is installed but not loaded: no GPU can be used.",
        fix="sudo modprobe nvidia    # if that fails, reboot",
    ),
    "NVML-MISMATCH": CheckText(
        severity="blocker",
        message="The NVIDIA driver was updated but the old one is still loaded: no GPU can be used until a reboot.",
        fix="sudo reboot",
    ),
    "NVML-FAILED": CheckText(
        severity="warning",
        message="NVIDIA's management library does not answer ({reason}): memory and power of the GPUs are unknown.",
        fix="nvidia-smi    # shows the driver's own message",
    ),
    "BINDING": CheckText(
        severity="blocker",
        message="The deprecated package 'pynvml' hides 'nvidia-ml-py': the GPUs cannot be read.",
        fix="pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py",
    ),
    "BINDING-OLD": CheckText(
        severity="info",
        message="The deprecated package 'pynvml' is installed beside 'nvidia-ml-py'; PyTorch warns about it.",
        fix="pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py",
    ),
    "CPU-WHEEL": CheckText(
        severity="blocker",
        message="This PyTorch ({torch}) is built without CUDA: the GPU stays idle and training runs on the CPU.",
        fix="{install}",
    ),
    "DRIVER": CheckText(
        severity="blocker",
        message="The driver speaks CUDA {driver_cuda}, this PyTorch needs {torch_cuda}: the GPU cannot be used.",
        fix="{install}",
    ),
    "DRIVER-OLD": CheckText(
        severity="blocker",
        message="The driver speaks only CUDA {driver_cuda}, too old for any current PyTorch: the GPU cannot be used.",
        fix="sudo apt install nvidia-driver-580 && sudo reboot    # Ubuntu; elsewhere, branch 580 from NVIDIA's site",
    ),
    "ARCH": CheckText(
        severity="blocker",
        message="This PyTorch ({torch}) has no kernels for compute capability {cc}: the first operation fails.",
        fix="{install}",
    ),
    "ARCH-NONE": CheckText(
        severity="blocker",
        message="No current PyTorch has kernels for compute capability {cc}: this GPU cannot train.",
        fix="cfgadvise recommend --device cpu",
    ),
    "ARCH-LAST": CheckText(
        severity="info",
        message="Compute capability {cc} works with this PyTorch; 2.14 for CUDA 12.6 is the last release for it.",
        fix='pip install "torch<2.15" --index-url https://download.pytorch.org/whl/cu126',
    ),
    "ARCH-UNKNOWN": CheckText(
        severity="warning",
        message="PyTorch could not be asked for its kernels ({reason}): whether it runs on this GPU is unknown.",
        fix='python -c "import torch; print(torch.cuda.get_arch_list())"',
    ),
    "LOST": CheckText(
        severity="blocker",
        message="{name} has fallen off the bus ({reason}): it answers nothing until the machine restarts.",
        fix="sudo reboot    # if it comes back: check its power cable, temperature and `dmesg | grep Xid`",
    ),
    "NO-PERMISSION": CheckText(
        severity="blocker",
        message="{name} may not be used by this account (no permission).",
        fix="sudo usermod -aG video,render $USER    # then log in again; in a container, pass the device in",
    ),
    "MEMORY-UNKNOWN": CheckText(
        severity="warning",
        message="The free memory cannot be read ({reason}): the largest batch has to be found by careful trial.",
        fix="cfgadvise recommend --memory-budget 8GiB    # what you know to be free",
    ),
    "DISPLAY": CheckText(
        severity="warning",
        message="A desktop is drawn on this GPU: it holds memory, and takes more while you use it.",
        fix="sudo systemctl isolate multi-user.target    # ends the desktop; `graphical.target` brings it back",
    ),
    "DISPLAY-WINDOWS": CheckText(
        severity="warning",
        message="Windows draws its desktop on this GPU: it holds memory, and takes more while you use it.",
        fix="Connect the screen to the processor's own graphics, or close browsers and games while training",
    ),
    "OTHERS": CheckText(
        severity="warning",
        message="Other processes hold {used} ({percent} %) of this GPU's memory: {processes}.",
        fix="ps -fp {pids}    # shows whose they are; end them, or choose another GPU with --device",
    ),
    "OTHERS-UNNAMED": CheckText(
        severity="warning",
        message="Other processes hold {used} ({percent} %) of this GPU's memory.",
        fix="nvidia-smi    # names them; end them, or choose another GPU with --device",
    ),
    "OTHERS-OUTSIDE": CheckText(
        severity="warning",
        message="Processes that this container cannot name hold {used} ({percent} %) of this GPU's memory.",
        fix="nvidia-smi    # on the host, names them; or choose another GPU with --device",
    ),
    "THROTTLE-POWER": CheckText(
        severity="warning",
        message="The GPU is slowed down by its power limit: {limit_w} W of {default_w} W by default ({percent} %).",
        fix="sudo nvidia-smi -i {nvml_index} -pl {default_w}",
    ),
    "POWER-FULL": CheckText(
        severity="info",
        message="The GPU works at its default power limit of {limit_w} W, as a well-used one does under load.",
    ),
    "THROTTLE-HEAT": CheckText(
        severity="warning",
        message="The GPU is slowed down because it is too hot ({temperature_c} degrees C): steps take longer.",
        fix="Clean the fans and free the air path; or lower the heat: sudo nvidia-smi -i {nvml_index} -pl {lower_w}",
    ),
    "THROTTLE-HOT": CheckText(
        severity="warning",
        message="The GPU is slowed down because it is too hot: steps take longer.",
        fix="Clean the fans and free the air path; put a laptop on a hard, flat surface",
    ),
    "THROTTLE-HARDWARE": CheckText(
        severity="warning",
        message="The board itself slows the GPU down (power brake or hardware slowdown): steps take longer.",
        fix="Check the GPU's power cables and the power supply; nvidia-smi -i {nvml_index} -q -d PERFORMANCE",
    ),
    "POWERCAP": CheckText(
        severity="warning",
        message="The power limit is {limit_w} W of {default_w} W by default ({percent} %): slower under load.",
        fix="sudo nvidia-smi -i {nvml_index} -pl {default_w}",
    ),
    "CLOCK": CheckText(
        severity="warning",
        message="Under load the GPU runs at {clock_mhz} MHz of {max_mhz} MHz.",
        fix="sudo nvidia-smi -i {nvml_index} -rgc    # removes a clock limit, if one was set",
    ),
    "PCIE": CheckText(
        severity="warning",
        message="The PCIe link is x{width} of x{max_width}: copies to the GPU run at {percent} % of their speed. "
        "Harmless once latents are cached on the GPU.",
        fix="Move the card to a full-length slot, or reseat it and its riser cable",
    ),
    "PCIE-GEN": CheckText(
        severity="info",
        message="Under load the PCIe link is generation {generation} of {max_generation}: copies are slower. "
        "Harmless once latents are cached on the GPU.",
        fix="Set the slot's PCIe speed to 'auto' in the firmware set-up; a riser cable may limit it",
    ),
    "MIG": CheckText(
        severity="info",
        message="This is a MIG slice of {total}: its memory is its own, its energy cannot be measured.",
        fix="CUDA_VISIBLE_DEVICES={uuid}    # in front of the command, chooses this slice",
    ),
    "MIG-EMPTY": CheckText(
        severity="blocker",
        message="MIG is switched on but no slice exists: CUDA finds nothing to run on.",
        fix="sudo nvidia-smi -i {nvml_index} -mig 0    # the whole card again; `nvidia-smi mig -cgi` makes slices",
    ),
    "ECC": CheckText(
        severity="warning",
        message="{count} memory errors could not be corrected since the last reboot: results may be wrong.",
        fix="sudo reboot    # if they return: nvidia-smi -i {nvml_index} -q -d ECC,ROW_REMAPPER, and replace the card",
    ),
    "SYSMEM": CheckText(
        severity="warning",
        message="On Windows and WSL the driver lends system memory instead of failing: too large a batch does not "
        "stop, it becomes many times slower.",
        fix="NVIDIA Control Panel > Manage 3D settings > CUDA - Sysmem Fallback Policy > Prefer No Sysmem Fallback",
    ),
    "BF16": CheckText(
        severity="info",
        message="No fast bfloat16 (compute capability {cc}): use float16 with loss scaling.",
        fix='with torch.autocast("cuda", torch.float16): ...    # and torch.amp.GradScaler() around the backward pass',
    ),
    "BF16-FP32": CheckText(
        severity="info",
        message="No tensor cores (compute capability {cc}): neither bfloat16 nor float16 makes training much faster.",
        fix="cfgadvise recommend --precision fp32",
    ),
    "COMPUTE-PROHIBITED": CheckText(
        severity="blocker",
        message="The GPU's compute mode is 'prohibited': no program may compute on it.",
        fix="sudo nvidia-smi -i {nvml_index} -c DEFAULT",
    ),
    "COMPUTE-EXCLUSIVE": CheckText(
        severity="blocker",
        message="The GPU's compute mode is 'exclusive_process': the process that runs on it keeps all others out.",
        fix="sudo nvidia-smi -i {nvml_index} -c DEFAULT",
    ),
    "HIDDEN": CheckText(
        severity="info",
        message="CUDA_VISIBLE_DEVICES hides {name} from training.",
        fix="CUDA_VISIBLE_DEVICES={uuid}    # in front of the command, chooses it",
    ),
    "ORDER": CheckText(
        severity="info",
        message="CUDA orders cards by speed, nvidia-smi by slot; which is which of {cards} is a guess.",
        fix="export CUDA_DEVICE_ORDER=PCI_BUS_ID    # makes both orders the same",
    ),
    "SHM": CheckText(
        severity="warning",
        message="/dev/shm has {free}: data loaders with several workers fail with a bus error.",  # noqa: S108
        fix="docker run --shm-size=8g ...    # or --ipc=host",
    ),
    "DISK": CheckText(
        severity="warning",
        message="Only {free} are free on the disk of this folder: checkpoints may not fit.",
        fix="Free some space, or write elsewhere: cfgadvise train --out /path/with/space",
    ),
    "CORES": CheckText(
        severity="info",
        message="Only one CPU core may be used: loading data and launching kernels share it.",
        fix="In a container, raise its limit: docker run --cpus 4 ...",
    ),
}
