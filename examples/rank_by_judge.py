"""Have a judge rank responses: any server that speaks the OpenAI protocol. By default a small one of our own, here.

With a real one: python examples/rank_by_judge.py --base-url http://127.0.0.1:8000/v1 --model NAME
"""

from __future__ import annotations

import argparse
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import tunalm

TEXTS = ["Paris.", "It is Paris, the capital since 987.", "Lyon.", "That depends."]
ROW = tunalm.Instruction(id="1", instruction="Name the capital of France.").with_responses(
    [tunalm.Response(text=text) for text in TEXTS]
)
CRITERIA = ("evidence", "accuracy", "detail", "relevance_or_clarity")
SHOWN = re.compile(r'--- begin response (\w+) \w+ ---\n(".*")\n')


class SmallJudge(BaseHTTPRequestHandler):
    """A response is right if it names Paris, and has a mark for every figure in it."""

    def do_POST(self) -> None:
        """Answer a chat completion."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = SHOWN.findall(asked["messages"][-1]["content"])
        marks = {label: (5 * ("Paris" in text), len(re.findall(r"\d", text)), 3) for label, text in shown}
        scores = {label: dict(zip(CRITERIA, ("Read.", *marks[label]), strict=True)) for label in marks}
        order = sorted(marks, key=lambda label: -sum(marks[label]))
        said = json.dumps({"kind": "close-ended", "reference": "Paris.", "scores": scores, "ranking": order})
        body = {"choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url")
    parser.add_argument("--model", default="judge")
    given = parser.parse_args()
    server = HTTPServer(("127.0.0.1", 0), SmallJudge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = given.base_url or f"http://127.0.0.1:{server.server_port}/v1"
    judge = tunalm.Judge(base_url=address, model=given.model)
    for row in tunalm.rank([ROW], by=judge, cache="runs/rank_by_judge.sqlite"):
        print(row.failure or "\n".join(f"{each.rank}  {each.score}  {each.text}" for each in row.responses))


if __name__ == "__main__":
    main()
