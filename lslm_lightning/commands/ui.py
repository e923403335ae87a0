"""`lslm ui`: open MLflow's web interface for this project's runs."""

from contextlib import suppress

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.experiments.dashboard import check_port, published, serve, show_links
from lslm_lightning.tracking import Store, TrackingError
from lslm_lightning.tracking.database import check_exists
from lslm_lightning.tracking.lost import end_lost_runs

DESCRIPTION = """Serve MLflow's web interface for the runs of this folder, or of
MLFLOW_TRACKING_URI, and print links to views that compare them: a table of scores, intervals and
differing settings, and charts. Ctrl-C ends it.

  lslm ui
  lslm ui --open
  lslm ui --port 5001"""


def main(argv: list[str]) -> int:
    """Serve MLflow's web interface until interrupted. If runs are stored on a tracking server,
    print the server's address instead.
    """
    parser = Parser(prog="lslm ui", description=DESCRIPTION)
    parser.add_argument("--port", type=int, default=5000, metavar="N", help="port of the pages")
    host = "address to listen on; the default is this machine only, and visitors can delete runs"
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help=f"{host} (default %(default)s)"
    )
    opened = "open the first link in your web browser too"
    parser.add_argument("--open", action="store_true", help=opened)
    options = parser.parse_args(argv[1:])
    store = Store()
    if store.is_server:
        print(f"The runs are on a server that has its own pages: {store}", flush=True)
        if store.uri.startswith("http"):
            with suppress(TrackingError):  # the address is all that can be told then
                show_links(
                    str(store).replace("***@", "").rstrip("/"),
                    published(store, store.client()),
                    options.open,
                )
        return 0
    check_exists(store.file)
    check_port(options.host, options.port)
    client = store.client()
    # one line, where it is no store
    everywhere = [
        experiment.experiment_id for experiment in store.request(client.search_experiments)
    ]
    store.request(lambda: end_lost_runs(client, everywhere))
    experiments = published(store, client)
    return serve(
        store,
        options.host,
        options.port,
        lambda address: show_links(address, experiments, options.open),
    )
