//! The load comparison: what servers cost, in alternation, several rounds, medians; server CPU from the operating system.
//!
//!     benches/load.sh                  all rows, all servers; installs and builds what it needs
//!     target/release/load table        once that is built (here; as root, so that Postfix and smtp-sink start)
//!     target/release/load many
//!
//! Postfix with its smtp-sink, and Go with go-smtp come from Debian, aiosmtpd from PyPI into a folder of its own,
//! mailin-embedded from crates.io. A peer that cannot be had is left out, and named.

mod client;
mod crowd;
mod many;
mod peers;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use client::{Load, Run, Script, Step, drive};
use crowd::Habit;
use peers::{NAMES, Peer, Place};

#[derive(Parser)]
struct Arguments {
    /// The server that is measured.
    #[arg(long, default_value = "../target/release/smtp-mio")]
    smtp_mio: PathBuf,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The table: CPU of the server and memory, by kind of load and by server.
    Table {
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Scales how much each round does.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// Only these rows (parts of their names).
        #[arg(long)]
        row: Vec<String>,
        /// Only these servers.
        #[arg(long)]
        peer: Vec<String>,
    },
    /// One load again and again, for a profiler.
    Repeat {
        row: String,
        peer: String,
        #[arg(default_value_t = 1.0)]
        scale: f64,
    },
    /// CPU a message from 10 to 10,000 connections; mail beside 1,000 peers that crawl, and beside 50,000 idle ones.
    #[command(after_help = MANY_NEEDS)]
    Many {
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// So many idle connections.
        #[arg(long, default_value_t = 50_000)]
        idle: usize,
    },
    /// What `many` starts, for connections beside those that are measured; ends with its standard input.
    #[command(hide = true)]
    Crowd { habit: Habit, to: SocketAddr, count: usize, from: Ipv4Addr },
}

const MANY_NEEDS: &str = "\
Needs, for 50,000 idle connections to one server: a limit on open files of 50,200 (`ulimit -n`, `LimitNOFILE=`), which it
raises itself where it may; /proc/sys/fs/nr_open no less than that, and /proc/sys/fs/file-max twice as much. With a lower
limit it spreads them over several servers, and says so. They come from 127.0.0.2, 127.0.0.3 and so on, so that the range
in /proc/sys/net/ipv4/ip_local_port_range suffices. Memory of the kernel: some 5 KiB an idle connection and end.";

/// A row of the table.
struct Row {
    name: &'static str,
    unit: &'static str,
    /// For how many messages, or connections, the unit's figure is.
    per: f64,
    kind: Kind,
    /// Those that can do it.
    peers: &'static [&'static str],
}

enum Kind {
    Messages { load: fn(&Peer, usize) -> Load, count: usize, slow: usize },
    Idle { tls: bool, count: usize },
}

const CONNECTIONS: usize = 10;
const ALL: &[&str] = &["floor", "smtp-mio", "smtp-smol", "mailin-embedded", "smtp-sink", "go-smtp", "aiosmtpd"];
const WITH_TLS: &[&str] = &["floor", "smtp-mio", "smtp-smol", "mailin-embedded", "go-smtp", "aiosmtpd"];

const ROWS: [Row; 8] = [
    Row {
        name: "4 KiB messages, connection reused",
        unit: "ms per 1,000",
        per: 1000.0,
        kind: Kind::Messages {
            load: |peer, n| load(peer, 4 << 10, n, n / CONNECTIONS, false),
            count: 40_000,
            slow: 4_000,
        },
        peers: ALL,
    },
    Row {
        name: "one connection a message",
        unit: "ms per 1,000",
        per: 1000.0,
        kind: Kind::Messages { load: |peer, n| load(peer, 4 << 10, n, 1, false), count: 10_000, slow: 2_000 },
        peers: ALL,
    },
    Row {
        name: "1 MB messages",
        unit: "ms per MB",
        per: 1.0,
        kind: Kind::Messages {
            load: |peer, n| load(peer, 1_000_000, n, n / CONNECTIONS, false),
            count: 1_000,
            slow: 50,
        },
        peers: ALL,
    },
    Row {
        name: "a connection with EHLO and QUIT",
        unit: "ms a connection",
        per: 1.0,
        kind: Kind::Messages { load: |peer, n| greetings(peer, n, false), count: 10_000, slow: 2_000 },
        peers: ALL,
    },
    Row {
        name: "STARTTLS, full handshake",
        unit: "ms a connection",
        per: 1.0,
        kind: Kind::Messages { load: |peer, n| greetings(peer, n, true), count: 3_000, slow: 500 },
        peers: &["floor", "smtp-mio", "smtp-smol", "mailin-embedded", "go-smtp", "aiosmtpd", "postfix"],
    },
    Row {
        name: "4 KiB messages inside TLS",
        unit: "ms per 1,000",
        per: 1000.0,
        kind: Kind::Messages {
            load: |peer, n| load(peer, 4 << 10, n, n / CONNECTIONS, true),
            count: 30_000,
            slow: 4_000,
        },
        peers: WITH_TLS,
    },
    Row {
        name: "idle plaintext connection",
        unit: "KiB",
        per: 1.0,
        kind: Kind::Idle { tls: false, count: 4_000 },
        peers: ALL,
    },
    Row {
        name: "idle TLS connection",
        unit: "KiB",
        per: 1.0,
        kind: Kind::Idle { tls: true, count: 2_000 },
        peers: WITH_TLS,
    },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    // Two libraries are linked here, as peers want them; ours and the floor are measured with this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    raise_descriptors();
    if let Task::Crowd { habit, to, count, from } = arguments.command {
        return Ok(crowd::run(habit, to, count, from)?);
    }
    let folder = tempfile::tempdir()?;
    let place = Place::prepare(folder.path(), arguments.smtp_mio)?;
    match arguments.command {
        Task::Table { rounds, scale, row, peer } => {
            for wanted in
                ROWS.iter().filter(|r| row.is_empty() || row.iter().any(|word| r.name.contains(word.as_str())))
            {
                table(&place, wanted, rounds, scale, &peer);
            }
        }
        Task::Repeat { row, peer, scale } => {
            let row = ROWS.iter().find(|r| r.name.contains(row.as_str())).ok_or("no such row")?;
            println!("{:.4} {}", once(&place, row, &peer, scale)?, row.unit);
        }
        Task::Many { rounds, idle } => many::many(&place, rounds, idle)?,
        Task::Crowd { .. } => {}
    }
    Ok(())
}

/// To what `many` needs, or as far as it goes; the servers that are started inherit it.
fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both read or write the limit that they are given.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        let more = limit.rlim_max.max(64 << 10);
        if libc::setrlimit(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: more, rlim_max: more }) != 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// How many files a process may have open.
fn descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes the limit that it is given.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Sorts them.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A row: every peer once a round, in turn.
fn table(place: &Place, row: &Row, rounds: usize, scale: f64, only: &[String]) {
    let mut figures: Vec<(&str, Vec<f64>)> = Vec::new();
    for name in NAMES.iter().filter(|name| row.peers.contains(name)) {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            figures.push((name, Vec::new()));
        }
    }
    for _ in 0..rounds {
        for (name, measured) in &mut figures {
            match once(place, row, name, scale) {
                Ok(figure) => measured.push(figure),
                Err(error) => eprintln!("{name}, {}: {error}", row.name),
            }
        }
    }
    println!("{}, {}:", row.name, row.unit);
    for (name, measured) in &mut figures {
        let middle = median(measured);
        match measured.as_slice() {
            [] => println!("  {name:16} left out"),
            [least, .., most] => println!("  {name:16} {middle:9.3}   ({least:.3} to {most:.3})"),
            [_] => println!("  {name:16} {middle:9.3}"),
        }
    }
}

/// One peer, freshly started, once.
fn once(place: &Place, row: &Row, name: &str, scale: f64) -> io::Result<f64> {
    match &row.kind {
        Kind::Messages { load, count, slow } => {
            let peer = place.start(name, CONNECTIONS)?;
            let count = if matches!(name, "aiosmtpd" | "postfix" | "smtp-sink" | "go-smtp") { *slow } else { *count };
            let count = ((count as f64 * scale) as usize).max(CONNECTIONS);
            // Warm: what is done once is not counted.
            drive(&load(&peer, CONNECTIONS))?;
            let before = peer.cpu();
            drive(&load(&peer, count))?;
            Ok((peer.cpu() - before) * 1e3 / count as f64 * row.per)
        }
        Kind::Idle { tls, count } => {
            let peer = place.start(name, count + CONNECTIONS)?;
            drive(&load_of(&peer, 4 << 10, 2 * CONNECTIONS, 1, *tls))?;
            let before = peer.resident();
            let mut run = Run::new(peer.address)?;
            let script = Script { once: opening(*tls), each: Vec::new(), last: Vec::new() };
            for _ in 0..*count {
                let key = run.connect(None, &script, 0)?;
                run.finish(key)?;
            }
            Ok((peer.resident() - before) / *count as f64)
        }
    }
}

fn load(peer: &Peer, size: usize, messages: usize, per_connection: usize, tls: bool) -> Load {
    load_of(peer, size, messages, per_connection.max(1), tls)
}

fn load_of(peer: &Peer, size: usize, messages: usize, per_connection: usize, tls: bool) -> Load {
    let script = Script { once: opening(tls), each: message(size), last: vec![say("QUIT\r\n", 1)] };
    Load { address: peer.address, script, connections: CONNECTIONS, messages, per_connection }
}

/// A connection without a message; with or without a full handshake.
fn greetings(peer: &Peer, connections: usize, tls: bool) -> Load {
    let script = Script { once: opening(tls), each: Vec::new(), last: vec![say("QUIT\r\n", 1)] };
    Load { address: peer.address, script, connections: CONNECTIONS, messages: connections, per_connection: 1 }
}

fn say(text: &str, replies: usize) -> Step {
    Step::Say(Arc::from(text.as_bytes()), replies)
}

fn opening(tls: bool) -> Vec<Step> {
    let mut steps = vec![Step::Hear(1), say("EHLO load.example\r\n", 1)];
    if tls {
        steps.extend([say("STARTTLS\r\n", 1), Step::Tls, say("EHLO load.example\r\n", 1)]);
    }
    steps
}

/// The envelope in one write, the text in another.
fn message(size: usize) -> Vec<Step> {
    let line = "x".repeat(70) + "\r\n";
    let mut text = String::from("Subject: load\r\n\r\n");
    while text.len() + line.len() <= size {
        text.push_str(&line);
    }
    text.push_str(".\r\n");
    vec![say("MAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\nDATA\r\n", 3), say(&text, 1)]
}
