-- fleet.geofence_visit of the vehicle-days in pg_temp.unit. PowUnity tells entering and leaving as events of their own.
WITH entered AS (
    SELECT DISTINCT ON (a.account, e.device_id, e.geofence_id, e.event_time)
        a.vehicle_key, a.day, a.vendor, a.account, a.vendor_vehicle_id, e.device_id, e.geofence_id, e.event_time, e.event_id
    FROM pg_temp.assigned a
    JOIN powunity.event e
        ON e.account = a.account AND e.device_id = a.vehicle_number AND e.event_time >= a.low AND e.event_time < a.high
    WHERE a.vendor = 'powunity' AND e.event_type = 'geofenceEnter' AND e.geofence_id IS NOT NULL AND e.deleted_at IS NULL
    ORDER BY a.account, e.device_id, e.geofence_id, e.event_time, e.event_id DESC
), visit AS (
    SELECT e.vehicle_key, e.day, e.vendor, e.account, e.vendor_vehicle_id, e.geofence_id::text AS geofence_id,
        e.event_time AS entered_time, NULL::text AS geofence_name, n.left_time,
        NULL::float8 AS distance_m, NULL::float8 AS max_speed_kmh
    FROM entered e
    LEFT JOIN LATERAL (
        SELECT CASE x.event_type WHEN 'geofenceExit' THEN x.event_time END AS left_time
        FROM powunity.event x
        WHERE x.account = e.account AND x.device_id = e.device_id AND x.geofence_id = e.geofence_id
            AND x.event_type IN ('geofenceEnter', 'geofenceExit') AND x.deleted_at IS NULL
            AND (x.event_time, x.event_id) > (e.event_time, e.event_id)
        ORDER BY x.event_time, x.event_id
        LIMIT 1
    ) n ON true
    UNION ALL
    SELECT a.vehicle_key, a.day, a.vendor, a.account, a.vendor_vehicle_id, v.geofence_id::text, v.start_time, v.geofence_name,
        v.end_time, v.distance_m, v.max_speed_kmh
    FROM pg_temp.assigned a
    JOIN omnicomm.geofence_visit v
        ON v.account = a.account AND v.terminal_id = a.vehicle_number AND v.start_time >= a.low AND v.start_time < a.high
    WHERE a.vendor = 'omnicomm' AND v.geofence_id IS NOT NULL AND v.deleted_at IS NULL
)
SELECT DISTINCT ON (vehicle_key, vendor, account, vendor_vehicle_id, geofence_id, entered_time)
    *, extract(epoch FROM left_time - entered_time) AS duration_s
FROM visit
ORDER BY vehicle_key, vendor, account, vendor_vehicle_id, geofence_id, entered_time, left_time
