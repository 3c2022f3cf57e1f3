//! The octets on their way to the peer.

use alloc::vec::Vec;

use zeroize::Zeroize as _;

/// What a session has put out and its driver has not written yet.
pub(crate) struct Output {
    octets: Vec<u8>,
    /// So many of these have been written.
    written: usize,
    /// From here on they are held back; `usize::MAX` while nothing is.
    held: usize,
    /// Octets that were written before the first of `octets`.
    before: u64,
    /// They may hold credentials.
    secret: bool,
}

impl Output {
    pub(crate) const fn new() -> Self {
        Self { octets: Vec::new(), written: 0, held: usize::MAX, before: 0, secret: false }
    }

    /// What is to be written now.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.octets.get(self.written..self.octets.len().min(self.held)).unwrap_or_default()
    }

    /// To be appended to.
    pub(crate) const fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// The first `n` octets of [`waiting`](Self::waiting) have been written; gives how many there were.
    pub(crate) fn sent(&mut self, n: usize) -> usize {
        let n = n.min(self.waiting().len());
        self.written += n;
        if self.written == self.octets.len() {
            self.drop_all();
        }
        n
    }

    /// Octets that were never here have been written.
    pub(crate) const fn passed_by(&mut self, n: usize) {
        self.before += n as u64;
    }

    /// What has not been written never will be.
    pub(crate) fn drop_all(&mut self) {
        self.before += self.written as u64;
        self.written = 0;
        if core::mem::take(&mut self.secret) {
            self.octets.zeroize();
        } else {
            self.octets.clear();
        }
    }

    /// Takes the memory of `spare`, if there is none of its own.
    pub(crate) fn lend(&mut self, spare: &mut Vec<u8>) {
        if self.octets.capacity() == 0 {
            core::mem::swap(&mut self.octets, spare);
        }
    }

    /// Gives back the memory when nothing waits in it.
    pub(crate) fn release(&mut self) {
        self.release_to(&mut Vec::new());
    }

    /// The same, into `spare`.
    pub(crate) fn release_to(&mut self, spare: &mut Vec<u8>) {
        if self.octets.is_empty() {
            *spare = core::mem::take(&mut self.octets);
        }
    }

    /// Octets ever put out.
    pub(crate) const fn end(&self) -> u64 {
        self.before + self.octets.len() as u64
    }

    /// Octets ever written.
    pub(crate) const fn gone_out(&self) -> u64 {
        self.before + self.written as u64
    }

    /// What is put out from here on is not to be written yet.
    pub(crate) fn hold(&mut self) {
        self.held = self.held.min(self.octets.len());
    }

    /// What was held back may be written.
    pub(crate) const fn show(&mut self) {
        self.held = usize::MAX;
    }

    /// What was held back never will be written.
    pub(crate) fn withdraw(&mut self) {
        self.octets.truncate(self.held);
        self.held = usize::MAX;
    }

    /// What is put out now may hold credentials: it is wiped when it has been written.
    pub(crate) const fn mark_secret(&mut self) {
        self.secret = true;
    }

    pub(crate) const fn is_secret(&self) -> bool {
        self.secret
    }
}

/// Without credentials, and without what only counts.
impl core::fmt::Debug for Output {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let octets = if self.secret { &[][..] } else { &self.octets };
        let mut shown = f.debug_struct("Output");
        shown
            .field("waiting", &octets)
            .field("written", &self.written)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Output;

    #[test]
    fn what_is_held_back_is_not_written_before_it_is_shown() {
        let mut output = Output::new();
        output.tail().extend_from_slice(b"250 OK\r\n");
        output.hold();
        output.tail().extend_from_slice(b"552 Too big\r\n");
        assert_eq!(output.waiting(), b"250 OK\r\n");
        assert_eq!(output.sent(usize::MAX), 8);
        assert_eq!(output.waiting(), b"");
        output.show();
        assert_eq!(output.waiting(), b"552 Too big\r\n");
        output.hold();
        output.tail().extend_from_slice(b"never");
        output.withdraw();
        assert_eq!(output.sent(usize::MAX), 13);
        assert_eq!((output.end(), output.gone_out()), (21, 21));
    }

    #[test]
    fn what_has_gone_out_is_counted_wherever_it_was() {
        let mut output = Output::new();
        output.tail().extend_from_slice(b"MAIL");
        output.passed_by(10);
        assert_eq!((output.sent(3), output.end(), output.gone_out()), (3, 14, 13));
        assert!(!output.is_secret());
        output.mark_secret();
        assert!(output.is_secret());
        output.release();
        assert_eq!(output.waiting(), b"L", "what waits stays");
        output.sent(1);
        assert!(!output.is_secret() && output.octets.capacity() > 0);
        output.release();
        assert_eq!((output.octets.capacity(), output.end()), (0, 14));
    }
}
