"""The page and its files; the browser loads nothing from other servers."""

import hashlib
from importlib.resources import files

from fastapi import FastAPI, Request, Response

# Path, file, media type.
PAGES = (
    ("/", "index.html", "text/html; charset=utf-8"),
    ("/docs", "docs.html", "text/html; charset=utf-8"),
    ("/page/style.css", "style.css", "text/css; charset=utf-8"),
    ("/page/page.js", "page.js", "text/javascript; charset=utf-8"),
    ("/page/docs.js", "docs.js", "text/javascript; charset=utf-8"),
    ("/page/icon.svg", "icon.svg", "image/svg+xml"),
)


def add_pages(api: FastAPI) -> list[str]:
    """Adds the page; returns its paths and the path of the API's description."""
    for path, name, media_type in PAGES:
        content = files("fruits.serve").joinpath("page", name).read_bytes()
        _add(api, path, content, media_type)
    return [*(path for path, _, _ in PAGES), "/openapi.json"]


def _add(api: FastAPI, path: str, content: bytes, media_type: str) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    # Browsers revalidate it each time; it is sent again only if it changed.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}

    @api.get(path, include_in_schema=False)
    async def page(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)
