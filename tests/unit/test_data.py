"""Pictures of every kind are decoded as a person sees them; bad ones are named; the split is fair."""

import os

import numpy as np
import pytest
from picture_folder import make_pictures
from PIL import Image

from advisor.errors import DataError
from trainer.data import find_pictures, load_pictures, picture_size, split_pictures

SIDE = 8
GREY = 100


def _one(folder, name: str, image: Image.Image, **options) -> np.ndarray:
    """The picture after a round through a file, as ``[C, H, W]``."""
    (folder / "a").mkdir(parents=True)
    image.save(folder / "a" / name, **options)
    return load_pictures(str(folder), SIDE).pixels[0]


def _half(mode: str, left, right) -> Image.Image:
    image = Image.new(mode, (SIDE, SIDE), right)
    image.paste(left, (0, 0, SIDE // 2, SIDE))
    return image


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.webp", "x.jpg"])
def test_colour_formats(tmp_path, name):
    options = {"lossless": True} if name == "x.webp" else {"quality": 100} if name == "x.jpg" else {}
    pixels = _one(tmp_path / "d", name, Image.new("RGB", (SIDE, SIDE), (200, 100, 50)), **options)
    assert np.abs(pixels.reshape(3, -1).mean(1) - [200, 100, 50]).max() < 3


def test_grey_stays_one_channel(tmp_path):
    assert (_one(tmp_path / "d", "x.png", Image.new("L", (SIDE, SIDE), GREY)) == GREY).all()
    assert len(load_pictures(str(tmp_path / "d"), SIDE).pixels[0]) == 1


def test_colour_pictures_that_are_grey_become_one_channel(tmp_path):
    assert _one(tmp_path / "d", "x.png", Image.new("RGB", (SIDE, SIDE), (GREY,) * 3)).shape == (1, SIDE, SIDE)


def test_palette_with_transparency_lies_on_white(tmp_path):
    image = _half("P", 0, 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    pixels = _one(tmp_path / "d", "x.png", image, transparency=1)
    assert pixels[:, 0, 0].tolist() == [255, 0, 0]
    assert pixels[:, 0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("mode", "left", "right"), [("RGBA", (255, 0, 0, 255), (0, 0, 255, 0)), ("LA", (0, 255), (0, 0))]
)
def test_alpha_lies_on_white(tmp_path, mode, left, right):
    pixels = _one(tmp_path / "d", "x.png", _half(mode, left, right))
    assert (pixels[:, 0, -1] == 255).all()
    assert pixels[-1, 0, 0] == 0


def test_cmyk(tmp_path):
    pixels = _one(tmp_path / "d", "x.jpg", Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0)), quality=100)
    assert pixels[0].mean() > 200
    assert pixels[1:].mean() < 60


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path):
    values = np.full((SIDE, SIDE), GREY * 257, dtype=np.uint16)
    assert (_one(tmp_path / "d", "x.png", Image.fromarray(values)) == GREY).all()


def test_exif_rotation_is_applied(tmp_path):
    image = _half("RGB", (255, 0, 0), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise: what was left is at the top
    pixels = _one(tmp_path / "d", "x.png", image, exif=exif)
    assert pixels[:, 0, SIDE // 2].tolist() == [255, 0, 0]
    assert pixels[:, -1, SIDE // 2].tolist() == [0, 0, 255]


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path):
    first, second = (Image.new("RGB", (SIDE, SIDE), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    pixels = _one(tmp_path / "d", "x.webp", first, save_all=True, append_images=[second], lossless=True)
    assert pixels[:, 0, 0].tolist() == [255, 0, 0]
    notes = load_pictures(str(tmp_path / "d"), SIDE).notes
    assert {note.id for note in notes} == {"data_animated", "data_one_picture"}


def test_wide_pictures_are_cropped_to_their_middle(tmp_path):
    image = Image.new("L", (SIDE * 3, SIDE), 0)
    image.paste(255, (SIDE, 0, SIDE * 2, SIDE))
    assert (_one(tmp_path / "d", "x.png", image)[0, 1:-1, 1:-1] == 255).all()


def test_the_bundled_digits():
    digits = load_pictures("digits", 8)
    assert digits.pixels.shape == (1797, 1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.pixels.max() == 255


def test_classes_are_sorted_folder_names_and_hidden_files_are_ignored(tmp_path):
    folder = make_pictures(tmp_path / "d")
    (folder / ".hidden").mkdir()
    (folder / "red" / ".x.png").write_bytes(b"")
    (folder / "red" / "notes.txt").write_text("not a picture")
    pictures = load_pictures(str(folder), SIDE)
    assert pictures.classes == ("blue", "green", "red")
    assert len(pictures.labels) == 18
    assert picture_size(find_pictures(folder)) == 16


def test_the_identity_of_the_data_follows_names_and_contents(tmp_path):
    folder = make_pictures(tmp_path / "d")
    before = load_pictures(str(folder), SIDE).sha256
    assert load_pictures(str(folder), 4).sha256 == before
    (folder / "red" / "0.png").rename(folder / "red" / "zero.png")
    assert load_pictures(str(folder), SIDE).sha256 != before


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def _text(path):
    path.write_text("these are words")


def _bad_checksum(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


def _nothing(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [_truncated, _text, _bad_checksum, _nothing])
def test_every_bad_file_is_named(tmp_path, spoil):
    folder = make_pictures(tmp_path / "d")
    for name in ("red/1.png", "blue/3.png"):
        spoil(folder / name)
    with pytest.raises(DataError) as error:
        load_pictures(str(folder), SIDE)
    assert "2 of 18 files" in str(error.value)
    assert "red/1.png" in str(error.value)
    assert "blue/3.png" in str(error.value)


def test_a_huge_picture_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.decoding.MAX_PIXELS", 100)
    with pytest.raises(DataError, match="16x16 pixels"):
        load_pictures(str(make_pictures(tmp_path / "d")), SIDE)


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda d: None, "does not exist"),
        (lambda d: d.write_text("x"), "is not a folder"),
        (lambda d: d.mkdir(), "has no subfolder"),
        (lambda d: (d / "empty").mkdir(parents=True), "class folder empty"),
        (lambda d: Image.new("L", (4, 4)).save(make_pictures(d) / "loose.png"), "loose.png lie beside"),
    ],
)
def test_a_folder_that_is_no_data_set(tmp_path, arrange, message):
    arrange(tmp_path / "d")
    with pytest.raises(DataError, match=message):
        find_pictures(tmp_path / "d")


@pytest.mark.parametrize("name", ["with space", "新建文件夹", "emoji 🎈", os.fsdecode(b"latin-\xe9")])
def test_names_of_any_kind(tmp_path, name):
    folder = make_pictures(tmp_path / "d", classes=("red",))
    (folder / "red").rename(folder / name)
    pictures = load_pictures(str(folder), SIDE)
    assert len(pictures.classes) == 1
    pictures.sha256.encode()
    "".join(pictures.names).encode()


def test_the_split_is_stratified_seeded_and_complete():
    labels = np.repeat(np.arange(4), [50, 20, 2, 1])
    chosen = split_pictures(labels, 0.1, seed=1)
    assert np.bincount(labels[chosen.held_out], minlength=4).tolist() == [5, 2, 1, 0]
    assert sorted([*chosen.train, *chosen.held_out]) == list(range(73))
    assert (split_pictures(labels, 0.1, seed=1).held_out == chosen.held_out).all()
    assert (split_pictures(labels, 0.1, seed=2).held_out != chosen.held_out).any()


def test_nothing_is_held_out_if_the_user_wants_it_so():
    assert not len(split_pictures(np.zeros(10, dtype=np.int64), 0.0, seed=1).held_out)
