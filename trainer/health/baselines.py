"""What a model would score that learned nothing, only mean and spectrum, or every training picture by heart.

A diffusion loss has no scale of its own: schedule, weighting, resolution and latents set it. These
errors are computed from the run's own data, at its own validation tuples, so that the network's can be
judged beside them. All are unweighted mean squared errors of v.

Shapes: V tuples, N training items, d values of an item, K buckets.
"""

import math

import numpy as np
import torch
from torch import Tensor

from advisor.records import record
from trainer.diffusion import NUM_TIMES, Objective
from trainer.health.statistics import bucket_means, bucket_of
from trainer.validation import ValidationSet

MAX_ITEMS = 10_000  # distances to more take minutes on a CPU; a spectrum does not get better by more
_MAX_COVARIANCE = 1024  # values of an item up to which a full covariance is estimated and decomposed
_FEWEST_ITEMS = 2


@record
class Baselines:
    """Errors by bucket, from little noise to much; ``None`` where they could not be computed.

    ``zero`` predicts nothing. ``wiener`` is the best linear denoiser: mean and covariance of the
    training items. ``copier`` denoises held-out items as the mixture of all training items of the same
    class, which is what a network that learned them by heart does. ``floor`` is the same at training
    items: no training error can go below it.
    """

    zero: tuple[float, ...]
    wiener: tuple[float, ...] | None
    copier: tuple[float, ...] | None
    floor: tuple[float, ...] | None


def compute_baselines(
    held_out: ValidationSet, x_NCHW: Tensor, label_N: Tensor, objective: Objective
) -> tuple[Baselines, np.ndarray]:
    """All baselines, and the Wiener denoiser's error at each tuple ``[V]`` (NaN where there is none)."""
    bucket_V = bucket_of(held_out.time_V.cpu().numpy(), NUM_TIMES)
    x_Nd = x_NCHW.flatten(1).float()
    z_VCHW, v_VCHW = objective.noised(held_out.x_VCHW, held_out.time_V, held_out.noise_VCHW)
    tuples = _Tuples(held_out.x_VCHW.flatten(1), z_VCHW.flatten(1), *objective.levels(held_out.time_V))

    def by_bucket(error_V: Tensor) -> tuple[float, ...]:
        return tuple(bucket_means(error_V.double().cpu().numpy(), bucket_V).tolist())

    zero = by_bucket(v_VCHW.square().flatten(1).mean(1))
    if len(x_Nd) < _FEWEST_ITEMS:
        return Baselines(zero=zero, wiener=None, copier=None, floor=None), np.full(len(bucket_V), math.nan)
    some_N = torch.arange(min(len(x_Nd), MAX_ITEMS), device=x_Nd.device) * len(x_Nd) // min(len(x_Nd), MAX_ITEMS)
    wiener_V = _wiener_errors(tuples, x_Nd[some_N], x_NCHW.shape[1:])
    copier = floor = None
    if len(x_Nd) <= MAX_ITEMS:
        copier = by_bucket(_empirical_errors(tuples, held_out.label_V, x_Nd, label_N))
        item_V = torch.arange(len(bucket_V), device=x_Nd.device) * len(x_Nd) // len(bucket_V)
        z_VCHW, _ = objective.noised(x_NCHW[item_V], held_out.time_V, held_out.noise_VCHW)
        seen = _Tuples(x_Nd[item_V], z_VCHW.flatten(1), tuples.alpha_V1, tuples.sigma_V1)
        floor = by_bucket(_empirical_errors(seen, label_N[item_V], x_Nd, label_N))
    baselines = Baselines(zero=zero, wiener=by_bucket(wiener_V), copier=copier, floor=floor)
    return baselines, wiener_V.double().cpu().numpy()


class _Tuples:
    """Items ``x_Vd`` and what is seen of them, ``z = alpha x + sigma noise``."""

    def __init__(self, x_Vd: Tensor, z_Vd: Tensor, alpha_V1: Tensor, sigma_V1: Tensor) -> None:
        self.x_Vd, self.z_Vd, self.alpha_V1, self.sigma_V1 = x_Vd, z_Vd, alpha_V1, sigma_V1

    def v_error(self, denoised_Vd: Tensor) -> Tensor:
        """Error of v of a denoiser of x: ``v = (alpha z - x) / sigma``, so the errors differ by sigma squared."""
        error_V: Tensor = (denoised_Vd - self.x_Vd).square().mean(1) / self.sigma_V1[:, 0].square()
        return error_V


def _wiener_errors(tuples: _Tuples, x_Nd: Tensor, shape: torch.Size) -> Tensor:
    """Each component of the spectrum is shrunk by ``alpha^2 l / (alpha^2 l + sigma^2)`` (Wiener, 1949)."""
    mean_d = x_Nd.mean(0)
    power_d, basis = _spectrum(x_Nd - mean_d, shape)
    seen_Vd = basis(tuples.z_Vd - tuples.alpha_V1 * mean_d, False)
    gain_Vd = tuples.alpha_V1 * power_d / (tuples.alpha_V1.square() * power_d + tuples.sigma_V1.square())
    return tuples.v_error(mean_d + basis(seen_Vd * gain_Vd, True))


def _spectrum(centred_Nd: Tensor, shape: torch.Size) -> tuple[Tensor, "_Basis"]:
    if centred_Nd.shape[1] > _MAX_COVARIANCE:
        basis = _Basis(shape, None, centred_Nd)
        return basis(centred_Nd, False).square().mean(0), basis
    power_d, vectors_dd = torch.linalg.eigh(_shrunk_covariance(centred_Nd))
    return power_d.clamp(min=0), _Basis(shape, vectors_dd, centred_Nd)


def _shrunk_covariance(centred_Nd: Tensor) -> Tensor:
    """Towards a multiple of the identity, by Ledoit and Wolf's optimal amount (J. Multivariate Anal. 88, 2004)."""
    num_items, size = centred_Nd.shape
    covariance_dd = centred_Nd.T @ centred_Nd / num_items
    mean_power = covariance_dd.diagonal().mean()
    target_dd = mean_power * torch.eye(size, device=centred_Nd.device)
    distance = (covariance_dd - target_dd).square().sum()
    scatter = (centred_Nd.square().sum(1).square().sum() / num_items - covariance_dd.square().sum()) / num_items
    amount = (scatter / distance.clamp(min=1e-30)).clamp(0, 1)
    return (1 - amount) * covariance_dd + amount * target_dd


class _Basis:
    """An orthonormal change of basis: eigenvectors, or the cosine transform of each channel for large items."""

    def __init__(self, shape: torch.Size, vectors_dd: Tensor | None, like: Tensor) -> None:
        self._shape, self._vectors_dd = shape, vectors_dd
        if vectors_dd is None:
            self._rows_HH, self._columns_WW = (_cosines(size).to(like) for size in shape[1:])

    def __call__(self, x_Vd: Tensor, back: bool) -> Tensor:
        if self._vectors_dd is not None:
            return x_Vd @ (self._vectors_dd.T if back else self._vectors_dd)
        rows_HH, columns_WW = self._rows_HH, self._columns_WW
        x_VCHW = x_Vd.view(-1, *self._shape)
        turned = rows_HH.T @ x_VCHW @ columns_WW if back else rows_HH @ x_VCHW @ columns_WW.T
        return turned.flatten(1)


def _cosines(size: int) -> Tensor:
    """Rows of the orthonormal discrete cosine transform (type 2)."""
    place = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi * (2 * place[None] + 1) * place[:, None] / (2 * size)) * math.sqrt(2 / size)
    rows[0] *= math.sqrt(0.5)
    return rows


def _empirical_errors(tuples: _Tuples, label_V: Tensor, x_Nd: Tensor, label_N: Tensor) -> Tensor:
    """The denoiser that is optimal for the training items themselves: their mean, weighted by how well each fits.

    Closed form of the best possible training loss, arXiv 2506.13763.
    """
    errors = []
    for start in range(0, len(label_V), 32):
        part = slice(start, start + 32)
        z_Vd, alpha_V1, sigma_V1 = tuples.z_Vd[part], tuples.alpha_V1[part], tuples.sigma_V1[part]
        square_VN = alpha_V1.square() * x_Nd.square().sum(1) - 2 * alpha_V1 * (z_Vd @ x_Nd.T)
        fit_VN = -square_VN / (2 * sigma_V1.square())
        fit_VN = fit_VN.masked_fill(label_V[part, None] != label_N[None], -math.inf)
        known = (fit_VN > -math.inf).any(1, keepdim=True)  # a class without training items has no such denoiser
        chosen = _Tuples(tuples.x_Vd[part], z_Vd, alpha_V1, sigma_V1)
        error_V = chosen.v_error(torch.where(known, fit_VN, 0.0).softmax(1) @ x_Nd)
        errors.append(torch.where(known[:, 0], error_V, math.nan))
    return torch.cat(errors)
