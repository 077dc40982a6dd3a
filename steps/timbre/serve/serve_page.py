"""`timbre serve`: a page to try a pack on, on this machine."""

import argparse
import secrets
import sys
from pathlib import Path

from timbre.utils.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    parser.add_argument("pack", help="a .timbre file, or the folder of a pack")
    parser.add_argument("--gallery", help="people by name, a file that is made where there is none; without it nobody")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8460, help="default 8460; 0: any that is free")
    parser.add_argument("--workers", type=int, default=2, help="answers at a time (default 2)")
    parser.add_argument("--rate", type=float, default=30.0, help="requests a second and client (default 30)")


def run(args: argparse.Namespace) -> int:
    """Answers until it is interrupted."""
    try:
        import uvicorn

        from timbre.serve.connections import configured
        from timbre.serve.server import Server
    except ImportError as error:
        raise DataError(f"the page needs more packages (pip install 'timbre[serve]'): {error}") from error
    from timbre.people.voice import load
    from timbre.serve.guard import is_loopback
    from timbre.serve.limits import Limits

    if not 0 <= args.port < 65536 or args.workers < 1 or not args.rate > 0:
        raise DataError("0 <= port < 65536, workers >= 1 and rate > 0 are wanted")
    if args.gallery is not None and not Path(args.gallery).resolve().parent.is_dir():
        raise DataError("there is no such folder", Path(args.gallery).parent)
    token = None if is_loopback(args.host) else secrets.token_urlsafe(24)
    limits = Limits(rate=args.rate, burst=max(300, round(args.rate)))
    server = Server(load(args.pack), args.gallery, limits, args.workers)
    config = configured(server.app(args.host, token), args.host, args.port, limits)
    socket = config.bind_socket()
    socket.listen()  # whoever is quick waits
    host = f"[{args.host}]" if ":" in args.host else args.host
    address = f"http://{host}:{socket.getsockname()[1]}/" + (f"?token={token}" if token else "")
    print(f"open {address}  (Ctrl-C ends it)", flush=True)
    if token:
        print("whoever has this link may use the gallery; audio and link are not encrypted on the way", file=sys.stderr)
    uvicorn.Server(config).run(sockets=[socket])
    return 0
