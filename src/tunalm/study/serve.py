"""`tunalm study serve`: the pages on which raters put answers in order. It opens `study.sqlite` and nothing else.

A rater is known by the token in the address. The pages work without script; a few lines of it add dragging, keys and
saving at every change.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tunalm.study.book import Book, Page, Save

LONGEST_COMMENT = 2000  # characters
LONGEST_FORM = 64_000  # bytes
LONGEST_VISIT = 4 * 3600.0  # seconds on one page that are believed
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
STATIC = {"study.css": "text/css", "study.js": "text/javascript"}


def make_app(folder: Path) -> Starlette:
    """The application that serves the study in `folder`.

    Raises:
        StoreError: the folder holds no study.
    """
    site = _Site(Book(folder / "study.sqlite"))
    routes = [
        Route("/r/{token}", site.start, methods=["GET", "POST"]),
        Route("/r/{token}/{number:int}", site.show, methods=["GET"]),
        Route("/r/{token}/{number:int}", site.save, methods=["POST"]),
        Route("/static/{name}", _static),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_Headers)])


class _Headers(BaseHTTPMiddleware):
    """Adds the security headers to every reply."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response


class _Site:
    def __init__(self, book: Book) -> None:
        self._book = book
        self._templates = Environment(
            loader=PackageLoader("tunalm.study", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    async def start(self, request: Request) -> Response:
        """The consent text, and for those who have agreed the first page that is not finished."""
        token = request.path_params["token"]
        rater = self._book.rater(token)
        if rater is None:
            return _nothing_here()
        consent = self._book.consent
        if request.method == "POST":
            self._book.agree(rater, hashlib.sha256(consent.encode()).hexdigest())
        elif not self._book.raters()[rater]:
            return self._html("consent", consent=consent, token=token)
        done = {number for (_, number), save in self._book.latest(rater).items() if save.submitted}
        left = [number for number in range(self._book.pages(rater)) if number not in done]
        if not left:
            return self._html("thanks", token=token, pages=self._book.pages(rater))
        return RedirectResponse(f"/r/{token}/{left[0] + 1}", status_code=303)

    async def show(self, request: Request) -> Response:
        """One question with its answers, as the rater left it."""
        token, page = request.path_params["token"], self._page(request)
        if page is None:
            return _nothing_here()
        if not self._book.raters()[page.rater]:
            return RedirectResponse(f"/r/{token}", status_code=303)
        return self._question(token, page, self._book.latest(page.rater).get((page.rater, page.number)))

    async def save(self, request: Request) -> Response:
        """Keep the state of a page; a page without script then goes on to the next one."""
        token, page = request.path_params["token"], self._page(request)
        if page is None or not self._book.raters()[page.rater]:
            return _nothing_here()
        if int(request.headers.get("content-length") or LONGEST_FORM + 1) > LONGEST_FORM:
            return HTMLResponse("too long", status_code=413)
        form = {name: str(value) for name, value in (await request.form()).items()}
        places = {
            letter: int(form[f"place-{letter}"])
            for letter in page.answers
            if form.get(f"place-{letter}", "") in {str(place + 1) for place in range(len(page.answers))}
        }
        complete = len(places) == len(page.answers)
        state = Save(
            rater=page.rater,
            number=page.number,
            places=places,
            comment=form.get("comment", "")[:LONGEST_COMMENT],
            seconds=self._seconds(form, page),
            submitted=complete and form.get("action") == "next",
        )
        self._book.save(state)
        if form.get("action") == "keep":
            return JSONResponse({"saved": True, "complete": complete})
        if not complete:
            return self._question(token, page, state, message="Give every answer a place first.", status=422)
        following = page.number + 2 if page.number + 1 < self._book.pages(page.rater) else None
        address = f"/r/{token}/{following}" if following else f"/r/{token}"
        return RedirectResponse(address, status_code=303)

    def _page(self, request: Request) -> Page | None:
        rater = self._book.rater(request.path_params["token"])
        return None if rater is None else self._book.page(rater, request.path_params["number"] - 1)

    def _seconds(self, form: dict[str, str], page: Page) -> float:
        """Seconds on the page, with earlier visits: as its script counted them, else since the page was opened."""
        try:
            seconds = float(form.get("seconds", ""))
        except ValueError:
            before = self._book.latest(page.rater).get((page.rater, page.number))
            seconds = self._book.seconds_open(page.rater, page.number) + (before.seconds if before else 0.0)
        return min(max(seconds, 0.0), LONGEST_VISIT) if seconds == seconds else 0.0

    def _question(self, token: str, page: Page, state: Save | None, message: str = "", status: int = 200) -> Response:
        self._book.opened(page.rater, page.number)
        return self._html(
            "question",
            status=status,
            token=token,
            page=page,
            pages=self._book.pages(page.rater),
            finished=sum(save.submitted for save in self._book.latest(page.rater).values()),
            places=state.places if state else {},
            comment=state.comment if state else "",
            seconds=state.seconds if state else 0.0,
            message=message,
        )

    def _html(self, name: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._templates.get_template(f"{name}.html.j2").render(**values), status_code=status)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return _nothing_here()
    return Response(files("tunalm.study").joinpath(name).read_bytes(), media_type=STATIC[name])


def _nothing_here() -> Response:
    return HTMLResponse("There is no such page. Use the link that you were given.", status_code=404)
