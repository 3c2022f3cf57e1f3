//! What a client is told: the next hop's own words, or ours where there are none.

use smtp_proto::client::{NotNow, Reason};
use smtp_proto::server::Verdict;
use smtp_proto::syntax::{OwnedReply, Reply, Verb};
use smtp_smol::Stopped;

/// What a client is told.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The next hop's words, and the code that they are said with.
    Hop(u16, OwnedReply),
    Ours(Reply<'static>),
}

/// RFC 3463 3.5: X.4.1 no answer from host, X.4.2 bad connection.
pub(super) const UNREACHABLE: Answer =
    Answer::Ours(Reply::fixed(451, (4, 4, 1), "The mail server behind this one cannot be reached; try again later"));
pub(super) const BUSY: Answer =
    Answer::Ours(Reply::fixed(451, (4, 4, 5), "The mail server behind this one is busy; try again later"));
pub(super) const TOO_MANY: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 4, 5),
    "Too many messages of your network are on their way at once; try again later",
));
pub(super) const LOST: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 4, 2),
    "The connection to the mail server behind this one was lost; try again later",
));
/// RFC 5321 4.5.3.2.6, RFC 1047: whether the next hop has the message is not known, so it is asked for again.
const UNKNOWN: Answer =
    Answer::Ours(Reply::fixed(451, (4, 4, 2), "The mail server behind this one did not answer; try again later"));
const CHANGED: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 3, 0),
    "The mail server behind this one does not offer that any more; try again later",
));
/// RFC 5321 4.2.1: 3yz asks for more, and takes nothing.
pub(super) const OUT_OF_STEP: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 4, 2),
    "The mail server behind this one answers what it was not asked; try again later",
));
/// RFC 3463 3.6: X.3.5 system incorrectly configured. It is not the mail that is wrong.
pub(super) const NOT_SET_UP: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 3, 5),
    "The mail server behind this one does not let it hand on mail; try again later",
));
/// RFC 5321 6.3, RFC 3463 3.5.
pub(super) const LOOP: Answer = Answer::Ours(Reply::fixed(554, (5, 4, 6), "The message goes in circles"));
/// RFC 6152 3: it must not be handed on as it is. RFC 3463 3.7: X.6.3 conversion required but not supported.
pub(super) const EIGHT_BIT: Answer =
    Answer::Ours(Reply::fixed(554, (5, 6, 3), "The mail server behind this one takes 7-bit text alone"));
/// RFC 1870 6.1.
const TOO_BIG: Answer = Answer::Ours(Reply::fixed(552, (5, 3, 4), "Message too big"));
/// RFC 8689 4.2.1.
const NO_TLS: Answer =
    Answer::Ours(Reply::fixed(550, (5, 7, 30), "REQUIRETLS cannot be kept on the way behind this server"));
const TOO_LONG: Answer = Answer::Ours(Reply::fixed(554, (5, 5, 2), "The command cannot be handed on"));
const BAD_TEXT: Answer = Answer::Ours(Reply::fixed(554, (5, 6, 0), "The text cannot be handed on"));

/// Whether the next hop waits for something else than it was told. Nothing more can be said over that connection.
pub(super) fn is_out_of_step(reply: &OwnedReply) -> bool {
    reply.code() / 100 == 3
}

/// What the operator can do about a refusal that concerns this server and no client: no mail may come back for its sake.
pub(super) fn mend(verb: Verb, reply: &OwnedReply) -> Option<&'static str> {
    match (verb, reply.code()) {
        // Postfix's XCLIENT_README: by these codes the command is refused, and by others the client whom it tells of.
        (Verb::Xclient, 500..=504 | 550) => {
            Some("it must believe this machine (Postfix: smtpd_authorized_xclient_hosts), or announce be another")
        }
        // RFC 3207 4, RFC 4954 6.
        (_, 530) => Some(
            "it must not ask this server to log in; if it asks for TLS, put ?tls=offer or ?tls=verify behind the next hop",
        ),
        // RFC 5321 4.1.4: the order of commands is this server's.
        (_, 503) => Some("one of the two servers is wrong about the order of commands"),
        _ => None,
    }
}

impl Answer {
    /// What is said.
    pub(crate) fn reply(&self) -> Reply<'_> {
        match self {
            Self::Ours(reply) => *reply,
            Self::Hop(code, reply) => {
                let reply = reply.as_reply();
                if *code == reply.code() {
                    reply
                } else {
                    Reply::new(*code, reply.enhanced(), reply.text()).unwrap_or(reply)
                }
            }
        }
    }

    /// Whether something was taken; 354 is that of DATA.
    pub(crate) fn is_positive(&self) -> bool {
        self.reply().code() < 400
    }

    /// Handed on, with a code that is one for this command.
    pub(super) fn to(verb: Verb, reply: OwnedReply) -> Self {
        let code = match (verb, reply.code()) {
            (Verb::Data, code @ 354) | (Verb::Rcpt, code @ 251) => code,
            // RFC 5321 4.2, 4.3.2: whoever reads a reply goes by its first digit; whoever says one keeps to the list.
            (_, 200..=299) => 250,
            // Where it would be taken for a success.
            (_, 300..=399) => return OUT_OF_STEP,
            // RFC 5321 3.8: that the next hop closes its connection is no reason to close the client's.
            (_, 421) => 451,
            (_, code) => code,
        };
        Self::Hop(code, reply)
    }

    /// For a session to say.
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        if self.is_positive() { Verdict::AcceptAs(self.reply()) } else { Verdict::Refuse(self.reply()) }
    }

    /// What is said when there is no reply to hand on.
    pub(super) fn of(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Refused(reply) | Stopped::Ended(Reason::ServerClosing(reply) | Reason::Refused(reply)) => {
                Self::to(Verb::Mail, reply)
            }
            Stopped::NotSent(NotNow::TooBig(_)) => TOO_BIG,
            Stopped::NotSent(NotNow::TlsRequired) => NO_TLS,
            Stopped::NotSent(NotNow::NotOffered(_) | NotNow::UnknownParameter) => CHANGED,
            Stopped::NotSent(NotNow::Forbidden) => TOO_LONG,
            Stopped::Text(_) => BAD_TEXT,
            Stopped::Unknown(_) => UNKNOWN,
            _ => LOST,
        }
    }
}
