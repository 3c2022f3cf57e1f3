//! What is shown by HTTP: numbers, health, the loss by now.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;

use super::program::{Client, PATIENCE, Program};

const OPTIONS: [&str; 8] =
    ["--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "discard", "--metrics", "127.0.0.1:0"];

/// The address of `--metrics`.
pub(crate) fn seen_at(program: &mut Program) -> String {
    program.wait_for("the metrics", |said| said.iter().any(|line| line.starts_with("metrics: ")));
    let line = program.said.iter().find(|line| line.starts_with("metrics: ")).expect("just seen");
    line.split('/').nth(2).expect("an address").to_owned()
}

fn ask(address: &str, request: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn numbers_health_and_loss_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::serve(folder.path(), &OPTIONS, 1);
    let address = seen_at(&mut program);
    let mut client = Client::connect(&program.address(0));
    assert!(client.deliver("EHLO client.example").starts_with("250 "));
    assert!(client.say("NONSENSE").starts_with("500 "));
    assert!(client.say("QUIT").starts_with("221 "));
    assert_eq!(client.rest(), "");
    let (head, numbers) = get(&address, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("application/openmetrics-text"), "{head}");
    for line in [
        "smtp_smol_messages_total{outcome=\"accepted\"} 1",
        "smtp_smol_sessions_total{role=\"mx\"} 1",
        "smtp_smol_transaction_seconds_count 1",
        "smtp_smol_faults_total{kind=\"syntax\"} 1",
        "smtp_smol_tls_total{outcome=\"not-offered\",version=\"\",cipher=\"\",group=\"\"} 1",
    ] {
        assert!(numbers.lines().any(|here| here == line), "{line} in {numbers}");
    }
    assert!(numbers.ends_with("# EOF\n"));
    assert!(get(&address, "/healthz").0.contains(" 200 ") && get(&address, "/readyz").0.contains(" 200 "));
    let (_, loss) = get(&address, "/loss.json");
    let loss: serde_json::Value = serde_json::from_str(&loss).expect("JSON");
    assert_eq!(loss["inbound"]["mail"][0]["messages"], 1, "{loss}");
    let (head, page) = get(&address, "/loss");
    assert!(head.contains("text/html") && page.contains("<html"), "{page}");

    // It is no longer ready when it is told to end, and alive until it does.
    let mut waiting = Client::connect(&program.address(0));
    assert!(waiting.reply().starts_with("220 "));
    for line in ["EHLO c.example", "MAIL FROM:<a@c.example>", "RCPT TO:<b@c.example>", "DATA"] {
        assert!(waiting.say(line).starts_with(['2', '3']), "{line}");
    }
    program.signal(Signal::TERM);
    program.wait_for("the end to begin", |said| said.iter().any(|line| line.starts_with("ending")));
    assert!(get(&address, "/readyz").0.contains(" 503 ") && get(&address, "/healthz").0.contains(" 200 "));
    assert!(waiting.say("x: y\r\n\r\n.").starts_with("250 "));
    assert_eq!(program.ends_within(PATIENCE), Some(0));
}

#[test]
fn what_is_no_request_is_refused_and_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::serve(folder.path(), &OPTIONS, 1);
    let address = seen_at(&mut program);
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\n\r\n".to_owned(), "405"),
        ("GET /x HTTP/1.1\r\n\r\n".to_owned(), "404"),
        ("EHLO client.example\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(20_000)), "431"),
    ] {
        let (head, _) = ask(&address, &request);
        assert!(head.split(' ').nth(1) == Some(status), "{request:.40}: {head}");
    }
    assert!(get(&address, "/healthz").0.contains(" 200 "), "and it goes on");
}

/// Of each query of the dashboard, the server has the numbers.
#[test]
fn the_dashboard_asks_for_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = OPTIONS.to_vec();
    options.drain(2..4);
    let mut program = Program::serve(folder.path(), &options, 1);
    let address = seen_at(&mut program);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 ") && client.say("QUIT").starts_with("221 "));
    assert_eq!(client.rest(), "");
    let (_, numbers) = get(&address, "/metrics");
    let text = include_str!("../../package/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            for name in query.split(|char: char| !char.is_ascii_alphanumeric() && char != '_') {
                let Some(base) = name.strip_prefix("smtp_smol_") else { continue };
                let base = base.strip_suffix("_total").or_else(|| base.strip_suffix("_bucket")).unwrap_or(base);
                assert!(numbers.contains(&format!("# TYPE smtp_smol_{base} ")), "{query}: there is no {name}");
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked}");
}
