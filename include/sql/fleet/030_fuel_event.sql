-- fleet.fuel_event of the vehicle-days in pg_temp.unit, from pg_temp.fuel_level.
WITH step AS (
    SELECT *, lag(event_time) OVER tank_of_device AS before_time, lag(level_l) OVER tank_of_device AS before_l
    FROM pg_temp.fuel_level
    WINDOW tank_of_device AS (PARTITION BY slot, tank ORDER BY event_time)
), kind AS (
    SELECT *,
        CASE
            WHEN level_l - before_l >= 1.0 THEN 'refuel'
            WHEN level_l - before_l <= -1.0
                AND event_time - before_time <= interval '600 seconds'
                AND (before_l - level_l) * 60 >= extract(epoch FROM event_time - before_time) THEN 'drain'
        END AS kind
    FROM step
), numbered AS (
    -- A step of another kind, or of none, begins a new run.
    SELECT *, count(*) FILTER (WHERE kind IS DISTINCT FROM before_kind) OVER (PARTITION BY slot, tank ORDER BY event_time) AS run
    FROM (SELECT *, lag(kind) OVER (PARTITION BY slot, tank ORDER BY event_time) AS before_kind FROM kind) q
), found AS (
    SELECT slot, tank, kind, max(event_time) AS event_time, min(before_time) AS begin_time,
        (array_agg(before_l ORDER BY event_time))[1] AS level_before_l,
        (array_agg(level_l ORDER BY event_time DESC))[1] AS level_after_l
    FROM numbered
    WHERE kind IS NOT NULL
    GROUP BY slot, tank, kind, run
)
SELECT a.vehicle_key, a.day, a.vendor, a.account, a.vendor_vehicle_id, f.*, abs(f.level_after_l - f.level_before_l) AS volume_l
FROM found f
JOIN pg_temp.assigned a USING (slot)
WHERE (f.kind = 'refuel' AND f.level_after_l - f.level_before_l >= 5.0)
    OR (f.kind = 'drain' AND f.level_before_l - f.level_after_l >= 10.0)
