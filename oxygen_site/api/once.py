"""Writes happen once for each Idempotency-Key, and whoever sends one again gets the first answer.

`write` stands right above an operation. The whole operation is one intention, of which the intentions of the verbs that
it calls are steps, and its answer is kept in that transaction: both are there, or neither. Who comes second waits for
the first. A refusal keeps nothing, so its key may be used again once what was wrong is put right.
"""

import re
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from typing import Any, NamedTuple

import psycopg
from django.db import OperationalError
from django.http import HttpResponse
from ninja.utils import contribute_operation_callback

from billing.access import OrgRequest
from billing.models import KeptAnswer
from oxygen_site.api.answers import written
from oxygen_site.clock import clock
from oxygen_site.transactions import Booked, Refused, intention

KEY = re.compile(r"[\x21-\x7e]{1,255}")
MARK = "x-once"  # how an operation tells the description of the API that it takes a key


class _Kept(NamedTuple):
    status: int
    text: str
    again: bool


def write(status: int = 200) -> Callable[[Callable[..., Any]], Callable[..., HttpResponse]]:
    """Do an operation once a key. It answers its `Data`, or (status, Data) where the status is another than usual.

    Refused: idempotency_key_required, invalid_idempotency_key (400), in_progress (409), idempotency_key_reused (422).
    """

    def once(operation: Callable[..., Any]) -> Callable[..., HttpResponse]:
        @wraps(operation)
        def answered(request: OrgRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            key, fingerprint = _key(request), _fingerprint(request)

            def whole() -> _Kept:
                kept, first = _claimed(request, key, fingerprint)
                if not first:
                    return _again(kept, fingerprint)
                try:
                    answer = operation(request, *args, **kwargs)
                except Booked:
                    kept.delete()
                    raise
                kept.status, answer = answer if isinstance(answer, tuple) else (status, answer)
                kept.answer = written(answer.model_dump())
                kept.save(update_fields=["status", "answer"])
                return _Kept(kept.status, kept.answer, False)

            done = intention(whole, certain=True, of_others=True)
            response = HttpResponse(done.text, status=done.status, content_type="application/json; charset=utf-8")
            if done.again:
                response["Idempotent-Replayed"] = "true"
            return response

        contribute_operation_callback(answered, _marked)
        return answered

    return once


def _marked(operation: Any) -> None:
    operation.openapi_extra = {**(operation.openapi_extra or {}), MARK: True}


def _key(request: OrgRequest) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        sentence = "Send a header Idempotency-Key with this write: any text that is new for each new intention."
        raise Refused("idempotency_key_required", sentence, 400)
    if not KEY.fullmatch(key):
        sentence = "An Idempotency-Key has 1 to 255 letters, digits and signs, and no spaces."
        raise Refused("invalid_idempotency_key", sentence, 400)
    return key


def _fingerprint(request: OrgRequest) -> str:
    asked = f"{request.method} {request.get_full_path()}\n".encode()
    return sha256(asked + request.body).hexdigest()


def _claimed(request: OrgRequest, key: str, fingerprint: str) -> tuple[KeptAnswer, bool]:
    facts = {"fingerprint": fingerprint, "kept_at": clock()}
    try:
        return KeptAnswer.objects.get_or_create(org=request.org, key=key, defaults=facts)
    except OperationalError as failure:
        if isinstance(failure.__cause__, psycopg.errors.LockNotAvailable):
            sentence = "The same write is still being done. Ask again in a few seconds with the same Idempotency-Key."
            raise Refused("in_progress", sentence, 409) from failure
        raise


def _again(kept: KeptAnswer, fingerprint: str) -> _Kept:
    if kept.fingerprint != fingerprint or kept.status is None:
        sentence = "This Idempotency-Key was used for another write. Make a new key for each new intention."
        raise Refused("idempotency_key_reused", sentence, 422)
    return _Kept(kept.status, kept.answer, True)
