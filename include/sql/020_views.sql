-- Times nobody ever asked for are read by themselves only as long as that costs little: longer ones are a person's decision.
CREATE OR REPLACE FUNCTION ops.longest_gap() RETURNS interval LANGUAGE sql IMMUTABLE AS $$SELECT interval '31 days'$$;
COMMENT ON FUNCTION ops.longest_gap() IS 'Longest time that nobody asked for and that self-healing reads by itself.';

-- What a person on call looks at first.
CREATE OR REPLACE VIEW ops.hole AS
WITH RECURSIVE ledger AS (
    -- Accounts and datasets of the ledger, one step of the index each.
    (SELECT account, dataset FROM ops.coverage ORDER BY account, dataset LIMIT 1)
    UNION ALL
    SELECT n.account, n.dataset
    FROM ledger p
    CROSS JOIN LATERAL (
        SELECT c.account, c.dataset FROM ops.coverage c
        WHERE (c.account, c.dataset) > (p.account, p.dataset) ORDER BY c.account, c.dataset LIMIT 1
    ) n
), reached AS MATERIALIZED (
    -- How far each dataset has come: what at least half of its scopes were asked for, and one is proven for. So somebody who
    -- loads a later time of one vehicle leaves nobody behind. A run that is still at work has not passed anybody over yet.
    SELECT g.account, g.dataset, least(e.window_end, half.window_end) AS reached
    FROM ledger g
    CROSS JOIN LATERAL (
        SELECT c.window_end
        FROM ops.coverage c
        WHERE c.account = g.account AND c.dataset = g.dataset AND c.next_start IS NULL
        ORDER BY c.window_end DESC
        LIMIT 1
        OFFSET greatest(0, (
            (SELECT count(*) FROM ops.coverage n
                WHERE n.account = g.account AND n.dataset = g.dataset AND n.next_start IS NULL)
            - (SELECT count(*) FROM ops.retired t
                WHERE t.account = g.account AND EXISTS (SELECT FROM ops.coverage n
                    WHERE n.account = g.account AND n.dataset = g.dataset AND n.scope = t.scope))
            - 1) / 2)
    ) half
    CROSS JOIN LATERAL (
        SELECT c.window_end
        FROM ops.coverage c
        LEFT JOIN ops.load l ON l.load_id = c.load_id
        WHERE c.account = g.account AND c.dataset = g.dataset AND c.state IN ('complete', 'empty_confirmed')
            AND (
                l.load_id IS NULL OR c.recorded_at < now() - interval '6 hours'
                OR EXISTS (SELECT FROM ops.run_end r WHERE r.dag_id = l.dag_id AND r.run_id = l.run_id)
            )
        ORDER BY c.window_end DESC
        LIMIT 1
    ) e
), hole AS (
    SELECT account, dataset, scope, window_start, window_end, state, proof, fetched_at, load_id, run_id, recorded_at
    FROM ops.coverage
    WHERE state NOT IN ('complete', 'empty_confirmed')
    UNION ALL
    SELECT account, dataset, scope, window_end, next_start, 'unread', 'unread: nobody has asked for it', NULL, NULL, NULL, NULL
    FROM ops.coverage
    WHERE next_start > window_end
    UNION ALL
    SELECT c.account, c.dataset, c.scope, c.window_end, r.reached, 'unread', 'unread: others have come further', NULL, NULL,
        NULL, NULL
    FROM reached r
    CROSS JOIN LATERAL (
        SELECT * FROM ops.coverage c
        WHERE c.account = r.account AND c.dataset = r.dataset AND c.next_start IS NULL AND c.window_end < r.reached
        OFFSET 0  -- by its index: seldom more than a few
    ) c
    WHERE NOT EXISTS (SELECT FROM ops.retired t WHERE t.account = c.account AND t.scope = c.scope)
)
SELECT h.account, h.dataset, h.scope, h.window_start, h.window_end, h.state, h.proof, h.fetched_at, h.run_id, h.recorded_at,
    who.next_by,
    CASE who.next_by
        WHEN 'schedule' THEN CASE WHEN h.window_end > now() THEN h.window_end
            ELSE h.recorded_at + interval '6 hours' END
        WHEN 'self-heal' THEN tried.next_at
    END AS next_at,
    coalesce(tried.attempts, 0) AS attempts,
    CASE WHEN who.next_by = 'person' AND tried.is_given_up IS NOT TRUE THEN
        format('unread: more than %s days are read only when somebody wants them: fleetlake plan --dataset %s --account %s'
            ' --from %s --to %s%s says what it costs, fleetlake backfill reads it',
            extract(day FROM ops.longest_gap()), h.dataset, h.account, (h.window_start AT TIME ZONE 'UTC')::date,
            (h.window_end AT TIME ZONE 'UTC' - interval '1 microsecond')::date,
            -- A vehicle that is gone is read only for those who name it.
            (SELECT ' --vehicles ' || t.scope FROM ops.retired t WHERE t.account = h.account AND t.scope = h.scope))
    -- Asked for only where something was tried: of most holes nothing was.
    WHEN tried.attempts IS NOT NULL THEN (
        SELECT t.reason FROM ops.heal t
        WHERE t.account = h.account AND t.dataset = h.dataset AND t.scope = h.scope
            AND t.window_start < h.window_end AND t.window_end > h.window_start
        ORDER BY t.tried_at DESC LIMIT 1
    ) END AS reason,
    round((extract(epoch FROM h.window_end - h.window_start) / 86400)::numeric, 2)::double precision AS days
FROM hole h
LEFT JOIN ops.load l ON l.load_id = h.load_id
LEFT JOIN LATERAL (
    SELECT max(t.attempts) AS attempts, max(t.next_at) AS next_at,
        sum(least(t.window_end, h.window_end) - greatest(t.window_start, h.window_start))
            FILTER (WHERE t.gave_up_at IS NOT NULL) >= h.window_end - h.window_start AS is_given_up
    FROM ops.heal t
    WHERE t.account = h.account AND t.dataset = h.dataset AND t.scope = h.scope
        AND t.window_start < h.window_end AND t.window_end > h.window_start
) AS tried ON true
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN h.state = 'out_of_retention' THEN 'nobody'
        WHEN tried.is_given_up OR h.state = 'unread' AND h.window_end - h.window_start > ops.longest_gap() THEN 'person'
        WHEN h.state = 'not_yet' AND h.window_end > now() OR h.window_start >= date_trunc('day', now(), 'UTC') THEN 'schedule'
        -- Its own run may still be at work on it.
        WHEN l.load_id IS NOT NULL AND h.recorded_at > now() - interval '6 hours' AND NOT EXISTS (
            SELECT FROM ops.run_end r WHERE r.dag_id = l.dag_id AND r.run_id = l.run_id
        ) THEN 'schedule'
        WHEN h.state = 'preparing' AND h.recorded_at > now() - interval '6 hours' THEN 'schedule'
        ELSE 'self-heal'
    END AS next_by
) AS who;
COMMENT ON VIEW ops.hole IS 'Intervals that were asked for and are not proven complete, and times between and after that nobody asked for.';
COMMENT ON COLUMN ops.hole.state IS 'State in ops.coverage; unread: a gap between a scope''s intervals, or from its last one to where half of its dataset''s scopes have come.';
COMMENT ON COLUMN ops.hole.proof IS 'How it is known: kind, colon, detail.';
COMMENT ON COLUMN ops.hole.next_by IS 'Who is next: schedule, self-heal, person: self-heal has given up, or nobody ever asked for more than 31 days; nobody: the vendor does not keep it any more.';
COMMENT ON COLUMN ops.hole.next_at IS 'Not before then, UTC; null: at once, by the next run.';
COMMENT ON COLUMN ops.hole.attempts IS 'How often self-heal has tried it [count].';
COMMENT ON COLUMN ops.hole.reason IS 'Why its last attempt did not mend it, or why a person is next.';
COMMENT ON COLUMN ops.hole.days IS 'Length [d].';

CREATE OR REPLACE VIEW ops.dataset_status AS
WITH scopes AS (
    SELECT account, dataset, count(*) FILTER (WHERE next_start IS NULL) AS scopes,
        min(window_end) FILTER (WHERE next_start IS NULL) AS last_end, max(window_end) AS read_until,
        extract(epoch FROM sum(window_end - window_start)
            FILTER (WHERE state IN ('complete', 'empty_confirmed')))::double precision / 86400 AS days
    FROM ops.coverage
    GROUP BY account, dataset
), broken AS (
    SELECT h.account, h.dataset, count(*) AS holes, min(h.window_start) AS first_hole,
        sum(h.days) FILTER (WHERE h.next_by <> 'schedule') AS days_open
    FROM ops.hole h
    GROUP BY h.account, h.dataset
), gone AS (
    SELECT s.account, s.dataset, count(*) AS scopes
    FROM scopes s
    JOIN ops.retired t USING (account)
    JOIN ops.coverage c USING (account, dataset, scope)
    WHERE c.next_start IS NULL
    GROUP BY s.account, s.dataset
), coverage AS (
    -- A scope is complete until its first hole, the dataset until the first of them all. Of a vehicle marked deleted nothing
    -- is expected after its last interval, so that this holds nobody back.
    SELECT account, dataset, s.scopes - coalesce(g.scopes, 0) AS scopes, coalesce(b.holes, 0) AS holes,
        least(CASE
            WHEN g.scopes IS NULL THEN s.last_end
            WHEN g.scopes = s.scopes THEN s.read_until
            ELSE (
                SELECT c.window_end FROM ops.coverage c
                WHERE c.account = s.account AND c.dataset = s.dataset AND c.next_start IS NULL
                    AND NOT EXISTS (SELECT FROM ops.retired t WHERE t.account = c.account AND t.scope = c.scope)
                ORDER BY c.window_end LIMIT 1
            )
        END, b.first_hole) AS complete_until,
        s.read_until, coalesce(s.days, 0) AS days_proven, coalesce(b.days_open, 0) AS days_open
    FROM scopes s
    LEFT JOIN broken b USING (account, dataset)
    LEFT JOIN gone g USING (account, dataset)
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
    coalesce(aside.quarantined, 0) AS quarantined,
    coverage.days_proven, coverage.days_open, coverage.read_until
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
COMMENT ON COLUMN ops.dataset_status.complete_until IS 'Before this nothing is missing of any scope since its first interval, UTC; of one marked deleted until its last interval.';
COMMENT ON COLUMN ops.dataset_status.scopes IS 'Vehicles or devices in the coverage ledger, without those marked deleted [count].';
COMMENT ON COLUMN ops.dataset_status.holes IS 'Entries of ops.hole [count].';
COMMENT ON COLUMN ops.dataset_status.quarantined IS 'Rows set aside and not taken since [count].';
COMMENT ON COLUMN ops.dataset_status.days_proven IS 'Vehicle-days proven complete [d].';
COMMENT ON COLUMN ops.dataset_status.days_open IS 'Vehicle-days of ops.hole, without those that wait for the schedule [d].';
COMMENT ON COLUMN ops.dataset_status.read_until IS 'Newest end of an interval of any scope, UTC: nothing has been read since.';
