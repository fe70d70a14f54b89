#!/usr/bin/env python3
"""Measures the scheduler on a Postgres of its own: throughput, memory, punctuality, idling, take-over, growth.

    scripts/bench_serve.py target/release/runstone [scenario ...]

Scenarios: throughput flat idle spread instant takeover. Each starts a fresh server with fsync on, in a temporary folder.
Numbers depend on the machine; docs/performance.md has some, with the machine they were measured on.
"""
import json, os, pathlib, pwd, shutil, signal, subprocess, sys, tempfile, time

PG = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]


class Server:
    """A Postgres server that listens on a socket in its own folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        # The server refuses to run as root.
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(folder, self.user)
        self.as_user(PG / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses='' -c fsync=on -c max_connections=200"
        self.as_user(PG / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
        self.url = f"postgres://postgres@localhost/postgres?host={folder}"

    def as_user(self, *command):
        command = [str(word) for word in command]
        if os.getuid() == 0:
            command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def ask(self, sql):
        command = [PG / "psql", "-h", self.folder, "-U", "postgres", "-Atc", f"set search_path = runstone; {sql}"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return out.strip().splitlines()[-1] if out.strip() else ""

    def stop(self):
        self.as_user(PG / "pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")


class World:
    """A project, its database, and schedulers."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="runstone-bench-"))
        self.folder.chmod(0o755)
        self.server = Server(self.folder / "pg")
        self.project = self.folder / "project"
        (self.project / "pipelines").mkdir(parents=True)
        self.environment = {**os.environ, "RUNSTONE_DATABASE_URL": self.server.url}
        self.schedulers = []

    def pipeline(self, name, text):
        (self.project / "pipelines" / f"{name}.yaml").write_text(f"pipeline: {name}\n{text}")

    def serve(self, *options):
        log = open(self.folder / f"serve-{len(self.schedulers)}.log", "w")
        command = [self.binary, "serve", "--pipelines", "pipelines", "--log-level", "warn", *options]
        process = subprocess.Popen(command, cwd=self.project, env=self.environment, stderr=log)
        self.schedulers.append(process)
        return process

    def run(self, *words):
        subprocess.run([self.binary, *words], cwd=self.project, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def wait(self, sql, until, patience=600):
        end = time.monotonic() + patience
        while time.monotonic() < end:
            try:
                if until(self.server.ask(sql)):
                    return
            except subprocess.CalledProcessError:
                pass  # the schema may not be there yet
            time.sleep(0.25)
        raise SystemExit(f"gave up waiting: {sql}")

    def close(self):
        for process in self.schedulers:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            # Steps outlive their scheduler; their supervisors end with them.
            try:
                if os.readlink(entry / "cwd").startswith(str(self.project)):
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                pass
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def rss_mib(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024


NOTHING = "steps:\n  a: {cache: never, run: ':', out: {a: {optional: true}}}\n"


def throughput(world, runs=100, width=100):
    """No-op attempts a second over 100 runs at once, and what the database grows by."""
    cells = ", ".join(str(number) for number in range(width))
    for number in range(runs):
        world.pipeline(f"wide{number}", f"steps:\n  a: {{matrix: {{n: [{cells}]}}, cache: never, run: ':', out: {{a: {{optional: true}}}}}}\n")
    process = world.serve("--max-runs", str(runs))
    world.wait("select count(*) from pipeline", lambda found: found == str(runs))
    before = int(world.server.ask("select pg_database_size(current_database())"))
    for number in range(runs):
        world.run("trigger", f"wide{number}")
    world.wait("select count(*) from submission where state <> 'done'", lambda found: found == "0")
    seconds = float(world.server.ask("select extract(epoch from max(ended) - min(created)) from attempt where kind = 'run'"))
    count = int(world.server.ask("select count(*) from attempt where state = 'succeeded'"))
    after = int(world.server.ask("select pg_database_size(current_database())"))
    overlap = world.server.ask("select max(n) from (select (select count(*) from run b where b.created <= a.created and b.ended > a.created) n from run a) x")
    return {"attempts": count, "per_second": round(count / seconds), "runs_at_once": int(overlap),
            "bytes_per_attempt": (after - before) // count, "peak_mib": peak_mib(process)}


def flat(world, rounds=10, runs=100, width=100):
    """The memory of a scheduler after each round of 10,000 attempts, MiB."""
    cells = ", ".join(str(number) for number in range(width))
    for number in range(runs):
        world.pipeline(f"wide{number}", f"steps:\n  a: {{matrix: {{n: [{cells}]}}, cache: never, run: ':', out: {{a: {{optional: true}}}}}}\n")
    process = world.serve("--max-runs", "16")
    world.wait("select count(*) from pipeline", lambda found: found == str(runs))
    used = []
    for _ in range(rounds):
        for number in range(runs):
            world.run("trigger", f"wide{number}")
        world.wait("select count(*) from submission where state <> 'done'", lambda found: found == "0")
        used.append(rss_mib(process))
    count = int(world.server.ask("select count(*) from attempt where state = 'succeeded'"))
    return {"attempts": count, "rss_mib": used, "peak_mib": peak_mib(process)}


def idle(world, schedules=10_000, seconds=30):
    """The share of a core that an idle scheduler takes: alone, and with 10,000 schedules that do not fire."""
    result = {}
    for name, count in [("empty", 0), ("schedules", schedules)]:
        for number in range(count):
            world.pipeline(f"yearly{number}", "schedule: {cron: '0 3 1 1 *', tz: Europe/Berlin}\n" + NOTHING)
        process = world.serve()
        world.wait("select count(*) from schedule", lambda found: found == str(count))
        time.sleep(5)
        begun = cpu_seconds(process)
        time.sleep(seconds)
        result[f"{name}_percent_of_a_core"] = round(100 * (cpu_seconds(process) - begun) / seconds, 2)
        result[f"{name}_peak_mib"] = peak_mib(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return result


LATE = "extract(epoch from decided - time) * 1000"


def spread(world, schedules=3_000):
    """How late fires are that are spread over a minute, milliseconds."""
    for number in range(schedules):
        text = f"schedule: {{cron: '{number % 60} * * * * *', overlap: skip}}\n"
        world.pipeline(f"s{number}", text + NOTHING)
    world.serve("--max-runs", "1")
    world.wait("select count(*) from schedule", lambda found: found == str(schedules))
    time.sleep(75)
    quantiles = world.server.ask(f"select percentile_cont(array[0.5, 0.99, 1]) within group (order by {LATE}) from fire where time > (select max(time) - interval '59 s' from fire)")
    median, p99, most = [round(float(value), 1) for value in quantiles.strip("{}").split(",")]
    fires = int(world.server.ask("select count(*) from fire where time > (select max(time) - interval '59 s' from fire)"))
    return {"fires_in_a_minute": fires, "median_ms": median, "p99_ms": p99, "most_ms": most}


def instant(world, schedules=10_000):
    """How long it takes to decide 10,000 fires of one instant, seconds."""
    for number in range(schedules):
        world.pipeline(f"i{number}", "schedule: {cron: '* * * * *'}\n" + NOTHING)
    world.serve("--max-runs", "1")
    world.wait("select count(*) from schedule", lambda found: found == str(schedules))
    world.wait(f"select coalesce(max(n), 0) from (select count(*) n from fire group by time) x", lambda found: found == str(schedules), 180)
    last = world.server.ask(f"select max({LATE}) / 1000 from fire where time = (select time from fire group by time having count(*) = {schedules} order by 1 limit 1)")
    return {"fires": schedules, "seconds": round(float(last), 2)}


def takeover(world, runs=1_000):
    """How long after the end of its lease all runs of a killed scheduler have a new owner, seconds."""
    for number in range(runs):
        world.pipeline(f"t{number}", "steps:\n  a: {cache: never, run: 'sleep 600', out: {a: {optional: true}}}\n")
    options = ("--max-runs", str(runs), "--jobs", str(runs), "--lease", "10")
    first = world.serve(*options)
    world.wait("select count(*) from pipeline", lambda found: found == str(runs))
    for number in range(runs):
        world.run("trigger", f"t{number}")
    world.wait("select count(*) from attempt where state = 'running' or state = 'assigned'", lambda found: found == str(runs))
    owner = world.server.ask("select id from scheduler where state = 'active'")
    world.serve(*options)
    world.wait("select count(*) from scheduler where state = 'active'", lambda found: found == "2")
    first.send_signal(signal.SIGKILL)
    first.wait()
    expires = float(world.server.ask(f"select extract(epoch from seen) + 10 from scheduler where id = '{owner}'"))
    world.wait(f"select count(*) from submission where state = 'running' and scheduler_id <> '{owner}'", lambda found: found == str(runs))
    last = float(world.server.ask("select extract(epoch from max(at)) from event where kind = 'run_taken_over'"))
    return {"runs": runs, "seconds_after_the_lease": round(last - expires, 2)}


SCENARIOS = {one.__name__: one for one in (throughput, flat, idle, spread, instant, takeover)}


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    for name in sys.argv[2:] or SCENARIOS:
        world = World(binary)
        try:
            print(json.dumps({"scenario": name, **SCENARIOS[name](world)}), flush=True)
        finally:
            world.close()


if __name__ == "__main__":
    main()
