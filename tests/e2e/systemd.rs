//! What a scheduler tells the service manager that started it.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::project::Project;
use crate::running::until;

const IDLE: &str = "
pipeline: idle
steps:
  one: {run: 'echo 1 > $OUT_ONE'}
";

#[test]
fn the_manager_hears_when_it_is_ready_that_it_lives_and_when_it_leaves() {
    let project = Project::new(IDLE);
    let socket = UnixDatagram::bind(project.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = project.command(&["serve"]);
    command.env("NOTIFY_SOCKET", project.path("notify"));
    let scheduler = project.start_command(command);
    let mut heard = String::new();
    let mut hears = |word: &str| {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
        heard.contains(word)
    };
    until("it is ready", || hears("READY=1"));
    until("it says what it is", || hears("STATUS=scheduler "));
    until("it gives a sign of life", || hears("WATCHDOG=1"));
    scheduler.signal(Signal::TERM);
    until("it leaves", || hears("STOPPING=1"));
    scheduler.wait().ok();
}
