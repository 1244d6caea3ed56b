-- Mending of holes: what was tried, who was told, and which vehicles are gone.
CREATE TABLE IF NOT EXISTS ops.heal (
    account text NOT NULL,
    dataset text NOT NULL,
    scope text NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    attempts integer NOT NULL,
    first_at timestamptz NOT NULL,
    tried_at timestamptz NOT NULL,
    next_at timestamptz,
    run_id text,
    reason text,
    gave_up_at timestamptz,
    reopens boolean NOT NULL DEFAULT true,
    contract_version text NOT NULL,
    alerted_at timestamptz,
    PRIMARY KEY (account, dataset, scope, window_start),
    CHECK (window_start < window_end),
    CHECK (attempts > 0),
    CHECK ((gave_up_at IS NULL) = (next_at IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS heal_run ON ops.heal (run_id) WHERE run_id IS NOT NULL;
COMMENT ON TABLE ops.heal IS 'Holes that self-healing has tried to mend and that are not mended yet. Intervals of a scope never overlap.';
COMMENT ON COLUMN ops.heal.account IS 'Account.';
COMMENT ON COLUMN ops.heal.dataset IS 'Table with the hole, schema.table.';
COMMENT ON COLUMN ops.heal.scope IS 'Vehicle, device, or _fleet.';
COMMENT ON COLUMN ops.heal.window_start IS 'Start of what was tried, UTC, inclusive.';
COMMENT ON COLUMN ops.heal.window_end IS 'End of what was tried, UTC, exclusive.';
COMMENT ON COLUMN ops.heal.attempts IS 'How often it was tried, the attempt under way included [count].';
COMMENT ON COLUMN ops.heal.first_at IS 'When it was tried first, UTC.';
COMMENT ON COLUMN ops.heal.tried_at IS 'When it was tried last, UTC.';
COMMENT ON COLUMN ops.heal.next_at IS 'Not before this it is tried again, UTC; null: given up.';
COMMENT ON COLUMN ops.heal.run_id IS 'Run that has taken it on and has not told how it went; null: none.';
COMMENT ON COLUMN ops.heal.reason IS 'Why the last attempt did not mend it.';
COMMENT ON COLUMN ops.heal.gave_up_at IS 'When it was given up, UTC: a person is next; null: it is tried again.';
COMMENT ON COLUMN ops.heal.reopens IS 'Once given up, a later success of the same scope makes it worth trying again; false: it has had that chance.';
ALTER TABLE ops.heal ADD COLUMN IF NOT EXISTS reopened integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.heal.reopened IS 'How often it was taken up again by itself after it was given up [count].';
COMMENT ON COLUMN ops.heal.contract_version IS 'Contract of the last attempt; another one makes it worth trying again.';
COMMENT ON COLUMN ops.heal.alerted_at IS 'When people were told that it was given up, UTC; null: not yet.';

CREATE TABLE IF NOT EXISTS ops.alert (
    alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    subject text NOT NULL,
    message text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.alert IS 'What people were told, whatever way the notifier took.';
COMMENT ON COLUMN ops.alert.alert_id IS 'Number, in the order of raising.';
COMMENT ON COLUMN ops.alert.account IS 'Account it is about.';
COMMENT ON COLUMN ops.alert.subject IS 'One line.';
COMMENT ON COLUMN ops.alert.message IS 'What, where, and what to do.';
COMMENT ON COLUMN ops.alert.dag_id IS 'DAG that raised it.';
COMMENT ON COLUMN ops.alert.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.alert.raised_at IS 'When, UTC.';
-- The default is for the rows that were there before the column: they were sent.
ALTER TABLE ops.alert ADD COLUMN IF NOT EXISTS sent_at timestamptz DEFAULT now();
ALTER TABLE ops.alert ALTER COLUMN sent_at DROP DEFAULT;
CREATE INDEX IF NOT EXISTS alert_unsent ON ops.alert (account, alert_id) WHERE sent_at IS NULL;
COMMENT ON COLUMN ops.alert.sent_at IS 'When it was sent, UTC; null: not yet, the next closing task of the account sends it.';

CREATE TABLE IF NOT EXISTS ops.told (
    account text NOT NULL,
    dataset text NOT NULL,
    scope text NOT NULL,
    kind text NOT NULL,
    told_at timestamptz NOT NULL,
    PRIMARY KEY (account, dataset, scope, kind)
);
COMMENT ON TABLE ops.told IS 'Of which vehicle and kind of reason people were told last that self-healing has given up: they are not told again too soon.';
COMMENT ON COLUMN ops.told.account IS 'Account.';
COMMENT ON COLUMN ops.told.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.told.scope IS 'Vehicle, device, or _fleet.';
COMMENT ON COLUMN ops.told.kind IS 'Kind of the reason: its words before the colon.';
COMMENT ON COLUMN ops.told.told_at IS 'When, UTC.';

CREATE TABLE IF NOT EXISTS ops.retired (
    account text NOT NULL,
    scope text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, scope)
);
COMMENT ON TABLE ops.retired IS 'Vehicles and devices marked deleted: nothing more is expected of them.';
COMMENT ON COLUMN ops.retired.account IS 'Account.';
COMMENT ON COLUMN ops.retired.scope IS 'Vehicle or device.';
COMMENT ON COLUMN ops.retired.noted_at IS 'When it was noted, UTC.';

-- Gaps are told by the ledger itself, so that nobody has to walk through it: each interval knows where the next one begins.
ALTER TABLE ops.coverage ADD COLUMN IF NOT EXISTS next_start timestamptz;
COMMENT ON COLUMN ops.coverage.next_start IS 'Start of the scope''s next interval, UTC; null: this is its last one.';
UPDATE ops.coverage c SET next_start = n.next_start
FROM (
    SELECT account, dataset, scope, window_start,
        lead(window_start) OVER (PARTITION BY account, dataset, scope ORDER BY window_start) AS next_start
    FROM ops.coverage
) n
WHERE c.account = n.account AND c.dataset = n.dataset AND c.scope = n.scope AND c.window_start = n.window_start
    AND c.next_start IS DISTINCT FROM n.next_start;

CREATE INDEX IF NOT EXISTS coverage_hole ON ops.coverage (account, dataset, scope, window_start)
    WHERE state NOT IN ('complete', 'empty_confirmed');
CREATE INDEX IF NOT EXISTS coverage_gap ON ops.coverage (account, dataset, scope, window_end) WHERE next_start > window_end;
CREATE INDEX IF NOT EXISTS coverage_last ON ops.coverage (account, dataset, window_end) WHERE next_start IS NULL;
CREATE INDEX IF NOT EXISTS coverage_proven ON ops.coverage (account, dataset, window_end)
    WHERE state IN ('complete', 'empty_confirmed');
