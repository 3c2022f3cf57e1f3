//! Looks whether certificates have been renewed, and warns of those that have not.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::pairs::Pairs;
use crate::serve::seeing::Metrics;

/// Between looks at the files.
const LOOK: Duration = Duration::from_secs(5);
/// Between warnings of the same.
const WARN: Duration = Duration::from_secs(86_400);
/// So long before a certificate expires that is spoken of: 21 days.
const AHEAD: i64 = 21 * 86_400;

/// Goes on for as long as the program runs.
pub(crate) fn watch(pairs: Arc<Pairs>, metrics: Arc<Metrics>, renewed: impl Fn() + Send + 'static) -> io::Result<()> {
    tell(&pairs, &metrics);
    warn(&pairs);
    thread::Builder::new().name("certificates".into()).spawn(move || {
        let mut warned = Instant::now();
        let mut complained = false;
        loop {
            thread::sleep(LOOK);
            if pairs.have_changed() {
                match pairs.reload() {
                    Ok(()) => {
                        tracing::info!("the certificates have changed and were read again");
                        complained = false;
                        renewed();
                        tell(&pairs, &metrics);
                        warn(&pairs);
                    }
                    // One of two files may just be written: it is spoken of once, and tried again.
                    Err(failure) if !complained => {
                        tracing::error!("{failure}; the certificates read before are still used");
                        complained = true;
                    }
                    Err(_) => {}
                }
            }
            if warned.elapsed() > WARN {
                warn(&pairs);
                warned = Instant::now();
            }
        }
    })?;
    Ok(())
}

/// Puts it into the metrics.
pub(crate) fn tell(pairs: &Pairs, metrics: &Metrics) {
    for pair in &*pairs.now() {
        metrics.expires(&pair.file().display().to_string(), pair.expires());
    }
}

fn warn(pairs: &Pairs) {
    let now = Timestamp::now().as_second();
    for pair in &*pairs.now() {
        if let Some(words) = words(pair.expires() - now) {
            tracing::warn!("the certificate in {} {words}; renew it", pair.file().display());
        }
    }
}

/// What is said of a certificate that has so many seconds left.
fn words(left: i64) -> Option<String> {
    match left {
        ..=0 => Some("has expired".into()),
        1..=AHEAD => Some(format!("expires in {} days", (left + 86_399) / 86_400)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn it_is_warned_of_21_days_ahead() {
        assert_eq!(words(21 * 86_400 + 1), None);
        assert_eq!(words(21 * 86_400).as_deref(), Some("expires in 21 days"));
        assert_eq!(words(1).as_deref(), Some("expires in 1 days"));
        assert_eq!(words(0).as_deref(), Some("has expired"));
    }
}
