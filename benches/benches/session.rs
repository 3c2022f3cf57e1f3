//! Whole transactions in memory, in one session: text of 200 octets, 4 KiB and 1 MB; in groups, and a command at a time.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smtp_benches::session::{begin, feed, transaction};

fn transactions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transaction");
    for octets in [200, 4 << 10, 1_000_000] {
        for (name, pipelined) in [("pipelined", true), ("one by one", false)] {
            let reads = transaction(octets, pipelined);
            let mut session = begin();
            group.throughput(Throughput::Bytes(octets as u64));
            group.bench_function(BenchmarkId::new(name, octets), |bencher| {
                bencher.iter(|| {
                    let accepted: usize = reads.iter().map(|read| feed(&mut session, read).0).sum();
                    assert_eq!(accepted, 1);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, transactions);
criterion_main!(benches);
