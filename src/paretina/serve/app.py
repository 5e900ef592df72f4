"""The HTTP interface: predictions, health, metrics and a page, with limits on everything that comes from outside."""

import asyncio
import base64
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from torch import Tensor

from paretina.data import decode
from paretina.data.decode import DecodeError
from paretina.serve.queue import BatchQueue, FullError, LateError
from paretina.spec import near

PAGE = Path(__file__).parent / "page.html"

Heat = Callable[[Tensor], Tensor]
"""A raw picture, (channel, row, column), to a map from 0 to 1 at its own size, for the class that is answered."""


Boxes = Callable[[Tensor, tuple[int, int], float | None], list[dict[str, Any]]]
"""An answer, the rows and columns of its picture, and the lowest score to boxes, best first, each with `class` and `score`."""


@dataclass(frozen=True)
class Bounds:
    """What a request may ask for.

    Attributes:
        bytes: of a picture's file.
        pixels: of a picture.
        side: of a picture, in pixels; very long ones take long for nothing.
        pictures: of a request with several.
        queue: pictures that wait.
        batch: pictures that go through the network together.
        seconds: for an answer.
    """

    bytes: int = 20 << 20
    pixels: int = 25_000_000
    side: int = 20_000
    pictures: int = 32
    queue: int = 64
    batch: int = 16
    seconds: float = 30.0


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        name: shown on the page.
        classes: class names in the order of the probabilities.
        single: whether the probabilities of a picture sum to 1.
        shares: raw pictures of one size to probabilities, or to the answers of a model that finds boxes.
        heat: None where there are no heat maps.
        about: further facts for `/model`.
        thresholds: where a picture can have several classes, the probability above which each is there.
        boxes: of a model that finds boxes, the boxes in one of its answers; None of others.
    """

    name: str
    classes: tuple[str, ...]
    single: bool
    shares: Callable[[Tensor], Tensor]
    heat: Heat | None
    about: dict[str, Any]
    thresholds: tuple[float, ...] = ()
    boxes: Boxes | None = None


Top = Annotated[
    int | None,
    Query(
        ge=1, le=1000, description="Number of classes to answer, the most likely first, or of boxes.  [5 classes, all boxes]"
    ),
]
Score = Annotated[
    float | None, Query(ge=0, le=1, description="Of a model that finds boxes: leave out those of a lower score.  [0.3]")
]


class RefusedError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


def application(served: Served, limits: Bounds) -> FastAPI:
    """The application for one model."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queue = BatchQueue(served.shares, limits.queue, limits.batch, late_s=limits.seconds, most_pixels=4 * limits.pixels)
        queue.start()
        app.state.queue, app.state.counts = queue, Counter[tuple[str, int]]()
        first = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
        await asyncio.get_running_loop().run_in_executor(queue.pool, served.shares, first)  # it is slow, and has no limit
        app.state.ready = True
        yield
        app.state.ready = False
        await queue.close()

    deed = "Classifies pictures." if served.boxes is None else "Finds objects in pictures."
    app = FastAPI(
        title=f"Paretina: {served.name}",
        description=f"{deed} Send a picture's file as the body of a request, or several as multipart form data.",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    app.state.ready = False

    @app.middleware("http")
    async def counted(request: Request, go: Callable[[Request], Any]) -> Response:
        response: Response = await go(request)
        if hasattr(app.state, "counts"):
            route = request.scope.get("route")
            app.state.counts[getattr(route, "path", "other"), response.status_code] += 1
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        return JSONResponse({"error": said}, 422)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @contextmanager
    def in_time() -> Iterator[None]:
        """Turns what can go wrong while a request is read into a refusal."""
        try:
            yield
        except TimeoutError:
            raise RefusedError(408, f"the request did not come within {limits.seconds:g} s") from None
        except ClientDisconnect:
            raise RefusedError(499, "the client has gone") from None

    async def body_of(request: Request, most: int) -> bytes:
        """The body of a request, read only as far as it may be long, and as long as it may take."""
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise RefusedError(413, f"the body has {int(declared):,} bytes; at most {most:,} are read")
        data = bytearray()
        with in_time():
            async with asyncio.timeout(limits.seconds):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > most:
                        raise RefusedError(413, f"the body has more than the {most:,} bytes that are read")
        return bytes(data)

    async def answered(
        data: bytes, name: str, top: int | None, score: float | None, heat: bool = False
    ) -> tuple[dict[str, Any], str | None]:
        """What is said of a picture in a file, and its heat map, if it is asked for and there is time."""
        if not data:
            raise RefusedError(400, f"{name} is empty; send a picture's file as the body")
        if len(data) > limits.bytes:
            raise RefusedError(413, f"{name} has {len(data):,} bytes; at most {limits.bytes:,} are read")
        width, height = await asyncio.to_thread(size_of, data, name)
        if width * height > limits.pixels:
            raise RefusedError(413, f"{name} is {width} x {height} pixels; at most {limits.pixels:,} are decoded")
        if max(width, height) > limits.side:
            raise RefusedError(413, f"{name} is {width} x {height} pixels; a side may have {limits.side:,}")
        queue: BatchQueue = app.state.queue
        try:
            with queue.room(width * height):
                image = await asyncio.to_thread(decode.decode, data, name)
                found = await queue.ask(image)
                drawing = None
                if heat and served.heat is not None:
                    with suppress(FullError, LateError):
                        drawing = await queue.do(partial(drawn, served.heat, image))
                return said(found, (image.shape[1], image.shape[2]), top, score), drawing
        except DecodeError as error:
            raise RefusedError(415, f"{' '.join(str(error).split())[:300]}") from None
        except FullError:
            raise RefusedError(503, "too many pictures are waiting; try again later", **{"Retry-After": "1"}) from None
        except LateError:
            raise RefusedError(504, f"there was no answer within {limits.seconds:g} s") from None

    def said(found: Tensor, size: tuple[int, int], top: int | None, score: float | None) -> dict[str, Any]:
        if served.boxes is None:
            return {"answers": answer(found, 5 if top is None else top)}
        boxes = served.boxes(found, size, score)[:top]
        best: dict[str, float] = {}
        for box in boxes:
            best.setdefault(box["class"], box["score"])
        return {
            "answers": [{"class": name, "probability": share} for name, share in best.items()],
            "objects": len(boxes),
            "boxes": boxes,
        }

    def check_score(score: float | None) -> None:
        if score is not None and served.boxes is None:
            raise RefusedError(422, "score: this model finds no boxes")

    def answer(found: Tensor, top: int) -> list[dict[str, Any]]:
        best = found.topk(min(top, len(served.classes)))
        return [
            {
                "class": served.classes[number],
                "probability": float(share),
                **({} if served.single else {"present": share > served.thresholds[number]}),
            }
            for share, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    refusals = {
        400: "no picture",
        408: "not received in time",
        411: "the length of a form is not declared",
        413: "too large",
        415: "cannot be decoded",
        422: "a parameter is out of its range",
        503: "queue full",
        504: "too late",
    }
    responses: dict[int | str, dict[str, Any]] = {code: {"description": text} for code, text in refusals.items()}
    binary = {"requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}

    def only(request: Request, *known: str) -> None:
        """Refuses parameters that would have no effect."""
        if strange := [name for name in request.query_params if name not in known]:
            raise RefusedError(422, f"there is no parameter {strange[0]!r}{near(strange[0], known)}")

    @app.post("/predict", responses=responses, openapi_extra=binary)
    async def predict(request: Request, top: Top = None, heat: bool = False, score: Score = None) -> JSONResponse:
        """Classify one picture, or find the objects in it, whose file is the body of the request; with `heat` also where the
        model looks."""
        only(request, "top", "heat", "score")
        check_score(score)
        found, drawing = await answered(await body_of(request, limits.bytes), "the picture", top, score, heat)
        shown = {} if drawing is None else {"heat": drawing}
        return JSONResponse({**found, **shown})

    form = {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "pictures": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": limits.pictures,
                                "items": {"type": "string", "format": "binary"},
                            }
                        },
                        "required": ["pictures"],
                    }
                }
            },
        }
    }

    @app.post("/predict/batch", responses=responses, openapi_extra=form)
    async def predict_batch(request: Request, top: Top = None, score: Score = None) -> JSONResponse:
        """Classify several pictures, or find the objects in them, the files `pictures` of a form; one that cannot be read has
        an error in place of answers."""
        only(request, "top", "score")
        check_score(score)
        at_once = asyncio.Semaphore(max(1, limits.queue // 2))  # or a form could fill the queue by itself

        async def one(file: Any) -> dict[str, Any]:
            name = str(file.filename or "picture")
            try:
                async with at_once:
                    found, _ = await answered(await file.read(), name, top, score)
                return {"name": name, **found}
            except RefusedError as error:
                if error.status in (503, 504):
                    raise
                return {"name": name, "error": str(error)}

        whole = limits.bytes * 4
        declared = request.headers.get("content-length", "")
        if not declared.isdigit():
            raise RefusedError(411, "several pictures need the length of the body in the header Content-Length")
        if int(declared) > whole:
            raise RefusedError(413, f"the body has {int(declared):,} bytes; at most {whole:,} are read")
        try:
            with in_time():
                async with asyncio.timeout(limits.seconds):
                    sent = await request.form(max_files=limits.pictures, max_fields=limits.pictures)
        except RefusedError:
            raise
        except Exception as error:  # a body that is no form can raise almost anything
            said = " ".join(str(getattr(error, "detail", error)).split())[:200]
            if said.startswith("Too many"):
                raise RefusedError(413, f"{said}; at most {limits.pictures} pictures are read") from None
            raise RefusedError(400, f"this is not a form with pictures: {said}") from None
        try:
            files = [each for each in sent.getlist("pictures") if hasattr(each, "read")]
            if not files:
                raise RefusedError(400, "there is no picture in the form; send files named pictures")
            return JSONResponse({"pictures": await asyncio.gather(*map(one, files))})
        finally:
            await sent.close()

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Whether the process runs."""
        return "ok\n"

    @app.get("/readyz", response_class=PlainTextResponse, responses={503: {"description": "not ready"}})
    async def readyz() -> PlainTextResponse:
        """Whether it takes requests."""
        if app.state.ready and not app.state.queue.closing:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", 503)

    @app.get("/model")
    async def model() -> JSONResponse:
        """What is served: classes, preprocessing, licence, figures."""
        return JSONResponse({"name": served.name, "classes": list(served.classes), **served.about})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Counters in the text format of Prometheus."""
        return PlainTextResponse(prometheus(app.state.queue, app.state.counts), media_type="text/plain; version=0.0.4")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        policy = (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
        )
        return HTMLResponse(PAGE.read_text("utf-8"), headers={"Content-Security-Policy": policy})

    return app


def size_of(data: bytes, name: str) -> tuple[int, int]:
    """Width and height by the file's header; zeros where it has none, of which decoding says what is wrong.

    Raises:
        RefusedError: they are so large that Pillow refuses the file.
    """
    try:
        with decode.quiet_pillow(), Image.open(io.BytesIO(data)) as image:
            return image.size
    except Image.DecompressionBombError:
        raise RefusedError(413, f"{name} has more pixels than are decoded") from None
    except Exception:
        return 0, 0


def drawn(heat: Heat, image: Tensor) -> str:
    """A map as a grey PNG, in the form that a page shows."""
    found = (heat(image) * 255).round().clamp(0, 255).to(torch.uint8)
    data = io.BytesIO()
    picture = Image.fromarray(found.numpy())
    picture.thumbnail((512, 512))
    picture.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def prometheus(queue: BatchQueue, counts: Counter[tuple[str, int]]) -> str:
    """The counters as text."""
    figures = queue.figures
    lines = [
        "# HELP paretina_requests_total Requests by path and status.",
        "# TYPE paretina_requests_total counter",
        *(f'paretina_requests_total{{path="{path}",status="{status}"}} {n}' for (path, status), n in sorted(counts.items())),
    ]
    for name, text, value in (
        ("pictures_total", "Pictures that were answered.", figures.answered),
        ("refused_total", "Pictures for which the queue had no room.", figures.refused),
        ("late_total", "Pictures whose answer came too late.", figures.late),
        ("failed_total", "Pictures that the network failed on.", figures.failed),
        ("batches_total", "Batches that went through the network.", sum(figures.batches.values())),
        ("network_seconds_total", "Seconds that the network computed.", round(figures.seconds, 6)),
    ):
        lines += [f"# HELP paretina_{name} {text}", f"# TYPE paretina_{name} counter", f"paretina_{name} {value}"]
    lines += [
        "# HELP paretina_queue_depth Pictures that wait or are being computed.",
        "# TYPE paretina_queue_depth gauge",
        f"paretina_queue_depth {queue.depth}",
    ]
    return "\n".join(lines) + "\n"
