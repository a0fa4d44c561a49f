"""What is found in generated pictures: planted copies, confused classes and lost variety are; real ones pass."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from advisor.errors import UsageError
from advisor.records import Claim
from reports.messages.zh_sources import source_in_chinese
from trainer.data import Pictures, Split
from trainer.judge.classifier import LDA, SVM, better_classifier
from trainer.judge.intervals import (
    half_of,
    half_samples,
    paired_difference,
    paired_error,
    share,
    standard_error,
    wilson,
    with_halves,
)
from trainer.judge.judge import Judge
from trainer.judge.likeness import KernelDistance
from trainer.judge.spaces import load_encoder
from trainer.latents import Pixels

CLASSES = ("a", "b", "c", "d")
PER_CLASS = 60
CJK = re.compile("[\u4e00-\u9fff]")


def striped(per_class: int, seed: int, noise: float = 25) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures with a bright bar whose height is the class."""
    random = np.random.Generator(np.random.PCG64(seed))
    labels = np.arange(len(CLASSES) * per_class) % len(CLASSES)
    pixels = random.normal(128, noise, (len(labels), 1, 8, 8))
    for row, label in enumerate(labels):
        pixels[row, 0, label * 2 : label * 2 + 2] += 60
    return pixels.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    pixels, labels = striped(PER_CLASS, seed=0)
    names = ("x",) * len(labels)
    return Pictures(source="here", classes=CLASSES, names=names, digests=names, pixels=pixels, labels=labels)


@pytest.fixture(scope="module")
def judge(pictures: Pictures) -> Judge:
    numbers = np.arange(len(pictures.labels))
    split = Split(train=numbers[numbers % 3 != 0], held_out=numbers[numbers % 3 == 0])
    return Judge(pictures, split, Pixels().encode(pictures.pixels), Pixels())


def judged(judge: Judge, pixels: np.ndarray, labels: np.ndarray):
    return judge.judge(Pixels().encode(pixels), labels, guidance=1.0, sampling_steps=20)


def test_new_pictures_of_the_same_kind_pass(judge):
    found, sheet = judged(judge, *striped(50, seed=1))
    assert found.copies.in_pca.generated.value == found.copies.in_pixels.generated.value == 0
    assert found.copies.in_pca.real.value == 0
    assert found.likeness.kid_held_out.low < 0.02
    assert found.likeness.diversity.low < 1.03 and found.likeness.diversity.high > 0.97
    assert found.separability.verdict == "apart"
    assert found.accuracy.num_test_items == 80
    assert found.accuracy.synthetic_only.value > 0.95
    assert found.accuracy.gain.low <= 0 <= found.accuracy.gain.high
    assert sheet.width > sheet.height > 100


@pytest.mark.parametrize("mirror", [False, True])
def test_copies_are_found_as_they_are_and_in_the_mirror(judge, pictures, mirror):
    train = np.flatnonzero(np.arange(len(pictures.labels)) % 3)
    made, labels = striped(30, seed=2)
    made[:40] = pictures.pixels[train[:40]][..., :: -1 if mirror else 1]
    found, _ = judged(judge, made, labels)
    assert found.copies.in_pixels.generated.value == found.copies.in_pca.generated.value == pytest.approx(1 / 3)
    assert found.copies.in_pixels.real.value == 0


def test_a_copy_of_a_picture_that_stands_twice_in_the_data_is_found(pictures):
    twice = np.concatenate([pictures.pixels[:90], pictures.pixels[:90]])
    labels = np.concatenate([pictures.labels[:90]] * 2)
    data = Pictures(
        source="here", classes=CLASSES, names=("x",) * 180, digests=("",) * 180, pixels=twice, labels=labels
    )
    judge = Judge(data, Split(train=np.arange(180), held_out=np.arange(0)), Pixels().encode(twice), Pixels())
    found, _ = judged(judge, twice[:40], labels[:40])
    assert found.copies.in_pixels.generated.value == 1
    assert found.copies.in_pixels.real.value is None
    assert found.likeness.kid_held_out.value is None and found.separability is None


def test_mixed_up_labels_are_not_told_apart(judge):
    made, labels = striped(50, seed=3)
    found, _ = judged(judge, made, np.roll(labels, 1))
    assert found.separability.verdict == "alike"
    assert found.separability.accuracy.real.value > 0.95
    assert found.separability.confusions[0].share_frac > 0.9
    assert found.accuracy.synthetic_only.value < 0.1


def test_one_picture_for_each_class_is_too_little_variety(judge):
    made, labels = striped(50, seed=4)
    for label in range(4):
        made[labels == label] = made[label]
    found, _ = judged(judge, made + np.random.default_rng(0).integers(0, 9, made.shape, dtype=np.uint8), labels)
    assert found.likeness.diversity.high < 0.3
    assert found.likeness.kid_held_out.low > found.likeness.kid_floor.high
    assert found.likeness.recall.generated.high < found.likeness.recall.real.low


def test_one_class_or_equal_pictures_leave_unknown_what_cannot_be_known():
    same = np.full((6, 1, 8, 8), 7, dtype=np.uint8)
    data = Pictures(
        source="here", classes=("a",), names=("x",) * 6, digests=("",) * 6, pixels=same, labels=np.zeros(6, dtype=int)
    )
    judge = Judge(data, Split(train=np.arange(5), held_out=np.arange(5, 6)), Pixels().encode(same), Pixels())
    found, sheet = judged(judge, same, np.zeros(6, dtype=int))
    assert (found.copies, found.likeness, found.separability, found.accuracy, sheet) == (None,) * 5


def test_latents_are_judged_as_the_network_makes_them(pictures):
    """The network's own space is the first; pictures come out of the codec, here in colour."""

    class Colour(Pixels):
        vae = torch.nn.Identity()

        def decode(self, x_NCHW):
            return np.repeat(super().decode(x_NCHW[:, :1]), 3, axis=1)

    x_NCHW = Pixels().encode(pictures.pixels).repeat(1, 4, 1, 1)
    numbers = np.arange(len(pictures.labels))
    judge = Judge(pictures, Split(train=numbers[::2], held_out=numbers[1::2]), x_NCHW, Colour())
    found, _ = judge.judge(x_NCHW[::2][:40], pictures.labels[::2][:40], guidance=1.0, sampling_steps=20)
    assert found.copies.in_pca.generated.value == found.copies.in_pixels.generated.value == 1


def claims(value) -> list[Claim]:
    if isinstance(value, Claim):
        return [value]
    if not dataclasses.is_dataclass(value):
        return []
    return [one for field in dataclasses.fields(value) for one in claims(getattr(value, field.name))]


def test_every_source_is_said_in_chinese_and_every_figure_has_an_interval(judge):
    found, _ = judged(judge, *striped(50, seed=5))
    every = claims(found)
    assert len(every) == 20
    assert [one.source for one in every if not CJK.search(source_in_chinese(one.source))] == []
    assert all(one.low <= one.value <= one.high for one in every)
    assert CJK.search(source_in_chinese(found.accuracy.classifier))


# ---- intervals ----------------------------------------------------------------------------------


def test_wilson_as_in_the_literature():
    assert wilson(0, 256)[1] == pytest.approx(0.0148, abs=1e-4)  # the note's own figure
    assert wilson(0, 1000)[1] == pytest.approx(0.0038, abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-3)  # Newcombe 1998, table I
    assert wilson(7, 7)[1] == 1.0 and wilson(0, 7)[0] == 0.0


def test_a_share_of_nothing_is_unknown():
    assert share(np.zeros(0, dtype=bool)).value is None


def test_equal_classifiers_are_not_equal_for_certain():
    right = np.ones(100, dtype=bool)
    gain = paired_difference(right, right)
    assert gain.value == 0 and gain.low < 0 < gain.high
    won = right.copy()
    won[:20] = False
    assert paired_difference(right, won).low > 0.1


def test_half_samples_give_the_standard_error_of_a_mean():
    values = np.random.default_rng(0).normal(size=400)
    halves = half_samples(lambda random: float(values[half_of(400, random)].mean()), seed=0)
    claim = with_halves(float(values.mean()), halves, 400)
    assert standard_error(claim) == pytest.approx(values.std() / 20, rel=0.2)
    assert standard_error(Claim(value=1.0, basis="measured", source="")) == 0


def test_a_difference_of_paired_figures_is_known_better_than_each():
    random = np.random.default_rng(0)
    values = random.normal(size=400)
    others = values + random.normal(0.02, 0.1, size=400)
    first, second = (
        half_samples(lambda random, of=one: float(of[half_of(400, random)].mean()), seed=0) for one in (values, others)
    )
    difference = float(values.mean() - others.mean())
    assert paired_error(tuple(first), tuple(second), difference) == pytest.approx(0.1 / 20, rel=0.2)
    assert paired_error((), (), difference) is None


def test_kernel_distance_is_around_zero_for_equal_sets_and_grows_with_the_shift():
    random = np.random.default_rng(0)
    real, other = random.normal(size=(300, 16)), random.normal(size=(300, 16))
    same, shifted = (KernelDistance(real, one).claim() for one in (other, other + 0.3))
    assert same.low < 0 < same.high
    assert shifted.low > same.high


def test_kernel_distance_by_hand():
    """Unbiased, without the diagonal: Gretton et al., JMLR 13 (2012), eq. 3, with k = (a b + 1)^3."""
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    expected = (1 + 1) / 2 + (27 + 27) / 2 - 2 * (1 + 1 + 8 + 27) / 4
    assert KernelDistance(a, b)._among(np.ones(2, bool), np.ones(2, bool)) == pytest.approx(expected)


def test_small_differences_in_large_variation_get_the_classifier_that_sees_them():
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    x = random.normal(size=(300, 40)) * np.linspace(5, 0.3, 40)
    x[np.arange(300), 39 - labels] += 1.5
    assert better_classifier(x, labels) == LDA
    rings = random.normal(size=(300, 2))
    rings *= ((1 + 2 * labels) / np.linalg.norm(rings, axis=1))[:, None]
    assert better_classifier(rings, labels) == SVM


# ---- a local network's features -----------------------------------------------------------------


def test_a_folder_that_is_no_encoder_is_a_message(tmp_path):
    with pytest.raises(UsageError, match=f"--features {tmp_path}"):
        load_encoder(tmp_path)


def test_a_local_network_judges_in_its_own_features(tmp_path, pictures):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(tmp_path)
    size = {"height": 28, "width": 28}
    transformers.BitImageProcessor(do_resize=True, size=size, do_center_crop=False).save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    features = encoder(pictures.pixels[:40])
    assert features.shape == (40, 32) and np.isfinite(features).all()
    assert np.allclose(features[:5], encoder(pictures.pixels[:5]), atol=1e-5)
    numbers = np.arange(len(pictures.labels))
    split = Split(train=numbers[numbers % 3 != 0], held_out=numbers[numbers % 3 == 0])
    judge = Judge(pictures, split, Pixels().encode(pictures.pixels), Pixels(), encoder=encoder)
    found, _ = judged(judge, *striped(10, seed=6))
    assert found.likeness.features == "a local network's features"
    assert found.separability.classifier.endswith("a local network's features")
    assert CJK.search(source_in_chinese(found.separability.classifier))
