-- fleet.vehicle_day of the vehicle-days in pg_temp.unit, from fleet.trip, fleet.stop, fleet.fuel_event and the vendors' days.
WITH daily AS (
    SELECT DISTINCT ON (a.vehicle_key, a.day) a.vehicle_key, a.day, a.vendor, a.account, a.vendor_vehicle_id, r.distance_m,
        r.moving_time_s, r.engine_run_time_s, r.idle_time_s, r.fuel_used_l, r.fuel_refuelled_l, r.fuel_drained_l,
        r.max_speed_kmh, r.odometer_start_m, r.odometer_end_m
    FROM pg_temp.assigned a
    JOIN omnicomm.consolidated_report r
        ON r.account = a.account AND r.terminal_id = a.vehicle_number AND r.report_day = a.day
    WHERE a.vendor = 'omnicomm' AND a.is_whole_day AND r.deleted_at IS NULL
    ORDER BY a.vehicle_key, a.day, a.place
), trip AS (
    SELECT t.* FROM pg_temp.unit u JOIN fleet.trip t USING (vehicle_key, day)
), trips AS (
    SELECT vehicle_key, day, count(*)::integer AS trips, sum(duration_s) AS duration_s,
        CASE WHEN bool_and(distance_m IS NOT NULL) THEN sum(distance_m) END AS distance_m,
        max(max_speed_kmh) AS max_speed_kmh, min(start_time) AS first_trip_time,
        (array_agg(end_time ORDER BY start_time DESC, end_time DESC))[1] AS last_trip_time
    FROM trip
    GROUP BY vehicle_key, day
), overruled AS (
    -- Other devices tell trips of the day: the report knows a part of it at best.
    SELECT DISTINCT d.vehicle_key, d.day
    FROM daily d
    JOIN trip t USING (vehicle_key, day)
    WHERE (t.vendor, t.account, t.vendor_vehicle_id) <> (d.vendor, d.account, d.vendor_vehicle_id)
), speechless AS (
    -- Records, but no speed in any: whether the vehicle moved is unknown.
    SELECT a.vehicle_key, a.day
    FROM pg_temp.record r
    JOIN pg_temp.assigned a USING (slot)
    GROUP BY a.vehicle_key, a.day
    HAVING count(r.speed_kmh) = 0
), stops AS (
    SELECT vehicle_key, day, count(*)::integer AS stops
    FROM pg_temp.unit u
    JOIN fleet.stop s USING (vehicle_key, day)
    GROUP BY vehicle_key, day
), running AS (
    SELECT slot, count(is_engine_on) AS known, sum(extract(epoch FROM next_time - event_time)) FILTER (
        WHERE is_engine_on AND next_time - event_time <= interval '120 seconds'
    ) AS seconds
    FROM (SELECT *, lead(event_time) OVER (PARTITION BY slot ORDER BY event_time) AS next_time FROM pg_temp.record) gap
    GROUP BY slot
), engine AS (
    SELECT DISTINCT ON (vehicle_key, day) vehicle_key, day, engine_run_time_s
    FROM (
        SELECT a.vehicle_key, a.day, a.place, coalesce(sum(r.seconds), 0)::float8 AS engine_run_time_s
        FROM running r
        JOIN pg_temp.assigned a USING (slot)
        GROUP BY a.vehicle_key, a.day, a.place
        HAVING sum(r.known) > 0
        UNION ALL
        SELECT a.vehicle_key, a.day, a.place, s.engine_run_time_s
        FROM pg_temp.assigned a
        JOIN powunity.summary s
            ON s.account = a.account AND s.device_id = a.vehicle_number AND s.summary_day = a.day
        WHERE a.vendor = 'powunity' AND a.is_whole_day AND s.engine_run_time_s IS NOT NULL AND s.deleted_at IS NULL
    ) told
    ORDER BY vehicle_key, day, place
), end_of_levels AS (
    -- First and last level of each assignment, then of the vehicle: a few rows to sort by text instead of all.
    SELECT a.vehicle_key, a.day, a.place, l.slot, count(*) AS levels, min(l.event_time) AS first_time, max(l.event_time) AS last_time
    FROM pg_temp.fuel_level l
    JOIN pg_temp.assigned a USING (slot)
    WHERE a.vendor = 'rcs'
    GROUP BY a.vehicle_key, a.day, a.place, l.slot
), level AS (
    SELECT e.vehicle_key, e.day,
        (array_agg(f.level_l ORDER BY e.first_time, e.place))[1] - (array_agg(l.level_l ORDER BY e.last_time DESC, e.place DESC))[1]
            AS less_l
    FROM end_of_levels e
    JOIN pg_temp.fuel_level f ON f.slot = e.slot AND f.event_time = e.first_time
    JOIN pg_temp.fuel_level l ON l.slot = e.slot AND l.event_time = e.last_time
    GROUP BY e.vehicle_key, e.day
    HAVING sum(e.levels) >= 2
), fuel AS (
    SELECT l.vehicle_key, l.day, l.less_l,
        coalesce(sum(e.volume_l) FILTER (WHERE e.kind = 'refuel'), 0) AS refuelled_l,
        coalesce(sum(e.volume_l) FILTER (WHERE e.kind = 'drain'), 0) AS drained_l
    FROM level l
    LEFT JOIN fleet.fuel_event e ON e.vehicle_key = l.vehicle_key AND e.day = l.day AND e.vendor = 'rcs'
    GROUP BY l.vehicle_key, l.day, l.less_l
), reading AS (
    SELECT slot, event_time, odometer_m, 0::bigint AS number
    FROM pg_temp.record
    WHERE odometer_m IS NOT NULL
    UNION ALL
    SELECT a.slot, p.event_time, p.odometer_m + a.odometer_offset_m, p.position_id
    FROM pg_temp.assigned a
    JOIN powunity.position p
        ON p.account = a.account AND p.device_id = a.vehicle_number AND p.event_time >= a.low AND p.event_time < a.high
    WHERE a.vendor = 'powunity' AND p.odometer_m IS NOT NULL AND p.deleted_at IS NULL
), reader AS (
    SELECT DISTINCT vehicle_key, day, place
    FROM pg_temp.assigned
    WHERE slot IN (SELECT slot FROM reading)
), better AS (
    SELECT a.slot, b.low, b.high
    FROM pg_temp.assigned a
    JOIN reader r ON r.vehicle_key = a.vehicle_key AND r.day = a.day AND r.place < a.place
    JOIN pg_temp.assigned b ON b.vehicle_key = r.vehicle_key AND b.day = r.day AND b.place = r.place
), counting AS (
    SELECT r.*,
        row_number() OVER (PARTITION BY r.slot ORDER BY r.event_time, r.number) AS from_start,
        row_number() OVER (PARTITION BY r.slot ORDER BY r.event_time DESC, r.number DESC) AS from_end
    FROM reading r
    WHERE NOT EXISTS (SELECT FROM better b WHERE b.slot = r.slot AND r.event_time >= b.low AND r.event_time < b.high)
), odometer AS (
    SELECT a.vehicle_key, a.day,
        (array_agg(c.odometer_m ORDER BY c.event_time, a.place) FILTER (WHERE c.from_start = 1))[1] AS start_m,
        (array_agg(c.odometer_m ORDER BY c.event_time DESC, a.place DESC) FILTER (WHERE c.from_end = 1))[1] AS end_m
    FROM counting c
    JOIN pg_temp.assigned a USING (slot)
    WHERE c.from_start = 1 OR c.from_end = 1
    GROUP BY a.vehicle_key, a.day
), source AS (
    SELECT vehicle_key, day, vendor || '/' || account || '/' || vendor_vehicle_id AS source FROM trip
    UNION
    SELECT vehicle_key, day, vendor || '/' || account || '/' || vendor_vehicle_id FROM daily
    UNION
    SELECT a.vehicle_key, a.day, a.vendor || '/' || a.account || '/' || a.vendor_vehicle_id
    FROM pg_temp.assigned a
    WHERE CASE a.vendor
        WHEN 'rcs' THEN EXISTS (
            SELECT FROM rcs.telemetry s
            WHERE s.account = a.account AND s.vehicle_id = a.vendor_vehicle_id
                AND s.event_time >= a.low AND s.event_time < a.high AND s.deleted_at IS NULL)
        WHEN 'powunity' THEN EXISTS (
            SELECT FROM powunity.position s
            WHERE s.account = a.account AND s.device_id = a.vehicle_number
                AND s.event_time >= a.low AND s.event_time < a.high AND s.deleted_at IS NULL)
        WHEN 'omnicomm' THEN EXISTS (
            SELECT FROM omnicomm.track_point s
            WHERE s.account = a.account AND s.terminal_id = a.vehicle_number
                AND s.event_time >= a.low AND s.event_time < a.high AND s.deleted_at IS NULL)
        ELSE false
    END
), proof AS (
    SELECT vehicle_key, day, bool_and(is_proven) AS is_whole, bool_or(is_proven) AS is_any
    FROM (
        SELECT a.vehicle_key, a.day, a.high - a.low <= (
            SELECT coalesce(sum(least(c.window_end, a.high) - greatest(c.window_start, a.low)), interval '0')
            FROM ops.coverage c
            WHERE c.account = a.account AND c.scope = a.vendor_vehicle_id
                AND c.dataset = CASE a.vendor
                    WHEN 'rcs' THEN 'rcs.telemetry'
                    WHEN 'powunity' THEN 'powunity.trip'
                    WHEN 'omnicomm' THEN 'omnicomm.consolidated_report'
                    ELSE a.vendor || '.trip'
                END
                AND c.state IN ('complete', 'empty_confirmed') AND c.window_start < a.high AND c.window_end > a.low
        ) AS is_proven
        FROM pg_temp.assigned a
    ) device
    GROUP BY vehicle_key, day
), known AS (
    -- A day that is proven empty is known too.
    SELECT vehicle_key, day, coalesce(string_agg(source, ', ' ORDER BY source COLLATE "C"), '') AS sources
    FROM (SELECT * FROM source UNION ALL SELECT vehicle_key, day, NULL FROM proof WHERE is_any) told
    GROUP BY vehicle_key, day
), figure AS (
    SELECT vehicle_key, day, known.sources,
        daily.distance_m AS daily_m,
        driven.distance_m AS trips_m,
        coalesce(CASE WHEN overruled.vehicle_key IS NULL THEN daily.distance_m END, driven.distance_m) AS distance_m,
        coalesce(CASE WHEN overruled.vehicle_key IS NULL THEN daily.moving_time_s END, driven.duration_s) AS moving_time_s,
        coalesce(daily.engine_run_time_s, engine.engine_run_time_s) AS engine_run_time_s,
        daily.idle_time_s AS daily_idle_s,
        coalesce(daily.fuel_used_l, (fuel.less_l::float8 + fuel.refuelled_l - fuel.drained_l)) AS fuel_used_l,
        coalesce(daily.fuel_refuelled_l, fuel.refuelled_l) AS fuel_refuelled_l,
        coalesce(daily.fuel_drained_l, fuel.drained_l) AS fuel_drained_l,
        coalesce(trips.trips, 0) AS trips,
        coalesce(stops.stops, 0) AS stops,
        coalesce(trips.max_speed_kmh, daily.max_speed_kmh) AS max_speed_kmh,
        CASE WHEN odometer.vehicle_key IS NULL THEN daily.odometer_start_m ELSE odometer.start_m END AS odometer_start_m,
        CASE WHEN odometer.vehicle_key IS NULL THEN daily.odometer_end_m ELSE odometer.end_m END AS odometer_end_m,
        trips.first_trip_time, trips.last_trip_time,
        NOT proof.is_whole AS unproven
    FROM known
    LEFT JOIN daily USING (vehicle_key, day)
    LEFT JOIN trips USING (vehicle_key, day)
    LEFT JOIN stops USING (vehicle_key, day)
    LEFT JOIN engine USING (vehicle_key, day)
    LEFT JOIN fuel USING (vehicle_key, day)
    LEFT JOIN odometer USING (vehicle_key, day)
    LEFT JOIN proof USING (vehicle_key, day)
    LEFT JOIN overruled USING (vehicle_key, day)
    LEFT JOIN speechless USING (vehicle_key, day)
    CROSS JOIN LATERAL (
        -- No trips are 0 m, if the vehicle's speed is known.
        SELECT CASE WHEN trips.vehicle_key IS NOT NULL THEN trips.distance_m WHEN speechless.vehicle_key IS NULL THEN 0 END
                AS distance_m,
            CASE WHEN trips.vehicle_key IS NOT NULL THEN trips.duration_s WHEN speechless.vehicle_key IS NULL THEN 0 END
                AS duration_s
    ) driven
), judged AS (
    SELECT *,
        coalesce(abs(daily_m - trips_m) > greatest(1000, daily_m * 0.1), false) AS is_torn,
        coalesce(
            abs(odometer_end_m - odometer_start_m - distance_m) > greatest(1000, distance_m * 0.1), false
        ) AS is_off_odometer,
        distance_m IS NULL AS is_distance_unknown,
        moving_time_s IS NULL AS is_speed_unknown,
        coalesce(max_speed_kmh > 200, false) AS is_too_fast,
        coalesce(fuel_used_l < 0, false) AS is_fuel_negative
    FROM figure
)
SELECT vehicle_key, day, distance_m, moving_time_s, engine_run_time_s,
    coalesce(
        daily_idle_s, CASE WHEN engine_run_time_s - moving_time_s IS NOT NULL THEN greatest(engine_run_time_s - moving_time_s, 0) END
    ) AS idle_time_s,
    fuel_used_l, fuel_refuelled_l, fuel_drained_l, trips, stops, max_speed_kmh, odometer_start_m, odometer_end_m,
    first_trip_time, last_trip_time, sources,
    greatest(0, 100 - 50 * unproven::integer
        - 20 * (is_torn::integer + is_off_odometer::integer + is_too_fast::integer + is_fuel_negative::integer
            + is_distance_unknown::integer + is_speed_unknown::integer)) AS trust_score,
    concat_ws('; ',
        CASE WHEN unproven THEN 'not proven complete' END,
        CASE WHEN is_torn THEN 'trips differ from daily report' END,
        CASE WHEN is_off_odometer THEN 'odometer differs from distance' END,
        CASE WHEN is_too_fast THEN 'implausible speed' END,
        CASE WHEN is_fuel_negative THEN 'negative fuel' END,
        CASE WHEN is_distance_unknown THEN 'distance unknown' END,
        CASE WHEN is_speed_unknown THEN 'speed unknown' END
    ) AS trust_notes
FROM judged
