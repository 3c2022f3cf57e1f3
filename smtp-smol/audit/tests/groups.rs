//! Groups of key exchanges, as Postfix's log names them.

use smtp_audit::{Audit, Options};
use smtp_proto::tls::Condition;

/// A session with a message, and what its line about TLS says.
fn session(number: u32, tls: &str) -> String {
    let at = |second: u32, text: &str| format!("Nov 24 08:{number:02}:{second:02} mx postfix/{text}\n");
    let client = format!("mx.s{number}.example[192.0.2.{number}]");
    let mut log = at(0, &format!("smtpd[{number}]: connect from {client}"));
    if !tls.is_empty() {
        log += &at(1, &format!("smtpd[{number}]: Anonymous TLS connection established from {client}: {tls}"));
    }
    log += &at(2, &format!("smtpd[{number}]: 4ABC{number:03}: client={client}"));
    log += &at(3, &format!("qmgr[9]: 4ABC{number:03}: from=<a@s{number}.example>, size=1, nrcpt=1 (queue active)"));
    log += &at(4, &format!("smtpd[{number}]: disconnect from {client} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"));
    log
}

/// What is told of mail in such a log.
fn inbound(sessions: &[&str]) -> serde_json::Value {
    let log: String = (1..).zip(sessions).map(|(number, tls)| session(number, tls)).collect();
    let mut audit = Audit::new(&Options::default());
    audit.stream("mail.log".as_ref(), log.as_bytes(), &()).expect("read");
    let report = audit.report(Condition::Tls).expect("a report");
    let told: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    told["inbound"].clone()
}

const SUITE: &str = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)";

/// As Postfix 3.4 and later write them, with OpenSSL 1.1.1, 3 and 3.5.
#[test]
fn post_quantum_key_exchange_is_priced_by_what_was_used() {
    let hybrid =
        format!("{SUITE} key-exchange X25519MLKEM768 server-signature RSA-PSS (4096 bits) server-digest SHA256");
    let classic = format!("{SUITE} key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256");
    let curve = format!(
        "{SUITE} key-exchange ECDHE (prime256v1) server-signature ECDSA (prime256v1) server-digest SHA256 \
         client-signature ECDSA (prime256v1) client-digest SHA256"
    );
    let older = "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)";
    let told = inbound(&[&hybrid, &classic, &curve, &hybrid, older, ""]);
    assert_eq!(
        told["groups"][0]["groups"],
        serde_json::json!({"": 1, "X25519MLKEM768": 2, "x25519": 1, "secp256r1": 1})
    );
    let row = &told["could"][2];
    assert_eq!(row["policy"], "X25519MLKEM768");
    assert_eq!((&row["used"]["lost"], &row["used"]["of"]), (&4.into(), &6.into()), "{row}");
    assert_eq!(row["offered"], serde_json::Value::Null, "a log does not know it");
}

/// OpenSSL 1.1.0 and before have nothing to say of it: nothing is guessed.
#[test]
fn a_log_without_groups_prices_none() {
    let told = inbound(&[SUITE, "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)", ""]);
    assert_eq!(told["groups"], serde_json::json!([]));
    assert_eq!(told["could"][2]["used"], serde_json::Value::Null);
    assert_eq!(told["what_if"][0]["wanted"]["lost"]["messages"], 1);
}
