-- fleet.position: a view, because a copy of every position would double the warehouse for a join.
-- Where a vehicle was during its private trips is nobody's business.
CREATE VIEW fleet.position AS
SELECT p.*
FROM (
    SELECT i.vehicle_key, s.event_time, s.received_time, s.latitude_deg, s.longitude_deg, s.speed_kmh, s.heading_deg,
        NULL::float8 AS altitude_m, s.odometer_m + i.odometer_offset_m AS odometer_m, true AS is_valid,
        i.vendor, i.account, i.vendor_vehicle_id
    FROM fleet.vehicle_identity i
    JOIN rcs.telemetry s
        ON s.account = i.account AND s.vehicle_id = i.vendor_vehicle_id
        AND s.event_time >= i.valid_from AND s.event_time < coalesce(i.valid_to, 'infinity')
    WHERE i.vendor = 'rcs' AND s.latitude_deg IS NOT NULL AND s.deleted_at IS NULL
    UNION ALL
    SELECT i.vehicle_key, s.event_time, s.received_time, s.latitude_deg, s.longitude_deg, s.speed_kmh, s.heading_deg,
        s.altitude_m, s.odometer_m + i.odometer_offset_m, s.is_valid, i.vendor, i.account, i.vendor_vehicle_id
    FROM fleet.vehicle_identity i
    JOIN powunity.position s
        ON s.account = i.account AND s.device_id = CASE WHEN i.vendor = 'powunity' THEN i.vendor_vehicle_id::bigint END
        AND s.event_time >= i.valid_from AND s.event_time < coalesce(i.valid_to, 'infinity')
    WHERE i.vendor = 'powunity' AND s.deleted_at IS NULL
    UNION ALL
    SELECT i.vehicle_key, s.event_time, NULL, s.latitude_deg, s.longitude_deg, s.speed_kmh, s.heading_deg,
        NULL, NULL, s.is_valid, i.vendor, i.account, i.vendor_vehicle_id
    FROM fleet.vehicle_identity i
    JOIN omnicomm.track_point s
        ON s.account = i.account AND s.terminal_id = CASE WHEN i.vendor = 'omnicomm' THEN i.vendor_vehicle_id::bigint END
        AND s.event_time >= i.valid_from AND s.event_time < coalesce(i.valid_to, 'infinity')
    WHERE i.vendor = 'omnicomm' AND s.deleted_at IS NULL
) p
WHERE NOT EXISTS (
    SELECT FROM fleet.trip t
    WHERE t.vehicle_key = p.vehicle_key AND t.is_private AND t.start_time <= p.event_time AND t.end_time >= p.event_time
);
