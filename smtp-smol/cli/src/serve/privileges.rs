//! How the server stands to the system that started it: as whom it runs, and what it tells its supervisor.

use privdrop::PrivDrop;
use sd_notify::NotifyState;

use crate::failure::Failure;

/// Becomes this user, for good, with its groups; if one is named.
pub(super) fn give_up(user: Option<&str>) -> Result<(), Failure> {
    let Some(user) = user else { return Ok(()) };
    if !rustix::process::geteuid().is_root() {
        let mend = "start the server as root, or leave it out and start it as that user";
        return Err(Failure::option("--user", user, "only root can become another user", mend));
    }
    PrivDrop::default()
        .user(user)
        .include_default_supplementary_groups()
        .apply()
        .map_err(|error| Failure::option("--user", user, error, "name a user of this machine"))
}

/// Tells the supervisor, if it is one that wants to know (sd_notify).
pub(super) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor cannot be told of the state");
    }
}
