//! One message by its commands, each with its reply: what a relay needs that answers its own client by the next hop.

use smtp_proto::client::{Awaited, Event, Offers, Reason, State};
use smtp_proto::syntax::{Attributes, Command, Mail, OwnedReply, Rcpt};
use smtp_proto::{Step, Want};

use super::connection::Connection;
use super::writing::Stopped;

enum Next {
    Reply(Awaited, OwnedReply),
    /// The session waits for nothing more.
    Idle,
}

/// **By its commands**: a relay that answers its own client by the next hop gives MAIL, RCPT and DATA one by one, and is
/// told each reply when it comes. Any method first waits until the session is [ready](Connection::ready).
///
/// The order is [`mail`](Connection::mail), [`rcpt`](Connection::rcpt) for each recipient, [`data`](Connection::data) or
/// [`chunks`](Connection::chunks), [`text`](Connection::text) for each piece, [`finish`](Connection::finish); then the
/// next message, by the same or by [`Connection::send`]. [`reset`](Connection::reset) gives a transaction up before its
/// text. A text that has begun is given up by dropping the connection.
///
/// ```no_run
/// # async fn relay(mut hop: smtp_smol::Connection) -> Result<(), Box<dyn std::error::Error>> {
/// use smtp_proto::syntax::{ForwardPath, Mail, Params, Rcpt, ReversePath};
///
/// let mail = Mail { path: ReversePath::parse("a@example.org", false)?, params: Params::default() };
/// let rcpt = Rcpt { path: ForwardPath::parse("b@example.net", false)?, params: Params::default() };
/// assert!(hop.mail(&mail).await?.is_positive());
/// let reply = hop.rcpt(&rcpt).await?; // To be handed on: reply.as_reply()
/// if reply.is_positive() && hop.data().await?.code() == 354 {
///     hop.text(b"Subject: Hi\r\n\r\n").await?;
///     hop.text(b"Hello.\r\n").await?;
///     println!("{:?}", hop.finish().await?);
/// }
/// # Ok(())
/// # }
/// ```
impl Connection {
    /// Waits until greeting, EHLO, STARTTLS and AUTH are done, as far as they are asked for, and gives what the server
    /// offers.
    ///
    /// # Errors
    /// [`Stopped::Ended`].
    pub async fn ready(&mut self) -> Result<&Offers, Stopped> {
        while !self.session.is_open() || self.session.state() == State::Closed {
            self.next().await?;
        }
        Ok(self.session.offers())
    }

    /// MAIL, and its reply. BODY=8BITMIME is added where the server offers it and nothing else is said, since the text is yet
    /// to come. Parameters must be ones that the server offers, or [`Stopped::NotSent`] says so; but those that only ask for
    /// something are left out, which [`Session::left_out`](smtp_proto::client::Session::left_out) tells.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn mail(&mut self, mail: &Mail<'_>) -> Result<OwnedReply, Stopped> {
        self.settled().await?;
        self.session.send_mail(mail).map_err(Stopped::NotSent)?;
        self.reply().await
    }

    /// RCPT, and its reply.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn rcpt(&mut self, rcpt: &Rcpt<'_>) -> Result<OwnedReply, Stopped> {
        self.command(&Command::Rcpt(*rcpt)).await
    }

    /// DATA, and its reply: with 354 the text is next. Without a recipient that was accepted it is not sent.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn data(&mut self) -> Result<OwnedReply, Stopped> {
        let reply = self.command(&Command::Data).await?;
        if reply.code() / 100 == 3 {
            // The right to write comes behind the reply.
            while self.steps.ticket.is_none() {
                self.next().await?;
            }
        }
        Ok(reply)
    }

    /// Begins a text by BDAT instead, where the server offers CHUNKING (RFC 3030); `binary` if MAIL said BODY=BINARYMIME.
    /// Each piece of 64 KiB or more is a chunk; smaller ones are gathered.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn chunks(&mut self, binary: bool) -> Result<(), Stopped> {
        self.ready().await?;
        self.stage.clear();
        self.steps.stopped = None;
        self.steps.ticket = Some(self.session.begin_chunks(binary).map_err(Stopped::NotSent)?);
        Ok(())
    }

    /// The next piece of the text, lines ending in CRLF, dots not doubled. A large piece is written out at once, small
    /// ones are gathered. This waits while the server does not read.
    ///
    /// # Errors
    /// [`Stopped`], and the same from then on: there is no use in giving more.
    pub async fn text(&mut self, text: &[u8]) -> Result<(), Stopped> {
        let mut rest = text;
        while !rest.is_empty() {
            let taken = self.piece(rest).await?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the text, and gives the server's reply to it. In LMTP there is one for each recipient that was
    /// accepted, in their order (RFC 2033 4.2); fewer only if the connection was lost between them.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn finish(&mut self) -> Result<Vec<OwnedReply>, Stopped> {
        loop {
            // An empty piece is the end; what is still gathered goes with it.
            self.piece(b"").await?;
            if self.steps.ticket.is_none() {
                break;
            }
        }
        let (mut replies, mut refused) = (Vec::new(), self.steps.stopped.take());
        while !self.session.is_idle() {
            match self.next().await {
                Ok(Next::Reply(Awaited::Text, reply)) => replies.push(reply),
                Ok(Next::Reply(Awaited::Chunk, reply)) if reply.code() >= 400 => {
                    refused.get_or_insert(Stopped::Refused(reply));
                }
                // 421 may come at any time (RFC 5321 3.8).
                Ok(Next::Reply(_, reply)) if reply.code() == 421 => replies.push(reply),
                Ok(Next::Reply(..)) => {}
                Ok(Next::Idle) => break,
                Err(_) if !replies.is_empty() => break,
                Err(stopped) => return Err(refused.unwrap_or(stopped)),
            }
        }
        // RFC 3030 2: after a chunk that was refused RSET must follow, and the reply to the last one says nothing of its own.
        if self.session.state().in_transaction() {
            let _ = self.reset().await;
        }
        refused.map_or(Ok(replies), Err)
    }

    /// Gives the transaction up, before its text: RSET, and its reply.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn reset(&mut self) -> Result<OwnedReply, Stopped> {
        self.command(&Command::Rset).await
    }

    /// XCLIENT, and its reply: with 220 the session has begun anew for that client, and is ready again. What was said
    /// before, AUTH included, counts no more.
    ///
    /// # Errors
    /// [`Stopped`]; [`Stopped::NotSent`] also when the server does not announce one of the attributes.
    pub async fn xclient(&mut self, client: &Attributes<'_>) -> Result<OwnedReply, Stopped> {
        let reply = self.command(&Command::Xclient(*client)).await?;
        self.ready().await?;
        Ok(reply)
    }

    /// XFORWARD, and its reply.
    ///
    /// # Errors
    /// [`Stopped`]; [`Stopped::NotSent`] also when the server does not announce one of the attributes.
    pub async fn xforward(&mut self, client: &Attributes<'_>) -> Result<OwnedReply, Stopped> {
        self.command(&Command::Xforward(*client)).await
    }

    /// Any command that [`Session::send`](smtp_proto::client::Session::send) takes, such as NOOP, and its reply.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn command(&mut self, command: &Command<'_>) -> Result<OwnedReply, Stopped> {
        self.settled().await?;
        self.session.send(command).map_err(Stopped::NotSent)?;
        self.reply().await
    }

    /// Waits until a command can be given.
    async fn settled(&mut self) -> Result<(), Stopped> {
        self.ready().await?;
        // Such as the reply to RSET after a text that was given up.
        while self.session.awaited() > 0 {
            self.next().await?;
        }
        self.stage.clear();
        self.steps.stopped = None;
        Ok(())
    }

    async fn reply(&mut self) -> Result<OwnedReply, Stopped> {
        loop {
            if let Next::Reply(_, reply) = self.next().await? {
                return Ok(reply);
            }
        }
    }

    /// Gives how much of the piece was taken; of an empty one, which is the end, nothing.
    async fn piece(&mut self, piece: &[u8]) -> Result<usize, Stopped> {
        // Without PIPELINING the reply to a chunk comes before the next one.
        while self.steps.ticket.is_some() && !matches!(self.next().await?, Next::Idle) {}
        if self.steps.ticket.is_some() {
            let mut steps = std::mem::take(&mut self.steps);
            let put = self.put(&mut steps, piece).await;
            self.steps = steps;
            match put {
                Ok(taken) if self.steps.stopped.is_none() => return Ok(taken),
                Ok(_) => {}
                Err(_) => self.lost(),
            }
        }
        let stopped = self.steps.stopped.clone().unwrap_or(Stopped::NoText);
        // The reply to the RSET that takes chunks back; or the server's last words.
        while self.session.awaited() > 0 || self.session.state() == State::Closed {
            if let Err(ended) = self.next().await {
                return Err(if stopped == Stopped::NoText { ended } else { stopped });
            }
        }
        Err(stopped)
    }

    /// Steps until a reply has come, or nothing is waited for.
    async fn next(&mut self) -> Result<Next, Stopped> {
        loop {
            let mut input = self.buffer.filled();
            let (mut reply, mut want) = (None, None);
            match self.session.step(&mut input) {
                Step::Event(Event::Reply(to, lines)) => reply = Some((to, OwnedReply::from(lines))),
                Step::Event(Event::Message(ticket)) => self.steps.ticket = Some(ticket),
                Step::Event(Event::Closed(reason)) => self.steps.closed = Some(reason),
                Step::Event(_) => {}
                Step::Want(wanted) => want = Some(wanted),
            }
            let left = input.len();
            self.buffer.keep_last(left);
            if let Some((to, reply)) = reply {
                let refused = to == Awaited::Chunk && reply.code() >= 400;
                if let Some(ticket) = self.steps.ticket.take_if(|_| refused) {
                    self.steps.stopped = Some(Stopped::Refused(reply.clone()));
                    self.session.drop_chunks(ticket);
                }
                return Ok(Next::Reply(to, reply));
            }
            let Some(want) = want else { continue };
            match want {
                Want::Decision => return Ok(Next::Idle),
                Want::Close => {
                    let reason = self.steps.closed.clone().unwrap_or(Reason::Eof);
                    let unknown = self.session.text_has_gone_out();
                    return Err(if unknown { Stopped::Unknown(reason) } else { Stopped::Ended(reason) });
                }
                _ => {
                    let served = self.serve(want).await;
                    served.unwrap_or_else(|_| self.lost());
                }
            }
        }
    }

    /// The connection fails; the server's last words, such as 421, may be there to be read.
    fn lost(&mut self) {
        if !matches!(self.read(), Ok(true)) {
            self.session.eof();
        }
    }
}
