-- Question: Which vehicles are worked hard, and which hardly at all?
-- Read it:  One row per vehicle and week (Monday to Sunday, UTC), busiest week first. used_days of days_with_data is how often it
--           moved; km_per_used_day how far it then went. idle_pct is the share of engine time spent standing: high values
--           are fuel burnt in the yard or at the kerb.
-- Limits:   A week at the edge of the loaded days has fewer than 7 days_with_data: compare km_per_used_day, not distance_km.
--           idle_pct counts only days on which the engine time is known. lowest_trust below 100: look at utilisation_by_day.
SELECT
    v.name AS vehicle,
    date_trunc('week', d.day)::date AS week,
    count(*) AS days_with_data,
    count(*) FILTER (WHERE d.trips > 0) AS used_days,
    sum(d.trips) AS trips,
    round((sum(d.distance_m) / 1000)::numeric, 1) AS distance_km,
    round((sum(d.distance_m) / 1000 / nullif(count(*) FILTER (WHERE d.trips > 0), 0))::numeric, 1) AS km_per_used_day,
    round((sum(d.moving_time_s) / 3600)::numeric, 1) AS driving_h,
    round((sum(d.engine_run_time_s) / 3600)::numeric, 1) AS engine_h,
    round((100 * sum(d.idle_time_s) / nullif(sum(d.engine_run_time_s), 0))::numeric, 1) AS idle_pct,
    min(d.trust_score) AS lowest_trust
FROM fleet.vehicle_day d
JOIN fleet.vehicle v USING (vehicle_key)
GROUP BY v.vehicle_key, v.name, week
ORDER BY week DESC, distance_km DESC, vehicle
