-- fleet.event of the vehicle-days in pg_temp.unit; its empty vehicle stands for the devices that belong to none.
WITH told AS (
    SELECT a.vehicle_key, a.day, a.vendor, e.account, e.event_id::text AS vendor_event_id, e.event_time, e.event_type,
        e.alarm AS message, NULL::float8 AS latitude_deg, NULL::float8 AS longitude_deg, e.attributes
    FROM pg_temp.assigned a
    JOIN powunity.event e
        ON e.account = a.account AND e.device_id = a.vehicle_number AND e.event_time >= a.low AND e.event_time < a.high
    WHERE a.vendor = 'powunity' AND e.deleted_at IS NULL
    UNION ALL
    SELECT a.vehicle_key, a.day, a.vendor, e.account,
        concat_ws(':', e.terminal_id, floor(extract(epoch FROM e.event_time))::bigint, e.type_code, e.occurrence), e.event_time,
        e.event_type, NULL, e.latitude_deg, e.longitude_deg, e.parameters
    FROM pg_temp.assigned a
    JOIN omnicomm.event e
        ON e.account = a.account AND e.terminal_id = a.vehicle_number AND e.event_time >= a.low AND e.event_time < a.high
    WHERE a.vendor = 'omnicomm' AND e.deleted_at IS NULL
    UNION ALL
    SELECT a.vehicle_key, a.day, a.vendor, e.account, e.alert_id::text, e.event_time, e.alert_type, e.message, e.latitude_deg,
        e.longitude_deg, NULL
    FROM pg_temp.assigned a
    JOIN suivideflotte.alert e
        ON e.account = a.account AND e.vehicle_id = a.vehicle_number AND e.event_time >= a.low AND e.event_time < a.high
    WHERE a.vendor = 'suivideflotte' AND e.deleted_at IS NULL
), nobody AS (
    SELECT n.day, e.vendor, e.account, e.vendor_event_id, e.event_time, e.event_type, e.message, e.latitude_deg, e.longitude_deg,
        e.attributes
    FROM pg_temp.unit n
    CROSS JOIN LATERAL (
        SELECT n.day::timestamp AT TIME ZONE 'UTC' AS low, (n.day + 1)::timestamp AT TIME ZONE 'UTC' AS high
    ) d
    CROSS JOIN LATERAL (
        SELECT 'powunity' AS vendor, account, device_id::text AS vendor_vehicle_id, event_id::text AS vendor_event_id,
            event_time, event_type, alarm AS message, NULL::float8 AS latitude_deg, NULL::float8 AS longitude_deg, attributes
        FROM powunity.event
        WHERE event_time >= d.low AND event_time < d.high AND deleted_at IS NULL
        UNION ALL
        SELECT 'omnicomm', account, terminal_id::text,
            concat_ws(':', terminal_id, floor(extract(epoch FROM event_time))::bigint, type_code, occurrence),
            event_time, event_type, NULL, latitude_deg, longitude_deg, parameters
        FROM omnicomm.event
        WHERE event_time >= d.low AND event_time < d.high AND deleted_at IS NULL
        UNION ALL
        SELECT 'suivideflotte', account, vehicle_id::text, alert_id::text, event_time, alert_type, message, latitude_deg,
            longitude_deg, NULL
        FROM suivideflotte.alert
        WHERE event_time >= d.low AND event_time < d.high AND deleted_at IS NULL
    ) e
    WHERE n.vehicle_key = '' AND NOT EXISTS (
        SELECT FROM fleet.vehicle_identity i
        WHERE i.vendor = e.vendor AND i.account = e.account AND i.vendor_vehicle_id = e.vendor_vehicle_id
            AND i.valid_from <= e.event_time AND (i.valid_to IS NULL OR i.valid_to > e.event_time)
    )
)
SELECT vendor, account, vendor_event_id, vehicle_key, day, event_time,
    lower(regexp_replace(event_type, '([a-z0-9])([A-Z])', '\1_\2', 'g')) AS event_type,
    message, latitude_deg, longitude_deg, attributes
FROM told
UNION ALL
SELECT vendor, account, vendor_event_id, NULL, day, event_time,
    lower(regexp_replace(event_type, '([a-z0-9])([A-Z])', '\1_\2', 'g')),
    message, latitude_deg, longitude_deg, attributes
FROM nobody
