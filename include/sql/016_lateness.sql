-- How late rows come, what look-back was learned from it, and why a day was read again.
CREATE TABLE IF NOT EXISTS ops.lateness (
    account text NOT NULL,
    dataset text NOT NULL,
    clock text NOT NULL CHECK (clock IN ('event_received', 'received_fetched', 'event_fetched')),
    measured_on date NOT NULL,
    below_s double precision NOT NULL,
    rows bigint NOT NULL,
    max_s double precision NOT NULL,
    PRIMARY KEY (account, dataset, clock, measured_on, below_s)
);
COMMENT ON TABLE ops.lateness IS 'Histograms of how old new rows were, a day each. Backfills count for event_received only: that we asked late is not the vendor''s lateness.';
COMMENT ON COLUMN ops.lateness.account IS 'Account.';
COMMENT ON COLUMN ops.lateness.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.lateness.clock IS 'From when to when: event_received (it happened, the vendor had it), received_fetched, event_fetched (fleetlake read it).';
COMMENT ON COLUMN ops.lateness.measured_on IS 'UTC day on which the rows were fetched.';
COMMENT ON COLUMN ops.lateness.below_s IS 'Upper bound of the bucket, exclusive [s]; its lower bound is the next smaller one in use.';
COMMENT ON COLUMN ops.lateness.rows IS 'New rows in the bucket [count].';
COMMENT ON COLUMN ops.lateness.max_s IS 'Greatest value in the bucket [s].';

CREATE TABLE IF NOT EXISTS ops.reread (
    account text NOT NULL,
    dataset text NOT NULL,
    read_on date NOT NULL,
    age_days integer NOT NULL,
    vehicle_days bigint NOT NULL,
    late_vehicle_days bigint NOT NULL,
    PRIMARY KEY (account, dataset, read_on, age_days)
);
COMMENT ON TABLE ops.reread IS 'Vehicle-days that scheduled runs read again although they were proven complete, and how many had changed: what look-backs are learned from.';
COMMENT ON COLUMN ops.reread.account IS 'Account.';
COMMENT ON COLUMN ops.reread.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.reread.read_on IS 'UTC day on which they were read again.';
COMMENT ON COLUMN ops.reread.age_days IS 'Whole days between the end of the vehicle-day and its reading [day].';
COMMENT ON COLUMN ops.reread.vehicle_days IS 'Vehicle-days read again [count].';
COMMENT ON COLUMN ops.reread.late_vehicle_days IS 'Those of which a row was new, changed or gone [count].';

CREATE TABLE IF NOT EXISTS ops.late_day (
    account text NOT NULL,
    dataset text NOT NULL,
    scope text NOT NULL,
    day date NOT NULL,
    load_id text NOT NULL,
    age_days integer NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    found_on date NOT NULL,
    PRIMARY KEY (account, dataset, scope, day, load_id)
);
CREATE INDEX IF NOT EXISTS late_day_run ON ops.late_day (dag_id, run_id, dataset);
CREATE INDEX IF NOT EXISTS late_day_found ON ops.late_day (account, dataset, found_on);
COMMENT ON TABLE ops.late_day IS 'Vehicle-days that were proven complete a day or more before, and then changed at the vendor. Kept for 100 days.';
COMMENT ON COLUMN ops.late_day.account IS 'Account.';
COMMENT ON COLUMN ops.late_day.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.late_day.scope IS 'Vehicle, device, or _fleet.';
COMMENT ON COLUMN ops.late_day.day IS 'UTC day of the rows'' time.';
COMMENT ON COLUMN ops.late_day.load_id IS 'Batch that brought the change; see ops.load.';
COMMENT ON COLUMN ops.late_day.age_days IS 'Whole days between the end of the day and the reading that found it [day].';
COMMENT ON COLUMN ops.late_day.dag_id IS 'DAG that found it.';
COMMENT ON COLUMN ops.late_day.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.late_day.found_on IS 'UTC day on which it was found.';

CREATE TABLE IF NOT EXISTS ops.settled (
    account text NOT NULL,
    dataset text NOT NULL,
    scope text NOT NULL,
    until timestamptz NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, dataset, scope)
);
COMMENT ON TABLE ops.settled IS 'Until when the days of a vehicle have had their last reading: nothing later is expected of them.';
COMMENT ON COLUMN ops.settled.account IS 'Account.';
COMMENT ON COLUMN ops.settled.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.settled.scope IS 'Vehicle, device, or _fleet.';
COMMENT ON COLUMN ops.settled.until IS 'Days before this moment that were proven, since the first scheduled run about the vehicle, have been read at their full age; never past one that was not, UTC.';
COMMENT ON COLUMN ops.settled.settled_at IS 'When it moved last, UTC.';

CREATE TABLE IF NOT EXISTS ops.look_back (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    feed text NOT NULL,
    part text NOT NULL,
    generation integer NOT NULL,
    account text NOT NULL,
    datasets text[] NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    look_back_days integer NOT NULL,
    max_days integer NOT NULL,
    is_learned boolean NOT NULL,
    reason text NOT NULL,
    days jsonb NOT NULL DEFAULT '{}',
    planned_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz,
    PRIMARY KEY (dag_id, run_id, feed, part, generation)
);
CREATE INDEX IF NOT EXISTS look_back_account ON ops.look_back (account, planned_at DESC);
COMMENT ON TABLE ops.look_back IS 'The look-back that a scheduled run used, and the days it read again. Decided once: a retry goes by the same numbers.';
COMMENT ON COLUMN ops.look_back.dag_id IS 'DAG.';
COMMENT ON COLUMN ops.look_back.run_id IS 'Run of that DAG.';
COMMENT ON COLUMN ops.look_back.feed IS 'Feed.';
COMMENT ON COLUMN ops.look_back.part IS 'Digest of the vehicles of one task.';
COMMENT ON COLUMN ops.look_back.generation IS 'Which asking of this run it is, from 1.';
COMMENT ON COLUMN ops.look_back.account IS 'Account.';
COMMENT ON COLUMN ops.look_back.datasets IS 'Tables filled from the feed.';
COMMENT ON COLUMN ops.look_back.window_start IS 'Start of the run''s own days, UTC.';
COMMENT ON COLUMN ops.look_back.window_end IS 'End of the run''s own days, UTC, exclusive.';
COMMENT ON COLUMN ops.look_back.look_back_days IS 'Days before them that were read again [day].';
COMMENT ON COLUMN ops.look_back.max_days IS 'Age at which each day is read once more, whatever was learned [day].';
COMMENT ON COLUMN ops.look_back.is_learned IS 'The number comes from evidence; false: there was too little.';
COMMENT ON COLUMN ops.look_back.reason IS 'Why that number.';
COMMENT ON COLUMN ops.look_back.days IS 'Day to reason (look-back, sweep, late rows) to number of vehicles.';
COMMENT ON COLUMN ops.look_back.planned_at IS 'When it was decided, UTC.';
COMMENT ON COLUMN ops.look_back.done_at IS 'When all of it was read, UTC; null: not yet.';

CREATE OR REPLACE VIEW ops.look_back_day AS
SELECT p.account, p.dataset, p.feed, d.key::date AS day, w.key AS why, w.value::bigint AS vehicles, p.look_back_days, p.max_days,
    p.reason, p.dag_id, p.run_id, p.planned_at
FROM (SELECT l.*, unnest(l.datasets) AS dataset FROM ops.look_back l) p,
    LATERAL jsonb_each(p.days) AS d, LATERAL jsonb_each_text(d.value) AS w;
COMMENT ON VIEW ops.look_back_day IS 'Why each day was read again, by which run, for how many vehicles.';
COMMENT ON COLUMN ops.look_back_day.day IS 'UTC day that was read again.';
COMMENT ON COLUMN ops.look_back_day.why IS 'look-back: it is among the days learned; sweep: it had come to its full age; late rows: an older day of the vehicle had changed.';
COMMENT ON COLUMN ops.look_back_day.vehicles IS 'Vehicles it was read again for [count].';

CREATE OR REPLACE VIEW ops.lateness_status AS
WITH recent AS (
    SELECT account, dataset, clock, below_s, sum(rows) AS rows, max(max_s) AS max_s
    FROM ops.lateness l
    WHERE measured_on > (SELECT max(measured_on) - 30 FROM ops.lateness n WHERE n.account = l.account AND n.dataset = l.dataset)
    GROUP BY account, dataset, clock, below_s
), ranked AS (
    SELECT *, sum(rows) OVER (PARTITION BY account, dataset, clock ORDER BY below_s) AS upto,
        sum(rows) OVER (PARTITION BY account, dataset, clock) AS total
    FROM recent
), clocks AS (
    SELECT account, dataset, clock, max(total)::bigint AS rows, max(max_s) AS max_s,
        min(below_s) FILTER (WHERE upto >= 0.5 * total) AS p50_s,
        min(below_s) FILTER (WHERE upto >= 0.95 * total) AS p95_s,
        min(below_s) FILTER (WHERE upto >= 0.99 * total) AS p99_s
    FROM ranked
    GROUP BY account, dataset, clock
), late AS (
    SELECT account, dataset, count(DISTINCT (scope, day)) AS vehicle_days, max(age_days) AS max_age_days
    FROM ops.late_day
    GROUP BY account, dataset
), plans AS (
    SELECT DISTINCT ON (account, dataset) account, dataset, look_back_days, max_days, is_learned, reason
    FROM (SELECT l.*, unnest(l.datasets) AS dataset FROM ops.look_back l) p
    ORDER BY account, dataset, window_end DESC, planned_at DESC
), settled AS (
    SELECT account, dataset, min(until) AS until
    FROM ops.settled
    GROUP BY account, dataset
)
SELECT account, dataset, c.clock, c.rows,
    least(c.p50_s, c.max_s) AS p50_s, least(c.p95_s, c.max_s) AS p95_s, least(c.p99_s, c.max_s) AS p99_s, c.max_s,
    coalesce(l.vehicle_days, 0) AS late_vehicle_days, l.max_age_days AS late_max_days,
    p.look_back_days, p.max_days AS look_back_max_days, p.is_learned, p.reason AS look_back_reason, s.until AS settled_until
FROM clocks c
FULL JOIN plans p USING (account, dataset)
LEFT JOIN late l USING (account, dataset)
LEFT JOIN settled s USING (account, dataset);
COMMENT ON VIEW ops.lateness_status IS 'How late the rows of each table came in the last 30 days, and the look-back in force.';
COMMENT ON COLUMN ops.lateness_status.clock IS 'From when to when; see ops.lateness.';
COMMENT ON COLUMN ops.lateness_status.rows IS 'New rows measured [count].';
COMMENT ON COLUMN ops.lateness_status.p50_s IS 'Half of them were no older than this (bound of a bucket) [s].';
COMMENT ON COLUMN ops.lateness_status.p95_s IS '95 of 100 were no older than this [s].';
COMMENT ON COLUMN ops.lateness_status.p99_s IS '99 of 100 were no older than this [s].';
COMMENT ON COLUMN ops.lateness_status.max_s IS 'The oldest [s].';
COMMENT ON COLUMN ops.lateness_status.late_vehicle_days IS 'Vehicle-days that changed after they were proven, last 100 days [count].';
COMMENT ON COLUMN ops.lateness_status.late_max_days IS 'The greatest age at which one was found changed [day].';
COMMENT ON COLUMN ops.lateness_status.look_back_days IS 'Days the last scheduled run read again; null: it has none, or accounts.yaml fixes them [day].';
COMMENT ON COLUMN ops.lateness_status.look_back_max_days IS 'Age at which each day is read once more [day].';
COMMENT ON COLUMN ops.lateness_status.is_learned IS 'The look-back comes from evidence.';
COMMENT ON COLUMN ops.lateness_status.look_back_reason IS 'Why that look-back.';
COMMENT ON COLUMN ops.lateness_status.settled_until IS 'Days before this have had their last reading, for all vehicles, UTC.';
