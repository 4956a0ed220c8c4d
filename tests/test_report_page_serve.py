"""The page while a run goes on: served here only, in parts that have changed, and never a file."""

import http.client
import json
import shutil
import threading

import pytest

from equipoise.errors import InputError
from equipoise.report.page_serve import Server
from planted_runs import plant


@pytest.fixture
def served(tmp_path):
    """A run folder and the server of its page."""
    folder = plant(tmp_path / "run", total=50)
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield folder, server
        server.shutdown()
        thread.join()


def get(server, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def tick(folder, kimg):
    line = {"event": "tick", "kimg": kimg, "total_kimg": 50.0, "balance": {"loss_D": 1.0}, "dials": {}}
    with (folder / "run.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_only_this_machine_is_listened_to(served):
    assert served[1].server_address[0] == "127.0.0.1"


def test_the_page_is_there_and_follows(served):
    status, body = get(served[1], "/")
    assert status == 200 and "data-live" in body and "12 of 50 kimg" in body


def test_only_what_has_changed_is_sent(served):
    folder, server = served
    everything = json.loads(get(server, "/changes")[1])
    assert set(everything) >= {"head", "verdict", "timeline", "samples"}
    known = "/changes?" + "&".join(f"{name}={part['stamp']}" for name, part in everything.items())
    assert json.loads(get(server, known)[1]) == {}
    tick(folder, 13.5)
    changed = json.loads(get(server, known)[1])
    assert "13.5 of 50 kimg" in changed["head"]["html"]
    assert "samples" not in changed and "recipe" not in changed
    shutil.copy(folder / "samples" / "fakes-000000.png", folder / "samples" / "fakes-000013.png")
    assert "13 kimg" in json.loads(get(server, known)[1])["samples"]["html"]


def test_a_line_that_is_only_half_written_does_no_harm(served):
    folder, server = served
    with (folder / "run.jsonl").open("a") as file:
        file.write('{"event": "tick", "kimg": 13.')
    status, body = get(server, "/")
    assert status == 200 and "12 of 50 kimg" in body


@pytest.mark.parametrize(
    "path", ["/config.json", "/../run.jsonl", "/samples/fakes-000000.png", "/%2e%2e/", "//etc/passwd"]
)
def test_no_path_leads_to_a_file(served, path):
    assert get(served[1], path)[0] == 404


def test_a_page_that_was_led_here_by_another_name_is_refused(served):
    server = served[1]
    assert get(server, "/", host=f"evil.example:{server.server_port}")[0] == 403
    assert get(server, "/changes", host="evil.example")[0] == 403
    assert get(server, "/", host=f"localhost:{server.server_port}")[0] == 200


def test_a_run_that_is_gone_is_said_to_be(served):
    folder, server = served
    shutil.rmtree(folder)
    assert get(server, "/")[0] == 410


@pytest.mark.parametrize(("error", "told"), [(BrokenPipeError, False), (KeyError, True)])
def test_a_browser_that_hangs_up_is_no_error(served, capsys, error, told):
    try:
        raise error("plain")
    except error:
        served[1].handle_error(None, ("127.0.0.1", 1))
    assert (error.__name__ in capsys.readouterr().err) == told


def test_a_port_that_is_taken_and_one_that_cannot_be(served, tmp_path):
    folder, server = served
    with pytest.raises(InputError, match=r"cannot be listened on .*; give another --port, or none"):
        Server(folder, server.server_port)
    with pytest.raises(InputError, match="cannot be listened on"):
        Server(folder, 70_000)
    with pytest.raises(InputError, match="is no run folder"):
        Server(tmp_path / "none")


def test_a_run_that_has_just_begun_is_followed(tmp_path):
    folder = plant(tmp_path / "young", ticks=0, pictures=0, total=50)
    with Server(folder) as server:
        live = server.live
        assert "the run has no reading" in live.page()
        tick(folder, 0.064)
        assert "0.064 of 50 kimg" in live.changes({})["head"]["html"]
