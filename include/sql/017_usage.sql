-- What reading costs at the vendors: the history that backfills are priced from.
CREATE TABLE IF NOT EXISTS ops.usage (
    usage_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    feed text NOT NULL,
    lane text NOT NULL,
    is_first boolean NOT NULL,
    scopes integer NOT NULL,
    scope_days double precision NOT NULL,
    reads integer NOT NULL,
    reads_done integer NOT NULL,
    pages integer NOT NULL,
    requests integer NOT NULL,
    bytes bigint NOT NULL,
    answer_s double precision NOT NULL,
    waited_s double precision NOT NULL,
    total_s double precision NOT NULL,
    backfill_rate_per_s double precision,
    burst double precision,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE ops.usage ADD COLUMN IF NOT EXISTS is_scheduled boolean NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS usage_feed ON ops.usage (account, feed, ended_at);
CREATE INDEX IF NOT EXISTS usage_run ON ops.usage (dag_id, run_id);
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS rows bigint;
COMMENT ON COLUMN ops.read.rows IS 'Rows in its pages, a page that came twice counted once [count].';
CREATE INDEX IF NOT EXISTS read_history ON ops.read (account, feed, window_start);
COMMENT ON TABLE ops.usage IS 'What each step of a task cost at the vendor: one row per feed and task, also of tries that failed. A killed try leaves none.';
COMMENT ON COLUMN ops.usage.usage_id IS 'Number of the row.';
COMMENT ON COLUMN ops.usage.account IS 'Account.';
COMMENT ON COLUMN ops.usage.dag_id IS 'DAG of the task.';
COMMENT ON COLUMN ops.usage.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.usage.feed IS 'Feed that was read.';
COMMENT ON COLUMN ops.usage.lane IS 'Lane of the account''s quota: live, scheduled, backfill.';
COMMENT ON COLUMN ops.usage.is_scheduled IS 'A run of the schedule, which reads a window right after its end.';
COMMENT ON COLUMN ops.usage.is_first IS 'The first feed of its task: the login of the task is among its requests.';
COMMENT ON COLUMN ops.usage.scopes IS 'Vehicles or devices asked about [count].';
COMMENT ON COLUMN ops.usage.scope_days IS 'Vehicles times the days asked about [day]; of lists the number of lists.';
COMMENT ON COLUMN ops.usage.reads IS 'Reads: chains of requests for one vehicle (or one batch) and one window [count].';
COMMENT ON COLUMN ops.usage.reads_done IS 'Reads that came to the vendor''s last page, or that the vendor refused [count].';
COMMENT ON COLUMN ops.usage.pages IS 'Pages kept in the raw store, and reads refused [count].';
COMMENT ON COLUMN ops.usage.requests IS 'Requests sent: pages, logins, refusals of batches, repeated ones [count].';
COMMENT ON COLUMN ops.usage.bytes IS 'Size of all answers'' bodies, uncompressed [byte].';
COMMENT ON COLUMN ops.usage.answer_s IS 'Time the vendor took to answer [s].';
COMMENT ON COLUMN ops.usage.waited_s IS 'Time spent at the rate gate [s].';
COMMENT ON COLUMN ops.usage.total_s IS 'Time of the whole step, publishing included [s].';
COMMENT ON COLUMN ops.usage.backfill_rate_per_s IS 'Requests per second the account''s quota leaves to backfills; null: nothing was asked.';
COMMENT ON COLUMN ops.usage.burst IS 'Requests the quota lets through at once after a pause [count].';
COMMENT ON COLUMN ops.usage.started_at IS 'When the step began, UTC.';
COMMENT ON COLUMN ops.usage.ended_at IS 'When the step ended, UTC.';

CREATE TABLE IF NOT EXISTS ops.backfill (
    airflow text NOT NULL,
    backfill_id bigint NOT NULL,
    account text NOT NULL,
    dag_id text NOT NULL,
    plan jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (airflow, backfill_id)
);
COMMENT ON TABLE ops.backfill IS 'Backfills created by fleetlake backfill, each with its plan: what --follow goes by.';
COMMENT ON COLUMN ops.backfill.airflow IS 'Address of the Airflow that runs it.';
COMMENT ON COLUMN ops.backfill.backfill_id IS 'Its number there.';
COMMENT ON COLUMN ops.backfill.account IS 'Account.';
COMMENT ON COLUMN ops.backfill.dag_id IS 'DAG.';
COMMENT ON COLUMN ops.backfill.plan IS 'What was wanted, and the reads and seconds it was priced at, by feed.';
COMMENT ON COLUMN ops.backfill.created_at IS 'When it was created, UTC.';
