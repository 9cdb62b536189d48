"""What breaks each law of the database: the statements that its CHECK, trigger or index must refuse.

Read by test_laws.py, whose walk of the catalog fails where a law has no breaker here, or a breaker has no law. Primary
and unique keys, NOT NULLs and foreign keys are not listed: their breakers are made from the catalog itself.
"""


def _insert(table: str, facts: dict[str, str], changed: dict[str, str]) -> str:
    row = facts | changed
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())})"


def account(**changed: str) -> str:
    return _insert("ledger.account", {"org": "gen_random_uuid()"}, changed)


def grant(**changed: str) -> str:
    facts = {
        "org": "%(org)s",
        "id": "uuidv7()",
        "key": "'another'",
        "source": "'promo'",
        "amount": "5",
        "remaining": "5",
        "effective_at": "now()",
        "expires_at": "now()",
    }
    return _insert("ledger.credit_grant", facts, changed)


def attempt(**changed: str) -> str:
    facts = {
        "org": "%(org)s",
        "source": "%(run)s",
        "at": "now()",
        "item": "77",
        "kind": "'captured'",
        "amount": "1",
        "provider": "'hunter'",
        "tool": "'hunter.email_finder'",
        "outcome": "'succeeded'",
        "cost": "1",
        "maximum": "1",
        "held": "1",
    }
    return _insert("ledger.entry", facts, changed)


def move(**changed: str) -> str:
    facts = {
        "org": "%(org)s",
        "source": "%(grant)s",
        "at": "now()",
        "item": "77",
        "kind": "'expired'",
        "amount": "1",
        "account_seq": "77",
        "available_after": "0",
        "drawn_after": "0",
        "actor": "'system:test'",
    }
    return _insert("ledger.entry", facts, changed)


# Columns that say what was agreed; with them and the entries everything else can be worked out again.
FACTS = {
    "account": "org",
    "credit_grant": "org id key source amount effective_at expires_at paid currency stripe_line stripe_payment",
    "reservation": "org run run_kind member cap estimated_max opened_at",
    "draw": "org run grant_id",
    "entry": "org source at item attempt byok kind amount provider tool outcome cost maximum held account_seq"
    " available_after drawn_after actor reason",
}


def _facts(table: str) -> list[str]:
    changes = [f"UPDATE ledger.{table} SET {column} = {column}" for column in FACTS[table].split()]
    return [*changes, f"DELETE FROM ledger.{table}"]


LEDGER = {
    # ---------------------------------------------------------------- account
    "account.account_signs": [
        "UPDATE ledger.account SET available = available - 1000, expired = expired + 1000",
        "UPDATE ledger.account SET drawn = drawn - 1000, spent = spent + 1000",
    ],
    "account.account_conserves": ["UPDATE ledger.account SET available = available + 1"],
    "account.starts_empty": [
        account(granted="5", available="5"),
        account(account_seq="1", granted="5", available="5"),
        account(available="5", restored="5"),
    ],
    "account.needs_entry": [
        "UPDATE ledger.account SET account_seq = account_seq + 1",
        "UPDATE ledger.account SET granted = granted + 1, available = available + 1",
        "UPDATE ledger.account SET granted = granted + 1, expired = expired + 1",
        "UPDATE ledger.account SET account_seq = account_seq - 1",
    ],
    "account.facts": _facts("account"),
    "account.no_truncate": ["TRUNCATE ledger.account"],
    # ---------------------------------------------------------------- grants
    "credit_grant.grant_id": [grant(id="gen_random_uuid()"), grant(id="'00000000-0000-0000-0000-000000000001'")],
    "credit_grant.grant_source": [grant(source="'a gift'")],
    "credit_grant.grant_amount": [grant(amount="0", remaining="0"), grant(amount="-1", remaining="0")],
    "credit_grant.grant_remaining": [
        "UPDATE ledger.credit_grant SET remaining = -0.0001",
        "UPDATE ledger.credit_grant SET remaining = amount + 0.0001",
    ],
    "credit_grant.grant_owed": [
        "UPDATE ledger.credit_grant SET owed = -0.0001",
        "UPDATE ledger.credit_grant SET owed = amount + 0.0001",
    ],
    "credit_grant.facts": _facts("credit_grant"),
    "credit_grant.no_truncate": ["TRUNCATE ledger.credit_grant"],
    # ---------------------------------------------------------------- reservations and draws
    "reservation.reservation_within_cap": [
        "UPDATE ledger.reservation SET captured = reserved - held + 0.0001",
        "UPDATE ledger.reservation SET held = reserved - captured + 0.0001",
        "UPDATE ledger.reservation SET reserved = cap + 0.0001",
    ],
    "reservation.reservation_signs": [
        "UPDATE ledger.reservation SET captured = -0.0001",
        "UPDATE ledger.reservation SET held = -0.0001",
        "UPDATE ledger.reservation SET needed = -0.0001",
        "UPDATE ledger.reservation SET absorbed = -0.0001",
    ],
    "reservation.facts": _facts("reservation"),
    "reservation.no_truncate": ["TRUNCATE ledger.reservation"],
    "draw.draw_signs": ["UPDATE ledger.draw SET amount = -0.0001"],
    "draw.facts": _facts("draw"),
    "draw.no_truncate": ["TRUNCATE ledger.draw"],
    # ---------------------------------------------------------------- entries
    "entry.entry_source": [
        move(source="overlay(%(grant)s::text placing '4' from 15)::uuid"),
        move(source="overlay(%(grant)s::text placing '0' from 20)::uuid"),
    ],
    "entry.entry_kind": [move(kind="'lost'")],
    "entry.entry_shape": [
        attempt(item="0"),
        attempt(kind="'reserved'"),
        attempt(provider="NULL"),
        attempt(tool="NULL"),
        attempt(outcome="NULL"),
        attempt(outcome="'perhaps'"),
        attempt(account_seq="77", available_after="0", drawn_after="0", actor="'run:1'"),
        move(actor="NULL"),
        move(available_after="NULL"),
        move(drawn_after="NULL"),
        move(account_seq="NULL"),
    ],
    "entry.entry_signs": [
        attempt(amount="-1"),
        attempt(cost="-1"),
        move(amount="-1"),
        move(available_after="-1"),
        move(drawn_after="-1"),
    ],
    "entry.entry_within_hold": [
        attempt(amount="1.0001"),
        attempt(maximum="1.0001"),
        attempt(held="0"),
        attempt(amount="0", maximum="2"),
    ],
    "entry.entry_byok": [attempt(byok="true", amount="0")],
    "entry.append_only": _facts("entry"),
    "entry.no_truncate": [
        "TRUNCATE ledger.entry",
        "DO $$ BEGIN EXECUTE 'TRUNCATE ' || (SELECT min(tableoid)::regclass FROM ledger.entry); END $$",
    ],
    # ---------------------------------------------------------------- time
    "clock_offset.clock_offset_only_row_check": ["INSERT INTO ledger.clock_offset VALUES (false)"],
    "clock_offset.only_grows": [
        "UPDATE ledger.clock_offset SET ahead = ahead - interval '1 microsecond'",
        "DELETE FROM ledger.clock_offset",
    ],
    "clock_offset.no_truncate": ["TRUNCATE ledger.clock_offset"],
}

BILLING = {
    "billing_organization.approval_threshold_not_negative": [
        "UPDATE billing_organization SET approval_threshold = -0.0001"
    ],
    "billing_membership.membership_role_known": ["UPDATE billing_membership SET role = 'emperor'"],
    "billing_invitation.invitation_role_known": ["UPDATE billing_invitation SET role = 'emperor'"],
    "billing_lowbalance.low_balance_threshold_positive": ["UPDATE billing_lowbalance SET threshold = 0"],
    "billing_lowbalance.low_balance_unit_known": ["UPDATE billing_lowbalance SET unit = 'euros'"],
    "billing_keptanswer.kept_answer_fingerprint": ["UPDATE billing_keptanswer SET fingerprint = 'x'"],
    "billing_apikey.key_of_an_org_or_an_agency": [
        "UPDATE billing_apikey SET org_id = NULL WHERE agency_id IS NULL",
        "UPDATE billing_apikey SET org_id = %(org)s WHERE org_id IS NULL",
    ],
    "billing_apikey.key_scopes_known": [
        "UPDATE billing_apikey SET scopes = '{}'",
        "UPDATE billing_apikey SET scopes = '{read,rule}'",
    ],
    "billing_apikey.key_digest_is_a_sha256": ["UPDATE billing_apikey SET digest = prefix"],
    "billing_apikey.key_expires_after_it_was_made": ["UPDATE billing_apikey SET expires_at = created_at"],
    "billing_apikey.key_revoked_by_somebody": [
        "UPDATE billing_apikey SET revoked_by_id = NULL WHERE revoked_at IS NOT NULL",
        "UPDATE billing_apikey SET revoked_by_id = made_by_id WHERE revoked_at IS NULL",
    ],
}

# Of what there may be one at a time, the rows of the test are one that is and one that was.
SOLD = {
    "billing_plan.one_version_of_a_plan_on_sale": ["UPDATE billing_plan SET on_sale = true"],
    "billing_plan.plan_credits_not_negative": ["UPDATE billing_plan SET credits = -0.0001"],
    "billing_pack.pack_credits_positive": ["UPDATE billing_pack SET credits = 0"],
    "billing_price.price_of_a_plan_or_a_pack": [
        "UPDATE billing_price SET plan_id = NULL, interval = 'once'",
        "UPDATE billing_price SET pack_id = '1000-1'",
        "UPDATE billing_price SET interval = 'once' WHERE pack_id IS NULL",
        "UPDATE billing_price SET interval = 'month' WHERE plan_id IS NULL",
    ],
    "billing_customer.one_open_customer_of_an_org": ["UPDATE billing_customer SET closed_at = NULL"],
    "billing_subscription.one_live_subscription_of_an_org": [
        f"UPDATE billing_subscription SET status = '{status}'"
        for status in ("active", "past_due", "trialing", "unpaid", "paused")
    ],
    "billing_payment.no_more_goes_back_than_came": ["UPDATE billing_payment SET gone_back = amount + 1"],
    "billing_planchange.one_open_change_of_an_org": [
        f"UPDATE billing_planchange SET state = '{state}'" for state in ("asked", "unpaid", "scheduled")
    ],
    "billing_purchase.one_open_first_purchase": [
        f"UPDATE billing_purchase SET state = '{state}' WHERE is_plan" for state in ("asked", "open")
    ],
    "billing_purchase.one_open_purchase_of_a_pack": [
        "UPDATE billing_purchase SET state = 'open' WHERE NOT is_plan AND NOT automatic"
    ],
    "billing_purchase.one_automatic_top_up_in_flight": ["UPDATE billing_purchase SET state = 'asked' WHERE automatic"],
    "billing_autotopup.auto_top_up_threshold_positive": ["UPDATE billing_autotopup SET threshold = 0"],
    "billing_autotopup.auto_top_up_maximum_positive": ["UPDATE billing_autotopup SET monthly_max = 0"],
}

RUNS = {
    "runs_tool.tool_price_within_maximum": [
        "UPDATE runs_tool SET price = maximum + 1 WHERE price IS NOT NULL",
        "UPDATE runs_tool SET maximum = NULL WHERE price IS NOT NULL",
        "UPDATE runs_tool SET price = NULL WHERE price IS NOT NULL",
        "UPDATE runs_tool SET price = -1 WHERE price IS NOT NULL",
    ],
    "runs_tool.tool_success_rate_is_a_share": [
        "UPDATE runs_tool SET success_rate = 1.5",
        "UPDATE runs_tool SET success_rate = -0.5",
    ],
    "runs_provider.provider_may_be_called": ["UPDATE runs_provider SET calls_per_second = 0"],
    "runs_limit.limit_tokens_not_negative": ["UPDATE runs_limit SET tokens = -1"],
    "runs_limit.limit_opened_with_time": [
        "UPDATE runs_limit SET openings = 0, open_until = now()",
        "UPDATE runs_limit SET openings = 1, open_until = NULL",
        "UPDATE runs_limit SET openings = 0, open_until = NULL, probing_until = now()",
    ],
    "runs_integration.integration_mode_known": ["UPDATE runs_integration SET mode = 'free'"],
    "runs_capability.capability_has_a_tool": ["UPDATE runs_capability SET cascade = '{}'"],
    "runs_workflowtemplate.template_has_a_tool": ["UPDATE runs_workflowtemplate SET cascade = '{}'"],
    "runs_column.column_has_a_tool": ["UPDATE runs_column SET cascade = '{}'"],
    "runs_run.run_capped_where_managed": ["UPDATE runs_run SET cap = NULL"],
    "runs_run.run_smoke_test_is_free": [
        "UPDATE runs_run SET mode = 'smoke_test'",
        "UPDATE runs_run SET mode = 'smoke_test', unit = 0",
        "UPDATE runs_run SET mode = 'dry_run'",
    ],
    "runs_run.run_has_rows": ["UPDATE runs_run SET rows = 0"],
    "runs_run.run_paused_for_a_reason": [
        "UPDATE runs_run SET pause_reason = 'by_user'",
        "UPDATE runs_run SET status = 'paused'",
    ],
    "runs_run.run_waits_unapproved": [
        "UPDATE runs_run SET status = 'awaiting_approval', approved_by_id = member_id",
        "UPDATE runs_run SET status = 'awaiting_approval', started_at = now()",
    ],
    "runs_run.run_ended_at_its_end": [
        "UPDATE runs_run SET ended_at = now()",
        "UPDATE runs_run SET status = 'succeeded'",
        "UPDATE runs_run SET status = 'lost'",
    ],
    "runs_run.run_fills_or_is_outside": [
        "UPDATE runs_run SET kind = 'outside'",
        "UPDATE runs_run SET table_id = NULL",
        "UPDATE runs_run SET column_id = NULL",
    ],
    "runs_item.item_of_a_row_or_outside": [
        "UPDATE runs_item SET ref = ''",
        "UPDATE runs_item SET row_id = NULL",
    ],
    "runs_item.item_numbered_from_1": ["UPDATE runs_item SET number = 0 WHERE number = 1"],
    "runs_item.item_leased_while_running": [
        "UPDATE runs_item SET owner = NULL WHERE status = 'running'",
        "UPDATE runs_item SET lease_until = NULL WHERE status = 'running'",
        "UPDATE runs_item SET status = 'succeeded' WHERE status = 'running'",
        "UPDATE runs_item SET status = 'running' WHERE status = 'pending'",
    ],
    "runs_item.item_unanswered_while_running": ["UPDATE runs_item SET unanswered_at = now() WHERE status = 'pending'"],
    "runs_attempt.attempt_settled_with_outcome": [
        "UPDATE runs_attempt SET outcome = 'succeeded' WHERE settled_at IS NULL",
        "UPDATE runs_attempt SET settled_at = now() WHERE outcome IS NULL",
    ],
    "runs_attempt.one_open_attempt_an_item": [
        """INSERT INTO runs_attempt (run_id, item, number, provider, tool, byok, sent_at, reference, reason)
           SELECT run_id, item, number + 1, provider, tool, byok, sent_at, '', ''
           FROM runs_attempt WHERE outcome IS NULL""",
    ],
}

BREAKERS: dict[str, list[str]] = LEDGER | BILLING | SOLD | RUNS
