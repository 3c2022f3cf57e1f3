//! Who may submit mail: the file of `--users`, and what is answered to AUTH.

use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{self, InvalidRecord, Nonce, ScramRecord};

use crate::failure::Failure;
use crate::shown::Shown;

/// Octets of the file.
const MAX_FILE: u64 = 16 << 20;
/// Of records that are made here. RFC 7677 4 asks for 4,096 at least.
const ITERATIONS: u32 = 10_000;

const FORMS: &str = "a line is NAME:SECRET, and SECRET what `smtp-smol user NAME` or `doveadm pw -s SCRAM-SHA-256` \
                     prints, or {PLAIN} and the password";

const EXAMPLES: &str = "\
Examples:
  smtp-smol user alice >>users
      Ask for a password on the terminal; add a line for alice to the file
  printf 'secret\\n' | smtp-smol user alice >>users
      The same in a script
  smtp-smol serve --role submission --users users
      Let them submit mail";

/// Make a line for the file of `serve --users`: ask for a password, or read it from standard input, and print its SCRAM
/// record.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The user's name
    name: String,
}

/// Prints the line of a user.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if !is_name(&options.name) {
        return Err(Failure::usage(format!(
            "{:?} is no name of a user; give one of printable characters other than a colon, that begins with no #",
            options.name
        )));
    }
    let password = if io::stdin().is_terminal() {
        // Not shown, and asked twice: who mistypes cannot see it.
        let ask = |what: &str| {
            let asked = rpassword::prompt_password(format!("{what} of {}: ", Shown(&options.name)));
            asked.map_err(|error| Failure::usage(format!("the terminal: {error}")))
        };
        let password = ask("Password")?;
        if ask("Once more, the password")? != password {
            return Err(Failure::usage("these are two passwords; try again"));
        }
        password
    } else {
        let mut password = String::new();
        let read = io::stdin().lock().read_line(&mut password);
        read.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
        password
    };
    let password = password.trim_end_matches(['\r', '\n']);
    let record = ScramRecord::derive(password, &random::<16>()?, ITERATIONS)
        .map_err(|error| Failure::usage(format!("the password cannot be one: {error}; give another")))?;
    writeln!(io::stdout(), "{}:{record}", options.name)
        .map_err(|error| Failure::running(format!("standard output: {error}")))
}

/// The users of the file.
#[derive(Debug)]
pub(crate) struct Users(auth::Users);

impl Users {
    /// Reads the file.
    pub(crate) fn open(file: &Path) -> Result<Self, Failure> {
        let wrong = |wrong: &dyn fmt::Display| Failure::option("--users", file.display(), wrong, FORMS);
        match fs::metadata(file) {
            Ok(found) if found.len() > MAX_FILE => return Err(wrong(&"larger than 16 MiB")),
            _ => {}
        }
        let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
        Self::parse(&text).map_err(|error| wrong(&error))
    }

    fn parse(text: &str) -> Result<Self, String> {
        // What a record for a name that is nobody's is made of: the same for as long as the file is.
        let mut users = auth::Users::new(text.as_bytes());
        // An editor on another system may have put a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let wrong = |what: &dyn fmt::Display| format!("line {}: {what}", at + 1);
            let (name, secret) = line.split_once(':').ok_or_else(|| wrong(&"no colon in it"))?;
            if !is_name(name) {
                return Err(wrong(&"no name before the colon"));
            }
            let record = record(secret).map_err(|error| wrong(&error))?;
            if users.insert(name, record).is_some() {
                return Err(wrong(&format_args!("{name} is there already")));
            }
        }
        if users.is_empty() { Err("nobody is in it".into()) } else { Ok(Self(users)) }
    }

    /// What is answered to AUTH. An unknown name looks and lasts as a wrong password does.
    pub(crate) async fn answer(self: &Arc<Self>, question: Question) -> Answer {
        let users = self.clone();
        // Comparing a password is slow on purpose.
        smol::unblock(move || match random() {
            Ok(random) => users.0.answer(&question, || Nonce::new(&random)),
            Err(_) => Answer::TemporaryFailure,
        })
        .await
    }
}

/// What stands behind the colon: `{PLAIN}password`; or a record, as it is written by databases or by Dovecot.
fn record(secret: &str) -> Result<ScramRecord, InvalidRecord> {
    if let Some(password) = secret.strip_prefix("{PLAIN}") {
        let salt = random::<16>().map_err(|_| InvalidRecord::Salt)?;
        return ScramRecord::derive(password, &salt, ITERATIONS);
    }
    match secret.strip_prefix("{SCRAM-SHA-256}") {
        None => secret.parse(),
        Some(parts) => {
            let [iterations, salt, stored, server] = parts.split(',').collect::<Vec<_>>()[..] else {
                return Err(InvalidRecord::Form);
            };
            format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}").parse()
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('#')
        && !name.contains(|char: char| char == ':' || char.is_control())
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut octets = [0; N];
    let filled = smtp_rustls::provider().secure_random.fill(&mut octets);
    filled.map(|()| octets).map_err(|_| Failure::running("no random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 3: of "pencil".
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const STORED: &str = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=";
    const SERVER: &str = "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn asks(users: &Arc<Users>, authzid: Option<&str>, name: &str, password: &str) -> bool {
        let question =
            Question::Password { authzid: authzid.map(Into::into), authcid: name.into(), password: password.into() };
        matches!(smol::block_on(users.answer(question)), Answer::Accept)
    }

    #[test]
    fn every_form_of_a_secret_is_read() {
        let made = ScramRecord::derive("pencil", b"salt", 4096).expect("a record");
        let text = format!(
            "# people\n\na:SCRAM-SHA-256$4096:{SALT}${STORED}:{SERVER}\nb@example.org:{{SCRAM-SHA-256}}4096,{SALT},\
             {STORED},{SERVER}\r\nc:{{PLAIN}}pencil\nd:{made}\n"
        );
        let users = Arc::new(Users::parse(&text).expect("users"));
        for name in ["a", "b@example.org", "c", "d"] {
            assert!(asks(&users, None, name, "pencil") && asks(&users, Some(name), name, "pencil"), "{name}");
            assert!(!asks(&users, None, name, "pen"), "{name}");
            assert!(!asks(&users, Some("a b"), name, "pencil"), "{name} as another");
        }
        assert!(!asks(&users, None, "e", "pencil") && !asks(&users, None, "A", "pencil"));
    }

    #[test]
    fn nobody_can_tell_who_exists() {
        let users = Arc::new(Users::parse("a:{PLAIN}pencil\n").expect("users"));
        let record = |name: &str| {
            let question = Question::Scram { authzid: None, authcid: name.into() };
            match smol::block_on(users.answer(question)) {
                Answer::Scram { record, .. } => record,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(record("b"), record("b"));
        assert_ne!(record("b"), record("c"));
        assert_eq!(record("b").iterations(), record("a").iterations());
    }

    #[test]
    fn what_is_no_file_of_users_is_told_with_its_line() {
        for (text, told) in [
            ("", "nobody"),
            ("# only\n\n", "nobody"),
            ("a\n", "line 1: no colon"),
            ("a:{PLAIN}x\n:{PLAIN}x\n", "line 2: no name"),
            ("a:{PLAIN}x\na:{PLAIN}y\n", "line 2: a is there already"),
            ("a:{PLAIN}\n", "line 1"),
            ("a:secret\n", "line 1: not of the form"),
            ("a:{CRYPT}$6$x\n", "line 1: not of the form"),
            ("a:{SCRAM-SHA-256}4096,x\n", "line 1: not of the form"),
            ("a:SCRAM-SHA-256$1:W22ZaJ0SNY7soEsUEjb6gQ==$x:y\n", "line 1"),
        ] {
            let error = Users::parse(text).expect_err(text);
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}
