"""The triggers of the first schema, frozen as they were released; a test compares them with the tables."""

SQLITE_GUARDS = (
    """\
CREATE TRIGGER inv03_job_transition BEFORE UPDATE OF state ON job
WHEN OLD.state <> NEW.state AND NOT ((OLD.state = 'queued' AND NEW.state IN ('cancelled', 'starting')) OR (OLD.state = 'starting' AND NEW.state IN ('cancelled', 'failed', 'queued', 'running', 'succeeded', 'suspending')) OR (OLD.state = 'running' AND NEW.state IN ('cancelled', 'failed', 'queued', 'succeeded', 'suspending')) OR (OLD.state = 'suspending' AND NEW.state IN ('cancelled', 'failed', 'queued', 'succeeded', 'suspended')) OR (OLD.state = 'suspended' AND NEW.state IN ('cancelled', 'starting')))
BEGIN SELECT RAISE(ABORT, 'INV-03 illegal job transition'); END""",
    """\
CREATE TRIGGER inv03_attempt_transition BEFORE UPDATE OF state ON attempt
WHEN OLD.state <> NEW.state AND NOT ((OLD.state = 'starting' AND NEW.state IN ('failed', 'lost', 'running', 'stopped', 'stopping', 'succeeded', 'unknown')) OR (OLD.state = 'running' AND NEW.state IN ('failed', 'lost', 'stopped', 'stopping', 'succeeded', 'unknown')) OR (OLD.state = 'stopping' AND NEW.state IN ('failed', 'lost', 'stopped', 'succeeded', 'unknown')) OR (OLD.state = 'unknown' AND NEW.state IN ('failed', 'lost', 'running', 'stopped', 'stopping', 'succeeded')))
BEGIN SELECT RAISE(ABORT, 'INV-03 illegal attempt transition'); END""",
    """\
CREATE TRIGGER inv07_capacity BEFORE INSERT ON attempt
WHEN (SELECT COALESCE(SUM(gpus), 0) FROM attempt WHERE site = NEW.site AND state IN ('running', 'starting', 'stopping', 'unknown')) + NEW.gpus > (SELECT gpus FROM site WHERE name = NEW.site) OR (SELECT COALESCE(SUM(cpus), 0) FROM attempt WHERE site = NEW.site AND state IN ('running', 'starting', 'stopping', 'unknown')) + NEW.cpus > (SELECT cpus FROM site WHERE name = NEW.site)
BEGIN SELECT RAISE(ABORT, 'INV-07 site is full'); END""",
    """\
CREATE TRIGGER inv05_no_attempt_after_end BEFORE INSERT ON attempt
WHEN (SELECT state IN ('cancelled', 'failed', 'succeeded') FROM job WHERE id = NEW.job_id)
BEGIN SELECT RAISE(ABORT, 'INV-05 the job has ended'); END""",
    """\
CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'event is append-only'); END""",
    """\
CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'event is append-only'); END""",
    """\
CREATE TRIGGER decision_no_update BEFORE UPDATE ON decision BEGIN SELECT RAISE(ABORT, 'decision is append-only'); END""",
    """\
CREATE TRIGGER decision_no_delete BEFORE DELETE ON decision BEGIN SELECT RAISE(ABORT, 'decision is append-only'); END""",
    """\
CREATE TRIGGER energy_no_update BEFORE UPDATE ON energy BEGIN SELECT RAISE(ABORT, 'energy is append-only'); END""",
    """\
CREATE TRIGGER energy_no_delete BEFORE DELETE ON energy BEGIN SELECT RAISE(ABORT, 'energy is append-only'); END""",
    """\
CREATE TRIGGER emission_no_update BEFORE UPDATE ON emission BEGIN SELECT RAISE(ABORT, 'emission is append-only'); END""",
    """\
CREATE TRIGGER emission_no_delete BEFORE DELETE ON emission BEGIN SELECT RAISE(ABORT, 'emission is append-only'); END""",
    """\
CREATE TRIGGER baseline_no_update BEFORE UPDATE ON baseline BEGIN SELECT RAISE(ABORT, 'baseline is append-only'); END""",
    """\
CREATE TRIGGER baseline_no_delete BEFORE DELETE ON baseline BEGIN SELECT RAISE(ABORT, 'baseline is append-only'); END""",
    """\
CREATE TRIGGER intensity_no_update BEFORE UPDATE ON intensity BEGIN SELECT RAISE(ABORT, 'intensity is append-only'); END""",
    """\
CREATE TRIGGER intensity_no_delete BEFORE DELETE ON intensity BEGIN SELECT RAISE(ABORT, 'intensity is append-only'); END""",
)
