-- The bare limit of this server and disk: what any exact ledger must at least do for a batch. One statement, one durable
-- commit: insert the rows under the key that makes them exactly-once, and count them in one row of the run. No law is
-- kept, nothing is checked, nothing is summed up for reading.
CREATE SCHEMA bare;
CREATE TABLE bare.run (id int PRIMARY KEY, captured bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
INSERT INTO bare.run (id) SELECT generate_series(0, 63);
CREATE TABLE bare.entry (
  org uuid NOT NULL, source uuid NOT NULL, item int NOT NULL, attempt smallint NOT NULL, kind smallint NOT NULL,
  provider smallint NOT NULL, tool int NOT NULL, amount bigint NOT NULL, held bigint NOT NULL, at timestamptz NOT NULL,
  PRIMARY KEY (org, source, item, attempt)
);
