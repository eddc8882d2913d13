"""The API's pages for people, /docs and /redoc: served whole from here, so that they work behind any wall.

FastAPI's own load scripts, styles and fonts from content networks. The policy header holds them to this
origin, whatever the scripts would like.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS = "/docs/assets"
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """Serve the pages of the document at /openapi.json."""
    folder = Path(fastapi_offline.__file__).parent / "static"
    favicon = f"{ASSETS}/favicon.png"
    swagger = get_swagger_ui_html(
        openapi_url=str(app.openapi_url),
        title=app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=favicon,
    )
    redoc = get_redoc_html(
        openapi_url=str(app.openapi_url),
        title=app.title,
        redoc_js_url=f"{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=favicon,
        with_google_fonts=False,
    )
    for path, page in (("/docs", swagger), ("/redoc", redoc)):
        app.add_route(path, _serving(bytes(page.body)), include_in_schema=False)
    app.mount(ASSETS, StaticFiles(directory=folder), name="assets")


def _serving(page: bytes) -> Callable[[Request], Awaitable[HTMLResponse]]:
    async def serve(_request: Request) -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    return serve
