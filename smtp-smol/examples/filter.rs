//! A filter: refuses messages by what is in them, adds two fields to the others, and keeps them in a folder.
//!
//! ```sh
//! cargo run -p smtp-smol --example filter -- 127.0.0.1:2525 kept
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smtp_proto::server::{Config, Envelope, Room, Verdict};
use smtp_proto::syntax::Reply;
use smtp_proto::tls::Policy;
use smtp_smol::{MessageHandler, Messages, Peer, Server};

const UNWANTED: Reply<'static> = Reply::fixed(554, (5, 7, 1), "Nobody here wants to win a lottery");
const NOT_KEPT: Reply<'static> = Reply::fixed(451, (4, 3, 0), "The message could not be stored; try again later");

#[derive(Clone)]
struct Filter {
    folder: PathBuf,
    count: Arc<AtomicU64>,
}

impl MessageHandler for Filter {
    async fn message(&mut self, peer: &Peer<'_>, envelope: Envelope) -> Verdict<'_> {
        if envelope.text.to_ascii_lowercase().windows(7).any(|word| word == b"lottery") {
            return Verdict::Refuse(UNWANTED);
        }
        let id = format!("{}-{}", std::process::id(), self.count.fetch_add(1, Ordering::Relaxed));
        let mut message = peer.received(&id, &envelope.to);
        message.extend_from_slice(b"X-Filtered: by example\r\n");
        message.extend_from_slice(&envelope.text);
        let (folder, file) = (self.folder.clone(), self.folder.join(&id));
        // It is ours once 250 has been said: not before it is on disk.
        match smol::unblock(move || keep(&folder, &file, &message)).await {
            Ok(()) => Verdict::Accept,
            Err(error) => {
                eprintln!("{error}");
                Verdict::Refuse(NOT_KEPT)
            }
        }
    }
}

fn keep(folder: &Path, file: &Path, message: &[u8]) -> io::Result<()> {
    let mut out = File::create_new(file)?;
    out.write_all(message)?;
    out.sync_all()?;
    File::open(folder)?.sync_all()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder] = &arguments[..] else { return Err("ADDRESS FOLDER".into()) };
    std::fs::create_dir_all(folder)?;
    let mut server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared());
    println!("listening on {}", server.listen(address.parse()?)?);
    let (filter, room) = (Filter { folder: folder.into(), count: Arc::default() }, Arc::new(Room::default()));
    Ok(server.run(move |_| Messages::new(filter.clone(), &room))?)
}
