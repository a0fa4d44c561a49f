"""Pictures as text that an HTML page can hold: as they are if they are small, else smaller."""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from reports.blocks import Picture

if TYPE_CHECKING:
    from PIL import Image

_SIDES = (1400, 1000, 760, 560, 400)  # the longest side, tried in order until it is small enough
_QUALITY = 82


def data_url(picture: Picture, folder: Path | None, limit_bytes: int) -> str | None:
    """The picture as a ``data:`` address of about so many bytes; ``None`` if it cannot be read."""
    from PIL import Image

    if folder is None:
        return None
    try:
        content = (folder / picture.path).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            kind = image.format or ""
            if kind == "PNG" and len(content) * 4 / 3 <= limit_bytes:
                return _address("png", content)
            return _address("jpeg", _compressed(image.convert("RGB"), limit_bytes))
    except (OSError, ValueError, SyntaxError):  # missing, torn, or no picture: Pillow raises all of them
        return None


def _compressed(image: "Image.Image", limit_bytes: int) -> bytes:
    content = b""
    for side in _SIDES:
        smaller = image.copy()
        smaller.thumbnail((side, side))
        stream = io.BytesIO()
        smaller.save(stream, "JPEG", quality=_QUALITY, optimize=True)
        content = stream.getvalue()
        if len(content) * 4 / 3 <= limit_bytes:
            break
    return content


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
