//! Invariant 11: the diagram in `docs/state-machine.md` is drawn from the transition table, and is never stale.
//! To redraw it: `UPDATE_DOCS=1 cargo test -p smtp-proto --test state_machine`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use smtp_proto::server::{Move, State};

fn diagram() -> String {
    let mut arrows: BTreeMap<usize, (State, State, Vec<Move>)> = BTreeMap::new();
    let mut order: Vec<(State, State)> = Vec::new();
    for (from, by, to) in State::transitions() {
        let at = order.iter().position(|pair| *pair == (from, to)).unwrap_or_else(|| {
            order.push((from, to));
            order.len() - 1
        });
        arrows.entry(at).or_insert_with(|| (from, to, Vec::new())).2.push(by);
    }
    let mut text = String::from(
        "# State machines\n\nDrawn from the transition tables by `smtp-proto/tests/state_machine.rs`; do not edit. A move without an \
         arrow is\nrefused with 503 and changes nothing (RFC 5321 section 4.1.4). Every state but `Closed` also ends by `End`: QUIT,\na \
         fatal fault, a timeout, or the end of the connection.\n\n## Server\n\n```mermaid\nstateDiagram-v2\n    [*] --> Connected\n",
    );
    for (from, to, by) in arrows.values() {
        if *to == State::Closed {
            continue;
        }
        let names: Vec<String> = by.iter().map(|by| format!("{by:?}")).collect();
        let _ = writeln!(text, "    {from:?} --> {to:?}: {}", names.join(", "));
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
