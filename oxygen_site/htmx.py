"""Pages and pieces of pages: the one way a view answers, and what every answer says about itself.

Any view may use `page`. The law: one view answers a plain request with the whole page and htmx with the fragment it
asked for, the fragment's name being the element's id. Signed-in pages are nobody else's: not cached, not indexed.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

type View = Callable[[HttpRequest], HttpResponseBase]


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    fragment: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Answer with the whole page, or with its partial `fragment` where htmx asks for the element of that id."""
    if fragment and _asks_for(request, fragment):
        template = f"{template}#{fragment}"
    return render(request, template, context, status=status)


def _asks_for(request: HttpRequest, fragment: str) -> bool:
    htmx = request.htmx  # type: ignore[attr-defined]
    if not htmx or htmx.history_restore_request:
        return False
    # htmx 2 sends the id alone, htmx 4 the element's name before it.
    return (htmx.target or "").rpartition("#")[2] == fragment


def page_headers(get_response: View) -> View:
    """Tell caches that htmx gets another body at the same address, and keep signed-in pages out of them."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        patch_vary_headers(response, ["HX-Request", "HX-Target"])
        if request.user.is_authenticated:
            if not response.has_header("Cache-Control"):
                patch_cache_control(response, private=True, no_cache=True)
            response["X-Robots-Tag"] = "noindex"
        return response

    return middleware


def login_wall(get_response: View) -> View:
    """Turn a redirect to the sign-in page into a whole-page move where htmx asked for a piece."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        login = resolve_url(settings.LOGIN_URL)
        htmx = request.htmx  # type: ignore[attr-defined]
        if htmx and response.status_code == 302 and response["Location"].partition("?")[0] == login:
            return HttpResponseClientRedirect(f"{login}?{urlencode({'next': htmx.current_url_abs_path or '/'})}")
        return response

    return middleware
