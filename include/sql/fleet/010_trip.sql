-- fleet.trip of the vehicle-days in pg_temp.unit. Told by PowUnity and SuiviDeFlotte, made from samples for RCS and Omnicomm.
WITH sample AS (
    -- Omnicomm's invalid points count for nothing.
    SELECT slot, event_time, speed_kmh, latitude_deg, longitude_deg, odometer_m, NULL::float8 AS leg_m
    FROM pg_temp.record
    UNION ALL
    SELECT slot, event_time, speed_kmh, latitude_deg, longitude_deg, NULL,
        -- Great circle, haversine, mean earth radius.
        2 * 6371008.8 * asin(sqrt(least(1, power(sind((latitude_deg - before_latitude_deg) / 2), 2)
            + cosd(before_latitude_deg) * cosd(latitude_deg) * power(sind((longitude_deg - before_longitude_deg) / 2), 2))))
    FROM (
        SELECT a.slot, s.event_time, s.speed_kmh, s.latitude_deg, s.longitude_deg,
            lag(s.latitude_deg) OVER device AS before_latitude_deg, lag(s.longitude_deg) OVER device AS before_longitude_deg
        FROM pg_temp.assigned a
        JOIN omnicomm.track_point s
            ON s.account = a.account AND s.terminal_id = a.vehicle_number AND s.event_time >= a.low AND s.event_time < a.high
        WHERE a.vendor = 'omnicomm' AND s.is_valid AND s.deleted_at IS NULL
        WINDOW device AS (PARTITION BY a.slot ORDER BY s.event_time)
    ) point
), moving AS (
    SELECT *, coalesce(speed_kmh > 2, false) AS is_moving,
        max(event_time) FILTER (WHERE speed_kmh > 2) OVER (
            PARTITION BY slot ORDER BY event_time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS moved_before
    FROM sample
), starting AS (
    SELECT *, is_moving AND (moved_before IS NULL OR event_time - moved_before > interval '300 seconds') AS is_first
    FROM moving
), numbered AS (
    SELECT *, count(*) FILTER (WHERE is_first) OVER (PARTITION BY slot ORDER BY event_time) AS run
    FROM starting
), ending AS (
    SELECT *, max(event_time) FILTER (WHERE is_moving) OVER (PARTITION BY slot, run) AS end_time
    FROM numbered
    WHERE run > 0
), derived AS (
    SELECT slot, min(event_time) AS start_time, end_time,
        round(coalesce(sum(leg_m) FILTER (WHERE NOT is_first), 0)::numeric)::float8 AS track_m,
        max(speed_kmh) AS max_speed_kmh,
        max(latitude_deg) FILTER (WHERE is_first) AS start_latitude_deg,
        max(longitude_deg) FILTER (WHERE is_first) AS start_longitude_deg,
        max(latitude_deg) FILTER (WHERE event_time = end_time) AS end_latitude_deg,
        max(longitude_deg) FILTER (WHERE event_time = end_time) AS end_longitude_deg,
        max(odometer_m) FILTER (WHERE is_first) AS start_odometer_m,
        max(odometer_m) FILTER (WHERE event_time = end_time) AS end_odometer_m,
        -- Not every record tells the odometer: from the first reading under way to the last, if there are two.
        CASE WHEN count(odometer_m) > 1 THEN
            (array_agg(odometer_m ORDER BY event_time DESC) FILTER (WHERE odometer_m IS NOT NULL))[1]
            - (array_agg(odometer_m ORDER BY event_time) FILTER (WHERE odometer_m IS NOT NULL))[1]
        END AS counted_m
    FROM ending
    WHERE event_time <= end_time
    GROUP BY slot, run, end_time
    HAVING end_time - min(event_time) >= interval '60 seconds'
), told AS (
    SELECT a.vehicle_key, a.day, a.vendor, a.account, a.vendor_vehicle_id, a.place, t.start_time, t.end_time,
        CASE a.vendor WHEN 'rcs' THEN t.counted_m ELSE t.track_m END AS distance_m, t.max_speed_kmh,
        t.start_latitude_deg, t.start_longitude_deg, t.end_latitude_deg, t.end_longitude_deg,
        NULL::text AS start_address, NULL::text AS end_address, t.start_odometer_m, t.end_odometer_m,
        NULL::text AS driver_key, false AS is_private, true AS is_derived, NULL::text AS vendor_trip_id
    FROM derived t
    JOIN pg_temp.assigned a USING (slot)
    UNION ALL
    SELECT a.vehicle_key, a.day, a.vendor, a.account, a.vendor_vehicle_id, a.place, t.start_time, t.end_time, t.distance_m,
        t.max_speed_kmh, t.start_latitude_deg, t.start_longitude_deg, t.end_latitude_deg, t.end_longitude_deg, t.start_address,
        t.end_address, t.start_odometer_m + a.odometer_offset_m, t.end_odometer_m + a.odometer_offset_m,
        'powunity:' || t.account || ':' || nullif(t.driver_unique_id, ''), false, false, NULL
    FROM pg_temp.assigned a
    JOIN powunity.trip t
        ON t.account = a.account AND t.device_id = a.vehicle_number AND t.start_time >= a.low AND t.start_time < a.high
    WHERE a.vendor = 'powunity' AND t.deleted_at IS NULL
    UNION ALL
    SELECT a.vehicle_key, a.day, a.vendor, a.account, a.vendor_vehicle_id, a.place, t.start_time, t.end_time, t.distance_m,
        t.max_speed_kmh, t.start_latitude_deg, t.start_longitude_deg, t.end_latitude_deg, t.end_longitude_deg, t.start_address,
        t.end_address, NULL, NULL, 'suivideflotte:' || t.account || ':' || t.driver_id, coalesce(t.is_private, false), false,
        t.trip_id::text
    FROM (
        -- Of two trips with one start the one with the greater number, as it was made later.
        SELECT DISTINCT ON (a.slot, t.start_time) a.slot, t.*
        FROM pg_temp.assigned a
        JOIN suivideflotte.trip t
            ON t.account = a.account AND t.vehicle_id = a.vehicle_number AND t.start_time >= a.low AND t.start_time < a.high
        WHERE a.vendor = 'suivideflotte' AND t.deleted_at IS NULL AND t.end_time IS NOT NULL
        ORDER BY a.slot, t.start_time, t.trip_id DESC
    ) t
    JOIN pg_temp.assigned a USING (slot)
)
SELECT t.vehicle_key, t.day, t.vendor, t.account, t.vendor_vehicle_id, t.start_time, t.end_time, t.distance_m, t.max_speed_kmh,
    -- Where a private trip began and ended is nobody's business.
    CASE WHEN NOT p.is_private THEN t.start_latitude_deg END AS start_latitude_deg,
    CASE WHEN NOT p.is_private THEN t.start_longitude_deg END AS start_longitude_deg,
    CASE WHEN NOT p.is_private THEN t.end_latitude_deg END AS end_latitude_deg,
    CASE WHEN NOT p.is_private THEN t.end_longitude_deg END AS end_longitude_deg,
    CASE WHEN NOT p.is_private THEN t.start_address END AS start_address,
    CASE WHEN NOT p.is_private THEN t.end_address END AS end_address,
    t.start_odometer_m, t.end_odometer_m, t.is_derived, t.vendor_trip_id, p.is_private,
    coalesce(t.driver_key, same.driver_key) AS driver_key,
    extract(epoch FROM t.end_time - t.start_time) AS duration_s,
    t.distance_m / nullif(extract(epoch FROM t.end_time - t.start_time), 0)::float8 * 3.6 AS average_speed_kmh
FROM told t
LEFT JOIN LATERAL (
    -- Samples know no driver: another device of the vehicle may have told of the same ride.
    SELECT o.driver_key, o.is_private
    FROM told o
    WHERE t.is_derived AND NOT o.is_derived AND o.vehicle_key = t.vehicle_key AND o.day = t.day
        AND o.start_time < t.end_time AND o.end_time > t.start_time
    ORDER BY least(o.end_time, t.end_time) - greatest(o.start_time, t.start_time) DESC, o.start_time, o.place
    LIMIT 1
) same ON true
CROSS JOIN LATERAL (SELECT t.is_private OR coalesce(same.is_private, false) AS is_private) p
WHERE NOT EXISTS (
    -- A better device of the vehicle tells of the time.
    SELECT FROM told b
    WHERE b.vehicle_key = t.vehicle_key AND b.day = t.day AND b.place < t.place
        AND b.start_time < t.end_time AND b.end_time > t.start_time
)
