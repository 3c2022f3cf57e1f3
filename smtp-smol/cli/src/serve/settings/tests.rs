use super::*;
use crate::serve::options::Tls;
use crate::serve::role::Role;

fn of(text: &str) -> Result<Settings, String> {
    let file = File::parse(text, Path::new("x.toml"), &server_command(), &listener_command())?;
    merge(BTreeMap::new(), file).map_err(|failure| failure.to_string())
}

fn wrong(text: &str) -> String {
    of(text).expect_err(text)
}

const TWO: &str = r#"
hostname = "mx.example.net"
max_size = "20M"
tls = "require"
unwanted_if = ["X-Spam-Flag=YES", "X-Score=high"]
json = true

[[listener]]
listen = ["127.0.0.1:0", "[::1]:0"]
tls.policy = "off"
tls.min_version = "1.3"

[[listener]]
role = "submission"
users = "/etc/users"
implicit_tls = "127.0.0.1:0"
max_size = 65536
"#;

#[test]
fn each_listener_has_its_own_settings_and_shares_the_rest() {
    let settings = of(TWO).expect("settings");
    assert_eq!(settings.server.hostname.as_deref(), Some("mx.example.net"));
    assert!(settings.server.json && settings.server.unwanted_if.len() == 2);
    let [mx, submission] = &settings.listeners[..] else { panic!("{:?}", settings.listeners) };
    assert_eq!((mx.role, mx.listen.len(), mx.max_size, mx.tls), (Role::Mx, 2, 20 << 20, Tls::Off));
    assert_eq!((submission.role, submission.listen.len(), submission.implicit_tls.len()), (Role::Submission, 0, 1));
    assert_eq!((submission.max_size, submission.tls), (65536, Tls::Require));
}

#[test]
fn an_empty_file_is_the_defaults() {
    let settings = of("").expect("settings");
    assert_eq!(settings.listeners.len(), 1);
    assert!(!settings.listeners[0].has_address());
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_mend() {
    for (text, told) in [
        ("a = 1\nmax_sise = 3", "x.toml:1: unknown key a;"),
        ("\nmax_sise = 3", "x.toml:2: unknown key max_sise; did you mean max_size?"),
        ("max-sise = 3", "x.toml:1: unknown key max-sise; did you mean max_size?"),
        ("[tls]\nmin_verson = \"1.3\"", "x.toml:2: unknown key tls_min_verson; did you mean tls_min_version?"),
        ("\n\nmax_size = \"50X\"", "x.toml:3: max_size = \"50X\": give a number of octets"),
        ("role = \"mta\"", "x.toml:1: role = \"mta\": give one of mx, submission, lmtp"),
        ("max_connections = 0", "x.toml:1: max_connections = \"0\": 0 is not in 1.."),
        ("max_size = [1, 2]", "it takes one value"),
        ("json = \"perhaps\"", "x.toml:1: json = \"perhaps\": give one of true, false"),
        ("max_size = 65536\nmax-size = 65537", "x.toml:1: max_size is given twice"),
        ("x = ", "x.toml:1: "),
        ("hostname = 1979-05-27", "x.toml:1: hostname: give text"),
        ("config = \"y\"", "x.toml:1: unknown key config;"),
        (
            "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[listener]]\nrole = \"mx\"",
            "x.toml:3: this [[listener]] listens nowhere",
        ),
        ("[[listener]]\nledger = \"x\"", "x.toml:2: ledger is a setting of the whole server; move it above"),
        ("[listener]\nlisten = \"127.0.0.1:0\"", "x.toml:1: listeners are tables"),
        ("[[listener]]\nlistne = \"127.0.0.1:0\"", "x.toml:2: unknown key listne; did you mean listen?"),
    ] {
        let error = wrong(text);
        assert!(error.contains(told), "{text:?}: {error}");
    }
}

#[test]
fn a_byte_order_mark_and_foreign_line_ends_do_no_harm() {
    assert_eq!(of("\u{feff}max_size = 65536\r\njson = true\r\n").expect("settings").listeners[0].max_size, 65536);
}

#[test]
fn the_command_line_counts_before_the_environment_and_that_before_the_file() {
    let variables =
        [("SMTP_SMOL_MAX_SIZE", "70000"), ("SMTP_SMOL_LISTEN", "127.0.0.1:1, 127.0.0.1:2"), ("SMTP_SMOL_LOG", "")];
    let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
    let values = environment(&server_command(), variables).expect("variables");
    let text = "max_size = 65536\nmax_connections = 7\nlog = \"info\"";
    let file = File::parse(text, Path::new("x"), &server_command(), &listener_command()).expect("a file");
    let settings = merge(values, file).expect("settings");
    assert_eq!((settings.server.listener.max_size, settings.server.max_connections), (70000, 7));
    assert_eq!((settings.server.listener.listen.len(), settings.server.log.as_str()), (2, "info"));

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.toml");
    std::fs::write(&path, "max_size = 65536\njson = true\nlisten = [\"127.0.0.1:1\"]").expect("written");
    let line = ["--config", path.to_str().expect("a name"), "--max-size", "80000", "--json=false"];
    let settings = gather(&server_command().get_matches_from(line)).expect("settings");
    assert_eq!((settings.server.listener.max_size, settings.server.json), (80000, false));
    assert_eq!(settings.listeners[0].listen.len(), 1);
}

#[test]
fn an_unknown_variable_is_told_with_the_nearest_name() {
    let of = |name: &str, value: &str| {
        let variables = [(name.into(), value.into())];
        environment(&server_command(), variables.into_iter()).expect_err("wrong").to_string()
    };
    assert_eq!(
        of("SMTP_SMOL_MAX_SICE", "1"),
        "SMTP_SMOL_MAX_SICE: there is no such setting; did you mean SMTP_SMOL_MAX_SIZE?"
    );
    assert!(of("SMTP_SMOL_MAX_SIZE", "1X").starts_with("SMTP_SMOL_MAX_SIZE=1X: give a number of octets"));
}

#[test]
fn every_setting_has_one_name_in_all_three() {
    for arg in server_command().get_arguments() {
        let name = arg.get_long().expect("a long name");
        assert!(
            name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-'),
            "{name}"
        );
        assert!(arg.get_help().is_some(), "{name}");
        assert!(!matches!(arg.get_action(), clap::ArgAction::SetTrue), "{name}: a file must be able to say false");
    }
}
