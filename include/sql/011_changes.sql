-- What has changed and is not taken up by the fleet model yet, and which runs are over.
CREATE TABLE IF NOT EXISTS ops.change (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    dataset text NOT NULL,
    scope text NOT NULL,
    day date,
    load_id text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.change IS 'Vehicle-days that a batch has changed and the fleet model has not taken up yet. Taking one up removes it.';
COMMENT ON COLUMN ops.change.change_id IS 'Number, in the order of writing.';
COMMENT ON COLUMN ops.change.account IS 'Account.';
COMMENT ON COLUMN ops.change.dataset IS 'Table whose rows, or whose proof of completeness, changed; schema.table.';
COMMENT ON COLUMN ops.change.scope IS 'Vehicle or device the rows are about; _fleet: not about a single one.';
COMMENT ON COLUMN ops.change.day IS 'UTC day of the rows'' time; null: the table has no time.';
COMMENT ON COLUMN ops.change.load_id IS 'Batch that changed it; see ops.load.';
COMMENT ON COLUMN ops.change.dag_id IS 'DAG that published the batch.';
COMMENT ON COLUMN ops.change.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.change.changed_at IS 'When, UTC.';

CREATE TABLE IF NOT EXISTS ops.run_end (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('complete', 'incomplete')),
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dag_id, run_id)
);
COMMENT ON TABLE ops.run_end IS 'Runs whose completeness was judged: nothing more is coming from them.';
COMMENT ON COLUMN ops.run_end.dag_id IS 'DAG.';
COMMENT ON COLUMN ops.run_end.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.run_end.state IS 'complete, or incomplete: ops.hole says what is missing.';
COMMENT ON COLUMN ops.run_end.ended_at IS 'When it was judged last, UTC.';

CREATE TABLE IF NOT EXISTS ops.token (
    key text PRIMARY KEY,
    sealed bytea NOT NULL,
    expires_at timestamptz,
    renewed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.token IS 'Access tokens shared by all processes, each encrypted with a key made from its own connection''s password.';
COMMENT ON COLUMN ops.token.key IS 'Login the token belongs to.';
COMMENT ON COLUMN ops.token.sealed IS 'Token and refresh token, encrypted.';
COMMENT ON COLUMN ops.token.expires_at IS 'When the access token ends, UTC; null: unknown.';
COMMENT ON COLUMN ops.token.renewed_at IS 'When it was renewed last, UTC.';
