-- fleet.fuel_event of the vehicle-days in pg_temp.unit, from pg_temp.fuel_level.
WITH step AS (
    SELECT *,
        lag(event_time) OVER tank_of_device AS before_time,
        lag(level_l) OVER tank_of_device AS before_l
    FROM pg_temp.fuel_level
    WINDOW tank_of_device AS (PARTITION BY vehicle_key, vendor, account, vendor_vehicle_id, low, tank ORDER BY event_time)
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
    SELECT *,
        row_number() OVER (PARTITION BY vehicle_key, vendor, account, vendor_vehicle_id, low, tank ORDER BY event_time)
        - row_number() OVER (PARTITION BY vehicle_key, vendor, account, vendor_vehicle_id, low, tank, kind ORDER BY event_time)
            AS run
    FROM kind
), found AS (
    SELECT vehicle_key, day, vendor, account, vendor_vehicle_id, tank, kind, max(event_time) AS event_time,
        min(before_time) AS begin_time,
        (array_agg(before_l ORDER BY event_time))[1] AS level_before_l,
        (array_agg(level_l ORDER BY event_time DESC))[1] AS level_after_l
    FROM numbered
    WHERE kind IS NOT NULL
    GROUP BY vehicle_key, day, vendor, account, vendor_vehicle_id, low, tank, kind, run
)
SELECT *, abs(level_after_l - level_before_l) AS volume_l
FROM found
WHERE (kind = 'refuel' AND level_after_l - level_before_l >= 5.0) OR (kind = 'drain' AND level_before_l - level_after_l >= 10.0)
