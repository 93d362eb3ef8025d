"""Starting, finding and ending the daemon, with stand-ins for its process."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lowtide.scheduler.cli import main, process
from lowtide.scheduler.cli.client import Server
from lowtide.scheduler.cli.root import app
from lowtide.scheduler.model.errors import StartFailure
from tests.api_server import TOKEN, LiveApi, serve
from tests.fake_service import FakeService

assert main.COMMAND_MODULES, "importing the entry point registers the commands"
PID = 4242
STAND_IN = """
import http.server, json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ready", "pid": os.getpid(), "url": url, "data_dir": str(folder), "sites": []})
        self.send_response(200); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *words): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Health)
url = f"http://127.0.0.1:{server.server_port}"
(folder / "daemon.json.new").write_text(json.dumps({"url": url, "pid": os.getpid()}))
(folder / "daemon.json.new").rename(folder / "daemon.json")
server.serve_forever()
"""


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with serve(FakeService()) as served:
        yield served


def remember(folder: Path, url: str, pid: int = PID) -> None:
    (folder / "daemon.json").write_text(json.dumps({"url": url, "pid": pid}))


def replace_daemon(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(process, "daemon_command", lambda folder, _options: [sys.executable, "-c", code, str(folder)])


def test_options_that_are_not_given_are_left_to_the_daemon(tmp_path: Path) -> None:
    command = process.daemon_command(tmp_path, {"port": 0, "config": None, "gpus": 2})
    assert command[1:] == ["-m", process.MODULE, "--data-dir", str(tmp_path), "--port", "0", "--gpus", "2"]


def test_a_daemon_is_found_by_its_address_and_process(live: LiveApi, tmp_path: Path) -> None:
    remember(tmp_path, live.url)
    health = process.running(tmp_path)
    assert health is not None
    assert health["pid"] == PID


def test_another_program_on_the_port_of_a_dead_daemon_is_not_taken_for_it(live: LiveApi, tmp_path: Path) -> None:
    remember(tmp_path, live.url, pid=1)
    assert process.running(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}'])
def test_a_damaged_address_file_means_no_daemon(tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    assert process.running(tmp_path) is None


def test_up_on_a_running_daemon_says_so_and_is_no_error(live: LiveApi, tmp_path: Path) -> None:
    remember(tmp_path, live.url)
    result = CliRunner().invoke(app, ["up", "--detach", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "lowtide already runs." in result.stdout
    assert "local: zone GB from recorded, 4 GPUs" in result.stdout


def test_up_says_which_options_a_running_daemon_has_not_seen(live: LiveApi, tmp_path: Path) -> None:
    remember(tmp_path, live.url)
    result = CliRunner().invoke(app, ["up", "--detach", "--data-dir", str(tmp_path), "--gpus", "8"])
    assert f"without --gpus 8: to change it, lowtide --data-dir {tmp_path} down and up again" in result.stdout


def test_what_can_be_typed_next_finds_the_daemon_of_another_folder(
    live: LiveApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(tmp_path, live.url)
    result = CliRunner().invoke(app, ["up", "--detach", "--data-dir", str(tmp_path)])
    assert f"lowtide --data-dir {tmp_path} status" in result.stdout
    monkeypatch.setenv("LOWTIDE_DATA_DIR", str(tmp_path))
    assert "  lowtide status" in CliRunner().invoke(app, ["up", "--detach"]).stdout


def test_up_says_what_it_means_that_the_grid_source_does_not_answer(
    live: LiveApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(tmp_path, live.url)
    (tmp_path / "token").write_text(TOKEN)
    trouble = {"trouble": "neso: it cannot be reached.", "rung": "static_average"}
    monkeypatch.setattr(Server, "get", lambda *_, **__: trouble)
    told = process.grid_troubles(tmp_path, {"url": live.url, "sites": [{"zone": "GB"}, {"zone": None}]})
    meaning = "Jobs run at once, and are counted at a yearly average, until it answers."
    assert told == [f"GB has no live data: neso: it cannot be reached. {meaning}"]


def test_down_ends_the_cluster_that_a_dead_daemon_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr("lowtide.connectors.cluster.local_ray.LocalRay.is_alive", lambda _: True)
    monkeypatch.setattr("lowtide.connectors.cluster.local_ray.LocalRay.stop", lambda _: ended.append("cluster"))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "cluster.json").write_text("{}")
    down = ["down", "--data-dir", str(tmp_path)]
    assert f"No daemon runs on {tmp_path}." in CliRunner().invoke(app, [*down, "--keep-cluster"]).stdout
    assert ended == []
    assert "that its last one had left is ended" in CliRunner().invoke(app, down).stdout
    assert ended == ["cluster"]


def test_up_in_the_foreground_on_a_taken_data_directory_names_its_owner(live: LiveApi, tmp_path: Path) -> None:
    remember(tmp_path, live.url)
    result = CliRunner().invoke(app, ["up", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert f"another daemon (process {PID}) uses the data directory {tmp_path}" in result.stderr


def test_a_daemon_that_cannot_start_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "'noise\\nlowtide: \\x1b[1mthe port 8470 is\\nin use.\\x1b[0m Choose another.'"
    replace_daemon(monkeypatch, f"import sys; sys.stderr.write({words}); sys.exit(1)")
    with pytest.raises(StartFailure) as caught:
        process.run_detached(tmp_path, {})
    assert caught.value.message == "the daemon did not start: the port 8470 is in use. Choose another."


def test_a_daemon_that_dies_without_a_word_is_told_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_daemon(monkeypatch, "raise SystemExit(7)")
    with pytest.raises(StartFailure, match="ended with code 7 and said nothing"):
        process.run_detached(tmp_path, {})


def test_up_waits_until_the_daemon_is_ready_and_prints_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_daemon(monkeypatch, STAND_IN)
    result = CliRunner().invoke(app, ["up", "--detach", "--data-dir", str(tmp_path)])
    pid = json.loads((tmp_path / "daemon.json").read_text())["pid"]
    try:
        assert result.exit_code == 0, result.output
        assert "lowtide is up." in result.stdout
        assert f"process  {pid}" in result.stdout
    finally:
        os.kill(pid, 15)
        os.waitpid(pid, 0)


def test_up_says_what_the_daemon_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "TELL_S", 0.0)
    wait = process._Wait()
    for _ in range(4):
        wait.tell({"status": "starting", "waits_for": ["site local: its private Ray cluster is being started"]})
    assert capsys.readouterr().err == "Waiting for site local: its private Ray cluster is being started\n"
    starting = STAND_IN.replace('"ready"', '"starting", "waits_for": ["site far: not looked at yet"]')
    replace_daemon(monkeypatch, starting)
    monkeypatch.setattr(process, "READY_S", 2.0)
    with pytest.raises(process.TookTooLong, match="it waits for site far: not looked at yet") as caught:
        process.run_detached(tmp_path, {})
    pid = int(caught.value.message.split("(process ")[1].split(")")[0])
    os.kill(pid, 15)
    os.waitpid(pid, 0)


def test_up_names_the_trouble_of_a_site() -> None:
    site = {"name": "far", "zone": "GB", "gpus": 1, "trouble": "it does not answer"}
    health = {"url": "u", "data_dir": "d", "pid": 1, "status": "degraded", "sites": [site]}
    assert "far: zone GB, 1 GPU - cannot be used yet: it does not answer" in process.up_text(health, already=False)


def test_up_gives_up_waiting_with_5_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_daemon(monkeypatch, "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()")
    monkeypatch.setattr(process, "READY_S", 0.0)
    result = CliRunner().invoke(app, ["up", "--detach", "--data-dir", str(tmp_path)])
    assert result.exit_code == 5
    assert "lowtide down" in result.stderr
    os.waitpid(int(result.stderr.split("(process ")[1].split(")")[0]), 0)


def test_a_process_is_alive_or_not() -> None:
    assert process._is_alive(os.getpid())
    assert not process._is_alive(0)
    assert not process._is_alive(999_999_999)


def test_what_is_up_tells_what_each_site_goes_by() -> None:
    site = {"name": "lab", "zone": "IE", "region": "aws:eu-west-1", "gpus": 4, "grid_source": "electricity_maps"}
    common = {"url": "http://127.0.0.1:1", "data_dir": "d", "pid": 1, "status": "ready"}
    told = process.up_text({**common, "sites": [{**site, "signal": "average", "basis": "lifecycle"}]}, already=False)
    assert "lab: zone IE for aws:eu-west-1 from electricity_maps (average, lifecycle), 4 GPUs" in told
    silent = process.up_text({**common, "sites": [{**site, "signal": None, "basis": None}]}, already=False)
    assert "from electricity_maps, 4 GPUs" in silent
