"""ETags of what is read, so that whoever polls is told in a few bytes that nothing has changed."""

from hashlib import sha256
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import get_conditional_response

from oxygen_site.api.answers import written


def tagged(request: HttpRequest, response: HttpResponse, answer: Any) -> HttpResponse:
    """Tag an answer by what it says, not by when; answer 304 to whoever has seen it."""
    said = answer.get("data") if isinstance(answer, dict) else answer
    if isinstance(said, dict):
        said = {name: value for name, value in said.items() if name != "as_of"}
    tag = f'"{sha256(written(said).encode()).hexdigest()[:32]}"'
    response["ETag"], response["Cache-Control"] = tag, "private, no-cache"
    answered = get_conditional_response(request, etag=tag, response=response)
    return answered if isinstance(answered, HttpResponse | HttpResponseNotModified) else response
