//! Fetching from a server that behaves, and from servers that do not.

#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use runstone_core::hash::ContentHash;
use runstone_exec::fetch::{FetchError, FetchLimits, Fetched, FetchedFile, Progress, Validators, fetch};
use tempfile::TempDir;

/// A server that answers every request by `answer`, which gets the request's lines.
struct Server {
    address: String,
    requests: Receiver<Vec<String>>,
}

impl Server {
    fn new(answer: impl Fn(&[String], &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let lines: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                answer(&lines, &mut stream);
                if sender.send(lines).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        // The other side may have had enough.
        Self::new(move |_, stream| _ = stream.write_all(&answer))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn limits() -> FetchLimits {
    FetchLimits { bytes: 1 << 20, ..FetchLimits::default() }
}

fn get(dir: &TempDir, url: &str, previous: Option<&Validators>, limits: FetchLimits) -> Result<Fetched, FetchError> {
    fetch(url, dir.path(), previous, &limits, &mut |_| ControlFlow::Continue(()))
}

fn file(fetched: Fetched) -> FetchedFile {
    match fetched {
        Fetched::File(file) => file,
        Fetched::NotModified => panic!("a file was expected"),
    }
}

/// Nothing may be left behind by a failed fetch.
fn failure(server: &Server, limits: FetchLimits) -> FetchError {
    let dir = tempfile::tempdir().unwrap();
    let error = get(&dir, &server.url("/a.csv"), None, limits).unwrap_err();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{error}");
    error
}

#[test]
fn a_file_arrives_as_it_was_served() {
    let body = b"\x1f\x8bnot touched";
    let mut answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Encoding: gzip\r\nETag: \"v1\"\r\n\r\n".to_vec();
    answer.extend(body);
    let server = Server::saying(answer);
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let fetched = fetch(&server.url("/d/a.csv?x=1"), dir.path(), None, &limits(), &mut |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    });
    let fetched = file(fetched.unwrap());
    assert_eq!(std::fs::read(&fetched.path).unwrap(), body);
    assert_eq!((fetched.file_name.as_str(), fetched.size), ("a.csv", 13));
    assert_eq!(fetched.path, dir.path().join("a.csv"));
    assert_eq!(fetched.hash, ContentHash::of(body));
    assert_eq!(fetched.validators.etag.as_deref(), Some("\"v1\""));
    assert_eq!(seen.last(), Some(&Progress { received: 13, total: Some(13) }));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_unchanged_file_is_not_sent_again() {
    let server = Server::new(|lines, stream| {
        let known = lines.iter().any(|line| line.eq_ignore_ascii_case("if-none-match: \"v1\""));
        let answer =
            if known { "304 Not Modified\r\n\r\n" } else { "200 OK\r\nETag: \"v1\"\r\nContent-Length: 1\r\n\r\nx" };
        write!(stream, "HTTP/1.1 {answer}").unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    let first = file(get(&dir, &server.url("/a"), None, limits()).unwrap());
    let again = get(&dir, &server.url("/a"), Some(&first.validators), limits()).unwrap();
    assert_eq!(again, Fetched::NotModified);
    let other = Validators { etag: Some("\"v0\"".into()), last_modified: None };
    file(get(&dir, &server.url("/a"), Some(&other), limits()).unwrap());
}

#[test]
fn a_date_is_enough_to_ask_whether_it_changed() {
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    let server = Server::saying("HTTP/1.1 304 Not Modified\r\n\r\n");
    let dir = tempfile::tempdir().unwrap();
    let previous = Validators { etag: None, last_modified: Some(date.into()) };
    assert_eq!(get(&dir, &server.url("/a"), Some(&previous), limits()).unwrap(), Fetched::NotModified);
    let request = server.requests.recv().unwrap();
    assert!(request.iter().any(|line| line.eq_ignore_ascii_case(&format!("if-modified-since: {date}"))), "{request:?}");
    let error = get(&dir, &server.url("/a"), None, limits()).unwrap_err();
    assert!(error.to_string().contains("304"), "{error}");
}

#[test]
fn a_file_without_announced_length_is_complete_when_its_last_piece_says_so() {
    let pieces = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let dir = tempfile::tempdir().unwrap();
    let whole = Server::saying(format!("{pieces}0\r\n\r\n"));
    assert_eq!(file(get(&dir, &whole.url("/a"), None, limits()).unwrap()).hash, ContentHash::of(b"abc"));
    let error = failure(&Server::saying(pieces), limits());
    assert!(matches!(error, FetchError::Broken { received: 3, total: None, .. }), "{error:?}");
    assert!(error.is_transient());
}

#[test]
fn a_transfer_that_breaks_off_is_no_file() {
    let error = failure(&Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), limits());
    assert!(matches!(error, FetchError::Broken { received: 3, total: Some(10), .. }), "{error:?}");
    assert!(error.to_string().contains("broke off after 3 bytes of 10"), "{error}");
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let server = Server::new(|lines, stream| {
        let answer = if lines[0].contains("/end") {
            "200 OK\r\nContent-Length: 1\r\n\r\nx"
        } else if lines[0].contains("/loop") {
            "302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"
        } else {
            "302 Found\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"
        };
        write!(stream, "HTTP/1.1 {answer}").unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    let fetched = file(get(&dir, &server.url("/start.csv"), None, limits()).unwrap());
    assert_eq!(fetched.file_name, "start.csv", "the name that was asked for stays");
    let error = get(&dir, &server.url("/loop"), None, limits()).unwrap_err();
    assert!(error.to_string().contains("redirected more than 10 times"), "{error}");
    assert!(!error.is_transient());
}

#[test]
fn a_refusal_says_what_to_do_and_whether_to_try_again() {
    for (status, transient, advice) in [
        ("404 Not Found", false, "check the address"),
        ("403 Forbidden", false, "credentials"),
        ("429 Too Many Requests", true, "try again later"),
        ("500 Internal Server Error", true, "a problem of its own"),
        ("204 No Content", false, "not the file"),
    ] {
        let error = failure(&Server::saying(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")), limits());
        assert_eq!(error.is_transient(), transient, "{error}");
        assert!(error.to_string().contains(advice) && error.to_string().contains(status), "{error}");
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let short = FetchLimits { idle: Duration::from_millis(100), ..limits() };
    for beginning in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
        let (keep, kept) = channel();
        let server = Server::new(move |_, stream| {
            stream.write_all(beginning.as_bytes()).unwrap();
            keep.send(stream.try_clone().unwrap()).unwrap();
        });
        let error = failure(&server, short);
        assert!(error.to_string().contains("nothing arrived for 0.1 s"), "{error}");
        assert!(error.is_transient());
        drop(kept);
    }
}

#[test]
fn a_header_without_end_is_refused() {
    let server = Server::new(|_, stream| {
        let filler = format!("X-Filler: {}\r\n", "x".repeat(4000));
        let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while written.is_ok() {
            written = stream.write_all(filler.as_bytes());
        }
    });
    let error = failure(&server, limits());
    assert!(error.to_string().contains("header exceeds"), "{error}");
}

#[test]
fn more_than_the_limit_is_refused_announced_or_not() {
    let small = FetchLimits { bytes: 1000, ..limits() };
    let announced = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
    assert!(matches!(failure(&announced, small), FetchError::TooLarge { limit: 1000, .. }));
    let endless = Server::new(|_, stream| {
        let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while written.is_ok() {
            written = stream.write_all(&[0; 4096]);
        }
    });
    assert!(matches!(failure(&endless, small), FetchError::TooLarge { limit: 1000, .. }));
}

#[test]
fn whoever_asked_may_stop_it() {
    let server = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    let dir = tempfile::tempdir().unwrap();
    let error = fetch(&server.url("/a"), dir.path(), None, &limits(), &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, FetchError::Stopped { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn credentials_are_sent_and_never_told() {
    let server = Server::saying("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://user:hunter2@{}/a?signature=hunter2", server.address);
    let error = get(&dir, &url, None, limits()).unwrap_err();
    let request = server.requests.recv().unwrap();
    // "user:hunter2" in Base64.
    assert!(request.iter().any(|line| line.ends_with("Basic dXNlcjpodW50ZXIy")), "{request:?}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = get(&dir, &format!("http://user:hunter2@{closed}/a?hunter2"), None, limits()).unwrap_err();
    assert!(unreachable.is_transient(), "{unreachable:?}");
    let bad = get(&dir, "http://user:hunter2@ho st/a", None, limits()).unwrap_err();
    let scheme = get(&dir, "ftp://user:hunter2@host/a", None, limits()).unwrap_err();
    assert!(scheme.to_string().contains("must start with http"), "{scheme}");
    for error in [error, unreachable, bad, scheme] {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
