use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};

use super::*;
use anyhow::Result;
use harness::ports::free_address;

const PATIENCE: Duration = Duration::from_secs(30);

fn endpoint(id: u64, address: SocketAddr) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(id, "goods".into(), id.to_string().into(), address))
}

async fn next(probes: &mut Probes) -> Result<Vec<(u64, ProbeResult)>> {
    let outcomes = timeout(PATIENCE, probes.outcomes()).await?;
    Ok(outcomes.iter().map(|o| (o.endpoint.id, o.probe)).collect())
}

#[tokio::test]
async fn a_probe_tells_who_listens_from_who_does_not() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut probes = Probes::new(PATIENCE);
    probes.start(&endpoint(1, listener.local_addr()?));
    assert_eq!(next(&mut probes).await?, [(1, ProbeResult::Passed)]);
    probes.stop(1);
    probes.start(&endpoint(2, free_address()?));
    assert_eq!(next(&mut probes).await?, [(2, ProbeResult::Failed)]);
    Ok(())
}

#[tokio::test]
async fn an_endpoint_is_probed_again_a_second_later() -> Result<()> {
    let mut probes = Probes::new(PATIENCE);
    let endpoint = endpoint(1, free_address()?);
    probes.start(&endpoint);
    probes.start(&endpoint);
    let begun = now();
    for _ in 0..3 {
        assert_eq!(next(&mut probes).await?, [(1, ProbeResult::Failed)]);
    }
    assert!(begun.elapsed() >= 2 * INTERVAL, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn the_connection_of_a_probe_is_closed_at_once() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut probes = Probes::new(PATIENCE);
    probes.start(&endpoint(1, listener.local_addr()?));
    next(&mut probes).await?;
    let (connection, _) = listener.accept().await?;
    timeout(PATIENCE, connection.readable()).await??;
    assert_eq!(connection.try_read(&mut [0])?, 0, "closed");
    Ok(())
}

#[tokio::test]
async fn a_probe_that_was_given_up_tells_nothing_and_leaves_nothing() -> Result<()> {
    let mut probes = Probes::new(PATIENCE);
    let address = free_address()?;
    probes.start(&endpoint(1, address));
    probes.stop(1);
    probes.start(&endpoint(2, address));
    assert_eq!(next(&mut probes).await?, [(2, ProbeResult::Failed)]);
    assert_eq!(probes.wanted.len(), 1);
    Ok(())
}

#[tokio::test]
async fn many_wait_for_their_turn_and_each_has_one_before_another_has_two() -> Result<()> {
    const COUNT: u64 = 3 * MAX_RUNNING as u64;
    let mut probes = Probes::new(PATIENCE);
    let address = free_address()?;
    (1..=COUNT).for_each(|id| probes.start(&endpoint(id, address)));
    let mut seen = HashSet::new();
    while seen.len() < COUNT as usize {
        for (id, _) in next(&mut probes).await? {
            assert!(seen.insert(id), "{id} had its second turn after {} others", seen.len());
        }
    }
    Ok(())
}

#[test]
fn what_we_lack_ourselves_says_nothing_about_an_endpoint() {
    assert_eq!(judge(Ok(())), Some(ProbeResult::Passed));
    let failed = |errno: Errno| judge(Err(io::Error::from_raw_os_error(errno as i32)));
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EADDRNOTAVAIL] {
        assert_eq!(failed(errno), None, "{errno}");
    }
    for errno in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::ECONNRESET] {
        assert_eq!(failed(errno), Some(ProbeResult::Failed), "{errno}");
    }
    assert_eq!(judge(Err(io::ErrorKind::TimedOut.into())), Some(ProbeResult::Failed));
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_fails_its_probe_in_time() -> Result<()> {
    // Connections that nobody accepts fill the queue: the system drops who comes next.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let full = socket.listen(0)?;
    let mut waiting = Vec::new();
    while let Ok(connected) =
        timeout(Duration::from_millis(500), TcpStream::connect(full.local_addr()?)).await
    {
        waiting.push(connected?);
    }
    let mut probes = Probes::new(Duration::from_millis(300));
    probes.start(&endpoint(1, full.local_addr()?));
    assert_eq!(next(&mut probes).await?, [(1, ProbeResult::Failed)]);
    Ok(())
}
