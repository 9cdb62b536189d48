"""The HTTP face: Stripe's API under `/v1`, the hosted pages, and the control API under `/_emu`."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox.stripe import bills, catalog, clocks, control, credit_notes, pages, portal
from sandbox.stripe.desk import Desk
from sandbox.stripe.keeping import Book
from sandbox.stripe.operations import operation
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

type Shown = Callable[[World, str], str]
type Pressed = Callable[[World, str, dict[str, str]], tuple[str, str]]

TABLE = (bills, catalog, credit_notes, portal)  # with what they import, these enter all operations


@operation("GET", "/v1/account")
def account(world: World, asked: Json) -> Json:
    return {"id": "acct_sandbox", "object": "account", "country": "US", "default_currency": "usd", "email": None}


def stripe(base: str, keep: Path | None = None) -> Starlette:
    """A Stripe in which nothing has happened yet, or what the file `keep` tells; `base` is its own address."""
    desk = Desk(base)
    book = Book(desk, keep) if keep else None
    if book:
        book.open()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        posting = asyncio.create_task(desk.post.run())
        writing = asyncio.create_task(book.write()) if book else None
        yield
        posting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await posting
        if book and writing:
            await book.close(writing)

    def page(path: str, shown: Shown, pressed: Pressed) -> Route:
        async def answer(request: Request) -> Response:
            world, id = desk.world, request.path_params["id"]
            sent = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
            clocks.catch_up(world, None, world.real())
            try:
                goes, body = pressed(world, id, sent) if request.method == "POST" else ("", shown(world, id))
            except Refusal as refusal:
                status = 410 if refusal.status == 410 else 404
                return HTMLResponse(pages.framed("Not here", "", str(refusal)), status)
            finally:
                desk.post.collect()
            return RedirectResponse(goes, 303) if goes else HTMLResponse(body)

        return Route(path, answer, methods=["GET", "POST"])

    async def pdf(request: Request) -> Response:
        if not (invoice := desk.world.find(request.path_params["id"])):
            return Response(status_code=404)
        return Response(_pdf(f"Stripe sandbox: invoice {invoice['number']}"), media_type="application/pdf")

    async def control_state(request: Request) -> Response:
        return JSONResponse(control.state(desk))

    async def control_objects(request: Request) -> Response:
        return JSONResponse(control.objects(desk))

    async def kept(request: Request) -> Response:
        return JSONResponse(control.kept(desk))

    async def requests(request: Request) -> Response:
        return JSONResponse({"requests": desk.log})

    async def deliveries(request: Request) -> Response:
        return JSONResponse(desk.post.account())

    async def order(request: Request) -> Response:
        try:
            asked = json.loads(await request.body() or b"{}")
            outcome = control.obeyed(desk, request.path_params["verb"], asked)
        except ValueError as error:
            return JSONResponse({"error": {"message": str(error)}}, 422)
        except Refusal as refusal:
            return JSONResponse({"error": refusal.error}, refusal.status)
        finally:
            desk.post.collect()
        return JSONResponse(outcome)

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/_emu", control_state),
            Route("/_emu/objects", control_objects),
            Route("/_emu/kept", kept),
            Route("/_emu/requests", requests),
            Route("/_emu/deliveries", deliveries),
            Route("/_emu/{verb}", order, methods=["POST"]),
            page("/c/pay/{id}", pages.checkout_page, pages.checkout_pressed),
            page("/i/{id}", pages.invoice_page, pages.invoice_pressed),
            Route("/i/{id}/pdf", pdf),
            page("/3ds/{id}", lambda world, id: pages.challenge_page(world, id), pages.challenge_pressed),
            page("/p/session/{id}", pages.portal_page, pages.portal_pressed),
            Route("/{path:path}", desk.api, methods=["GET", "POST", "DELETE", "PUT", "PATCH"]),
        ],
    )


def _pdf(text: str) -> bytes:
    """The smallest document that a reader opens: one page, one line."""
    drawn = f"BT /F1 14 Tf 40 780 Td ({text}) Tj ET".encode("latin-1", "replace")
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    document, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(document))
        document += b"%d 0 obj%s endobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(document)
    document += b"xref\n0 6\n0000000000 65535 f \n" + table
    return document + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start
