"""The customer portal: its configurations and sessions."""

import copy

from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.events import tell, told
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.refusals import unknown_to_the_sandbox
from sandbox.stripe.state import Json, World

FEATURES = (
    "features{invoice_history{enabled!:bool} payment_method_update{enabled!:bool}"
    " customer_update{enabled!:bool allowed_updates:list} subscription_cancel{enabled!:bool}"
    " subscription_update{enabled!:bool}}"
    " business_profile{headline privacy_policy_url terms_of_service_url} default_return_url metadata:map name"
)
CONFIGURATIONS = "/v1/billing_portal/configurations"


@operation("POST", CONFIGURATIONS, FEATURES)
def configure(world: World, asked: Json) -> Json:
    configuration = _set(world, world.draft("billing_portal.configuration"), asked)
    world.kinds.setdefault("billing_portal.configuration", {})[configuration["id"]] = configuration
    tell(world, "billing_portal.configuration.created", configuration)
    return configuration


def _set(world: World, configuration: Json, asked: Json) -> Json:
    for name, wanted in (asked.get("features") or {}).items():
        if wanted["enabled"] and name in ("subscription_cancel", "subscription_update"):
            raise unknown_to_the_sandbox(f"the portal's {name}", f"features[{name}]")
        configuration["features"][name] |= wanted
    configuration["business_profile"] |= asked.get("business_profile") or {}
    merged(configuration, asked, "default_return_url", "name", "active")
    configuration["updated"] = world.real()
    return configuration


@operation("POST", f"{CONFIGURATIONS}/{{configuration}}", f"active:bool {FEATURES}")
def change(world: World, asked: Json, id: str) -> Json:
    configuration = world.get("billing_portal.configuration", id)
    with told(world, "billing_portal.configuration.updated", configuration):
        return _set(world, configuration, asked)


retrieval("billing_portal.configuration", f"{CONFIGURATIONS}/{{configuration}}")


@operation("GET", CONFIGURATIONS, f"{LISTING} active:bool is_default:bool")
def configurations(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("active", "is_default") if name in asked}
    return page(world.where("billing_portal.configuration", **facts), asked, CONFIGURATIONS)


def _default(world: World) -> Json:
    """The configuration that an account has without making one."""
    for each in world.where("billing_portal.configuration", is_default=True):
        return each
    made = world.make("billing_portal.configuration", is_default=True)
    for name in ("invoice_history", "payment_method_update"):
        made["features"][name]["enabled"] = True
    return made


@operation(
    "POST",
    "/v1/billing_portal/sessions",
    "customer! return_url configuration locale flow_data{type!:(payment_method_update)"
    " after_completion{type!:(redirect|portal_homepage|hosted_confirmation) redirect{return_url!}}}",
)
def open_session(world: World, asked: Json) -> Json:
    customer = world.living_customer(asked["customer"])
    chosen = asked.get("configuration")
    configuration = world.get("billing_portal.configuration", chosen, "configuration") if chosen else _default(world)
    session = world.make(
        "billing_portal.session",
        configuration=configuration["id"],
        customer=customer["id"],
        return_url=asked.get("return_url") or configuration["default_return_url"],
    )
    merged(session, asked, "locale")
    if flow := asked.get("flow_data"):
        after = flow.get("after_completion") or {"type": "portal_homepage"}
        session["flow"] = {
            "type": flow["type"],
            "after_completion": {
                "type": after["type"],
                "hosted_confirmation": None,
                "redirect": copy.deepcopy(after.get("redirect")),
            },
            **dict.fromkeys(
                ("customer_update", "subscription_cancel", "subscription_update", "subscription_update_confirm")
            ),
        }
    session["url"] = f"{world.base}/p/session/{session['id']}"
    tell(world, "billing_portal.session.created", session)
    return session
