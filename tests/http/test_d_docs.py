"""What the documents say is so: flags, metrics, API page, and the examples with curl."""

import os
import re
import shutil
import subprocess

import pytest

from daemon import BIN, CTL, TOP, Daemon


def text(*path):
    with open(os.path.join(TOP, *path)) as f:
        return f.read()


def section(page, heading):
    return next(s for s in re.split(r"^## ", page, flags=re.M) if s.startswith(heading + "\n"))


def table(page, heading):
    """Rows of the first table of a section, as lists of cells."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in section(page, heading).splitlines() if line.startswith("|")]
    return rows[2:]


def test_api_page_is_fresh():
    r = subprocess.run([os.path.join(TOP, "scripts/api-docs"), "--check"], capture_output=True,
                       text=True)
    assert r.returncode == 0, r.stderr


def test_every_flag_is_in_the_table_of_settings():
    usage = subprocess.run([BIN, "--help"], capture_output=True, text=True).stdout
    real = dict(re.findall(r"^  (--[a-z-]+)[^\n]*?(?:\(default ([^)\n]*)\))?$", usage, re.M))
    rows = table(text("docs", "operations.md"), "Settings")
    documented = {row[0].strip("`"): row[1] for row in rows}
    assert list(documented) == list(real)
    for flag, default in real.items():
        short = re.match(r"[\w.:]+(?=$|,)", default)
        if short:
            assert re.match(rf"`?{re.escape(short[0])}`?( s)?$", documented[flag]), flag


def test_every_metric_is_in_the_table_of_metrics(daemon):
    daemon.submit("manlm.safetensors")
    exposition = daemon.get("/metrics").body.decode()
    real = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.M))
    rows = table(text("docs", "operations.md"), "Metrics")
    documented = {row[0].strip("`"): row[1] for row in rows}
    assert documented == real
    for name, _, labels, _ in rows:
        name = name.strip("`")
        for used in re.findall(rf"^{name}(?:_bucket|_sum|_count)?\{{(.*)\}} ", exposition, re.M):
            keys = set(re.findall(r'(\w+)="', used)) - {"le"}
            assert keys == set(re.findall(r"`(\w+)`", labels)), name


def test_every_problem_of_the_daemon_has_a_page_entry():
    codes = set(re.findall(r'^    \{\w+, \d+, "(\w+)"', text("api", "problem.c"), re.M))
    page = {row[0].strip("`") for row in table(text("docs", "api.md"), "Problems")}
    assert codes and codes == page


# --- examples with curl ----------------------------------------------------------------------


def blocks_of(page):
    """Shell blocks after a line <!-- tested -->."""
    return re.findall(r"^<!-- tested -->\n```sh\n(.*?)^```$", page, re.M | re.S)


@pytest.fixture
def shop(tmp_path):
    """A daemon with the example model, and a shell that finds the programs and the example."""
    d = Daemon(str(tmp_path))
    shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), d.root)
    with d:
        for _ in range(200):
            if d.get("/readyz").status == 200:
                break
        bin_dir = tmp_path / "bin"
        bin_dir.mkdir()
        for program in (BIN, CTL):
            os.symlink(os.path.abspath(program), bin_dir / os.path.basename(program))
        work = tmp_path / "work"
        work.mkdir()
        os.symlink(os.path.join(TOP, "examples"), work / "examples")
        shutil.copy(os.path.join(TOP, "examples/manlm.safetensors"), work)
        d.env = dict(os.environ, PATH=f"{bin_dir}:{os.environ['PATH']}",
                     SPECTRALCTL_SERVER=f"http://127.0.0.1:{d.port}")
        d.work = str(work)
        yield d


# An example that gets an error document fails, though curl -s itself would not.
CURL = 'curl() { command curl --fail-with-body --max-time 60 "$@"; }\n'


def run_blocks(shop, blocks):
    script = "set -euo pipefail\n" + CURL + "\n".join(blocks).replace(
        "localhost:8437", f"127.0.0.1:{shop.port}").replace(
        "127.0.0.1:8437", f"127.0.0.1:{shop.port}")
    return subprocess.run(["bash", "-c", script], cwd=shop.work, env=shop.env,
                          capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_examples_work(shop, page):
    blocks = blocks_of(text(page))
    assert blocks, "no block is marked <!-- tested -->"
    r = run_blocks(shop, blocks)
    assert r.returncode == 0, r.stdout[-2000:] + r.stderr[-2000:]


def test_a_broken_example_is_noticed(shop):
    assert run_blocks(shop, ["curl -s localhost:8437/livez"]).returncode == 0
    assert run_blocks(shop, ["curl -s localhost:8437/v1/nothing", "true"]).returncode != 0
    assert blocks_of("<!-- tested -->\n```sh\nx\n```\n```sh\ny\n```\n") == ["x\n"]


def test_every_curl_example_of_the_readme_is_tested():
    page = text("README.md")
    outside = re.sub(r"^<!-- tested -->\n```sh\n.*?^```$", "", page, flags=re.M | re.S)
    assert "curl -s " not in outside
