"""What happened, as Stripe tells it: events, and the endpoints that want to hear of them."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from sandbox.stripe import API_VERSION
from sandbox.stripe.answers import LISTING, page, rendered
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.refusals import Refusal, missing, unknown_to_the_sandbox
from sandbox.stripe.state import Json, World


def tell(world: World, name: str, thing: Json, before: Json | None = None) -> None:
    """Write an event down with a snapshot of the object, and put it in the post for every endpoint that wants it."""
    after = rendered(thing)
    data: Json = {"object": after}
    if before is not None:
        data["previous_attributes"] = {
            each: before.get(each) for each in after if each not in before or before[each] != after[each]
        }
    event = world.make(
        "event",
        type=name,
        api_version=API_VERSION,
        data=data,
        request={"id": world.caller.id, "idempotency_key": world.caller.key},
    )
    for endpoint in world.where("webhook_endpoint", status="enabled"):
        if "*" in endpoint["enabled_events"] or name in endpoint["enabled_events"]:
            event["pending_webhooks"] += 1
            world.outgoing.append((event["id"], endpoint["id"]))


@contextmanager
def told(world: World, name: str, thing: Json) -> Iterator[None]:
    """Tell of what the block changes about an object, if it changes anything."""
    before = rendered(thing)
    yield
    if rendered(thing) != before:
        tell(world, name, thing, before)


@operation("GET", "/v1/events", f"{LISTING} type types:list created:range delivery_success:bool")
def events(world: World, asked: Json) -> Json:
    if "type" in asked and "types" in asked:
        raise Refusal("You may only specify one of these parameters: type, types.", param="types")
    wanted = asked.get("types") or ([asked["type"]] if "type" in asked else [])
    rows = [each for each in world.all("event") if not wanted or any(_is(each["type"], name) for name in wanted)]
    if "delivery_success" in asked:
        rows = [each for each in rows if (each["pending_webhooks"] == 0) == asked["delivery_success"]]
    return page(rows, asked, "/v1/events")


def _is(event: str, name: str) -> bool:
    return event.startswith(name[:-1]) if name.endswith("*") else event == name


retrieval("event", "/v1/events/{id}")


@operation("POST", "/v1/webhook_endpoints", "url! enabled_events!:list api_version description metadata:map")
def open_endpoint(world: World, asked: Json) -> Json:
    if asked.get("api_version", API_VERSION) != API_VERSION:
        raise Refusal(f"Invalid API version: the sandbox speaks {API_VERSION} only.", param="api_version")
    _check_url(asked["url"])
    endpoint = world.make("webhook_endpoint", api_version=asked.get("api_version"), url=asked["url"])
    endpoint["enabled_events"] = asked["enabled_events"]
    merged(endpoint, asked, "description")
    world.secrets[endpoint["id"]] = f"whsec_{secrets.token_hex(16)}"
    return endpoint | {"secret": world.secrets[endpoint["id"]]}  # shown this once


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise Refusal(
            "Invalid URL: An explicit scheme (such as https) must be provided.", code="url_invalid", param="url"
        )
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise unknown_to_the_sandbox("any address but this machine's; it posts to loopback only", "url")


@operation("GET", "/v1/webhook_endpoints", LISTING)
def endpoints(world: World, asked: Json) -> Json:
    return page(world.all("webhook_endpoint"), asked, "/v1/webhook_endpoints")


retrieval("webhook_endpoint", "/v1/webhook_endpoints/{webhook_endpoint}")


@operation(
    "POST",
    "/v1/webhook_endpoints/{webhook_endpoint}",
    "url enabled_events:list description disabled:bool metadata:map",
)
def change_endpoint(world: World, asked: Json, id: str) -> Json:
    endpoint = world.get("webhook_endpoint", id)
    _check_url(str(asked.get("url", endpoint["url"])))
    merged(endpoint, asked, "url", "enabled_events", "description")
    if "disabled" in asked:
        endpoint["status"] = "disabled" if asked["disabled"] else "enabled"
    return endpoint


@operation("DELETE", "/v1/webhook_endpoints/{webhook_endpoint}")
def close_endpoint(world: World, asked: Json, id: str) -> Json:
    endpoint = world.get("webhook_endpoint", id)
    world.drop(endpoint)
    return {"id": id, "object": "webhook_endpoint", "deleted": True}


def event_named(world: World, id: str) -> Json:
    event = world.find(id)
    if event is None or event["object"] != "event":
        raise missing("event", id, "id")
    return event
