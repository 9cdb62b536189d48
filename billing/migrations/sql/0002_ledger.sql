-- The credit ledger: tables, laws and verbs. PostgreSQL 18 or newer. docs/money.md says it in prose.
--
-- A run's reservation is a row of its own, carved out of the account once, at the start, with the grants it draws on.
-- Attempts settle against the reservation, never against the account: one function call, one commit for a whole batch.
--
-- One lock order, everywhere: account -> attempts' entries by (source, item, attempt) -> reservation -> grants and draws ->
-- usage rows by key. Every verb but settle, settle_slow, admit and pause begins by locking the account, and writes its
-- entries and moves its grants under that lock: nobody else writes those rows. Those four never touch the account.
-- One settle per transaction: two would break the order.
--
-- Refusals: LG001 the run is closed, or there is no such run or account · LG002 append-only, or a balance moved without
-- an entry · LG003 the same key with other content · LG004 items in flight · LG005 the clock would turn back.
-- What a caller may be short of is returned, not raised.
CREATE SCHEMA ledger;


-- ---------------------------------------------------------------- time

-- Business time: the database's clock plus an offset that only grows. Zero in production; the demo and tests move it.
CREATE TABLE ledger.clock_offset (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  ahead    interval NOT NULL DEFAULT '0'
);
INSERT INTO ledger.clock_offset DEFAULT VALUES;

CREATE FUNCTION ledger.clock() RETURNS timestamptz LANGUAGE sql AS $$
  SELECT clock_timestamp() + ahead FROM ledger.clock_offset $$;

-- A UUIDv7 in business time: of a run, a grant, an adjustment.
CREATE FUNCTION ledger.new_id() RETURNS uuid LANGUAGE sql AS $$
  SELECT uuidv7(ahead) FROM ledger.clock_offset $$;

-- The day an instant falls on for an organization.
CREATE FUNCTION ledger.local_day(p_at timestamptz, p_zone text) RETURNS date LANGUAGE sql IMMUTABLE AS $$
  SELECT (p_at AT TIME ZONE p_zone)::date $$;


-- ---------------------------------------------------------------- tables

-- Every statement reads the CHECKs of its table anew: constants stand as they are kept ('0', '{a,b}'), for a bare 0 or an
-- IN (…) would be cast and folded each time, a tenth of what a small settle costs.

CREATE TABLE ledger.account (                        -- made with its organization
  org          uuid PRIMARY KEY,
  zone         text NOT NULL DEFAULT 'UTC',
  account_seq  bigint NOT NULL DEFAULT 0,            -- of the last entry that moved this row; gapless
  granted      numeric(18,4) NOT NULL DEFAULT 0,
  available    numeric(18,4) NOT NULL DEFAULT 0,
  drawn        numeric(18,4) NOT NULL DEFAULT 0,     -- all that open runs took, what they captured included
  spent        numeric(18,4) NOT NULL DEFAULT 0,     -- captured by closed runs
  expired      numeric(18,4) NOT NULL DEFAULT 0,
  clawed_back  numeric(18,4) NOT NULL DEFAULT 0,
  restored     numeric(18,4) NOT NULL DEFAULT 0,
  adjusted     numeric(18,4) NOT NULL DEFAULT 0,
  CONSTRAINT account_signs CHECK (available >= '0' AND drawn >= '0'),
  CONSTRAINT account_conserves CHECK (granted = available + drawn + spent + expired + clawed_back - restored + adjusted)
) WITH (fillfactor = 50);                            -- room on the page, so that updates stay HOT

CREATE TABLE ledger.credit_grant (
  org           uuid NOT NULL,
  id            uuid NOT NULL,
  key           text NOT NULL,                       -- made from facts: an invoice line, an org and month
  source        text NOT NULL,
  amount        numeric(18,4) NOT NULL,
  effective_at  timestamptz NOT NULL,                -- its month's start, or the instant it was paid for
  expires_at    timestamptz NOT NULL,
  paid          numeric(18,4),                       -- what was paid for it, where something was
  currency      text,
  stripe_line   text,
  stripe_payment text,
  remaining     numeric(18,4) NOT NULL,
  burned        numeric(18,4) NOT NULL DEFAULT 0,    -- captured by closed runs
  expired       numeric(18,4) NOT NULL DEFAULT 0,
  owed          numeric(18,4) NOT NULL DEFAULT 0,    -- what refunds and disputes ask back, as known now
  clawed_back   numeric(18,4) NOT NULL DEFAULT 0,
  restored      numeric(18,4) NOT NULL DEFAULT 0,
  adjusted      numeric(18,4) NOT NULL DEFAULT 0,
  entries       int NOT NULL DEFAULT 0,              -- entries after the first; the next one's item number
  open          boolean GENERATED ALWAYS AS (remaining > 0) STORED,  -- for the indexes: remaining itself in them would defeat HOT
  PRIMARY KEY (org, id),
  CONSTRAINT grant_key UNIQUE (org, key),
  CONSTRAINT grant_id CHECK (uuid_extract_version(id) IS NOT DISTINCT FROM 7),
  CONSTRAINT grant_source CHECK (source = ANY ('{plan_refill,plan_upgrade,top_up,promo,adjustment}')),
  CONSTRAINT grant_amount CHECK (amount > '0'),
  CONSTRAINT grant_remaining CHECK (remaining BETWEEN '0' AND amount),
  CONSTRAINT grant_owed CHECK (owed BETWEEN '0' AND amount)
) WITH (fillfactor = 70);
CREATE INDEX credit_grant_burn ON ledger.credit_grant (org, expires_at, effective_at, key) WHERE open;
CREATE INDEX credit_grant_due ON ledger.credit_grant (expires_at) WHERE open;  -- for the job that books expiry within a minute

CREATE TABLE ledger.reservation (
  org           uuid NOT NULL,
  run           uuid NOT NULL,
  run_kind      text NOT NULL,
  member        uuid NOT NULL,
  cap           numeric(18,4) NOT NULL,
  estimated_max numeric(18,4) NOT NULL,              -- every row at its maximum, at the start
  reserved      numeric(18,4) NOT NULL,              -- what the run has drawn and not given back, captured included
  captured      numeric(18,4) NOT NULL DEFAULT 0,
  held          numeric(18,4) NOT NULL DEFAULT 0,    -- holds of items in flight
  needed        numeric(18,4) NOT NULL,              -- maxima of rows not begun
  absorbed      numeric(18,4) NOT NULL DEFAULT 0,    -- billed by providers above what could be charged
  paused        boolean NOT NULL DEFAULT false,
  conflicts     int NOT NULL DEFAULT 0,              -- attempts settled again with other content
  give_backs    int NOT NULL DEFAULT 0,
  opened_at     timestamptz NOT NULL,
  closed_at     timestamptz,
  PRIMARY KEY (org, run),
  CONSTRAINT reservation_within_cap CHECK (captured + held <= reserved AND reserved <= cap),
  CONSTRAINT reservation_signs CHECK (captured >= '0' AND held >= '0' AND needed >= '0' AND absorbed >= '0')
) WITH (fillfactor = 50);
CREATE INDEX reservation_open ON ledger.reservation (org) WHERE closed_at IS NULL;

-- What a run has drawn from which grant; after the close, what it burned of it.
CREATE TABLE ledger.draw (
  org uuid NOT NULL, run uuid NOT NULL, grant_id uuid NOT NULL,
  amount numeric(18,4) NOT NULL,
  PRIMARY KEY (org, run, grant_id),
  CONSTRAINT draw_signs CHECK (amount >= '0')
);

-- The ledger. Its primary key is the idempotency key and, source being a UUIDv7, the partition key:
--   reserve (run, 0) · attempt (run, item, step * 16 + try) · n-th give-back (run, -1 - n) · close (run, -1)
--   grant (grant, 0) · its later entries (grant, n) · adjustment (a UUIDv7 made with the form that asks, 0)
CREATE TABLE ledger.entry (
  org         uuid NOT NULL,
  source      uuid NOT NULL,
  at          timestamptz NOT NULL,
  item        int NOT NULL,
  attempt     smallint NOT NULL DEFAULT 0,
  byok        boolean NOT NULL DEFAULT false,
  kind        text NOT NULL,
  amount      numeric(18,4) NOT NULL,                -- what moved
  -- of an attempt only
  provider    text,
  tool        text,
  outcome     text,
  cost        numeric(18,4) NOT NULL DEFAULT 0,      -- what the provider billed; cost - amount was absorbed
  maximum     numeric(18,4) NOT NULL DEFAULT 0,      -- its tool's
  held        numeric(18,4) NOT NULL DEFAULT 0,      -- the part of the hold set free
  -- of what moves the account only
  account_seq bigint,
  available_after numeric(18,4),
  drawn_after numeric(18,4),
  actor       text,                                  -- an attempt's actor is its run
  reason      text,                                  -- an attempt's reason is its outcome
  PRIMARY KEY (org, source, item, attempt),
  CONSTRAINT entry_source CHECK (uuid_extract_version(source) IS NOT DISTINCT FROM 7),
  CONSTRAINT entry_kind CHECK (kind = ANY ('{granted,reserved,captured,released,expired,clawed_back,restored,adjusted}')),
  -- an attempt, or a move of the account: never both, never neither
  CONSTRAINT entry_shape CHECK (CASE WHEN account_seq IS NULL
    THEN item > 0 AND kind = ANY ('{captured,released}') AND provider IS NOT NULL AND tool IS NOT NULL AND outcome IS NOT NULL
     AND outcome = ANY ('{succeeded,no_result,failed_before_billing,failed_after_billing,unknown}')
    ELSE outcome IS NULL AND actor IS NOT NULL AND available_after IS NOT NULL AND drawn_after IS NOT NULL END),
  CONSTRAINT entry_signs CHECK (amount >= '0' AND cost >= '0' AND (account_seq IS NULL OR available_after >= '0' AND drawn_after >= '0')),
  -- no attempt can take more than its hold; a try that is followed by another frees nothing and costs nothing
  CONSTRAINT entry_within_hold CHECK (amount = '0' AND held = '0' OR amount <= maximum AND maximum <= held OR account_seq IS NOT NULL),
  CONSTRAINT entry_byok CHECK (NOT byok OR maximum = '0')
) PARTITION BY RANGE (source);
CREATE INDEX entry_feed ON ledger.entry (org, at);  -- ascending: appends at the right edge
CREATE INDEX entry_account ON ledger.entry (org, account_seq) WHERE account_seq IS NOT NULL;

-- Usage, kept in the settling transaction, in days of the organization's zone.
CREATE TABLE ledger.usage_by_tool (
  org uuid NOT NULL, day date NOT NULL, provider text NOT NULL, tool text NOT NULL, byok boolean NOT NULL, outcome text NOT NULL,
  credits numeric(18,4) NOT NULL, calls bigint NOT NULL,
  PRIMARY KEY (org, day, provider, tool, byok, outcome)
) WITH (fillfactor = 50);

-- A row for each run and day, so that one member's many runs never queue on one row; by kind and member, readers sum over runs.
CREATE TABLE ledger.usage_by_run (
  org uuid NOT NULL, day date NOT NULL, run uuid NOT NULL, run_kind text NOT NULL, member uuid NOT NULL,
  credits numeric(18,4) NOT NULL, calls bigint NOT NULL, results bigint NOT NULL,
  PRIMARY KEY (org, day, run)
) WITH (fillfactor = 50);

-- When an org's books were last proved, and what was found broken.
CREATE TABLE ledger.proof (
  org uuid PRIMARY KEY, at timestamptz NOT NULL, broken jsonb NOT NULL DEFAULT '{}'
);


-- ---------------------------------------------------------------- what nobody may do

CREATE FUNCTION ledger.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%: % refused, the ledger keeps what was written', TG_TABLE_NAME, TG_OP USING ERRCODE = 'LG002'; END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.entry FOR EACH ROW EXECUTE FUNCTION ledger.refuse();

-- The facts of a grant and of a reservation never change: with them and the entries, everything else can be worked out again.
CREATE TRIGGER facts BEFORE DELETE OR UPDATE OF org, id, key, source, amount, effective_at, expires_at, paid, currency, stripe_line, stripe_payment
  ON ledger.credit_grant FOR EACH ROW EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER facts BEFORE DELETE OR UPDATE OF org, run, run_kind, member, cap, estimated_max, opened_at
  ON ledger.reservation FOR EACH ROW EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER facts BEFORE DELETE OR UPDATE OF org, run, grant_id ON ledger.draw FOR EACH ROW EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER facts BEFORE DELETE OR UPDATE OF org ON ledger.account FOR EACH ROW EXECUTE FUNCTION ledger.refuse();

CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.entry FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.account FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.credit_grant FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.reservation FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.draw FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();

CREATE FUNCTION ledger.account_needs_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM ledger.entry
    WHERE org = NEW.org AND account_seq = NEW.account_seq AND available_after = NEW.available AND drawn_after = NEW.drawn
      AND (TG_OP = 'INSERT' OR account_seq > OLD.account_seq);
  IF NOT FOUND THEN RAISE EXCEPTION 'account % moved without an entry', NEW.org USING ERRCODE = 'LG002'; END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER needs_entry AFTER UPDATE ON ledger.account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN ((OLD.account_seq, OLD.granted, OLD.available, OLD.drawn, OLD.spent, OLD.expired, OLD.clawed_back, OLD.restored, OLD.adjusted)
    IS DISTINCT FROM (NEW.account_seq, NEW.granted, NEW.available, NEW.drawn, NEW.spent, NEW.expired, NEW.clawed_back, NEW.restored, NEW.adjusted))
  EXECUTE FUNCTION ledger.account_needs_entry();
CREATE CONSTRAINT TRIGGER starts_empty AFTER INSERT ON ledger.account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN ((NEW.account_seq, NEW.granted, NEW.available, NEW.drawn, NEW.spent, NEW.expired, NEW.clawed_back, NEW.restored, NEW.adjusted)
    IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0, 0, 0))
  EXECUTE FUNCTION ledger.account_needs_entry();

-- Business time never turns back. Only before the first entry may it be set behind the real clock, for a demo to begin in the past.
CREATE FUNCTION ledger.clock_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR NEW.ahead < OLD.ahead AND EXISTS (SELECT FROM ledger.entry) THEN
    RAISE EXCEPTION 'the clock never turns back' USING ERRCODE = 'LG005';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON ledger.clock_offset FOR EACH ROW EXECUTE FUNCTION ledger.clock_only_grows();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.clock_offset FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();


-- ---------------------------------------------------------------- partitions

CREATE FUNCTION ledger.uuid7_floor(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

-- LIKE + CHECK + ATTACH takes no lock that a settle in progress would wait for; CREATE TABLE ... PARTITION OF does.
-- No DEFAULT partition: a missing month refuses the reserve, whose entry goes where all later entries of its run go, never a settle.
-- Two at once: the second waits for the first and finds its table.
CREATE FUNCTION ledger.make_month(p_month date) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_name text := 'entry_' || to_char(p_month, 'YYYYMM');
  v_from uuid := ledger.uuid7_floor(date_trunc('month', p_month::timestamp) AT TIME ZONE 'UTC');
  v_to   uuid := ledger.uuid7_floor((date_trunc('month', p_month::timestamp) + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
  LOCK TABLE ledger.clock_offset IN SHARE UPDATE EXCLUSIVE MODE;
  IF to_regclass('ledger.' || v_name) IS NULL THEN
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.entry INCLUDING ALL, CONSTRAINT bounds CHECK (source >= %L AND source < %L))', v_name, v_from, v_to);
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.%I FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse()', v_name);
    EXECUTE format('ALTER TABLE ledger.entry ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)', v_name, v_from, v_to);
    EXECUTE format('ALTER TABLE ledger.%I DROP CONSTRAINT bounds', v_name);
  END IF;
  RETURN v_name;
END $$;

-- Every month that new sources may fall in, from this one of business time to p_ahead months after the real one.
CREATE FUNCTION ledger.make_months(p_ahead int DEFAULT 3) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT ledger.make_month(month::date) FROM generate_series(
    date_trunc('month', least(ledger.clock(), clock_timestamp()) AT TIME ZONE 'UTC'),
    date_trunc('month', greatest(ledger.clock(), clock_timestamp()) AT TIME ZONE 'UTC') + make_interval(months => p_ahead),
    interval '1 month') AS month $$;

-- How many whole months after this one of business time are ready.
CREATE FUNCTION ledger.months_ahead() RETURNS int LANGUAGE sql STABLE AS $$
  SELECT count(*)::int FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
  WHERE inhparent = 'ledger.entry'::regclass AND c.relname > 'entry_' || to_char(ledger.clock() AT TIME ZONE 'UTC', 'YYYYMM') $$;

-- Moving the clock makes the months it moves into.
CREATE FUNCTION ledger.advance_clock(p_by interval) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
  UPDATE ledger.clock_offset SET ahead = ahead + greatest(p_by, '0');
  PERFORM ledger.make_months();
  RETURN ledger.clock();
END $$;

CREATE FUNCTION ledger.begin_clock(p_behind interval) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
  UPDATE ledger.clock_offset SET ahead = -p_behind;
  PERFORM ledger.make_months();
  RETURN ledger.clock();
END $$;

SELECT ledger.make_months();


-- ---------------------------------------------------------------- steps the verbs share; all under the account's lock

-- The only way to move an account: the row and the entry that says so. p_burned: what a closing run captured.
CREATE FUNCTION ledger.book(p_org uuid, p_source uuid, p_item int, p_kind text, p_amount numeric, p_at timestamptz, p_actor text,
                     p_reason text DEFAULT NULL, p_burned numeric DEFAULT 0) RETURNS void LANGUAGE sql SET search_path = ledger AS $$
  WITH moved AS (
    UPDATE account SET
      account_seq = account_seq + 1,
      available   = available + CASE WHEN p_kind IN ('granted', 'released', 'restored') THEN p_amount ELSE -p_amount END,
      drawn       = drawn + CASE p_kind WHEN 'reserved' THEN p_amount WHEN 'released' THEN -p_amount - p_burned ELSE 0 END,
      spent       = spent + p_burned,
      granted     = granted     + CASE p_kind WHEN 'granted'     THEN p_amount ELSE 0 END,
      expired     = expired     + CASE p_kind WHEN 'expired'     THEN p_amount ELSE 0 END,
      clawed_back = clawed_back + CASE p_kind WHEN 'clawed_back' THEN p_amount ELSE 0 END,
      restored    = restored    + CASE p_kind WHEN 'restored'    THEN p_amount ELSE 0 END,
      adjusted    = adjusted    + CASE p_kind WHEN 'adjusted'    THEN p_amount ELSE 0 END
    WHERE org = p_org
    RETURNING account_seq, available, drawn)
  INSERT INTO entry (org, source, at, item, kind, amount, account_seq, available_after, drawn_after, actor, reason)
  SELECT p_org, p_source, p_at, p_item, p_kind, p_amount, account_seq, available, drawn, p_actor, p_reason FROM moved $$;

-- expired, clawed_back, restored: the grant and the account move by the same amount.
CREATE FUNCTION ledger.move_grant(p_org uuid, p_grant uuid, p_kind text, p_amount numeric, p_at timestamptz, p_actor text) RETURNS void
LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE v_n int;
BEGIN
  UPDATE credit_grant SET
    entries     = entries + 1,
    remaining   = remaining + CASE p_kind WHEN 'restored' THEN p_amount ELSE -p_amount END,
    expired     = expired     + CASE p_kind WHEN 'expired'     THEN p_amount ELSE 0 END,
    clawed_back = clawed_back + CASE p_kind WHEN 'clawed_back' THEN p_amount ELSE 0 END,
    restored    = restored    + CASE p_kind WHEN 'restored'    THEN p_amount ELSE 0 END
  WHERE org = p_org AND id = p_grant RETURNING entries INTO v_n;
  PERFORM book(p_org, p_grant, v_n, p_kind, p_amount, p_at, p_actor);
END $$;

-- Squares a grant with what is owed of it, then with its date: what came back is clawed back first, then expires.
CREATE FUNCTION ledger.square(p_org uuid, p_grant uuid, p_at timestamptz, p_actor text) RETURNS void LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE g credit_grant; v_owing numeric; v_left numeric;
BEGIN
  SELECT * INTO g FROM credit_grant WHERE org = p_org AND id = p_grant;
  v_owing := least(g.owed - (g.clawed_back - g.restored), g.remaining);          -- below 0: too much was clawed back
  v_left := g.remaining - v_owing;
  IF v_owing > 0 THEN PERFORM move_grant(p_org, p_grant, 'clawed_back', v_owing, p_at, p_actor); END IF;
  IF v_owing < 0 THEN PERFORM move_grant(p_org, p_grant, 'restored', -v_owing, p_at, p_actor); END IF;
  IF v_left > 0 AND g.expires_at <= p_at THEN PERFORM move_grant(p_org, p_grant, 'expired', v_left, p_at, 'system:expiry'); END IF;
END $$;

-- Takes from the grants, soonest to expire first, then by effective time, then by key. The caller has checked that enough is there.
CREATE FUNCTION ledger.take(p_org uuid, p_amount numeric) RETURNS TABLE (grant_id uuid, amount numeric) LANGUAGE sql SET search_path = ledger AS $$
  UPDATE credit_grant g SET remaining = g.remaining - t.amount
  FROM (SELECT id, least(remaining, p_amount - before) AS amount
        FROM (SELECT id, remaining, sum(remaining) OVER (ORDER BY expires_at, effective_at, key) - remaining AS before
              FROM credit_grant WHERE org = p_org AND open) AS in_order
        WHERE before < p_amount) AS t
  WHERE g.org = p_org AND g.id = t.id
  RETURNING g.id, t.amount $$;


-- ---------------------------------------------------------------- verbs of the account

-- Made with its organization. Again: nothing.
CREATE FUNCTION ledger.open_account(p_org uuid, p_zone text) RETURNS void LANGUAGE plpgsql SET search_path = ledger AS $$
BEGIN
  PERFORM now() AT TIME ZONE p_zone;                 -- an unknown zone is refused here, not at the first settle
  INSERT INTO account (org, zone) VALUES (p_org, p_zone) ON CONFLICT DO NOTHING;
END $$;

-- Expires what is due; a job calls it within the minute, and every other verb of the account first.
-- Returns the verb's time: read after the last lock, so that times follow account_seq.
CREATE FUNCTION ledger.expire_due(p_org uuid) RETURNS timestamptz LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE v_at timestamptz; g credit_grant;
BEGIN
  PERFORM FROM account WHERE org = p_org FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'no account: %', p_org USING ERRCODE = 'LG001'; END IF;
  v_at := clock();
  FOR g IN SELECT * FROM credit_grant WHERE org = p_org AND open AND expires_at <= v_at ORDER BY expires_at, effective_at, key LOOP
    PERFORM move_grant(p_org, g.id, 'expired', g.remaining, v_at, 'system:expiry');
  END LOOP;
  RETURN v_at;
END $$;

-- Effective now unless said. Returns the grant's id; for a key that was used with the same content, the first one's.
CREATE FUNCTION ledger.grant_credits(p_org uuid, p_key text, p_source text, p_amount numeric, p_expires_at timestamptz,
    p_actor text, p_effective_at timestamptz DEFAULT NULL, p_reason text DEFAULT NULL, p_paid numeric DEFAULT NULL, p_currency text DEFAULT NULL, p_stripe_line text DEFAULT NULL,
    p_stripe_payment text DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE v_at timestamptz := expire_due(p_org); v_id uuid := new_id(); g credit_grant;
BEGIN
  SELECT * INTO g FROM credit_grant WHERE org = p_org AND key = p_key;
  IF FOUND THEN
    IF (g.source, g.amount, g.effective_at, g.expires_at, g.paid, g.currency, g.stripe_line, g.stripe_payment)
       IS DISTINCT FROM (p_source, p_amount, coalesce(p_effective_at, g.effective_at), p_expires_at, p_paid, p_currency, p_stripe_line, p_stripe_payment) THEN
      RAISE EXCEPTION 'grant % was given with other content', p_key USING ERRCODE = 'LG003';
    END IF;
    RETURN g.id;
  END IF;
  INSERT INTO credit_grant (org, id, key, source, amount, effective_at, expires_at, paid, currency, stripe_line, stripe_payment, remaining)
  VALUES (p_org, v_id, p_key, p_source, p_amount, coalesce(p_effective_at, v_at), p_expires_at, p_paid, p_currency, p_stripe_line, p_stripe_payment, p_amount);
  PERFORM book(p_org, v_id, 0, 'granted', p_amount, v_at, p_actor, p_reason);
  RETURN v_id;
END $$;

-- Opens a run: draws min(cap, estimated_max). Returns what is missing; above 0, nothing is held.
-- A run of BYOK providers only, or a smoke test, has an estimated_max of 0 and opens a reservation of 0.
CREATE FUNCTION ledger.reserve(p_org uuid, p_run uuid, p_cap numeric, p_estimated_max numeric, p_run_kind text, p_member uuid, p_actor text) RETURNS numeric
LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE v_at timestamptz := expire_due(p_org); v_amount numeric := least(p_cap, p_estimated_max); v_available numeric; r reservation;
BEGIN
  SELECT * INTO r FROM reservation WHERE org = p_org AND run = p_run;
  IF FOUND THEN
    IF (r.cap, r.estimated_max, r.run_kind, r.member) IS DISTINCT FROM (p_cap, p_estimated_max, p_run_kind, p_member) THEN
      RAISE EXCEPTION 'run % was reserved with other content', p_run USING ERRCODE = 'LG003';
    END IF;
    RETURN 0;
  END IF;
  SELECT available INTO v_available FROM account WHERE org = p_org;
  IF v_available < v_amount THEN RETURN v_amount - v_available; END IF;
  INSERT INTO reservation (org, run, run_kind, member, cap, estimated_max, reserved, needed, opened_at)
  VALUES (p_org, p_run, p_run_kind, p_member, p_cap, p_estimated_max, v_amount, p_estimated_max, v_at);
  INSERT INTO draw SELECT p_org, p_run, grant_id, amount FROM take(p_org, v_amount);
  PERFORM book(p_org, p_run, 0, 'reserved', v_amount, v_at, p_actor);
  RETURN 0;
END $$;

-- Gives back what a run can no longer need; with p_close, all it has not captured, and ends it. Returns what came back.
-- The draw that expires last gets it back first; what stays drawn at the close is burned.
CREATE FUNCTION ledger.give_back(p_org uuid, p_run uuid, p_actor text, p_close boolean DEFAULT false) RETURNS numeric LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE v_at timestamptz; v_back numeric; r reservation; d record;
BEGIN
  PERFORM FROM account WHERE org = p_org FOR NO KEY UPDATE;
  SELECT * INTO r FROM reservation WHERE org = p_org AND run = p_run FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'no such run: %', p_run USING ERRCODE = 'LG001'; END IF;
  IF r.closed_at IS NOT NULL THEN                    -- a replay: the first answer
    RETURN CASE WHEN p_close THEN (SELECT amount FROM entry WHERE org = p_org AND source = p_run AND item = -1) ELSE 0 END;
  END IF;
  IF p_close AND r.held > 0 THEN RAISE EXCEPTION 'items in flight hold % of run %', r.held, p_run USING ERRCODE = 'LG004'; END IF;
  v_at := expire_due(p_org);
  v_back := r.reserved - r.captured - r.held - CASE WHEN p_close THEN 0 ELSE r.needed END;
  IF v_back <= 0 AND NOT p_close THEN RETURN 0; END IF;

  UPDATE reservation SET
    reserved   = reserved - v_back,
    needed     = CASE WHEN p_close THEN 0 ELSE needed END,
    give_backs = give_backs + CASE WHEN p_close THEN 0 ELSE 1 END,
    closed_at  = CASE WHEN p_close THEN v_at END
  WHERE org = p_org AND run = p_run;
  PERFORM book(p_org, p_run, CASE WHEN p_close THEN -1 ELSE -2 - r.give_backs END, 'released', v_back, v_at, p_actor,
               p_burned => CASE WHEN p_close THEN r.captured ELSE 0 END);
  FOR d IN
    SELECT grant_id, amount, least(amount, greatest(0, v_back - before)) AS back
    FROM (SELECT w.grant_id, w.amount, sum(w.amount) OVER last_first - w.amount AS before
          FROM draw w JOIN credit_grant g ON g.org = w.org AND g.id = w.grant_id
          WHERE w.org = p_org AND w.run = p_run
          WINDOW last_first AS (ORDER BY g.expires_at DESC, g.effective_at DESC, g.key DESC)) AS in_order
    WHERE p_close OR before < v_back
    ORDER BY before
  LOOP
    UPDATE draw SET amount = amount - d.back WHERE org = p_org AND run = p_run AND grant_id = d.grant_id;
    UPDATE credit_grant SET remaining = remaining + d.back, burned = burned + CASE WHEN p_close THEN d.amount - d.back ELSE 0 END
     WHERE org = p_org AND id = d.grant_id;
    IF d.back > 0 THEN PERFORM square(p_org, d.grant_id, v_at, p_actor); END IF;
  END LOOP;
  RETURN v_back;
END $$;

CREATE FUNCTION ledger.close(p_org uuid, p_run uuid, p_actor text) RETURNS numeric LANGUAGE sql AS $$
  SELECT ledger.give_back(p_org, p_run, p_actor, p_close => true) $$;

-- Sets what is owed of a grant, as worked out anew from the payment's present state, and claws back or restores what follows from it.
-- What open runs have drawn is taken when they give it back. The same figure again moves nothing.
CREATE FUNCTION ledger.claw_back(p_org uuid, p_grant uuid, p_owed numeric, p_actor text) RETURNS void LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE v_at timestamptz := expire_due(p_org);
BEGIN
  UPDATE credit_grant SET owed = p_owed WHERE org = p_org AND id = p_grant AND owed <> p_owed;
  IF FOUND THEN PERFORM square(p_org, p_grant, v_at, p_actor); END IF;
END $$;

-- An operator takes credits away. Returns what is missing; above 0, nothing is taken.
CREATE FUNCTION ledger.adjust(p_org uuid, p_id uuid, p_amount numeric, p_actor text, p_reason text) RETURNS numeric LANGUAGE plpgsql SET search_path = ledger AS $$
DECLARE v_at timestamptz := expire_due(p_org); v_available numeric; e entry; t record;
BEGIN
  SELECT * INTO e FROM entry WHERE org = p_org AND source = p_id AND item = 0 AND attempt = 0;
  IF FOUND THEN
    IF (e.kind, e.amount, e.reason) IS DISTINCT FROM ('adjusted', p_amount, p_reason) THEN
      RAISE EXCEPTION 'adjustment % was booked with other content', p_id USING ERRCODE = 'LG003';
    END IF;
    RETURN 0;
  END IF;
  SELECT available INTO v_available FROM account WHERE org = p_org;
  IF v_available < p_amount THEN RETURN p_amount - v_available; END IF;
  FOR t IN SELECT * FROM take(p_org, p_amount) LOOP
    UPDATE credit_grant SET adjusted = adjusted + t.amount WHERE org = p_org AND id = t.grant_id;
  END LOOP;
  PERFORM book(p_org, p_id, 0, 'adjusted', p_amount, v_at, p_actor, p_reason);
  RETURN 0;
END $$;

-- As booked. reserved: what open runs have drawn less what they captured.
CREATE FUNCTION ledger.balance(p_org uuid, OUT available numeric, OUT reserved numeric, OUT captured numeric) LANGUAGE sql STABLE SET search_path = ledger AS $$
  SELECT a.available, a.drawn - o.captured, a.spent + o.captured
  FROM account a, (SELECT coalesce(sum(captured), 0) AS captured FROM reservation WHERE org = p_org AND closed_at IS NULL) AS o
  WHERE a.org = p_org $$;

-- Cuts the organization's usage anew in days of another zone, and leaves it day by day, as settles do: a page reads what lies together.
-- Settles wait at their reservations meanwhile, and read the new zone after.
CREATE FUNCTION ledger.set_zone(p_org uuid, p_zone text) RETURNS void LANGUAGE plpgsql SET search_path = ledger AS $$
BEGIN
  PERFORM FROM account WHERE org = p_org FOR NO KEY UPDATE;
  PERFORM FROM reservation WHERE org = p_org AND closed_at IS NULL ORDER BY run FOR NO KEY UPDATE;
  UPDATE account SET zone = p_zone WHERE org = p_org;
  DELETE FROM usage_by_tool WHERE org = p_org;
  DELETE FROM usage_by_run WHERE org = p_org;
  INSERT INTO usage_by_tool
  SELECT org, local_day(at, p_zone), provider, tool, byok, outcome, sum(amount), count(*)
  FROM entry WHERE org = p_org AND account_seq IS NULL GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 2;
  INSERT INTO usage_by_run
  SELECT e.org, local_day(e.at, p_zone), r.run, r.run_kind, r.member, sum(e.amount), count(*), count(*) FILTER (WHERE e.outcome = 'succeeded')
  FROM entry e JOIN reservation r ON r.org = e.org AND r.run = e.source WHERE e.org = p_org AND e.account_seq IS NULL GROUP BY 1, 2, 3, 4, 5 ORDER BY 2;
END $$;


-- ---------------------------------------------------------------- verbs of a run's items: the hot path
-- (admit and settle qualify every name: a SET search_path of their own would cost 3 % of a settle)

-- Carves the holds of up to p_n items of p_unit each out of the reservation; returns how many may start.
-- 0: no room, paused or closed. A unit of 0 (BYOK) always fits.
CREATE FUNCTION ledger.admit(p_org uuid, p_run uuid, p_n int, p_unit numeric) RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_n int;
BEGIN
  UPDATE ledger.reservation SET
    held   = held   + least(p_n, div(reserved - captured - held, nullif(p_unit, 0))) * p_unit,    -- least() passes over the null of a unit of 0
    needed = needed - least(p_n, div(reserved - captured - held, nullif(p_unit, 0))) * p_unit
  WHERE org = p_org AND run = p_run AND NOT paused AND closed_at IS NULL
  RETURNING CASE WHEN p_unit = 0 THEN p_n ELSE (new.held - old.held) / p_unit END INTO v_n;
  RETURN coalesce(v_n, 0);
END $$;

CREATE FUNCTION ledger.pause(p_org uuid, p_run uuid, p_paused boolean) RETURNS void LANGUAGE sql AS $$
  UPDATE ledger.reservation SET paused = p_paused WHERE org = p_org AND run = p_run AND closed_at IS NULL $$;

-- Settles a batch of attempts; returns the credits captured. They come in the order of their keys (the door sorts them), so that
-- two batches with common items queue instead of crossing. Raises unique_violation when one of them was settled before,
-- LG001 when the run is closed: the caller rolls back and calls settle_slow with the same arguments.
CREATE FUNCTION ledger.settle(p_org uuid, p_run uuid, p_item int[], p_attempt smallint[], p_provider text[], p_tool text[], p_byok boolean[], p_outcome text[],
                       p_cost numeric[], p_maximum numeric[], p_held numeric[]) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  v_at timestamptz := (SELECT clock_timestamp() + ahead FROM ledger.clock_offset);  -- clock(), without a call
  v_captured numeric; v_absorbed numeric; v_held numeric; v_calls bigint; v_results bigint; v_usage ledger.usage_by_tool[];
  v_kind text; v_member uuid;
BEGIN
  WITH settled AS (
    INSERT INTO ledger.entry (org, source, at, item, attempt, byok, kind, amount, provider, tool, outcome, cost, maximum, held)
    SELECT p_org, p_run, v_at, item, attempt, byok,
           CASE WHEN amount > 0 OR byok AND billable THEN 'captured' ELSE 'released' END, amount, provider, tool, outcome, cost, maximum, held
    FROM (SELECT item, attempt, provider, tool, byok, outcome, maximum, held, billable,
                 CASE WHEN byok THEN 0 ELSE cost END AS cost,               -- what the org's own account paid is not ours to book
                 CASE WHEN billable AND NOT byok THEN least(cost, maximum) ELSE 0 END AS amount
          FROM (SELECT *, outcome IN ('succeeded', 'no_result', 'failed_after_billing') AS billable
                FROM unnest(p_item, p_attempt, p_provider, p_tool, p_byok, p_outcome, p_cost, p_maximum, p_held)
                  AS u(item, attempt, provider, tool, byok, outcome, cost, maximum, held)) AS given) AS billed
    RETURNING provider, tool, byok, outcome, amount, cost, held),
  grouped AS (
    SELECT provider, tool, byok, outcome, sum(amount) AS credits, sum(cost) AS cost, sum(held) AS held,
           count(*) AS calls
    FROM settled GROUP BY provider, tool, byok, outcome)
  SELECT sum(credits), sum(cost - credits), sum(held), sum(calls), coalesce(sum(calls) FILTER (WHERE outcome = 'succeeded'), 0),
         array_agg(ROW(p_org, NULL, provider, tool, byok, outcome, credits, calls)::ledger.usage_by_tool)
    INTO v_captured, v_absorbed, v_held, v_calls, v_results, v_usage FROM grouped;
  IF v_usage IS NULL THEN RETURN 0; END IF;          -- an empty batch

  UPDATE ledger.reservation SET captured = captured + v_captured, absorbed = absorbed + v_absorbed, held = held - v_held
   WHERE org = p_org AND run = p_run AND closed_at IS NULL RETURNING run_kind, member INTO v_kind, v_member;
  IF NOT FOUND THEN RAISE EXCEPTION 'run % is closed', p_run USING ERRCODE = 'LG001'; END IF;

  -- The zone is read here, after the reservation is locked: a change of zone waits for us, or we for it.
  WITH today AS MATERIALIZED (SELECT ledger.local_day(v_at, zone) AS day FROM ledger.account WHERE org = p_org),
  by_tool AS (
    INSERT INTO ledger.usage_by_tool AS t
    SELECT p_org, today.day, provider, tool, byok, outcome, credits, calls
    FROM today, unnest(v_usage) AS u(o, d, provider, tool, byok, outcome, credits, calls)
    ORDER BY provider, tool, byok, outcome
    ON CONFLICT (org, day, provider, tool, byok, outcome)
    DO UPDATE SET credits = t.credits + EXCLUDED.credits, calls = t.calls + EXCLUDED.calls)
  INSERT INTO ledger.usage_by_run AS m
  SELECT p_org, today.day, p_run, v_kind, v_member, v_captured, v_calls, v_results FROM today
  ON CONFLICT (org, day, run)
  DO UPDATE SET credits = m.credits + EXCLUDED.credits, calls = m.calls + EXCLUDED.calls, results = m.results + EXCLUDED.results;
  RETURN v_captured;
END $$;

-- The rare path: settles what was not settled before and says of each attempt whether it was settled now, replayed, or is a
-- conflict (settled before with other content: the first stands). Same lock order, for it is settle that writes.
CREATE FUNCTION ledger.settle_slow(p_org uuid, p_run uuid, p_item int[], p_attempt smallint[], p_provider text[], p_tool text[], p_byok boolean[], p_outcome text[],
                            p_cost numeric[], p_maximum numeric[], p_held numeric[]) RETURNS TABLE (item int, attempt smallint, verdict text)
LANGUAGE plpgsql SET search_path = ledger AS $$
#variable_conflict use_column
DECLARE v_new int[];
BEGIN
  LOOP
    -- the places in the batch of what is new; of two with one key, the first
    SELECT coalesce(array_agg(n ORDER BY i, a), '{}') INTO v_new FROM (
      SELECT i, a, min(n) AS n FROM unnest(p_item, p_attempt) WITH ORDINALITY AS u(i, a, n)
      WHERE NOT EXISTS (SELECT FROM entry e WHERE e.org = p_org AND e.source = p_run AND e.item = u.i AND e.attempt = u.a)
      GROUP BY i, a) AS news;
    BEGIN
      PERFORM settle(p_org, p_run, array_agg(p_item[n]), array_agg(p_attempt[n]), array_agg(p_provider[n]), array_agg(p_tool[n]), array_agg(p_byok[n]),
                     array_agg(p_outcome[n]), array_agg(p_cost[n]), array_agg(p_maximum[n]), array_agg(p_held[n])) FROM unnest(v_new) AS n HAVING count(*) > 0;
      EXIT;
    EXCEPTION WHEN unique_violation THEN NULL;       -- somebody settled one of them meanwhile: look again
    END;
  END LOOP;
  RETURN QUERY
    WITH verdicts AS (
      SELECT u.n, e.item, e.attempt, CASE
          WHEN (e.provider, e.tool, e.byok, e.outcome, e.cost, e.maximum, e.held)
               IS DISTINCT FROM (u.p, u.t, u.b, u.o, CASE WHEN u.b THEN 0 ELSE u.c END, u.m, u.h) THEN 'conflict'
          WHEN u.n = ANY (v_new) THEN 'settled' ELSE 'replayed' END AS verdict
      FROM unnest(p_item, p_attempt, p_provider, p_tool, p_byok, p_outcome, p_cost, p_maximum, p_held) WITH ORDINALITY AS u(i, a, p, t, b, o, c, m, h, n)
      JOIN entry e ON e.org = p_org AND e.source = p_run AND e.item = u.i AND e.attempt = u.a),
    counted AS (
      UPDATE reservation SET conflicts = conflicts + (SELECT count(*) FROM verdicts WHERE verdict = 'conflict')
       WHERE org = p_org AND run = p_run AND EXISTS (SELECT FROM verdicts WHERE verdict = 'conflict'))
    SELECT item, attempt, verdict FROM verdicts ORDER BY n;
END $$;
