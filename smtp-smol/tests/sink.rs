//! The sink for tests of programs that send mail.

use smtp_smol::testing::{Rule, Settings, Sink, Verb};

#[path = "../../smtp-proto/testing/adapters/sink.rs"]
mod cases;
