"""The objective: v-prediction under a cosine schedule with min-SNR weighting.

Shapes: B batch, C channels, H and W height and width. Symbols follow Salimans & Ho (arXiv
2202.00512): x data, eps noise, z = alpha x + sigma eps, v = alpha eps - sigma x.
"""

from typing import Any

import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from trainer.model import Denoiser

NUM_TIMES = 1000

# What a sampler must know to undo this noising; the exported pipeline carries the same values.
SCHEDULER_CONFIG: dict[str, Any] = {
    "num_train_timesteps": NUM_TIMES,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
}


class Objective:
    """The weighted loss of a batch at given times and noise; holds the schedule on one device."""

    def __init__(self, device: torch.device | str, min_snr_gamma: float) -> None:
        alphas_cumprod = DDPMScheduler(**SCHEDULER_CONFIG).alphas_cumprod.to(device)
        self._alpha_T = alphas_cumprod.sqrt()
        self._sigma_T = (1 - alphas_cumprod).sqrt()
        # Hang et al., arXiv 2303.09556, eq. 5, in its v-prediction form: min(SNR, gamma) / (SNR + 1).
        snr_T = alphas_cumprod / (1 - alphas_cumprod)
        self._weight_T = snr_T.clamp(max=min_snr_gamma) / (snr_T + 1)

    def levels(self, time_B: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma at these times: ``[B, 1]`` each."""
        return self._alpha_T[time_B][:, None], self._sigma_T[time_B][:, None]

    def noised(self, x_BCHW: Tensor, time_B: Tensor, noise_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees, z, and what it is to predict, v."""
        alpha_B111 = self._alpha_T[time_B].view(-1, 1, 1, 1)
        sigma_B111 = self._sigma_T[time_B].view(-1, 1, 1, 1)
        return alpha_B111 * x_BCHW + sigma_B111 * noise_BCHW, alpha_B111 * noise_BCHW - sigma_B111 * x_BCHW

    def errors(self, model: Denoiser, x_BCHW: Tensor, label_B: Tensor, time_B: Tensor, noise_BCHW: Tensor) -> Tensor:
        """Squared error of v of each sample, not weighted: ``[B]``."""
        z_BCHW, v_BCHW = self.noised(x_BCHW, time_B, noise_BCHW)
        predicted_BCHW = model(z_BCHW, time_B, class_labels=label_B, return_dict=False)[0]
        squared_error_B: Tensor = (predicted_BCHW.float() - v_BCHW).square().mean(dim=(1, 2, 3))
        return squared_error_B

    def losses(self, model: Denoiser, x_BCHW: Tensor, label_B: Tensor, time_B: Tensor, noise_BCHW: Tensor) -> Tensor:
        """Weighted squared error of each sample: ``[B]``."""
        weighted_B: Tensor = self.weights(time_B) * self.errors(model, x_BCHW, label_B, time_B, noise_BCHW)
        return weighted_B

    def weights(self, time_B: Tensor) -> Tensor:
        """Weight of the loss at these times: ``[B]``."""
        weight_B: Tensor = self._weight_T[time_B]
        return weight_B
