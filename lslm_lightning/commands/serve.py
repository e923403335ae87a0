"""`lslm serve RUN ...`: answer requests over HTTP with trained models."""

from importlib.util import find_spec

from lslm_lightning.commands.arguments import RUN, TRUST_HELP, Parser
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.extras import EXTRAS, MissingPackageError
from lslm_lightning.serving.limits import ServingLimits, limits_of
from lslm_lightning.serving.options import OPTIONS

DESCRIPTION = """Answer requests over HTTP with trained models, by OpenAI's and LibreTranslate's
API, and show a page for people.

  lslm serve runs/language_modeling/docstrings_demo-1a2b3c4d
  lslm serve models:/dates@best "runs/summarization/*" --name dates --name headlines
  lslm serve --new-key ada >> keys.txt      a key for a client; it is shown once
  lslm serve RUN --host 0.0.0.0 --keys keys.txt --tls-cert chain.pem --tls-key key.pem

Without --keys, only this machine may ask. SIGTERM and Ctrl-C answer what was begun, then end."""
ENGINES = ("ctranslate2", "onnxruntime")
TYPES = ("float32", "float16", "bfloat16", "int8")


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm serve", description=DESCRIPTION)
    parser.add_argument("runs", metavar="RUN", nargs="*", help=RUN)
    of = parser.add_argument_group("Server")
    of.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on")
    of.add_argument("--port", type=int, default=8000, metavar="N", help="port; 0 for a free one")
    of.add_argument("--tls-cert", metavar="FILE", help="certificates in PEM, for HTTPS")
    of.add_argument("--tls-key", metavar="FILE", help="private key of the certificate, in PEM")
    proxy = "proxy whose X-Forwarded headers are believed"
    of.add_argument("--trusted-proxy", metavar="IP", action="append", default=[], help=proxy)
    origin = "web pages from this address may ask"
    of.add_argument("--allow-origin", metavar="URL", action="append", default=[], help=origin)
    grace = "seconds to end what was begun"
    of.add_argument("--grace", type=float, default=30.0, metavar="X", help=grace)
    share = "share of requests to trace in MLflow"
    of.add_argument("--trace", type=float, default=0.0, metavar="X", help=share)
    texts = "put their texts into the traces"
    of.add_argument("--trace-texts", action="store_true", help=texts)
    of = parser.add_argument_group("Keys")
    of.add_argument("--keys", metavar="FILE", help="a line for each key: a name and sha256:DIGEST")
    new = "print a new key, and its line for the file"
    of.add_argument("--new-key", metavar="NAME", help=new)
    of.add_argument("--insecure", action="store_true", help="let other machines ask without keys")
    of = parser.add_argument_group("Models")
    name = "name of each run in requests (default: its directory)"
    of.add_argument("--name", metavar="NAME", action="append", default=[], help=name)
    of.add_argument("--device", default="auto", help="cpu, cuda or auto")
    engine = "ctranslate2 or onnxruntime, in place of PyTorch"
    of.add_argument("--engine", choices=ENGINES, metavar="NAME", help=engine)
    dtype = "weights: float16, bfloat16, int8"
    of.add_argument("--dtype", choices=TYPES, metavar="T", default="float32", help=dtype)
    of.add_argument("--batch-rows", type=int, default=320, metavar="N", help="rows of a batch")
    of.add_argument("--trust", action="store_true", help=TRUST_HELP)
    of = parser.add_argument_group("Limits")
    for option, (letter, meaning) in OPTIONS.items():
        default = getattr(ServingLimits, option.strip("-").replace("-", "_"))
        of.add_argument(option, type=type(default), default=default, metavar=letter, help=meaning)
    return parser


def main(argv: list[str]) -> int:
    """Serve the runs until a signal ends the server, and return the exit status."""
    own = arguments().parse_args(argv[1:])
    for package in (name for name, extra in EXTRAS.items() if extra == "serve"):
        if find_spec(package) is None:
            raise MissingPackageError(package, "The server")
    from lslm_lightning.serving.app import ServedApp
    from lslm_lightning.serving.engine_client import EngineClient
    from lslm_lightning.serving.keys import print_new_key, read_keys
    from lslm_lightning.serving.protocol import EngineSettings
    from lslm_lightning.serving.server import ServerSettings, run_server
    from lslm_lightning.serving.traces import TraceSettings

    try:
        if own.new_key is not None:
            return print_new_key(own.new_key)
        if not own.runs:
            raise ValueError("RUN is missing; name one or more runs")
        if own.batch_rows < 1:
            raise ValueError(f"--batch-rows {own.batch_rows} must be at least 1")
        keys = read_keys(own.keys)
        reached = own.host, own.port, own.tls_cert, own.tls_key, own.trusted_proxy
        settings = ServerSettings(*reached, own.grace, own.insecure)
        settings.check(bool(keys))
        computed = own.device, own.engine, own.dtype, own.batch_rows, own.trust
        engine = EngineClient(own.runs, EngineSettings(own.name, *computed))
        traces = TraceSettings(own.trace, own.trace_texts)
        app = ServedApp(engine, limits_of(vars(own)), keys, None, own.allow_origin, traces)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    return run_server(app, settings)
