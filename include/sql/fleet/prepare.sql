-- What several marts need of the vehicle-days in pg_temp.unit. Temporary, gone with the transaction.
-- `slot` numbers the assignments of devices to vehicle-days: samples are sorted by a number, not by three texts.
-- `place` orders the devices of a vehicle: of several that tell the same kind of fact, the lowest counts.
CREATE TEMP TABLE assigned ON COMMIT DROP AS
SELECT row_number() OVER ()::integer AS slot, u.vehicle_key, u.day, i.vendor, i.account, i.vendor_vehicle_id,
    CASE WHEN i.vendor <> 'rcs' AND i.vendor_vehicle_id ~ '^\d{1,18}$' THEN i.vendor_vehicle_id::bigint END AS vehicle_number,
    dense_rank() OVER (
        PARTITION BY u.vehicle_key, u.day
        ORDER BY i.rank, i.vendor COLLATE "C", i.account COLLATE "C", i.vendor_vehicle_id COLLATE "C"
    ) AS place,
    greatest(i.valid_from, d.midnight) AS low,
    least(coalesce(i.valid_to, 'infinity'), d.next_midnight) AS high,
    i.valid_from <= d.midnight AND coalesce(i.valid_to, 'infinity') >= d.next_midnight AS is_whole_day,
    i.odometer_offset_m
FROM pg_temp.unit u
CROSS JOIN LATERAL (
    SELECT u.day::timestamp AT TIME ZONE 'UTC' AS midnight, (u.day + 1)::timestamp AT TIME ZONE 'UTC' AS next_midnight
) d
JOIN fleet.vehicle_identity i
    ON i.vehicle_key = u.vehicle_key AND i.valid_from < d.next_midnight AND (i.valid_to IS NULL OR i.valid_to > d.midnight);
ANALYZE pg_temp.assigned;

-- RCS's records: of several with one time the greatest revision counts.
CREATE TEMP TABLE record ON COMMIT DROP AS
SELECT DISTINCT ON (a.slot, s.event_time)
    a.slot, s.event_time, s.speed_kmh, s.latitude_deg, s.longitude_deg, s.odometer_m, s.fuel_level_l,
    coalesce(s.is_engine_started, s.is_ignition_on) AS is_engine_on
FROM pg_temp.assigned a
JOIN rcs.telemetry s
    ON s.account = a.account AND s.vehicle_id = a.vendor_vehicle_id AND s.event_time >= a.low AND s.event_time < a.high
WHERE a.vendor = 'rcs' AND s.deleted_at IS NULL
ORDER BY a.slot, s.event_time, s.revision COLLATE "C" DESC;
ANALYZE pg_temp.record;

-- Fuel levels that count: of the best device at each moment, if it tells any that day.
CREATE TEMP TABLE fuel_level ON COMMIT DROP AS
WITH told AS (
    SELECT slot, 1 AS tank, event_time, round(fuel_level_l::numeric, 6) AS level_l
    FROM pg_temp.record
    WHERE fuel_level_l IS NOT NULL
    UNION ALL
    SELECT a.slot, s.tank, s.event_time, round(s.fuel_level_l::numeric, 6)
    FROM pg_temp.assigned a
    JOIN omnicomm.fuel_level s
        ON s.account = a.account AND s.terminal_id = a.vehicle_number AND s.event_time >= a.low AND s.event_time < a.high
    WHERE a.vendor = 'omnicomm' AND s.fuel_level_l IS NOT NULL AND s.deleted_at IS NULL
), teller AS (
    SELECT DISTINCT vehicle_key, day, place
    FROM pg_temp.assigned
    WHERE slot IN (SELECT slot FROM told)
), better AS (
    -- For each assignment, when a better device of the vehicle that tells levels of the day was there.
    SELECT a.slot, b.low, b.high
    FROM pg_temp.assigned a
    JOIN teller t ON t.vehicle_key = a.vehicle_key AND t.day = a.day AND t.place < a.place
    JOIN pg_temp.assigned b ON b.vehicle_key = t.vehicle_key AND b.day = t.day AND b.place = t.place
)
SELECT t.*
FROM told t
WHERE NOT EXISTS (
    SELECT FROM better b WHERE b.slot = t.slot AND t.event_time >= b.low AND t.event_time < b.high
);
ANALYZE pg_temp.fuel_level;
