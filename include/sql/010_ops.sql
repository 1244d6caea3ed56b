-- What fleetlake knows about its own work. Every statement may run again on a database that has it all.
CREATE SCHEMA IF NOT EXISTS ops;
COMMENT ON SCHEMA ops IS 'Ledger, coverage, quality and quarantine: how the data came here and what is missing.';

CREATE TABLE IF NOT EXISTS ops.load (
    load_id text PRIMARY KEY,
    account text NOT NULL,
    dataset text NOT NULL,
    contract_version text NOT NULL,
    feed text NOT NULL,
    kind text NOT NULL,
    lane text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    partition text,
    window_start timestamptz,
    window_end timestamptz,
    scopes integer NOT NULL,
    pages integer NOT NULL,
    bytes bigint NOT NULL,
    rows_read bigint NOT NULL,
    rows_inserted bigint NOT NULL,
    rows_updated bigint NOT NULL,
    rows_unchanged bigint NOT NULL,
    rows_deleted bigint NOT NULL,
    rows_quarantined bigint NOT NULL,
    rows_outside_window bigint NOT NULL,
    newest_event_time timestamptz,
    state text NOT NULL CHECK (state IN ('published', 'held')),
    reason text,
    fetched_from timestamptz,
    fetched_to timestamptz,
    started_at timestamptz NOT NULL,
    published_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS load_dataset ON ops.load (account, dataset, published_at DESC);
CREATE INDEX IF NOT EXISTS load_run ON ops.load (dag_id, partition);
COMMENT ON TABLE ops.load IS 'One row per batch that was published or held. Publishing the same batch again leaves the row as it is.';
COMMENT ON COLUMN ops.load.load_id IS 'Digest of what the batch is made of; also in load_id of the rows and in the lake''s commit.';
COMMENT ON COLUMN ops.load.account IS 'Account (set of vendor credentials).';
COMMENT ON COLUMN ops.load.dataset IS 'Table that was filled, schema.table.';
COMMENT ON COLUMN ops.load.contract_version IS 'Version of the contract the rows were read with.';
COMMENT ON COLUMN ops.load.feed IS 'Feed of the vendor whose pages hold the rows.';
COMMENT ON COLUMN ops.load.kind IS 'How the feed is read: snapshot, window, revision, report.';
COMMENT ON COLUMN ops.load.lane IS 'Priority at the vendor''s quota: live, scheduled, backfill.';
COMMENT ON COLUMN ops.load.dag_id IS 'DAG that loaded it.';
COMMENT ON COLUMN ops.load.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.load.partition IS 'Partition key of the run; null for runs with an explicit window.';
COMMENT ON COLUMN ops.load.window_start IS 'Start of the run''s window, UTC, inclusive.';
COMMENT ON COLUMN ops.load.window_end IS 'End of the run''s window, UTC, exclusive.';
COMMENT ON COLUMN ops.load.scopes IS 'Vehicles or devices read [count].';
COMMENT ON COLUMN ops.load.pages IS 'Raw pages read [count].';
COMMENT ON COLUMN ops.load.bytes IS 'Size of the pages'' bodies, uncompressed [byte].';
COMMENT ON COLUMN ops.load.rows_read IS 'Rows in the pages [count].';
COMMENT ON COLUMN ops.load.rows_inserted IS 'Rows with a new key [count].';
COMMENT ON COLUMN ops.load.rows_updated IS 'Rows whose content changed [count].';
COMMENT ON COLUMN ops.load.rows_unchanged IS 'Rows that were there already, alike or newer [count].';
COMMENT ON COLUMN ops.load.rows_deleted IS 'Rows marked deleted because a complete answer lacks them [count].';
COMMENT ON COLUMN ops.load.rows_quarantined IS 'Entries of ops.quarantine made by the batch [count].';
COMMENT ON COLUMN ops.load.rows_outside_window IS 'Rows left out because their time lies outside the window asked for [count].';
COMMENT ON COLUMN ops.load.newest_event_time IS 'Newest value of the dataset''s time column in the batch, UTC.';
COMMENT ON COLUMN ops.load.state IS 'published, or held by a critical quality check.';
COMMENT ON COLUMN ops.load.reason IS 'Why it is held.';
COMMENT ON COLUMN ops.load.fetched_from IS 'When the first of its pages was read, UTC.';
COMMENT ON COLUMN ops.load.fetched_to IS 'When the last of its pages was read, UTC.';
COMMENT ON COLUMN ops.load.started_at IS 'When work on the batch began, UTC.';
COMMENT ON COLUMN ops.load.published_at IS 'When the batch was published or held, UTC.';

CREATE TABLE IF NOT EXISTS ops.read (
    folder text NOT NULL,
    dataset text NOT NULL,
    account text NOT NULL,
    feed text NOT NULL,
    scope text NOT NULL,
    window_start timestamptz,
    window_end timestamptz,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    pages integer NOT NULL,
    bytes bigint NOT NULL,
    is_complete boolean NOT NULL,
    cursor_to text,
    load_id text NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (folder, dataset)
);
COMMENT ON TABLE ops.read IS 'Reads of the raw store that are published: what a retry need not do again.';
COMMENT ON COLUMN ops.read.folder IS 'Folder of the read''s pages below the raw store.';
COMMENT ON COLUMN ops.read.dataset IS 'Table that was filled from it.';
COMMENT ON COLUMN ops.read.account IS 'Account.';
COMMENT ON COLUMN ops.read.feed IS 'Feed.';
COMMENT ON COLUMN ops.read.scope IS 'Vehicle, device, or _fleet.';
COMMENT ON COLUMN ops.read.window_start IS 'Start of the window asked for, UTC; null when the feed has none.';
COMMENT ON COLUMN ops.read.window_end IS 'End of the window asked for, UTC, exclusive.';
COMMENT ON COLUMN ops.read.load_id IS 'Load that published its last page.';
COMMENT ON COLUMN ops.read.pages IS 'Pages of the read [count].';
COMMENT ON COLUMN ops.read.dag_id IS 'DAG that read it.';
COMMENT ON COLUMN ops.read.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.read.bytes IS 'Size of the pages'' bodies, uncompressed [byte].';
COMMENT ON COLUMN ops.read.cursor_to IS 'The vendor''s cursor after the last page; null when the feed has none.';
COMMENT ON COLUMN ops.read.is_complete IS 'The vendor''s last page is among them.';
COMMENT ON COLUMN ops.read.published_at IS 'When it was published, UTC.';

CREATE TABLE IF NOT EXISTS ops.coverage (
    account text NOT NULL,
    dataset text NOT NULL,
    scope text NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    state text NOT NULL,
    proof text NOT NULL,
    rows bigint,
    fetched_at timestamptz,
    load_id text,
    run_id text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, dataset, scope, window_start),
    CHECK (window_start < window_end),
    CHECK (state IN ('complete', 'empty_confirmed', 'partial', 'not_yet', 'preparing', 'failed', 'out_of_retention'))
);
CREATE TABLE IF NOT EXISTS ops.coverage_attempt (LIKE ops.coverage INCLUDING ALL);
COMMENT ON TABLE ops.coverage IS 'What is known about the completeness of each interval, and how. Intervals of a scope never overlap.';
COMMENT ON TABLE ops.coverage_attempt IS 'Later results that proved nothing about an interval already proven in ops.coverage; a new proof removes them.';
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['coverage', 'coverage_attempt'] LOOP
        EXECUTE format('COMMENT ON COLUMN ops.%I.account IS ''Account.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.dataset IS ''Table, schema.table.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.scope IS ''Vehicle, device, or _fleet.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.window_start IS ''Start of the interval, UTC, inclusive.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.window_end IS ''End of the interval, UTC, exclusive.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.state IS ''complete, empty_confirmed: nothing is left to fetch; partial, not_yet, preparing, failed, out_of_retention: a hole.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.proof IS ''How it is known: kind, colon, detail; of merged proofs all kinds, and the detail of the one read last.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.rows IS ''Rows the vendor had [count]; null: unknown, or the interval was cut.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.fetched_at IS ''When it was read, UTC; of merged intervals the latest.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.load_id IS ''Load that brought it; of merged intervals the latest.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.run_id IS ''Run that recorded it; of merged intervals the latest.''', name);
        EXECUTE format('COMMENT ON COLUMN ops.%I.recorded_at IS ''When this row was written, UTC.''', name);
    END LOOP;
END
$$;

CREATE TABLE IF NOT EXISTS ops.cursor (
    account text NOT NULL,
    dataset text NOT NULL,
    scope text NOT NULL,
    revision text COLLATE "C" NOT NULL,
    since timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, dataset, scope)
);
COMMENT ON TABLE ops.cursor IS 'Where streams by revision go on. A cursor never moves back.';
COMMENT ON COLUMN ops.cursor.account IS 'Account.';
COMMENT ON COLUMN ops.cursor.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.cursor.scope IS 'Vehicle, device, or _fleet.';
COMMENT ON COLUMN ops.cursor.revision IS 'Greatest revision published, compared byte by byte.';
COMMENT ON COLUMN ops.cursor.since IS 'Where the stream began, UTC: from there on nothing is left out.';
COMMENT ON COLUMN ops.cursor.updated_at IS 'When it moved last, UTC.';

CREATE TABLE IF NOT EXISTS ops.quality_result (
    load_id text NOT NULL,
    account text NOT NULL,
    dataset text NOT NULL,
    check_name text NOT NULL,
    column_name text NOT NULL DEFAULT '',
    severity text NOT NULL,
    success boolean NOT NULL,
    rows_checked bigint,
    rows_failed bigint,
    expected text,
    observed text,
    checked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (load_id, check_name, column_name)
);
CREATE INDEX IF NOT EXISTS quality_result_failed ON ops.quality_result (account, dataset, checked_at DESC) WHERE NOT success;
COMMENT ON TABLE ops.quality_result IS 'Result of every check on every batch; of a batch that was checked again, the last one.';
COMMENT ON COLUMN ops.quality_result.load_id IS 'Batch that was checked.';
COMMENT ON COLUMN ops.quality_result.account IS 'Account.';
COMMENT ON COLUMN ops.quality_result.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.quality_result.check_name IS 'Name of the check.';
COMMENT ON COLUMN ops.quality_result.column_name IS 'Column it is about; empty: the whole batch.';
COMMENT ON COLUMN ops.quality_result.severity IS 'warning: told; error: its rows go to quarantine; critical: the batch is held.';
COMMENT ON COLUMN ops.quality_result.success IS 'The batch passed.';
COMMENT ON COLUMN ops.quality_result.rows_checked IS 'Rows looked at [count].';
COMMENT ON COLUMN ops.quality_result.rows_failed IS 'Rows that failed [count].';
COMMENT ON COLUMN ops.quality_result.expected IS 'What was expected.';
COMMENT ON COLUMN ops.quality_result.observed IS 'What was found.';
COMMENT ON COLUMN ops.quality_result.checked_at IS 'When, UTC.';

CREATE TABLE IF NOT EXISTS ops.quarantine (
    quarantine_id text PRIMARY KEY,
    account text NOT NULL,
    dataset text NOT NULL,
    scope text,
    stage text NOT NULL CHECK (stage IN ('type', 'quality')),
    check_name text NOT NULL,
    column_name text,
    reason text NOT NULL,
    severity text NOT NULL,
    row_key text,
    raw_row jsonb,
    raw_page text NOT NULL,
    raw_index integer NOT NULL,
    load_id text NOT NULL,
    contract_version text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz
);
CREATE INDEX IF NOT EXISTS quarantine_open ON ops.quarantine (account, dataset) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS quarantine_page ON ops.quarantine (raw_page) WHERE resolved_at IS NULL;
COMMENT ON TABLE ops.quarantine IS 'Rows that were set aside, each with the reason and as the vendor sent it.';
COMMENT ON COLUMN ops.quarantine.quarantine_id IS 'Digest of row, dataset, stage, check and column: the same finding is one entry.';
COMMENT ON COLUMN ops.quarantine.account IS 'Account.';
COMMENT ON COLUMN ops.quarantine.dataset IS 'Table the row was meant for.';
COMMENT ON COLUMN ops.quarantine.scope IS 'Vehicle, device, or _fleet, where known.';
COMMENT ON COLUMN ops.quarantine.stage IS 'type: a value does not fit its column; quality: a check failed.';
COMMENT ON COLUMN ops.quarantine.check_name IS 'Check that failed.';
COMMENT ON COLUMN ops.quarantine.column_name IS 'Column it is about.';
COMMENT ON COLUMN ops.quarantine.reason IS 'What is wrong, in words.';
COMMENT ON COLUMN ops.quarantine.severity IS 'Severity of the check.';
COMMENT ON COLUMN ops.quarantine.row_key IS 'Key of the row, where it has one.';
COMMENT ON COLUMN ops.quarantine.raw_row IS 'The row as the vendor sent it; a text value when it is no JSON.';
COMMENT ON COLUMN ops.quarantine.raw_page IS 'Raw page that holds it, below the raw store.';
COMMENT ON COLUMN ops.quarantine.raw_index IS 'Position in that page, from 0.';
COMMENT ON COLUMN ops.quarantine.load_id IS 'Batch that set it aside last.';
COMMENT ON COLUMN ops.quarantine.contract_version IS 'Contract it was judged by.';
COMMENT ON COLUMN ops.quarantine.quarantined_at IS 'When it was first set aside, UTC.';
COMMENT ON COLUMN ops.quarantine.resolved_at IS 'When a later batch took the row, UTC; null: still set aside.';

CREATE TABLE IF NOT EXISTS ops.rate_gate (
    key text PRIMARY KEY,
    tat timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE ops.rate_gate IS 'Rate limits shared by all processes.';
COMMENT ON COLUMN ops.rate_gate.key IS 'What is limited: vendor account, and lane where it has its own share.';
COMMENT ON COLUMN ops.rate_gate.tat IS 'Theoretical arrival time of the next request, UTC (generic cell rate algorithm).';
