//! What a running server shows: numbers for Prometheus, whether it is well, and what TLS would cost by now.

mod http;
mod metrics;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smol::Async;
use smtp_proto::tls::Condition;

use super::books::Books;
use super::next_hop::NextHop;
use crate::failure::Failure;
use crate::outlet;
use http::{Answer, Request};

pub(crate) use metrics::{Metrics, Way};

/// What the listener of `--metrics` answers from.
#[derive(Debug)]
pub(crate) struct Seeing {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) books: Arc<Books>,
    /// Mail is taken.
    pub(crate) ready: AtomicBool,
    /// The mail server behind, without which none is.
    pub(crate) next_hop: Option<Arc<NextHop>>,
}

impl Seeing {
    /// Listens on an address; what it became is returned.
    pub(crate) fn listen(self: &Arc<Self>, address: SocketAddr) -> Result<SocketAddr, Failure> {
        let failed = |error| {
            let mend = "name an address of this machine and a port that is free and allowed";
            Failure::option("--metrics", address, error, mend)
        };
        let listener = Async::<TcpListener>::bind(address).map_err(failed)?;
        let bound = listener.get_ref().local_addr().map_err(failed)?;
        let seeing = self.clone();
        smol::spawn(http::serve(listener, move |request| seeing.answer(request))).detach();
        Ok(bound)
    }

    fn answer(&self, request: &Request<'_>) -> Answer {
        match request.path {
            "/metrics" => {
                let ((output, log), ledger) = (outlet::lost(), self.books.lost());
                Answer::good(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    self.metrics.text([output, log, ledger]),
                )
            }
            "/healthz" => Answer::good("text/plain; charset=utf-8", "well\n".into()),
            "/readyz" if !self.ready.load(Ordering::Acquire) => Answer::not_ready("the server starts, or ends"),
            "/readyz" => match self.next_hop.as_ref().and_then(|hop| hop.trouble()) {
                None => Answer::good("text/plain; charset=utf-8", "ready\n".into()),
                Some(why) => Answer::not_ready(&why),
            },
            "/loss" => Answer::good("text/html; charset=utf-8", self.books.live(Condition::Tls).html()),
            "/loss.json" => Answer::good("application/json", self.books.live(Condition::Tls).json()),
            _ => Answer::not_found(),
        }
    }
}
