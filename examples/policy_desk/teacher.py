"""A stand-in for a teacher: an OpenAI-compatible endpoint on this machine that knows the returns desk's rules.

    python examples/policy_desk/teacher.py [--port 8123] [--faults 0.1]

It finds the mail in the prompt, and answers with the reasons that the desk's program has for it. As models do, it makes
faults in a share of its answers: it gives the label away, or argues about another mail. It is for trying
`dhrd rationales` without a key and without costs; it knows the first rows of `policy_desk` with 2 hops, nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dhrd.data.policy_desk import PolicyDesk
from dhrd.rationales.teacher.prompt import SENTINEL

NUM_KNOWN, HOPS = 2000, 2


class Teacher:
    """Answers to prompts.

    Args:
        faults: The share of answers that have a fault.
    """

    def __init__(self, faults: float) -> None:
        self.rows = {str(row["input_text"]): row for row in PolicyDesk(rows=NUM_KNOWN, hops=HOPS).generate()}
        self.faults = faults

    def answer(self, prompt: str) -> str:
        """The explanation, the sentinel and the label for the mail that a prompt begins with."""
        mail = prompt.partition("\n\n")[0]
        if (row := self.rows.get(mail)) is None:
            return f"I do not know this mail.\n{SENTINEL}\nunknown"
        rng = random.Random(mail)
        label, explanation = str(row["label"]), str(row["rationale"])
        if rng.random() < self.faults:
            gives_away = f"{explanation} So the answer is {label}."
            explanation = rng.choice([gives_away, str(rng.choice(list(self.rows.values()))["rationale"])])
        return f"{explanation}\n{SENTINEL}\n{label}"


def completion(body: dict[str, Any], answer: str) -> dict[str, Any]:
    """What the endpoint `chat/completions` returns."""
    prompt_tokens, completion_tokens = len(str(body["messages"])) // 4, len(answer) // 4
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    message = {"role": "assistant", "content": answer}
    return {
        "id": "stand-in",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {**usage, "total_tokens": prompt_tokens + completion_tokens},
    }


def handler(teacher: Teacher) -> type[BaseHTTPRequestHandler]:
    """What answers requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = teacher.answer(body["messages"][0]["content"])
            content = json.dumps(completion(body, answer)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Server(ThreadingHTTPServer):
    """Lets as many connections wait as a client opens at once: the default is five, and a busy machine drops others."""

    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--faults", type=float, default=0.1)
    options = parser.parse_args()
    server = Server(("127.0.0.1", options.port), handler(Teacher(options.faults)))
    print(f"a teacher answers on http://127.0.0.1:{options.port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
