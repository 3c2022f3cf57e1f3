//! Invariant 11: the diagram in `docs/state-machine.md` is drawn from the transition table, and is never stale.
//! To redraw it: `UPDATE_DOCS=1 cargo test -p smtp-proto --test state_machine`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use smtp_proto::client;
use smtp_proto::server::{Move, State};

const INTRODUCTION: &str = "# State machines

Drawn from the transition tables by `smtp-proto/tests/state_machine.rs`; do not edit. Every state but `Closed` also ends by
`End`: QUIT, a fatal fault, a timeout, or the end of the connection.
";

const SERVER: &str = "
## Server

A move without an arrow is refused with 503 and changes nothing (RFC 5321 section 4.1.4).
";

const CLIENT: &str = "
## Client

A command moves the session when the reply that accepts it has come. A command without an arrow is refused before a byte is
sent; what is sent behind unanswered commands is judged as if these were accepted (RFC 2920). A reply that accepts a
command without an arrow is a fault of the server's, and ends the session.
";

fn diagram() -> String {
    let server = State::transitions().map(|(from, by, to)| [named(from), named(by), named(to)]);
    let client = client::State::transitions().map(|(from, by, to)| [named(from), named(by), named(to)]);
    [INTRODUCTION, SERVER, &drawn(server), CLIENT, &drawn(client)].concat()
}

fn named(of: impl std::fmt::Debug) -> String {
    format!("{of:?}")
}

fn drawn(transitions: impl Iterator<Item = [String; 3]>) -> String {
    let mut order: Vec<(String, String)> = Vec::new();
    let mut arrows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for [from, by, to] in transitions.filter(|[_, _, to]| to != "Closed") {
        let pair = (from, to);
        let at = order.iter().position(|known| *known == pair).unwrap_or(order.len());
        if at == order.len() {
            order.push(pair);
        }
        arrows.entry(at).or_default().push(by);
    }
    let mut text = String::from("\n```mermaid\nstateDiagram-v2\n    [*] --> Connected\n");
    for ((from, to), by) in order.iter().zip(arrows.values()) {
        let _ = writeln!(text, "    {from} --> {to}: {}", by.join(", "));
    }
    text.push_str("```\n");
    text
}

#[test]
fn the_diagram_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/state-machine.md");
    let drawn = diagram();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &drawn).expect("docs can be written");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(stored, drawn, "run UPDATE_DOCS=1 cargo test -p smtp-proto --test state_machine");
}

#[test]
fn every_state_is_reached_and_can_end() {
    for (from, ..) in State::transitions() {
        assert!(
            from == State::Connected || State::transitions().any(|(_, _, to)| to == from),
            "{from:?} is not reached"
        );
        assert_eq!(from.after(Move::End), Some(State::Closed), "{from:?} cannot end");
    }
    assert!(State::transitions().all(|(from, ..)| from != State::Closed), "nothing leads out of Closed");
    // RFC 3207 4: after 220 only TLS or the end.
    let ways: Vec<_> =
        State::transitions().filter(|(from, ..)| *from == State::StartTls).map(|(_, by, _)| by).collect();
    assert_eq!(ways, [Move::TlsEstablished, Move::End]);
}

#[test]
fn every_state_of_the_client_is_reached_and_can_end() {
    use client::{Move as M, State as S};
    for (from, ..) in S::transitions() {
        assert!(from == S::Connected || S::transitions().any(|(_, _, to)| to == from), "{from:?} is not reached");
        assert_eq!(from.after(M::End), Some(S::Closed), "{from:?} cannot end");
    }
    assert!(S::transitions().all(|(from, ..)| from != S::Closed), "nothing leads out of Closed");
    // RFC 3207 4: after 220 only TLS or the end.
    let ways: Vec<_> = S::transitions().filter(|(from, ..)| *from == S::StartTls).map(|(_, by, _)| by).collect();
    assert_eq!(ways, [M::TlsEstablished, M::End]);
    // RFC 5321 3.3: a text that has begun is not taken back by a command, and a text is sent for nobody only empty.
    let ways: Vec<_> = S::transitions().filter(|(from, ..)| *from == S::Data).map(|(_, by, _)| by).collect();
    assert_eq!(ways, [M::TextEnd, M::End]);
}
