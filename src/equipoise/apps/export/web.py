"""A page in which the generator runs in the visitor's browser: one file that holds all it needs, and works offline."""

from __future__ import annotations

import base64
import gzip
import hashlib
from importlib import resources

from equipoise import __version__
from equipoise.apps.export.directions import directions
from equipoise.apps.export.runtime import Runtime
from equipoise.apps.export.subject import Subject
from equipoise.apps.export.text import render
from equipoise.errors import InputError

SLIDERS = 6  # directions that have one


def check(shape: tuple[int, ...]) -> None:
    """Raise an InputError for what cannot be shown as a picture."""
    if len(shape) != 3:
        raise InputError(
            f"--format web shows pictures, and this run makes vectors of {shape[0]} numbers; take torch or onnx"
        )


def page(
    model: bytes,  # of ONNX
    subject: Subject,
    runtime: Runtime,
) -> str:
    """The whole page as HTML.

    Browsers fetch nothing from beside a page that was opened from the disk, so that the model and the runtime are in
    it, packed by gzip, which browsers unpack.
    """
    script = _text("equipoise.apps.export", "templates/web.js")
    library = runtime.script.partition("//# sourceMappingURL")[0]  # which would be looked for
    hashes = " ".join(f"'sha256-{_hash(text)}'" for text in (library, script))
    scripts = f"script-src {hashes} 'wasm-unsafe-eval' blob:"
    return render(
        "web.html",
        version=__version__,
        title=f"A generator of {subject.dataset}",
        style=_text("equipoise.report", "templates/page.css") + _text("equipoise.apps.export", "templates/web.css"),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; {scripts}",
        subject=subject,
        spec={
            "latent_dim": subject.latent_dim,
            "shape": subject.shape,
            "classes": subject.classes,
            "directions": [[round(x, 4) for x in row] for row in directions(subject, SLIDERS).tolist()],
        },
        runtime=runtime,
        library=library,
        script=script,
        model=_packed(model),
        glue=_packed(runtime.glue.encode()),
        wasm=_packed(runtime.binary),
    )


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")
