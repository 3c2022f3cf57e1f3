//! What connections share, and what is particular to a listener.

use std::sync::Arc;

use smtp_audit::UnwantedIf;

use super::limits::Limits;
use crate::serve::books::Books;
use crate::serve::except::Excepted;
use crate::serve::maildir::Maildir;
use crate::serve::next_hop::NextHop;
use crate::serve::recipients::Domains;
use crate::serve::rehearse::Rehearsing;
use crate::serve::role::Role;
use crate::serve::seeing::Metrics;
use crate::serve::users::Users;
use crate::serve::withheld::Withheld;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) hostname: String,
    pub(crate) mail_goes: MailGoes,
    pub(crate) books: Arc<Books>,
    pub(crate) unwanted_if: Vec<UnwantedIf>,
    pub(crate) rehearsing: Option<Rehearsing>,
    /// Who may go on in plaintext.
    pub(crate) excepted: Option<Arc<Excepted>>,
    pub(crate) withheld: Option<Arc<Withheld>>,
    /// By the number of the listener.
    pub(crate) desks: Vec<Desk>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) json: bool,
}

/// What is particular to a listener.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Who may submit mail.
    pub(crate) users: Option<Arc<Users>>,
    /// Whose mail is taken.
    pub(crate) domains: Domains,
    pub(crate) role: Role,
    /// Whether it takes part in the rehearsal.
    pub(crate) rehearses: bool,
    /// Whether TLS is required, but of some.
    pub(crate) requires: bool,
    /// Whether STARTTLS is offered there, but to some.
    pub(crate) offers_tls: bool,
}

/// Where mail goes.
#[derive(Clone, Debug)]
pub(crate) enum MailGoes {
    Nowhere,
    To(Arc<Maildir>),
    Through(Arc<NextHop>),
}
