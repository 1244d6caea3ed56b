-- Asynchronous reports: what was asked of vendors, kept so that nobody asks twice.
CREATE TABLE IF NOT EXISTS ops.job (
    job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    feed text NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    clears integer NOT NULL DEFAULT 0,
    lane text NOT NULL,
    state text NOT NULL CHECK (
        state IN ('intended', 'sending', 'asked', 'running', 'succeeded', 'failed', 'lost', 'collected', 'abandoned')
    ),
    posts integer NOT NULL DEFAULT 0,
    token text,
    words text NOT NULL DEFAULT '',
    intended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sending_at timestamptz,
    asked_at timestamptz,
    polled_at timestamptz,
    ended_at timestamptz,
    CHECK (window_start < window_end)
);
CREATE UNIQUE INDEX IF NOT EXISTS job_open ON ops.job (account, feed, window_start, window_end, dag_id, run_id)
    WHERE state IN ('intended', 'sending', 'asked', 'running', 'succeeded');
CREATE INDEX IF NOT EXISTS job_key ON ops.job (account, feed, window_start, dag_id, run_id, job_id DESC);
COMMENT ON TABLE ops.job IS 'Reports that vendors were asked to prepare. Written before the request is sent, so that a crash never asks twice.';
COMMENT ON COLUMN ops.job.job_id IS 'Number, in the order of asking.';
COMMENT ON COLUMN ops.job.account IS 'Account.';
COMMENT ON COLUMN ops.job.feed IS 'Report feed.';
COMMENT ON COLUMN ops.job.window_start IS 'Start of the window asked for, UTC, inclusive.';
COMMENT ON COLUMN ops.job.window_end IS 'End of the window asked for, UTC, exclusive.';
COMMENT ON COLUMN ops.job.dag_id IS 'DAG whose run asks.';
COMMENT ON COLUMN ops.job.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.job.clears IS 'How often the run had been cleared when it asked [count]. Retries share a report, a run that is cleared afterwards asks anew.';
COMMENT ON COLUMN ops.job.lane IS 'Priority at the vendor''s quota: live, scheduled, backfill.';
COMMENT ON COLUMN ops.job.state IS 'Open: intended (nothing sent yet), sending (perhaps sent), asked, running, succeeded (ready, not published yet). Over: collected (published), failed, lost, abandoned (never asked for again; its window is read another way).';
COMMENT ON COLUMN ops.job.posts IS 'Requests for the report that were sent, or perhaps sent [count]; never more than 1.';
COMMENT ON COLUMN ops.job.token IS 'What the vendor calls the report; null: not known.';
COMMENT ON COLUMN ops.job.words IS 'The vendor''s words, or why it is over.';
COMMENT ON COLUMN ops.job.intended_at IS 'When it was decided to ask, UTC.';
COMMENT ON COLUMN ops.job.sending_at IS 'Last moment before the request was sent, UTC.';
COMMENT ON COLUMN ops.job.asked_at IS 'When the token was stored, UTC.';
COMMENT ON COLUMN ops.job.polled_at IS 'When a worker last asked how it stands, UTC; polls of the triggerer are not noted.';
COMMENT ON COLUMN ops.job.ended_at IS 'When it was over, UTC.';
