"""Traces as CSV: read in the names of ours and of GAIA, refused with the line that is wrong."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lowtide.scheduler.model.data import Data
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.simulate.trace import TraceJob, read_forecasts, read_intensity, read_jobs, resampled

CI = "start_utc,g_per_kwh,zone\n2022-01-01 00:00:00,100,DE\n2022-01-01T01:00Z,110,DE\n"


def test_jobs_are_read_in_order_of_submission_with_what_is_not_told_left_open() -> None:
    first, second = read_jobs("submit_s,duration_s,gpus\n60,600,2\n0,300.5,1\n", "jobs.csv")
    assert first == TraceJob("job-000001", 0.0, 300.5, 1)
    assert (second.job_id, second.submit_s, second.gpus, second.deadline_s) == ("job-000000", 60.0, 2, None)


def test_the_column_names_of_gaia_are_understood() -> None:
    (job,) = read_jobs("arrival_time,length,cpus\n5.0,6302.0,3\n", "pai.csv")
    assert (job.submit_s, job.duration_s, job.gpus) == (5.0, 6302.0, 3)


def test_every_column_that_may_be_told_is_taken() -> None:
    header = "job_id,submit_s,duration_s,gpus,deadline_s,interruptible,power_w,site,depends_on,data"
    (job,) = read_jobs(f"{header}\nmri,0,60,1,7200,no,250,DE,prep scan,5GB@DE 7GB@GB\n", "jobs.csv")
    own = TraceJob("mri", 0.0, 60.0, 1, 7200.0, interruptible=False, power_w=250.0, site="DE")
    data = Data(5 * 10**9, "DE"), Data(7 * 10**9, "GB")
    assert job == replace(own, depends_on=("prep", "scan"), data=data)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "lacks the column(s) submit_s, duration_s, gpus"),
        ("submit_s,duration_s,gpus,data\n1,60,1,5GB\n", "line 2: data: '5GB' names no size or no site"),
        ("submit_s,gpus\n1,1\n", "lacks the column(s) duration_s"),
        ("submit_s,duration_s,gpus\n1,nan,1\n", "line 2: duration_s is 'nan'"),
        ("submit_s,duration_s,gpus\n1,60,1\n-1,60,1\n", "line 3: submit_s is '-1'"),
        ("submit_s,duration_s,gpus\n1,0,1\n", "line 2: duration_s is 0"),
        ("submit_s,duration_s,gpus\n1,60,1.5\n", "line 2: gpus is 1.5"),
        ("submit_s,duration_s,gpus\n1,60\n", "line 2: 2 values for 3 columns"),
        ("submit_s,duration_s,gpus,interruptible\n1,60,1,maybe\n", "line 2: interruptible is 'maybe'"),
        ("job_id,submit_s,duration_s,gpus\na,1,60,1\na,2,60,1\n", "two jobs are called 'a'"),
    ],
)
def test_a_job_that_cannot_be_is_refused_with_its_line(text: str, word: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_jobs(text, "jobs.csv")
    assert word in caught.value.message
    assert caught.value.message.startswith("jobs.csv")


def test_forecasts_are_read_by_zone_and_issue_in_the_meaning_of_the_intensity() -> None:
    rows = "2022-01-01T00:01Z,2022-01-01T01:00Z,150,DE\n2022-01-01T00:01Z,2022-01-01T01:30Z,160,DE\n"
    zones = read_intensity(CI, "ci.csv")
    (issue,) = read_forecasts(f"issued_utc,start_utc,g_per_kwh,zone\n{rows}", "fc.csv", zones)["DE"]
    assert (issue.fetched_at, issue.issued_at) == (datetime(2022, 1, 1, 0, 1, tzinfo=UTC),) * 2
    assert (issue.key, issue.step_s) == (zones["DE"].key, 1800.0)
    assert [(p.start.minute, p.g_per_kwh) for p in issue.points] == [(0, 150.0), (30, 160.0)]


def test_a_forecast_for_a_zone_without_intensity_is_refused_with_its_line() -> None:
    text = "issued_utc,start_utc,g_per_kwh,zone\n2022-01-01,2022-01-01,150,FR\n"
    zones = read_intensity(CI, "ci.csv")
    with pytest.raises(BadInput, match=r"fc.csv, line 2: zone 'FR' is not in the intensity"):
        read_forecasts(text, "fc.csv", zones)
    with pytest.raises(BadInput, match=r"line 2: zone '' is not in the intensity"):
        read_forecasts(text.replace("FR", ""), "fc.csv", {**zones, "GB": zones["DE"]})


def test_a_seed_draws_as_many_jobs_with_names_of_their_own() -> None:
    jobs = [TraceJob(f"j{i:02d}", 60.0 * i, 600.0 + i, 1) for i in range(50)]
    drawn = resampled(jobs, 7)
    assert (len(drawn), len({job.job_id for job in drawn})) == (50, 50)
    assert {(job.submit_s, job.duration_s) for job in drawn} < {(job.submit_s, job.duration_s) for job in jobs}
    assert resampled(jobs, 7) == drawn != resampled(jobs, 8)


def test_intensity_is_read_by_zone_in_utc() -> None:
    (zone, series) = next(iter(read_intensity(CI, "ci.csv").items()))
    assert (zone, series.step_s) == ("DE", 3600.0)
    assert series.points[0].start == datetime(2022, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("start_utc,g_per_kwh\n", "holds no rows"),
        ("start_utc,g_per_kwh\n2022-01-01,1\n", "has 1 row(s)"),
        (CI + "2022-01-01T03:00Z,110,DE\n", "goes from 2022-01-01T01:00 to 2022-01-01T03:00"),
        (CI + "2022-01-01T02:00Z,5001,DE\n", "line 4: 5001 g/kWh"),
        (CI + "noon,100,DE\n", "line 4: start_utc is 'noon'"),
        (CI + "9999-12-31T23:00Z,100,DE\n", "line 4: start_utc is '9999-12-31T23:00Z'"),
        (CI + "2022-01-01T02:00Z,,DE\n", "line 4: g_per_kwh is ''"),
    ],
)
def test_intensity_that_cannot_be_is_refused(text: str, word: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_intensity(text, "ci.csv")
    assert word in caught.value.message
