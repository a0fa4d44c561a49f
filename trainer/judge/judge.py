"""All figures of one set of generated pictures, from what is prepared once for a data set.

Shapes: N generated pictures, C channels, H and W height and width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from advisor.evaluation import ClassifierAccuracy, Judgement, Separability
from trainer.data import Pictures, Split
from trainer.judge.classifier import ClassCheck
from trainer.judge.copies import CopyCheck
from trainer.judge.likeness import LikenessCheck
from trainer.judge.spaces import Encoder, Features, PrincipalComponents, flat, thumbnails
from trainer.latents import Codec

_CLASSIFIER_COMPONENTS = 256


class Judge:
    """Knows the real pictures: their copies, their distribution and their classes.

    Statistics are taken in up to 64 principal components of what the network sees, classes in up to
    256 of the pictures' pixels; both in a local network's features where one is given.
    """

    def __init__(
        self, pictures: Pictures, split: Split, x_NCHW: Tensor, codec: Codec, *, encoder: Encoder | None = None
    ) -> None:
        """Prepare everything that does not depend on generated pictures.

        Args:
            pictures: all real ones.
            split: which of them are trained on and which are held out.
            x_NCHW: the same as the network sees them.
            codec: makes pictures of what the network makes.
            encoder: features of a local network.
        """
        self._codec, self._encoder = codec, encoder
        # A codec may make colour of grey; the comparison is among pictures of one kind.
        self._channels = max(pictures.pixels.shape[1], 3 if codec.vae is not None else 1)
        self._x_NCHW = x_NCHW.float().cpu().numpy()
        self._pixels = self._of_one_kind(pictures.pixels)
        self._split, self._label_N, self._classes = split, pictures.labels, pictures.classes
        self._components = PrincipalComponents(flat(self._x_NCHW[split.train]))
        self._copies = self._copy_check()
        self._prepare_features()

    def _of_one_kind(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.repeat(pixels, self._channels // pixels.shape[1], axis=1)

    def _copy_check(self) -> CopyCheck | None:
        """``None`` where there is no second nearest: of one picture, or of equal ones."""
        train, held_out = self._split.train, self._split.held_out
        if len(np.unique(flat(self._pixels[train]), axis=0)) < 2:
            return None
        return CopyCheck(
            (self._x_NCHW[train], self._pixels[train]),
            (self._x_NCHW[held_out], self._pixels[held_out]),
            self._components,
        )

    def _prepare_features(self) -> None:
        train, held_out = self._split.train, self._split.held_out
        self._pixel_components = PrincipalComponents(
            flat(thumbnails(self._pixels[train])), max_components=_CLASSIFIER_COMPONENTS
        )
        like_ND, class_ND = self._features(self._x_NCHW, self._pixels)
        own = "a local network's features" if self._encoder else None
        self._likeness = LikenessCheck(
            (like_ND[train], self._label_N[train]),
            like_ND[held_out],
            self._classes,
            own or f"{self._components.count} principal components",
        )
        self._has_classes = len(self._classes) >= 2 and len(held_out) > 0
        self._class_check = (
            ClassCheck(
                (class_ND[train], self._label_N[train]),
                (class_ND[held_out], self._label_N[held_out]),
                self._classes,
                own or f"{self._pixel_components.count} principal components of the pixels",
            )
            if self._has_classes
            else None
        )

    def _features(self, x_NCHW: NDArray[Any], pixels: NDArray[np.uint8]) -> tuple[Features, Features]:
        """For the distribution, and for the classifier."""
        if self._encoder is not None:
            encoded_ND = self._encoder(pixels)
            return encoded_ND, encoded_ND
        return self._components(flat(x_NCHW)), self._pixel_components(flat(thumbnails(pixels)))

    @property
    def num_train_items(self) -> int:
        """Pictures that training saw."""
        return len(self._split.train)

    @property
    def num_held_out_items(self) -> int:
        """Pictures that it did not see."""
        return len(self._split.held_out)

    def judge(
        self, x_NCHW: Tensor, label_N: NDArray[np.int64], *, guidance: float, sampling_steps: int, whole: bool = True
    ) -> tuple[Judgement, Image.Image | None]:
        """Judge what the network made of these labels; and the sheet of the pairs closest to training pictures.

        Args:
            x_NCHW: pictures or latents, as the network makes them.
            label_N: the classes that were asked for.
            guidance: the scale that they were made with.
            sampling_steps: the denoising steps that they were made with.
            whole: also train classifiers on them, which costs most.
        """
        pixels, made_NCHW = self._of_one_kind(self._codec.decode(x_NCHW)), x_NCHW.float().cpu().numpy()
        like_ND, class_ND = self._features(made_NCHW, pixels)
        copies, sheet = self._copies.judge(made_NCHW, pixels) if self._copies else (None, None)
        separability, accuracy = self._judge_classes(class_ND, label_N, whole=whole)
        judgement = Judgement(
            guidance=guidance,
            sampling_steps=sampling_steps,
            num_generated=len(label_N),
            copies=copies,
            likeness=self._likeness.judge(like_ND, label_N),
            separability=separability,
            accuracy=accuracy,
        )
        return judgement, sheet

    def _judge_classes(
        self, class_ND: Features, label_N: NDArray[np.int64], *, whole: bool
    ) -> tuple[Separability | None, ClassifierAccuracy | None]:
        if self._class_check is None:
            return None, None
        separability = self._class_check.separability(class_ND, label_N)
        return separability, self._class_check.accuracy(class_ND, label_N) if whole else None
