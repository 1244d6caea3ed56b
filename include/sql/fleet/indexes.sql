-- Indexes that the model needs beyond those of the contracts and of its own declarations.
DO $$
BEGIN
    IF to_regclass('powunity.event_geofence') IS NULL THEN
        CREATE INDEX event_geofence ON powunity.event (account, device_id, geofence_id, event_time, event_id)
        WHERE event_type IN ('geofenceEnter', 'geofenceExit') AND deleted_at IS NULL;
    END IF;
    IF to_regclass('powunity.trip_driver') IS NULL THEN
        CREATE INDEX trip_driver ON powunity.trip (account, driver_unique_id, start_time DESC)
        WHERE driver_unique_id > '' AND deleted_at IS NULL;
    END IF;
    IF to_regclass('rcs.health_report_vehicle') IS NULL THEN
        CREATE INDEX health_report_vehicle ON rcs.health_report (account, vehicle_id, created_time);
    END IF;
    IF to_regclass('suivideflotte.alert_vehicle') IS NULL THEN
        CREATE INDEX alert_vehicle ON suivideflotte.alert (account, vehicle_id, event_time);
    END IF;
    IF to_regclass('fleet.trip_private') IS NULL THEN
        CREATE INDEX trip_private ON fleet.trip (vehicle_key, start_time, end_time) WHERE is_private;
    END IF;
END
$$;
