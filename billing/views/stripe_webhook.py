"""Where Stripe tells us things. What is signed is stored once; everything else is 400 and leaves nothing behind."""

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.payments import gateway, inbox

NO_EVENT = "This is no event of Stripe's."


@csrf_exempt  # its signature says who it is from
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    try:
        event = gateway.read_event(_body(request), request.headers.get("Stripe-Signature", ""))
    except gateway.BadEvent:
        return HttpResponse(NO_EVENT, status=400, content_type="text/plain")
    inbox.receive(event)
    return HttpResponse(status=200)


def _body(request: HttpRequest) -> bytes:
    """Read what came, and nothing of what says beforehand that it is too long."""
    told = request.headers.get("Content-Length", "")
    if told.isdigit() and int(told) > gateway.LARGEST_EVENT:
        raise gateway.BadEvent("too large")
    try:
        return request.body
    except (RequestDataTooBig, UnreadablePostError) as error:
        raise gateway.BadEvent(str(error)) from error
