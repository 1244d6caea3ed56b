"""RCS app users and notifications from sandbox to lake and warehouse, masked unless the account keeps personal data."""

from __future__ import annotations

from dataclasses import replace

from fleetlake.window import Window

from tests.warehouse.pipeline.conftest import INCLUDE

DAYS = ("2026-11-19", "2026-11-20", "2026-11-21")
WINDOW = Window.parse("2026-11-19", "2026-11-22")


def test_users_and_notifications_equal_truth_and_are_masked(place):
    for day in DAYS:
        assert place.load_users(day) == {
            "rcs.app_user": {"complete": 1, "of": 1},
            "rcs.client_notification": {"complete": 1, "of": 1},
        }
    assert place.assert_true("rcs.app_user", WINDOW) > 0
    assert place.assert_true("rcs.client_notification", WINDOW) > 0
    shown = place.sql("SELECT phone, first_name, last_name, email FROM rcs.app_user")
    assert all(value is None or "***" in value for row in shown for value in row)
    assert place.sql("SELECT count(*) FROM rcs.client_notification WHERE user_phones::text LIKE '%%+%%'") == [(0,)]
    assert place.sql("SELECT dataset, reason FROM ops.quarantine") == []
    assert place.sql("SELECT dataset, check_name, column_name FROM ops.quality_result WHERE NOT success") == []


def test_loading_a_day_again_changes_nothing(place):
    place.load_users("2026-11-20")
    before = place.all_rows("rcs.app_user"), place.all_rows("rcs.client_notification")
    place.load_users("2026-11-20", run_id="again", force=True)
    assert (place.all_rows("rcs.app_user"), place.all_rows("rcs.client_notification")) == before


def test_an_account_may_keep_personal_data(place, tmp_path, monkeypatch):
    include = tmp_path / "include"
    (include / "rcs").mkdir(parents=True)
    for name in ("contracts", "sql"):
        (include / name).symlink_to(INCLUDE / name)
    (include / "rcs" / "main.yaml").write_text("personal_data: keep\n")
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(include))
    place.settings = replace(place.settings, include=include)
    for day in DAYS:
        place.load_users(day)
    phones = [phone for (phone,) in place.sql("SELECT phone FROM rcs.app_user")]
    assert phones and all(phone.startswith("+33") for phone in phones)
