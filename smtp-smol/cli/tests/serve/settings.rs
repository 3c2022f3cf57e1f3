//! The file of `--config`, `check-config`, and several listeners in one process.

use std::path::Path;

use super::program::{Client, Program, command, output};

const FILE: &str = r#"
hostname = "mx.example.net"
deliver = "maildir:mail"
tls = "off"

[[listener]]
listen = "127.0.0.1:0"

[[listener]]
listen = "127.0.0.1:0"
role = "lmtp"
max_size = 65536

[[listener]]
listen = "127.0.0.1:0"
implicit_tls = "127.0.0.1:0"
role = "submission"
users = "users"
tls = "require"
"#;

fn write(folder: &Path, file: &str) {
    std::fs::write(folder.join("x.toml"), file).expect("written");
    std::fs::write(folder.join("users"), "\u{feff}alice:{PLAIN}secret\n").expect("written");
}

#[test]
fn each_listener_of_a_file_has_its_role() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), FILE);
    let program = Program::serve(folder.path(), &["--config", "x.toml"], 4);
    let mut mx = Client::connect(&program.address(0));
    assert!(mx.deliver("EHLO client.example").starts_with("250 "));
    let mut lmtp = Client::connect(&program.address(1));
    assert!(lmtp.reply().contains("LMTP"));
    assert!(lmtp.say("EHLO client.example").starts_with('5'));
    assert!(lmtp.say("LHLO client.example").contains("SIZE 65536"));
    let mut submission = Client::connect(&program.address(2));
    assert!(submission.reply().starts_with("220 "));
    assert!(submission.say("EHLO client.example").contains("STARTTLS"));
    assert!(submission.say("MAIL FROM:<a@client.example>").starts_with("530 "));
    assert!(program.said.iter().any(|line| line.contains("submission, TLS first")), "{:?}", program.said);
}

#[test]
fn check_config_tells_without_making_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), FILE);
    let good = output(folder.path(), &["check-config", "x.toml"]);
    assert_eq!(String::from_utf8_lossy(&good.stdout), "x.toml: 3 listeners, as mx.example.net\n");
    assert!(good.status.success() && !folder.path().join("mail").exists());
    for (file, told) in [
        ("\n\nmax_sise = 5\n", "error: x.toml:3: unknown key max_sise; did you mean max_size?\n"),
        ("role = \"submission\"\n", "error: --role submission: nobody could authenticate;"),
        ("cert = \"none.pem\"\n", "error: --cert none.pem: it has no key;"),
        ("users = \"none\"\nrole = \"submission\"", "error: --users none: "),
        (
            "tls.acme.directory = \"https://ca.example/\"",
            "error: --tls-acme-directory https://ca.example/: nobody answers the authority;",
        ),
        ("[tls.acme]\nlisten = \"127.0.0.1:443\"", "error: --tls-acme-listen 127.0.0.1:443: there is no ACME;"),
        (
            "hostname = \"mx\"\n[tls.acme]\ndirectory = \"https://ca.example/\"\nlisten = \"127.0.0.1:443\"",
            "error: --hostname mx: not a name of which an authority can know whose it is;",
        ),
        (
            "[tls]\npolicy = \"off\"\n[tls.acme]\ndirectory = \"https://ca.example/\"\nlisten = \"127.0.0.1:443\"\ndomain = \"a.example\"",
            "error: --tls-acme-directory https://ca.example/: TLS is off;",
        ),
    ] {
        write(folder.path(), file);
        let wrong = output(folder.path(), &["check-config", "x.toml"]);
        let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert!(said.starts_with(told) && said.lines().count() == 1, "{file:?}: {said}");
        assert_eq!(wrong.status.code(), Some(2));
    }
}

#[test]
fn networks_are_not_offered_starttls() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = [
        "--proxy",
        "127.0.0.1:0",
        "--proxy-from",
        "127.0.0.0/8",
        "--domain",
        "mx.example.net",
        "--starttls-off-for",
        "192.0.2.0/24",
    ];
    let program = Program::serve(folder.path(), &options, 1);
    for (client, offered) in [("192.0.2.7", false), ("192.0.3.7", true)] {
        let mut connection = Client::connect(&program.address(0));
        connection.send(format!("PROXY TCP4 {client} 192.0.2.200 5000 25\r\n").as_bytes());
        assert!(connection.reply().starts_with("220 "));
        assert_eq!(connection.say("EHLO client.example").contains("STARTTLS"), offered, "{client}");
    }
}

#[test]
fn the_environment_has_the_same_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut serve = command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    serve.env("SMTP_SMOL_HOSTNAME", "env.example.net").env("SMTP_SMOL_TLS", "off").env("SMTP_SMOL_MAX_SIZE", "65536");
    let program = Program::start(&mut serve, 1);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 env.example.net"));
    assert!(client.say("EHLO client.example").contains("SIZE 65536"));
}
