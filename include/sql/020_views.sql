-- What a person on call looks at first.
CREATE OR REPLACE VIEW ops.hole AS
SELECT account, dataset, scope, window_start, window_end, state, proof, fetched_at, run_id, recorded_at
FROM ops.coverage
WHERE state NOT IN ('complete', 'empty_confirmed');
COMMENT ON VIEW ops.hole IS 'Intervals that were asked for and are not proven complete.';

CREATE OR REPLACE VIEW ops.dataset_status AS
WITH marked AS (
    SELECT account, dataset, scope, window_start, window_end,
        state IN ('complete', 'empty_confirmed') AS is_proven,
        lag(window_end) OVER chain AS before_end
    FROM ops.coverage
    WINDOW chain AS (PARTITION BY account, dataset, scope ORDER BY window_start)
), proven AS (
    -- A scope is complete until the first hole or gap after its first interval.
    SELECT account, dataset, scope, window_end, is_proven,
        count(*) FILTER (WHERE NOT is_proven OR window_start > before_end) OVER (
            PARTITION BY account, dataset, scope ORDER BY window_start
        ) AS breaks
    FROM marked
), scopes AS (
    SELECT account, dataset, scope,
        max(window_end) FILTER (WHERE breaks = 0) AS complete_until,
        count(*) FILTER (WHERE NOT is_proven) AS holes
    FROM proven
    GROUP BY account, dataset, scope
), coverage AS (
    SELECT account, dataset, count(*) AS scopes, sum(holes)::bigint AS holes,
        CASE WHEN bool_and(complete_until IS NOT NULL) THEN min(complete_until) END AS complete_until
    FROM scopes
    GROUP BY account, dataset
), loads AS (
    SELECT account, dataset, count(*) AS loads, sum(rows_inserted)::bigint AS rows,
        max(newest_event_time) AS newest_event_time,
        max(published_at) FILTER (WHERE state = 'published') AS last_published_at,
        max(fetched_to) AS last_fetched_at,
        count(*) FILTER (WHERE state = 'held') AS held_loads
    FROM ops.load
    GROUP BY account, dataset
), aside AS (
    SELECT account, dataset, count(*) AS quarantined
    FROM ops.quarantine
    WHERE resolved_at IS NULL
    GROUP BY account, dataset
)
SELECT account, dataset,
    loads.rows, loads.newest_event_time, loads.last_fetched_at, loads.last_published_at,
    coalesce(loads.loads, 0) AS loads, coalesce(loads.held_loads, 0) AS held_loads,
    coverage.complete_until, coalesce(coverage.scopes, 0) AS scopes, coalesce(coverage.holes, 0) AS holes,
    coalesce(aside.quarantined, 0) AS quarantined
FROM loads
FULL JOIN coverage USING (account, dataset)
LEFT JOIN aside USING (account, dataset);
COMMENT ON VIEW ops.dataset_status IS 'How each dataset of each account stands.';
COMMENT ON COLUMN ops.dataset_status.rows IS 'Rows ever taken, those marked deleted included [count].';
COMMENT ON COLUMN ops.dataset_status.newest_event_time IS 'Newest value of the dataset''s time column, UTC.';
COMMENT ON COLUMN ops.dataset_status.last_fetched_at IS 'When the vendor was read last, UTC.';
COMMENT ON COLUMN ops.dataset_status.last_published_at IS 'When a batch was published last, UTC.';
COMMENT ON COLUMN ops.dataset_status.loads IS 'Batches [count].';
COMMENT ON COLUMN ops.dataset_status.held_loads IS 'Batches held by a critical check [count].';
COMMENT ON COLUMN ops.dataset_status.complete_until IS 'All scopes are proven complete from their first interval until here, UTC; null: at least one begins with a hole.';
COMMENT ON COLUMN ops.dataset_status.scopes IS 'Vehicles or devices in the coverage ledger [count].';
COMMENT ON COLUMN ops.dataset_status.holes IS 'Intervals not proven complete [count].';
COMMENT ON COLUMN ops.dataset_status.quarantined IS 'Rows set aside and not taken since [count].';
