"""What the page asks: verify, identify, enrol, diarize, live captions, people. Made by commands/serve_page.py.

Nothing of what is sent is kept, but what is enrolled. Answers are JSON; what is refused is `{"error": "one line"}`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from timbre.people.people_heard import Measures
from timbre.people.stream import Stream
from timbre.people.stream_options import StreamOptions
from timbre.runtime.silero import SileroVad
from timbre.runtime.sound import Sound
from timbre.serve.decoding import Decoders
from timbre.serve.form import Form, parse_form
from timbre.serve.guard import Guard, Refused, hosts_for
from timbre.serve.limits import Limits
from timbre.serve.listening import Sessions
from timbre.serve.whole_page import page, recorder
from timbre.utils.errors import DataError

T = TypeVar("T")
_LONGEST_NAME = 100  # characters of a person's name
_MOST_CLIPS = 20  # recordings to enrol at once


@dataclass(frozen=True)
class _Snapshot:
    """The people of a gallery at one moment, as a stream and diarize.py need them."""

    found: tuple[Sequence[str], Any, Any, Sequence[Measures]]

    def entries(self) -> tuple[Sequence[str], Any, Any, Sequence[Measures]]:
        return self.found


class Server:
    """A voice and a gallery behind HTTP. voice: what `timbre.load` gives; gallery: the file, None: nobody by name."""

    def __init__(self, voice: Any, gallery: str | None, limits: Limits = Limits(), workers: int = 2) -> None:
        self.voice, self.limits = voice, limits
        self._vad_model = _vad_model(voice)
        self._decoders = Decoders(workers, limits.decode_time)
        self._compute = ThreadPoolExecutor(workers, "answers")
        self._people = ThreadPoolExecutor(1, "gallery")  # SQLite is for one thread
        self._sessions = Sessions(limits)
        self._path = gallery
        self._gallery = None if gallery is None else self._people.submit(voice.gallery, gallery).result()
        self._page, self._policy = page()
        self._worklet = recorder()

    def app(self, host: str, token: str | None) -> Guard:
        """The ASGI application, as it is reached by HOST."""
        routes = [
            Route("/", self._show),
            Route("/recorder.js", self._recorder),
            *(
                Route(f"/api/{path}", _answering(answer), methods=[method])
                for method, path, answer in (
                    ("GET", "info", self._info),
                    ("POST", "verify", self._verify),
                    ("POST", "identify", self._identify),
                    ("POST", "diarize", self._diarize),
                    ("GET", "people", self._list),
                    ("POST", "people/enroll", self._enroll),
                    ("POST", "people/rename", self._rename),
                    ("POST", "people/remove", self._remove),
                    ("GET", "people/export", self._export),
                    ("POST", "listen", self._listen),
                    ("POST", "listen/{name}", self._hear),
                    ("DELETE", "listen/{name}", self._hear),
                )
            ),
        ]
        handlers: Any = {404: _not_found, 405: _not_found, Exception: _failed}
        app = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        return Guard(app, hosts_for(host), token, self.limits)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Ends processes and threads."""
        self._decoders.close()
        self._compute.shutdown(wait=True, cancel_futures=True)
        if self._gallery is not None:
            self._people.submit(self._gallery.close).result()
        self._people.shutdown(wait=True)

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        """What CALL gives, in a thread of POOL, within the time that there is for an answer."""
        try:
            async with asyncio.timeout(self.limits.answer_time):
                return await asyncio.get_running_loop().run_in_executor(pool, call)
        except TimeoutError:
            raise Refused(503, "no answer was found in time; try again, or with shorter recordings") from None

    async def _decoded(self, clips: Sequence[tuple[str, bytes]], seconds: float) -> list[Sound]:
        calls = [partial(self._decoders.decode, name, data, seconds) for name, data in clips]
        found = [await self._run(self._compute, call) for call in calls]
        return [Sound(samples, rate, name) for (samples, rate), (name, _) in zip(found, clips, strict=True)]

    def _need_gallery(self) -> Any:
        if self._gallery is None:
            raise Refused(409, "there is no gallery: start the server with --gallery people.db")
        return self._gallery

    async def _snapshot(self) -> _Snapshot | None:
        if self._gallery is None:
            return None
        return _Snapshot(await self._run(self._people, self._gallery.entries))

    async def _show(self, _: Request) -> Response:
        headers = {"Content-Security-Policy": self._policy, "Permissions-Policy": "microphone=(self), camera=()"}
        return Response(self._page, media_type="text/html", headers=headers)

    async def _recorder(self, _: Request) -> Response:
        return Response(self._worklet, media_type="text/javascript")

    async def _info(self, _: Request) -> Any:
        settings = self.voice.pack.settings
        return {
            "name": settings.get("name") or Path(self.voice.pack.path).stem,
            "points": settings.get("points", []),
            "tested": settings.get("tested", {}),
            "min_speech": settings.get("min_speech", 0),
            "card": settings.get("card", {}),
            "gallery": self._gallery is not None,
            "rate": self.voice.encoder.rate,
            "limits": {"seconds": self.limits.seconds, "long_seconds": self.limits.long_seconds},
        }

    async def _verify(self, request: Request) -> Any:
        form = await _form(request)
        enroll = await self._decoded(form.clips("enroll", 10), self.limits.seconds)
        [test] = await self._decoded(form.clips("test"), self.limits.seconds)
        prior = _number(form, "prior", 0.5, 0.0, 1.0)
        return await self._run(self._compute, partial(self.voice.verify, enroll, test, prior=prior))

    async def _identify(self, request: Request) -> Any:
        gallery = self._need_gallery()
        form = await _form(request)
        [clip] = await self._decoded(form.clips("clip"), self.limits.seconds)
        return await self._run(self._people, partial(gallery.identify, clip))

    async def _diarize(self, request: Request) -> Any:
        form = await _form(request)
        [sound] = await self._decoded(form.clips("clip"), self.limits.long_seconds)
        speakers = int(_number(form, "speakers", 0, -1, 100)) or None
        people = await self._snapshot()
        call = partial(_turns, self.voice, sound, people, self._vad_model, speakers)
        turns = await self._run(self._compute, call)
        return {"seconds": len(sound.samples) / sound.rate, "turns": [turn.as_dict() for turn in turns]}

    async def _list(self, _: Request) -> Any:
        if self._gallery is None:
            return {"people": []}
        names, _means, num_utts, _measures = await self._run(self._people, self._gallery.entries)
        listed = [{"name": name, "recordings": int(number)} for name, number in zip(names, num_utts, strict=True)]
        return {"people": sorted(listed, key=lambda one: str(one["name"]))}

    async def _enroll(self, request: Request) -> Any:
        gallery = self._need_gallery()
        form = await _form(request)
        name = _name(form.fields.get("name", ""))
        clips = await self._decoded(form.clips("clip", _MOST_CLIPS), self.limits.seconds)
        keep = "audio" if form.fields.get("keep") == "audio" else "none"
        await self._run(self._people, partial(gallery.enroll, name, clips, keep=keep))
        return {"name": name, "recordings": len(clips)}

    async def _rename(self, request: Request) -> Any:
        gallery, content = self._need_gallery(), await _json(request)
        old, new = _name(content.get("name")), _name(content.get("new"))
        await self._run(self._people, partial(gallery.rename, old, new))
        return {"name": new}

    async def _remove(self, request: Request) -> Any:
        gallery, content = self._need_gallery(), await _json(request)
        name = _name(content.get("name"))
        await self._run(self._people, partial(gallery.remove, name))
        return {"name": name}

    async def _export(self, _: Request) -> Any:
        gallery = self._need_gallery()
        data = await self._run(self._people, partial(_exported, gallery))
        headers = {"Content-Disposition": 'attachment; filename="people.zip"'}
        return Response(data, media_type="application/octet-stream", headers=headers)

    async def _listen(self, request: Request) -> Any:
        content = await _json(request)
        rate, latency = content.get("rate", 16000), content.get("latency", 2.0)
        if not isinstance(rate, int) or not isinstance(latency, int | float):
            raise Refused(400, "rate and latency are numbers")
        people, options = await self._snapshot(), StreamOptions(latency=float(latency))
        vad = None if self._vad_model is None else SileroVad(self._vad_model)
        name = self._sessions.begin(lambda: Stream(self.voice.encoder, self.voice.scorer, rate, people, vad, options))
        return {"id": name, "latency": options.latency}

    async def _hear(self, request: Request) -> Any:
        last = request.method == "DELETE"
        return await self._sessions.feed(request.path_params["name"], await request.body(), last)


def _turns(voice: Any, sound: Sound, people: Any, vad_model: bytes | None, speakers: int | None) -> Any:
    from timbre.people.diarize import DiarizeOptions, diarize

    vad = None if vad_model is None else SileroVad(vad_model)
    return diarize(sound.samples, sound.rate, voice.encoder, voice.scorer, people, vad, DiarizeOptions(speakers))


def _vad_model(voice: Any) -> bytes | None:
    """The network VAD of the pack, where it has one."""
    if "silero_vad.onnx" not in voice.pack.settings.get("files", {}):
        return None
    model: bytes = voice.pack.bytes("silero_vad.onnx")
    return model


def _exported(gallery: Any) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "people.zip"
        gallery.export(path)
        return path.read_bytes()


def _answering(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """ANSWER as JSON; what is wrong with the request as one line."""

    async def respond(request: Request) -> Response:
        try:
            found = await answer(request)
        except Refused as error:
            return _line(error.status, error.message)
        except DataError as error:
            return _line(422, error.message)
        if isinstance(found, Response):
            return found
        return JSONResponse(_plain(found))

    return respond


def _plain(found: Any) -> Any:
    """A dataclass as a dictionary, with what it says of itself in words."""
    if is_dataclass(found) and not isinstance(found, type):
        with suppress(TypeError):
            return {**asdict(found), "text": str(found)}
    return found


def _line(status: int, message: str) -> Response:
    return JSONResponse({"error": " ".join(message.split())[:500]}, status)


async def _not_found(_: Request, __: Exception) -> Response:
    return _line(404, "there is no such thing here")


async def _failed(_: Request, __: Exception) -> Response:
    return _line(500, "this failed, which is a fault of the server; its terminal says more")


async def _form(request: Request) -> Form:
    return parse_form(request.headers.get("content-type", ""), await request.body())


async def _json(request: Request) -> dict[str, Any]:
    if "json" not in request.headers.get("content-type", ""):
        raise Refused(415, "JSON is wanted")
    try:
        content = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Refused(400, "not JSON") from None
    if not isinstance(content, dict):
        raise Refused(400, "not a JSON object")
    return content


def _name(value: Any) -> str:
    """Of a person; Refused where it is none."""
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Refused(400, f"a name is wanted, of 1 to {_LONGEST_NAME} characters that can be printed")
    return name


def _number(form: Form, name: str, default: float, low: float, high: float) -> float:
    """The field NAME, between LOW and HIGH."""
    text = form.fields.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = low
    if not low < value < high:
        raise Refused(400, f"'{name}' must be a number between {low:g} and {high:g}")
    return value
