//! `conform` as a program: against `sink`, which passes, and one that misbehaves; and `blast` as the client.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_smtp-mio");
/// The machine may be busy.
const PATIENCE: &str = "60s";

struct Sink {
    child: Child,
    address: String,
}

impl Sink {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["sink", "--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
        Self { child, address: line.split(' ').nth(2).expect("an address").to_owned() }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn conform(options: &[&str]) -> (String, Option<i32>) {
    let done = Command::new(PROGRAM).args(["conform", "--timeout", PATIENCE]).args(options).output().expect("run");
    (String::from_utf8(done.stdout).expect("text") + &String::from_utf8_lossy(&done.stderr), done.status.code())
}

fn json(options: &[&str]) -> (Value, Option<i32>) {
    let (told, code) = conform(&[&["--format", "json"], options].concat());
    (serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}")), code)
}

fn failed(report: &Value) -> Vec<&str> {
    let cases = report["cases"].as_array().expect("cases").iter();
    cases.filter(|case| case["outcome"] == "failed").map(|case| case["id"].as_str().expect("an id")).collect()
}

#[test]
fn our_own_server_passes_every_case_that_can_be_played() {
    for (options, least) in [(&[][..], 75), (&["--lmtp"], 65)] {
        let sink = Sink::start(options);
        let (report, code) = json(&[&[&sink.address, "--fail-on", "practice"], options].concat());
        assert_eq!((failed(&report), code), (Vec::new(), Some(0)), "{report}");
        assert!(report["counts"]["passed"].as_u64() >= Some(least), "{}", report["counts"]);
        // What is not played says why.
        assert!(
            report["cases"]
                .as_array()
                .expect("cases")
                .iter()
                .all(|case| case["outcome"] == "passed" || case["detail"].is_string())
        );
    }
}

#[test]
fn a_server_that_departs_is_told_of() {
    // Any password will do, and RSET does not.
    let sink = Sink::start(&["--auth", "--fail", "RSET=500 5.5.1 Not here"]);
    let (report, code) = json(&[&sink.address]);
    assert_eq!(code, Some(1));
    let failed = failed(&report);
    assert!(failed.contains(&"server/auth-wrong-password") && failed.contains(&"server/rset"), "{failed:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let known = folder.path().join("known");
    std::fs::write(&known, failed.join(" # known\n") + "\na-message\n").expect("written");
    let known = known.to_str().expect("UTF-8");
    let (report, code) = json(&[&sink.address, "--expected-failures", known]);
    assert_eq!((&report["counts"]["failed"], code), (&0.into(), Some(0)), "{report}");
    assert_eq!(report["not_failed"], serde_json::json!(["server/a-message"]));
    let (junit, _) = conform(&[&sink.address, "--format", "junit", "--case", "rset"]);
    assert!(junit.contains("tests=\"1\" failures=\"1\" skipped=\"0\""), "{junit}");
}

#[test]
fn a_folder_of_cases_of_ones_own() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("server")).expect("made");
    let text = "# RFC 5321 4.1.1.10: an own one\nwire: MUST order\nS: 220 x\nC: QUIT\nS: 421 x\n";
    std::fs::write(folder.path().join("server/own.txt"), text).expect("written");
    let sink = Sink::start(&[]);
    let cases = folder.path().to_str().expect("UTF-8");
    let (report, code) = json(&[&sink.address, "--cases", cases]);
    assert_eq!((failed(&report), code), (vec!["server/own"], Some(1)));
}

#[test]
fn our_own_client_passes_every_case() {
    let (report, code) = json(&[
        "--client",
        "--fail-on",
        "practice",
        "--",
        PROGRAM,
        "blast",
        "{host}:{port}",
        "--messages",
        "1",
        "--connections",
        "1",
        "--message",
        "{message}",
    ]);
    assert_eq!((failed(&report), code), (Vec::new(), Some(0)), "{report}");
    assert!(report["counts"]["passed"].as_u64() >= Some(20), "{report}");
}

#[test]
fn a_client_that_departs_is_told_of() {
    // It says nothing, and reports success.
    let (report, code) = json(&["--client", "--", "true"]);
    assert_eq!((report["counts"]["passed"].as_u64(), code), (Some(0), Some(1)));
}

#[test]
fn what_cannot_begin_is_exit_code_2() {
    assert_eq!(conform(&["192.0.2.1:25"]).1, Some(2));
    assert_eq!(conform(&["127.0.0.1:1"]).1, Some(2));
    assert_eq!(conform(&["127.0.0.1:1", "--case", "no-such-case"]).1, Some(2));
    assert_eq!(conform(&[]).1, Some(2));
    assert_eq!(conform(&["--list"]).1, Some(0));
}

/// What docs/conformance.md counts.
#[test]
fn the_table_of_classes_is_not_stale() {
    let (list, _) = conform(&["--list"]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for class in ["syntax", "order", "text", "TLS", "AUTH", "LMTP", "extension"] {
        let of = |side: &str, level: &str| {
            let rows = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            rows.filter(|row| row[0].starts_with(side) && row[1] == level && row[2] == class).count()
        };
        let counts = ["MUST", "SHOULD", "practice"].map(|level| of("server/", level));
        let client = ["MUST", "SHOULD", "practice"].map(|level| of("client/", level)).iter().sum::<usize>();
        let row = format!("| {class} | {} | {} | {} | {client} |", counts[0], counts[1], counts[2]);
        assert!(page.contains(&row), "docs/conformance.md lacks: {row}");
    }
}
