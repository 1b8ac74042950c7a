//! What it takes to read a head, and to write it as it goes on: instructions, counted by callgrind, which are the same whatever else the machine does. Fails
//! if one takes more than it may, or allocates. (`make heads`.)
//!
//! With a case: reads it so often, and does just that.

use std::hint::black_box;
use std::process::{Command, ExitCode};

use grammar_alone::Heads;

/// What is read, and so many instructions it may take, and to write it, too: a tenth more than it does, as compilers differ a little. Whoever
/// makes it cheaper lowers the bound.
const CASES: [(&str, [usize; 2], &str); 3] = [
    (
        "request",
        [2_720, 4_420],
        "GET /goods HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
         Connection: keep-alive\r\n\r\n",
    ),
    (
        "browser",
        [6_700, 9_380],
        "GET /goods/list?page=2&sort=price HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
         x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,\
         image/avif,image/webp,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\
         \r\nReferer: https://shop.example.com/\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
         Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\
         \r\nPriority: u=0, i\r\n\r\n",
    ),
    (
        "answer",
        [2_690, 3_730],
        "HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Mon, 30 Nov 2026 07:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: 60\r\nConnection: keep-alive\r\n\r\n",
    ),
];
/// What is done with it.
const WORK: [&str; 2] = ["read", "read, written"];
const TIMES: usize = 1_000;
/// The function whose instructions are counted, with all that it calls.
const COUNTED: &str = "*head_instructions::read_again*";

fn main() -> ExitCode {
    if let [_, case, work] = &std::env::args().collect::<Vec<_>>()[..] {
        let text = CASES.iter().find(|(name, ..)| name == case).map_or("", |(.., text)| text);
        let (mut heads, is_written) = (Heads::default(), work == WORK[1]);
        read_once(&mut heads, case, text, is_written);
        read_again(&mut heads, case, text, is_written);
        return ExitCode::SUCCESS;
    }
    let mut is_good = true;
    println!("instructions for a head, of {TIMES}");
    for (case, bounds, text) in CASES {
        for (work, most) in WORK.into_iter().zip(bounds) {
            let Some(counted) = count(case, work) else {
                eprintln!(
                    "{case} was not counted: no valgrind on PATH? `apt-get install valgrind` installs it"
                );
                return ExitCode::FAILURE;
            };
            println!("  {case:10}{work:16}{counted:>8} of {most} for {} bytes", text.len());
            is_good &= counted <= most;
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs this very program under callgrind. None: it found nothing, or something that allocates.
fn count(case: &str, work: &str) -> Option<usize> {
    let found = std::env::temp_dir().join(format!("head_instructions.{}", std::process::id()));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", &format!("--toggle-collect={COUNTED}")]);
    valgrind.arg(format!("--callgrind-out-file={}", found.display()));
    let output = valgrind.arg(std::env::current_exe().ok()?).args([case, work]).output().ok()?;
    let functions = std::fs::read_to_string(&found).ok()?;
    std::fs::remove_file(&found).ok()?;
    if functions.contains("malloc") || functions.contains("realloc") {
        eprintln!("{case}, {work}: allocates");
        return None;
    }
    let report = String::from_utf8_lossy(&output.stderr);
    let (_, total) = report.lines().find_map(|line| line.split_once("Collected :"))?;
    let total: usize = total.trim().parse().ok()?;
    (total > TIMES).then_some(total / TIMES)
}

fn read_once(heads: &mut Heads, case: &str, text: &str, is_written: bool) {
    let bytes = black_box(text.as_bytes());
    if is_written {
        let written = if case == "answer" { heads.answer_on(bytes) } else { heads.request_on(bytes) };
        assert!(black_box(written).is_some());
    } else if case == "answer" {
        assert_eq!(black_box(heads.answer(bytes)), Some(text.len()));
    } else {
        assert_eq!(black_box(heads.request(bytes)).map(|found| found.0), Some(text.len()));
    }
}

/// With buffers that have grown.
#[inline(never)]
fn read_again(heads: &mut Heads, case: &str, text: &str, is_written: bool) {
    for _ in 0..TIMES {
        read_once(heads, case, text, is_written);
    }
}
