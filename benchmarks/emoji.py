"""Draws the glyphs of a colour emoji font as pictures in class folders: real pictures without a download.

    python -m benchmarks.emoji DIR [--count 1550] [--side 32]

Needs Noto Color Emoji and emoji-test.txt of Unicode (Debian: fonts-noto-color-emoji, unicode-data). Classes are its
groups; flags, tones of skin and component glyphs are left out. The choice is evenly spread, and always the same.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")
FONT_PIXELS = 109  # the one size that the font's bitmaps have
LEFT_OUT = ("Flags", "Component")
TONES = range(0x1F3FB, 0x1F400)
COUNT, SIDE = 1550, 32


def listed(names: Path = NAMES) -> Iterator[tuple[str, str]]:
    """Group and text of every fully qualified emoji."""
    group = ""
    for line in names.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.removeprefix("# group:").strip()
        found = re.match(r"([0-9A-F ]+?)\s*; fully-qualified", line)
        points = [int(point, 16) for point in found[1].split()] if found else []
        if points and group not in LEFT_OUT and not any(point in TONES for point in points):
            yield group, "".join(map(chr, points))


def draw(text: str, font: ImageFont.FreeTypeFont, side: int) -> Image.Image:
    """One glyph in the middle of a white square."""
    square = Image.new("RGB", (144, 144), "white")
    ImageDraw.Draw(square).text((72, 72), text, font=font, embedded_color=True, anchor="mm")
    return square.resize((side, side), Image.Resampling.LANCZOS)


def make_folder(folder: Path, count: int = COUNT, side: int = SIDE) -> int:
    """Draw so many of them, group by group; returns how many there are."""
    for needed in (FONT, NAMES):
        if not needed.exists():
            raise SystemExit(f"{needed} is not there; on Debian: apt-get install fonts-noto-color-emoji unicode-data")
    every = list(listed())
    chosen = [every[k * len(every) // count] for k in range(min(count, len(every)))]
    font = ImageFont.truetype(str(FONT), FONT_PIXELS)
    for number, (group, text) in enumerate(chosen):
        place = folder / re.sub(r"\W+", "-", group).strip("-").lower()
        place.mkdir(parents=True, exist_ok=True)
        draw(text, font, side).save(place / f"{number:04d}.png")
    return len(chosen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--side", type=int, default=SIDE)
    options = parser.parse_args()
    print(make_folder(options.folder, options.count, options.side))
