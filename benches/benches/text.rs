//! Message text: scanning it for its end and its flaws, and writing it; beside memcpy, and beside a search for each line's
//! end with memchr, which checks nothing.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use memchr::memchr_iter;
use smtp_benches::texts;
use smtp_proto::text::{Newlines, Scan, Scanner, TextLeniency, Writer};
use stalwart_smtp_proto::request::receiver::DataReceiver;

/// Octets at a time, as a server reads them.
const READ: usize = 16 << 10;

fn baselines(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, text: &[u8]) {
    let mut copy = vec![0; text.len()];
    group.bench_function(format!("memcpy/{name}"), |bencher| {
        bencher.iter(|| black_box(&mut copy[..]).copy_from_slice(black_box(text)));
    });
    group.bench_function(format!("memchr a line/{name}"), |bencher| {
        bencher.iter(|| memchr_iter(b'\n', black_box(text)).fold(0, |sum, at| sum ^ at));
    });
}

fn scanner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scanner");
    for (name, text) in texts(READ) {
        group.throughput(Throughput::Bytes(text.len() as u64));
        baselines(&mut group, name, &text);
        group.bench_function(format!("this/{name}"), |bencher| {
            bencher.iter(|| {
                let mut scanner = Scanner::new(TextLeniency::default());
                let mut input = black_box(&text[..]);
                let mut octets = 0;
                while let Scan::Chunk(chunk) = scanner.next(&mut input) {
                    octets += black_box(chunk).len();
                }
                octets
            });
        });
        let mut buffer = Vec::with_capacity(2 * READ);
        group.bench_function(format!("smtp-proto of crates.io/{name}"), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                let _ = DataReceiver::new().ingest(&mut black_box(&text[..]).iter(), &mut buffer);
                buffer.len()
            });
        });
    }
    group.finish();
}

fn writer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("writer");
    for (name, text) in texts(READ) {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("slices/{name}"), |bencher| {
            bencher.iter(|| {
                let mut writer = Writer::new(Newlines::Strict);
                let mut rest = black_box(&text[..]);
                let mut octets = 0;
                while let Ok(Some(slice)) = writer.next(&mut rest) {
                    octets += black_box(slice).len();
                }
                octets
            });
        });
        let mut out = Vec::with_capacity(4 * READ);
        group.bench_function(format!("into a buffer/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                Writer::new(Newlines::Strict).write(black_box(&text), &mut out)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scanner, writer);
criterion_main!(benches);
