//! A method for each field, as the structs may grow: they cannot be written out, or taken over in part, by others.

use alloc::borrow::Cow;
use core::time::Duration;

use super::{Extensions, FutureRelease, Limits, Timeouts};

macro_rules! setters {
    ($struct:ident { $($field:ident: $type:ty,)* }) => {
        impl $struct {
            $(
                #[doc = concat!("The same, with this [`", stringify!($field), "`](field@", stringify!($struct), "::", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

setters! { Limits {
    line: usize,
    auth_line: usize,
    text_line: usize,
    message: u64,
    recipients: u32,
    transactions: u32,
    discard: u64,
    faults: u32,
    idle_commands: u32,
    output: usize,
} }

setters! { Timeouts {
    greet_pause: Duration,
    command: Duration,
    text: Duration,
    text_octets: u64,
    handshake: Duration,
} }

setters! { Extensions {
    pipelining: bool,
    size: bool,
    eight_bit_mime: bool,
    enhanced_status_codes: bool,
    chunking: bool,
    smtp_utf8: bool,
    limits: bool,
    binary_mime: bool,
    dsn: bool,
    deliver_by: Option<u32>,
    future_release: Option<FutureRelease>,
    mt_priority: Option<Cow<'static, str>>,
    rrvs: bool,
    require_tls: bool,
} }
