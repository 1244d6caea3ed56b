-- Question: Whose data is behind: which vehicles are missing days that others of the same table have?
-- Read it:  One row per vehicle and table that is behind, furthest first. proven_until is the moment up to which the vendor is
--           proven to have told everything; behind_h is how far that lies behind the best vehicle of the same account and
--           table. hole_state and hole_proof say why, and hole_start where it begins. newest_day is the last day with data.
--           A vehicle with behind_h 0 is listed when it has been silent for days: complete, and yet nothing came.
-- Limits:   No row does not mean that the fleet is up to date, only that no vehicle lags behind the others: how old the newest
--           data is stands in ops.dataset_status. A silent vehicle may stand in the yard with its battery disconnected.
WITH main_table (vendor, dataset) AS (
    VALUES ('rcs', 'rcs.telemetry'), ('powunity', 'powunity.trip'),
        ('omnicomm', 'omnicomm.consolidated_report'), ('suivideflotte', 'suivideflotte.trip')
), device AS (
    SELECT i.vehicle_key, i.vendor, i.account, i.vendor_vehicle_id, m.dataset
    FROM fleet.vehicle_identity i
    JOIN main_table m USING (vendor)
    WHERE i.valid_to IS NULL
), marked AS (
    SELECT *, state IN ('complete', 'empty_confirmed') AS is_proven,
        lag(window_end) OVER (PARTITION BY account, dataset, scope ORDER BY window_start) AS end_before
    FROM ops.coverage
), chained AS (
    -- Breaks so far: intervals that are not proven, and gaps between intervals.
    SELECT *, count(*) FILTER (WHERE NOT is_proven OR window_start > end_before)
        OVER (PARTITION BY account, dataset, scope ORDER BY window_start) AS breaks
    FROM marked
), proven AS (
    SELECT account, dataset, scope, max(window_end) FILTER (WHERE breaks = 0) AS proven_until
    FROM chained
    GROUP BY account, dataset, scope
), hole AS (
    SELECT DISTINCT ON (account, dataset, scope) account, dataset, scope, window_start, state, proof
    FROM chained
    WHERE NOT is_proven
    ORDER BY account, dataset, scope, window_start
), state AS (
    SELECT d.*, p.proven_until, max(p.proven_until) OVER (PARTITION BY d.account, d.dataset) AS best_until,
        h.window_start AS hole_start, h.state AS hole_state, h.proof AS hole_proof,
        (SELECT max(day) FROM fleet.vehicle_day x WHERE x.vehicle_key = d.vehicle_key) AS newest_day
    FROM device d
    LEFT JOIN proven p ON p.account = d.account AND p.dataset = d.dataset AND p.scope = d.vendor_vehicle_id
    LEFT JOIN hole h ON h.account = d.account AND h.dataset = d.dataset AND h.scope = d.vendor_vehicle_id
)
SELECT
    v.name AS vehicle,
    s.dataset AS "table",
    s.account,
    s.vendor_vehicle_id,
    s.proven_until,
    round((extract(epoch FROM s.best_until - s.proven_until) / 3600)::numeric, 1) AS behind_h,
    s.hole_start,
    coalesce(s.hole_state, CASE WHEN s.proven_until IS NULL THEN 'never asked for' END) AS hole_state,
    s.hole_proof,
    s.newest_day
FROM state s
JOIN fleet.vehicle v USING (vehicle_key)
WHERE s.proven_until IS NULL
    OR s.proven_until < s.best_until
    OR s.hole_state IS NOT NULL
    OR s.newest_day IS NULL
    OR s.newest_day < (s.best_until AT TIME ZONE 'UTC')::date - 3
ORDER BY s.proven_until NULLS FIRST, s.newest_day NULLS FIRST, vehicle, "table"
