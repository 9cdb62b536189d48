"""What went wrong: a problem of RFC 9457, as the server says it or of our own, with its exit code and the way on."""

from typing import Any

from oxygen_cli import exact

ELSE, USAGE, SIGNED_OUT, FORBIDDEN, REFUSED, UNREACHED, INTERRUPTED = 1, 2, 3, 4, 5, 6, 130

BY_STATUS = {401: SIGNED_OUT, 403: FORBIDDEN, 404: FORBIDDEN, 402: REFUSED, 409: REFUSED, 429: UNREACHED}

# What to do next, where the server cannot know how its caller speaks to it.
WAYS_ON = {
    "cap_required": "Add --max-credits N. `oxygen columns run TABLE COLUMN` without it estimates how many.",
    "cap_reached": "`oxygen table-runs continue RUN --max-credits N` runs the remaining rows under a new cap.",
    "insufficient_credits": "`oxygen billing balance` shows what is available and when more comes.",
    "expired_key": "`oxygen login` stores another.",
    "invalid_key": "`oxygen login` stores another.",
    "mistyped_key": "`oxygen login` stores another.",
    "revoked_key": "`oxygen login` stores another.",
    "organization_required": "Name it with --org, or in OXYGEN_ORG.",
    "server_error": "Trying again may help; if not, tell whoever runs the server.",
}


class Problem(Exception):
    """Ends the command. `body` is what --json prints; `note` says more to people."""

    def __init__(self, body: dict[str, Any], exit_code: int, note: str = "") -> None:
        super().__init__(body.get("detail") or body.get("title"))
        self.body = body
        self.exit_code = exit_code
        self.note = note

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))

    def sentences(self) -> str:
        """Say it to people: what is wrong, where, and the way on."""
        lines = [str(self)]
        for error in self.body.get("errors") or []:
            place = str(error.get("pointer") or error.get("parameter") or "").removeprefix("#/")
            detail = str(error.get("detail") or "")
            if place and detail and detail != lines[0]:
                lines.append(f"{place}: {detail}")
        lines += [line for line in (self.note, WAYS_ON.get(self.code)) if line]
        if self.exit_code in (ELSE, UNREACHED) and self.body.get("request_id"):
            lines.append(f"The server calls this request {self.body['request_id']}.")
        return "\n".join(lines)


def ours(code: str, title: str, detail: str, exit_code: int, note: str = "") -> Problem:
    """Make a problem that no server told."""
    return Problem({"type": "about:blank", "title": title, "code": code, "detail": detail}, exit_code, note)


def told(status: int, content: bytes) -> Problem:
    """Read what the server answered instead of data. Exit codes: PRODUCT.md §7."""
    try:
        body = exact.read(content)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "code" not in body:
        detail = f"The server answered {status}, and not in the way of Oxygen. Is its address right?"
        made = ours("unreadable_answer", "Unreadable answer", detail, ELSE)
        body = made.body | {"status": status}
    return Problem(body, _exit_code(status, str(body["code"])))


def _exit_code(status: int, code: str) -> int:
    """422 is a rule's refusal, unless what was sent is not what the operation takes."""
    if status == 422 and code != "invalid" and not code.startswith("invalid_"):
        return REFUSED
    return UNREACHED if status >= 500 else BY_STATUS.get(status, ELSE)
