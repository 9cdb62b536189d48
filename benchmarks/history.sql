-- One day of an org's history, as settles would have left it: one run after the other has its share of the day's items. A
-- share spans six neighbours of the 144 combinations of 24 tools, who pays, and 3 outcomes; all runs of a day together
-- have each of them, however few items there are. Items settle evenly from %(start)s on, one by one at any size.
INSERT INTO ledger.entry (org, source, at, item, byok, kind, amount, provider, tool, outcome, cost, maximum, held)
SELECT %(org)s, (%(runs)s::uuid[])[run], %(start)s::timestamptz + interval '1 day' * (%(days)s * n / items::float), n, byok,
       CASE WHEN amount > 0 OR byok AND outcome <> 'failed_before_billing' THEN 'captured' ELSE 'released' END, amount,
       'provider' || tool / 2, 'provider' || tool / 2 || '.tool' || tool %% 2, outcome, amount, maximum, maximum
FROM (SELECT cardinality(%(runs)s::uuid[]) AS runs, %(items)s::bigint AS items) AS shape,
     generate_series(1, runs) AS run,
     LATERAL (SELECT %(day)s * runs + run - 1 AS batch) AS batches,
     LATERAL generate_series(items * batch / (%(days)s * runs) + 1, items * (batch + 1) / (%(days)s * runs)) AS n,
     LATERAL (SELECT ((run + %(day)s) * 6 + n %% 6) %% 144 AS cell) AS cells,
     LATERAL (SELECT cell / 6 AS tool, cell / 3 %% 2 = 1 AS byok,
                     (ARRAY['succeeded', 'no_result', 'failed_before_billing'])[1 + cell %% 3] AS outcome) AS attempts,
     LATERAL (SELECT CASE WHEN byok THEN 0 ELSE 2 END AS maximum,
                     CASE WHEN byok OR outcome = 'failed_before_billing' THEN 0 ELSE 0.25 * (1 + tool %% 8) END AS amount) AS charges
